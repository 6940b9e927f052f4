use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::JsonDocument;

/// What is found for a DID (W3C DID Resolution).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DidResolution {
    /// `https://w3id.org/did-resolution/v1`.
    #[serde(rename = "@context")]
    #[schema(value_type = String)]
    pub context: &'static str,
    /// The document.
    pub did_document: JsonDocument,
    /// How it was found.
    pub did_resolution_metadata: DidResolutionMetadata,
    /// What is known of it.
    pub did_document_metadata: DidDocumentMetadata,
}

/// How a document was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DidResolutionMetadata {
    /// `application/did`.
    #[schema(value_type = String)]
    pub content_type: &'static str,
}

/// What is known of a document: nothing yet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DidDocumentMetadata {}

/// The changes of the node's key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeyChangeList {
    /// `list`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// The first one first.
    pub data: Vec<KeyChange>,
}

/// One key of the node in another's place.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeyChange {
    /// `kwaai.key_change`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// The key that went, as a DID.
    pub old: String,
    /// The key that came.
    pub new: String,
    /// Seconds since 1970.
    pub created_at: i64,
    /// What the old one signed: an envelope in hexadecimal digits.
    pub statement: String,
    /// What the new one signed.
    pub acceptance: String,
}

/// Who the caller is to this node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Identity {
    /// `kwaai.identity`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// What his work is booked under.
    pub principal: String,
    /// His account's DID, if he has signed in.
    #[schema(required = true)]
    pub subject: Option<String>,
    /// 0 to 4, if he has signed in; whoever has one of the owner's keys has no tier.
    #[schema(required = true)]
    pub tier: Option<u8>,
    /// What he may do now.
    pub scopes: Vec<String>,
    /// Whether he acts with a capability.
    pub delegated: bool,
    /// Other DIDs of the account.
    pub links: u32,
    /// Its passkeys.
    pub passkeys: u32,
    /// Seconds since 1970 until which a credential that he has shown counts.
    #[schema(required = true)]
    pub verified_until: Option<i64>,
    /// What each tier unlocks, and what it lacks.
    pub tiers: Vec<IdentityTier>,
}

/// A tier.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IdentityTier {
    /// 0 to 4.
    pub tier: u8,
    /// `anonymous`, `pseudonymous`, `linked`, `verified` or `sovereign`.
    #[schema(value_type = String)]
    pub name: &'static str,
    /// What it may do, where the owner allows it.
    pub scopes: Vec<String>,
    /// Jobs at once, if fewer than what everybody may have.
    #[schema(required = true)]
    pub jobs_max: Option<usize>,
    /// Whether it may make capabilities.
    pub delegates: bool,
    /// What is to be done to reach it; nothing if it is reached, or if nobody has signed in.
    #[schema(required = true, value_type = Option<String>)]
    pub lacks: Option<&'static str>,
}

/// That another DID is the same person's.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IdentityLink {
    /// `kwaai.link`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// The account.
    pub account: String,
    /// The other DID.
    pub linked: String,
    /// What its owner signed, which names the account.
    pub message: String,
    /// His signature, for whoever wants to check it.
    pub signature: String,
    /// Seconds since 1970.
    pub created_at: i64,
}

/// An account's links.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IdentityLinkList {
    /// `list`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// The oldest first.
    pub data: Vec<IdentityLink>,
}

/// Prepares an account for the loss or the change of its key.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct PrepareRequest {
    /// SHA-256 of the DID that is to come after the account's, as 64 hexadecimal digits; the DID itself stays secret
    /// until it is used.
    #[schema(required = true)]
    pub next_key_sha256: Option<String>,
    /// The DID whose owner may put another one in the account's place.
    #[schema(required = true)]
    pub recovery: Option<String>,
}

/// A credential that is shown to this node.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShowCredentialRequest {
    /// About the account's DID or one that is linked to it.
    #[schema(required = true)]
    pub verifiable_credential: Option<JsonDocument>,
}

/// Asks for a credential (W3C VC API, `POST /credentials/issue`).
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct IssueRequest {
    /// What it is to say. The node fills in `@context`, `type`, `id`, `issuer` and `validFrom` where they are missing.
    #[schema(required = true)]
    pub credential: Option<JsonDocument>,
    /// How.
    pub options: Option<IssueOptions>,
}

/// How a credential is issued.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct IssueOptions {
    /// Whether it can be revoked; `true` without it.
    pub revocable: Option<bool>,
}

/// A signed credential.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// It.
    pub verifiable_credential: JsonDocument,
}

/// Asks whether a credential can be believed (W3C VC API, `POST /credentials/verify`).
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyRequest {
    /// It.
    #[schema(required = true)]
    pub verifiable_credential: Option<JsonDocument>,
}

/// Asks whether a presentation can be believed (W3C VC API, `POST /presentations/verify`).
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyPresentationRequest {
    /// It.
    #[schema(required = true)]
    pub verifiable_presentation: Option<JsonDocument>,
    /// Whom it must be made for.
    pub options: Option<AudienceOptions>,
}

/// Whom a presentation is made for.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct AudienceOptions {
    /// What was given to whoever shows it.
    pub challenge: Option<String>,
    /// Who asks.
    pub domain: Option<String>,
}

/// Whether something can be believed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Verified {
    /// Whether it can.
    pub verified: bool,
    /// Why not.
    pub errors: Vec<VerifyProblem>,
}

/// Why something cannot be believed (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerifyProblem {
    /// The kind of reason, as the standards name it.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// The reason.
    pub title: String,
}

/// Asks this node to show credentials (W3C VC API, `POST /presentations`).
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct PresentRequest {
    /// What to show. The node fills in `@context`, `type` and `holder` where they are missing.
    #[schema(required = true)]
    pub presentation: Option<JsonDocument>,
    /// Whom to.
    pub options: Option<AudienceOptions>,
}

/// A signed presentation.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Presented {
    /// It.
    pub verifiable_presentation: JsonDocument,
}

/// Changes a credential's state (W3C VC API, `POST /credentials/status`).
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatusRequest {
    /// Whose.
    #[schema(required = true)]
    pub credential_id: Option<String>,
    /// `revocation`, which is the only one.
    pub status_purpose: Option<String>,
    /// `true`: what was revoked stays revoked.
    #[schema(required = true)]
    pub status: Option<bool>,
}
