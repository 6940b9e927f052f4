//! What a document database is: names, revisions and their trees, attachments, selectors, and the rules
//! by which an edit is taken or refused. After the replication protocol of Apache CouchDB, so that
//! PouchDB and CouchDB replicate with a node.
//!
//! Pure: nothing here opens a socket, reads a file or speaks SQL. `server/store` keeps what is decided
//! here, `server/node` speaks HTTP.

mod attachment;
mod checkpoint;
mod collate;
mod draft;
mod edit;
mod envelope;
mod erased;
mod grant;
mod mango;
mod multipart;
mod name;
mod proof;
mod rev;
mod seal;
mod security;
mod sharing;
mod tree;

pub use attachment::{Attachment, AttachmentDraft, Attachments, Digest};
pub use checkpoint::{Checkpoint, Session, replication_id};
pub use collate::compare;
pub use draft::{BadDocument, Draft, Limits};
pub use edit::{Edit, Refused, Took, interactive, replicated};
pub use envelope::{is_checkpoint, is_envelope};
pub use erased::{erased_digest, erased_floor};
pub use grant::Grant;
pub use mango::{BadSelector, Selector};
pub use multipart::{Multipart, Part, boundary_of};
pub use name::{BadName, DatabaseName, Mode, check_document_id, is_local};
pub use proof::{Proof, SLICE_BYTES, prove, verify};
pub use rev::{BadRev, Rev};
pub use seal::{DataKey, Place, Seal, Unopened};
pub use security::{Access, Roles, Security};
pub use sharing::{SharingKey, wrap_key};
pub use tree::{Leaf, Node, RevTree};
