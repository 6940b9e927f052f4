//! What the storage endpoints share: the file of documents, and how much is taken in.

use std::path::Path;
use std::sync::Arc;

use kwaainet_identity::NodeKey;
use kwaainet_storage::Limits;
use kwaainet_store::DocumentStore;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::blobs::Blobs;
use crate::config;
use crate::keyring::Keyring;

/// Bodies of the largest size that are read and parsed at once; any number of small ones.
const BODIES_AT_ONCE: usize = 4;
/// Clients that wait for changes at once.
const FEEDS_MAX: usize = 512;
/// Replications that have documents in memory at once.
const REPLICATING_AT_ONCE: usize = 2;
/// Attachments of one document.
const ATTACHMENTS_MAX: usize = 1_000;

/// The storage of a node.
#[derive(Debug)]
pub struct Storage {
    /// The file of documents.
    pub(crate) documents: DocumentStore,
    /// Who may open what is sealed in it.
    pub(crate) keyring: Keyring,
    /// Where the bytes of blobs lie.
    pub(crate) blobs: Arc<Blobs>,
    /// Bytes of one blob.
    pub(crate) blob_bytes_max: u64,
    /// How large a document may be.
    pub(crate) limits: Limits,
    /// Bytes of a request's body.
    pub(crate) body_bytes_max: usize,
    /// Bytes of all databases of one principal.
    pub(crate) quota: u64,
    /// Kibibytes of bodies that are read and parsed at once.
    pub(crate) bodies: Semaphore,
    /// Places for those who wait for changes.
    pub(crate) feeds: Arc<Semaphore>,
    /// Places for replications that have documents in memory.
    pub(crate) replicating: Semaphore,
    /// Whether everybody's replications may go to addresses of the owner's network.
    pub(crate) local_replicas: bool,
    /// Cancelled when the node begins to stop: who waits for changes waits no longer.
    pub(crate) closing: CancellationToken,
}

impl Storage {
    /// The storage in this file and this data directory, with the owner's limits, of the node with this key.
    pub fn new(
        documents: DocumentStore,
        data_dir: &Path,
        config: &config::Storage,
        key: Option<&NodeKey>,
    ) -> Self {
        let body_bytes_max = config.body_mib << 20;
        Self {
            documents,
            keyring: Keyring::new(key),
            blobs: Arc::new(Blobs::new(data_dir)),
            blob_bytes_max: (config.blob_mib as u64) << 20,
            limits: Limits {
                document_bytes: config.document_mib << 20,
                attachment_bytes: config.attachment_mib << 20,
                attachments: ATTACHMENTS_MAX,
            },
            body_bytes_max,
            quota: (config.key_mib as u64) << 20,
            bodies: Semaphore::new(BODIES_AT_ONCE * (body_bytes_max >> 10)),
            feeds: Arc::new(Semaphore::new(FEEDS_MAX)),
            replicating: Semaphore::new(REPLICATING_AT_ONCE),
            local_replicas: config.local_replicas,
            closing: CancellationToken::new(),
        }
    }
}
