use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::Other;

/// `GET /v1/audit/entries`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntryList {
    /// `list`.
    pub object: &'static str,
    /// Entries, oldest first.
    pub data: Vec<AuditEntry>,
    /// Whether there are more after the last one.
    pub has_more: bool,
}

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// `audit.entry`.
    pub object: &'static str,
    /// Its place in the log and its leaf in the Merkle tree, counting from 0.
    pub index: u64,
    /// When: milliseconds since 1970.
    pub at_ms: i64,
    /// What was done, like `privacy.export`.
    pub action: String,
    /// `done`, `denied` or `failed`.
    pub outcome: &'static str,
    /// What the tree commits to: SHA-256 in hexadecimal digits.
    pub commitment: String,
    /// What it says of people; null once its subject was erased.
    pub said: Option<AuditSaid>,
}

/// What an entry says of people and things.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditSaid {
    /// Who did it.
    pub actor: String,
    /// Whom it is about.
    pub subject: String,
    /// On what.
    pub resource: String,
    /// What else there is to say.
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
    /// In base64, the bytes after `kwaainet audit commitment 1` and a zero byte of which the commitment is the SHA-256.
    pub preimage: String,
}

/// In which form entries are told.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum AuditOutcomeName {
    /// It was done.
    Done,
    /// It was refused.
    Denied,
    /// It failed.
    Failed,
}

/// `POST /v1/privacy/export` and `/v1/privacy/erase`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct PrivacyRequest {
    /// Whom it is about: the caller if not given. Only the node's owner may name others.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub subject: Option<String>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// All that the node holds about a subject.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PrivacyExport {
    /// `privacy.export`.
    pub object: &'static str,
    /// Whom it is about.
    pub subject: String,
    /// When: milliseconds since 1970.
    pub at_ms: i64,
    /// What each part of the node holds.
    pub holders: Vec<PrivacyHeld>,
    /// That it was told.
    pub receipt: PrivacyReceipt,
}

/// What one part of the node holds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PrivacyHeld {
    /// Which part.
    pub holder: &'static str,
    /// What it holds.
    pub items: Vec<Value>,
    /// Whether there is more than is told here.
    pub truncated: bool,
}

/// What was erased about a subject.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PrivacyErasure {
    /// `privacy.erasure`.
    pub object: &'static str,
    /// When: milliseconds since 1970.
    pub at_ms: i64,
    /// What each part of the node erased.
    pub holders: Vec<PrivacyErased>,
    /// That it was erased.
    pub receipt: PrivacyReceipt,
}

/// What one part of the node erased.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PrivacyErased {
    /// Which part.
    pub holder: &'static str,
    /// How many things are gone.
    pub erased: u64,
    /// How many stay without the subject's name, for the accounts.
    pub anonymized: u64,
}

/// A receipt for an export or an erasure. It names nobody.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PrivacyReceipt {
    /// Also in the audit log.
    pub id: String,
    /// The entry of the audit log.
    pub audit_index: u64,
    /// The same, signed by the node as a note (C2SP); null if the node's key is sealed.
    pub note: Option<String>,
}
