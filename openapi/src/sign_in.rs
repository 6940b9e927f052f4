use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Asks for something to sign.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ChallengeRequest {
    /// Who wants to sign in: a `did:key`, or a `did:pkh` of `eip155` or `solana`.
    #[schema(required = true)]
    pub account: Option<String>,
    /// What for: `sign_in`; or, of somebody who has signed in, `link` to make the account one of his, or `succeed` to
    /// put it in his own account's place.
    #[schema(default = "sign_in")]
    pub purpose: Option<String>,
    /// What the session is to be good for; without it, all that the account may do.
    pub scopes: Option<Vec<String>>,
    /// Of `succeed` by whoever may recover an account: which one.
    pub of: Option<String>,
}

/// What to sign, once and soon.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Challenge {
    /// `kwaai.challenge`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// To be used once.
    pub nonce: String,
    /// The text, ready to be signed as it is. Wallets that write their own have to use the same domain, URI and nonce.
    pub message: String,
    /// Who asks.
    pub domain: String,
    /// What is signed in to.
    pub uri: String,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Until then.
    pub expires_at: i64,
}

/// A signed text.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct SignedMessage {
    /// The text.
    #[schema(required = true)]
    pub message: Option<String>,
    /// `0x` and hexadecimal digits; or multibase, `z` and base58 or `u` and base64url.
    #[schema(required = true)]
    pub signature: Option<String>,
}

/// A session.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Session {
    /// `kwaai.session`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Its public part.
    pub id: String,
    /// To be sent as `Authorization: Bearer`. It is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The account's DID.
    pub subject: String,
    /// 0 to 4.
    pub tier: u8,
    /// What it may do now.
    pub scopes: Vec<String>,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Until when it is good.
    pub expires_at: i64,
    /// Whether it is good now.
    pub active: bool,
}

/// An account's sessions.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionList {
    /// `list`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// The newest first.
    pub data: Vec<Session>,
}

/// Asks for a capability.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct CapabilityRequest {
    /// In which parts of the API; none of them may be more than the caller has.
    #[schema(required = true)]
    pub scopes: Option<Vec<String>>,
    /// Below which paths; without it, all.
    pub paths: Option<Vec<String>>,
    /// For how long, in seconds; an hour without it, a year at most.
    pub expires_in: Option<i64>,
}

/// A capability: a biscuit, which whoever has it can make weaker without asking.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Capability {
    /// `kwaai.capability`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// To be sent as `Authorization: Bearer`, with its `biscuit:`. Libraries take what stands behind that.
    pub token: String,
    /// The public key that biscuits of this node are checked with.
    pub root_key: String,
    /// Names it, to revoke it and all that is made of it.
    pub revocation_id: String,
    /// Seconds since 1970.
    pub expires_at: i64,
}

/// Takes a capability back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct RevokeCapabilityRequest {
    /// The whole token; what is made of it goes too, and what it was made of stays.
    #[schema(required = true)]
    pub token: Option<String>,
}

/// That something was taken back.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Revoked {
    /// What it was.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Its name.
    pub id: String,
    /// `true`.
    pub revoked: bool,
}

/// Asks for a passkey's login.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct PasskeyLoginRequest {
    /// Whose: the account's DID, or one that is linked to it.
    #[schema(required = true)]
    pub account: Option<String>,
}

/// Asks for a passkey's registration; there is nothing to say.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct PasskeyRegistrationRequest {
    /// What the browser shows of it; the account's DID without it.
    pub name: Option<String>,
}

/// What to ask the browser, as `PublicKeyCredential.parseCreationOptionsFromJSON` and
/// `parseRequestOptionsFromJSON` take it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PasskeyCeremony {
    /// `kwaai.passkey_ceremony`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// To be sent back with the answer, once.
    pub ceremony: String,
    /// The options of `navigator.credentials.create` or `get`.
    #[serde(rename = "publicKey")]
    #[schema(value_type = Object)]
    pub public_key: Value,
}

/// What the browser answered, as `PublicKeyCredential.toJSON` gives it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct PasskeyAnswer {
    /// Of the question.
    #[schema(required = true)]
    pub ceremony: Option<String>,
    /// The answer.
    #[schema(required = true, value_type = Object)]
    pub credential: Option<Value>,
    /// What the session is to be good for; without it, all that the account may do.
    pub scopes: Option<Vec<String>>,
}
