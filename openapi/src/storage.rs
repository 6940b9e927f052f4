//! Storage: databases of documents and blobs, in plain JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who can read what is in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StorageMode {
    /// Holders of a key that the node never sees. Documents are envelopes; all others are refused.
    E2ee,
    /// Its owner, and whoever he lets in.
    Private,
    /// Everybody who may use the node's storage; only its owner and its members write.
    Public,
}

/// `POST /v1/storage/databases`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NewStorageDatabase {
    /// A letter, and then letters, digits and `_$()+-/`, all in lower case.
    #[schema(max_length = 238, pattern = r"^[a-z][a-z0-9_$()+/-]*$")]
    pub name: String,
    /// `private` if not given.
    pub mode: Option<StorageMode>,
}

/// A database of documents.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageDatabase {
    /// `storage.database`.
    pub object: &'static str,
    /// What its owner calls it.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// Who can read what is in it.
    pub mode: StorageMode,
    /// Whether nobody can read on the node's disk what is in it: sealed by its owner's client, or by the node.
    pub encrypted: bool,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Documents that are there.
    pub documents: i64,
    /// Documents that were deleted.
    pub deleted: i64,
    /// Bytes of all that documents say and of what hangs on them.
    pub bytes: i64,
    /// The last change.
    pub last_seq: String,
}

/// Databases, by name.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageDatabaseList {
    /// `list`.
    pub object: &'static str,
    /// The databases.
    pub data: Vec<StorageDatabase>,
}

/// A document's name and revision.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageRevision {
    /// Which document.
    pub id: String,
    /// Its revision, which is also its ETag.
    pub rev: String,
}

/// A page of documents, in order of their ids.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageDocumentList {
    /// `list`.
    pub object: &'static str,
    /// Documents and their revisions.
    pub data: Vec<StorageRevision>,
    /// Whether others follow.
    pub has_more: bool,
}

/// How much somebody keeps here.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageUsage {
    /// `storage.usage`.
    pub object: &'static str,
    /// Bytes of all databases and blobs.
    pub bytes: u64,
    /// Bytes that may be.
    pub bytes_max: u64,
    /// Bytes times seconds, as last metered.
    pub byte_seconds: u64,
    /// When that was: seconds since 1970; null if never.
    pub metered_at: Option<i64>,
}

/// `POST /v1/storage/databases/{db}/erase`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct EraseRequest {
    /// Documents, with all their revisions and with what hangs on them.
    #[schema(min_items = 1, max_items = 10_000)]
    pub ids: Vec<String>,
}

/// What was erased.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Erased {
    /// `storage.erasure`.
    pub object: &'static str,
    /// Documents that were here and are gone.
    pub documents: u64,
    /// Revisions that are gone with them.
    pub revisions: u64,
    /// Whether the file was overwritten where they lay. If not, somebody was reading; it will be.
    pub overwritten: bool,
}

/// A blob.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageBlob {
    /// `storage.blob`.
    pub object: &'static str,
    /// Its BLAKE3.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub hash: String,
    /// Its size.
    pub bytes: u64,
    /// Seconds since 1970.
    pub created_at: i64,
}

/// A page of blobs, in order of their hashes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageBlobList {
    /// `list`.
    pub object: &'static str,
    /// The blobs.
    pub data: Vec<StorageBlob>,
    /// Whether others follow.
    pub has_more: bool,
}

/// `POST /v1/storage/uploads`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NewUpload {
    /// How many bytes the blob has.
    #[schema(minimum = 0)]
    pub bytes: u64,
}

/// An upload that is under way, or has just come to its end.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageUpload {
    /// `storage.upload`.
    pub object: &'static str,
    /// Names it.
    pub id: String,
    /// How many bytes the blob has.
    pub bytes: u64,
    /// How many of them are here; go on with the next.
    pub offset: u64,
    /// The blob's BLAKE3 once it is whole; the upload is over then.
    pub hash: Option<String>,
}

/// Proof that a blob is here: a slice of it, with what leads from the slice to the blob's BLAKE3.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageProof {
    /// `storage.proof`.
    pub object: &'static str,
    /// The blob's BLAKE3.
    pub hash: String,
    /// Its size.
    pub bytes: u64,
    /// Where the slice begins.
    pub offset: u64,
    /// The slice in base64: 16 KiB, or less in the blob's last part.
    pub slice: String,
    /// The chaining values beside the path from the root down to the slice, in hexadecimal digits.
    pub siblings: Vec<String>,
}

/// It is gone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageDeleted {
    /// What it was.
    pub object: &'static str,
    /// Which.
    pub id: String,
    /// Always true.
    pub deleted: bool,
}
