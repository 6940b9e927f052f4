//! Answers of CouchDB's HTTP API whose shape is fixed. Documents and lists of them have no more shape than
//! their owners give them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Who answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CouchWelcome {
    /// `Welcome`.
    pub couchdb: &'static str,
    /// The release of CouchDB whose API this is.
    pub version: &'static str,
    /// Names this node's storage for good.
    pub uuid: String,
    /// Whose program it is.
    pub vendor: CouchVendor,
}

/// Whose program answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CouchVendor {
    /// `KwaaiNet`.
    pub name: &'static str,
}

/// A database.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CouchDatabase {
    /// What its owner calls it.
    pub db_name: String,
    /// The last change.
    pub update_seq: String,
    /// How often something was purged.
    pub purge_seq: String,
    /// Documents that are there.
    pub doc_count: i64,
    /// Documents that were deleted.
    pub doc_del_count: i64,
    /// Bytes.
    pub sizes: CouchSizes,
    /// Always false: compacting is over when it is answered.
    pub compact_running: bool,
    /// When it was made: seconds since 1970.
    pub instance_start_time: String,
    /// As CouchDB 3 has it.
    pub disk_format_version: u32,
    /// `e2ee`, `private` or `public`.
    pub mode: &'static str,
    /// Whether nobody can read on the node's disk what is in it.
    pub encrypted: bool,
}

/// Bytes of what a database holds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CouchSizes {
    /// In the file.
    pub file: u64,
    /// As clients see it.
    pub external: u64,
    /// That are used.
    pub active: u64,
}

/// It is done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CouchOk {
    /// Always true.
    pub ok: bool,
}

/// A document was written.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CouchEdited {
    /// Always true.
    pub ok: bool,
    /// Which document.
    pub id: String,
    /// Its revision now.
    pub rev: String,
}

/// What a purge removed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CouchPurged {
    /// How often something was purged.
    pub purge_seq: String,
    /// Documents, and for each the revisions that are gone.
    pub purged: BTreeMap<String, Vec<String>>,
}

/// An index is remembered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CouchIndexMade {
    /// `created` or `exists`.
    pub result: &'static str,
    /// The design document that holds it.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CouchError {
    /// For programs.
    pub error: String,
    /// For people.
    pub reason: String,
}
