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
    /// Names the erasure. Another node says so that tells of its own; it is made if not given.
    #[schema(pattern = "^[A-Za-z0-9-]{1,64}$")]
    pub erasure: Option<String>,
}

/// What was erased here, and which replicas have erased it too.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Erased {
    /// `storage.erasure`.
    pub object: &'static str,
    /// Names it.
    pub id: String,
    /// The database's name.
    pub database: String,
    /// Documents that were here and are gone.
    pub documents: u64,
    /// Revisions that are gone with them.
    pub revisions: u64,
    /// Whether the file was overwritten where they lay. If not, somebody was reading; it will be.
    pub overwritten: bool,
    /// Whether every replica has acknowledged.
    pub complete: bool,
    /// Databases at other nodes to which this one was pushed.
    pub replicas: Vec<ErasedReplica>,
    /// Seconds since 1970.
    pub created_at: i64,
    /// When the last replica had acknowledged: seconds since 1970.
    pub completed_at: Option<i64>,
}

/// A replica that is asked to erase.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ErasedReplica {
    /// Its database.
    pub url: String,
    /// Whether it has erased.
    pub state: ErasedReplicaState,
    /// How often it was asked.
    pub tries: u32,
    /// When it was last asked: seconds since 1970.
    pub asked_at: Option<i64>,
    /// When it said that it has erased: seconds since 1970.
    pub acknowledged_at: Option<i64>,
    /// Why the last try was in vain.
    pub last_error: Option<String>,
}

/// Whether a replica has erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ErasedReplicaState {
    /// It is asked until it says so.
    Pending,
    /// It said so.
    Acknowledged,
}

/// Which way documents go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StorageDirection {
    /// From here to there.
    Push,
    /// From there to here.
    Pull,
    /// Both ways.
    Both,
}

/// `POST /v1/storage/replications`.
#[derive(Clone, Deserialize, ToSchema)]
pub struct NewStorageReplication {
    /// The database here, which has to be the caller's own.
    pub database: String,
    /// The database there: the node's address, and `/couch/{db}`.
    #[schema(max_length = 2_048)]
    pub url: String,
    /// A key, session or capability of the other node's. It is kept sealed and never shown.
    #[schema(max_length = 8_192)]
    pub token: String,
    /// Which way.
    pub direction: StorageDirection,
    /// Whether it goes on with whatever changes. If not, it is over once both are equal.
    pub live: Option<bool>,
}

/// A replication that this node drives.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageReplication {
    /// `storage.replication`.
    pub object: &'static str,
    /// Names it.
    pub id: String,
    /// The database here.
    pub database: String,
    /// The database there.
    pub url: String,
    /// Which way.
    pub direction: StorageDirection,
    /// Whether it goes on with whatever changes.
    pub live: bool,
    /// `pending`, `running`, `retrying`, `completed` or `failed`.
    pub state: &'static str,
    /// From here to there, where it goes that way.
    pub push: Option<StorageReplicated>,
    /// From there to here, where it goes that way.
    pub pull: Option<StorageReplicated>,
    /// What last went wrong, if nothing went right since.
    pub last_error: Option<String>,
    /// Seconds since 1970.
    pub created_at: i64,
    /// When something was last known of it: seconds since 1970.
    pub updated_at: i64,
}

/// How far one way of a replication came.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageReplicated {
    /// The source's sequence up to which the target has everything.
    pub since: Option<String>,
    /// Revisions that the source gave.
    pub docs_read: u64,
    /// Those that the target took.
    pub docs_written: u64,
    /// Those that it did not take: too large, or no envelope in an `e2ee` database.
    pub doc_write_failures: u64,
}

/// Replications, the oldest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageReplicationList {
    /// `list`.
    pub object: &'static str,
    /// The replications.
    pub data: Vec<StorageReplication>,
}

/// What somebody is given leave to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StorageGrantAccess {
    /// Read.
    Read,
    /// Read and edit documents.
    Write,
}

/// `POST /v1/storage/databases/{db}/grants`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NewStorageGrant {
    /// Who: a principal, as `key:<id of a key>`, or the DID that he signs in with.
    #[schema(min_length = 1, max_length = 256)]
    pub to: String,
    /// What he may do.
    pub access: StorageGrantAccess,
    /// What for, in your words.
    #[schema(min_length = 1, max_length = 1_024)]
    pub purpose: String,
    /// With these documents only; all if not given. Who may see some sees no list of them.
    #[schema(min_items = 1, max_items = 1_000)]
    pub documents: Option<Vec<String>>,
    /// From when on it is nothing: seconds since 1970.
    pub expires_at: i64,
}

/// Leave to use a database for a while.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageGrant {
    /// `storage.grant`.
    pub object: &'static str,
    /// Names it.
    pub id: String,
    /// Who has it.
    pub to: String,
    /// What he may do.
    pub access: StorageGrantAccess,
    /// What for.
    pub purpose: String,
    /// With these documents only; null for all.
    pub documents: Option<Vec<String>>,
    /// Seconds since 1970.
    pub created_at: i64,
    /// From when on it is nothing: seconds since 1970.
    pub expires_at: i64,
}

/// Leave that a database has given and that is not over, the oldest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StorageGrantList {
    /// `list`.
    pub object: &'static str,
    /// The grants.
    pub data: Vec<StorageGrant>,
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
