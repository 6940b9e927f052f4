//! Who a node is: one Ed25519 key, the file that holds it, its names, and the one envelope for everything that it
//! signs.

mod base58;
mod envelope;
mod file;
mod key;
mod names;
mod note;
mod seal;

pub use envelope::{Domain, Envelope, EnvelopeError, Fields, Reader};
pub use file::{KeyFile, KeyFileError, KeyFileFacts};
pub use key::{NodeKey, verify};
pub use names::{BadNodeName, did_key, node_of_name, peer_id};
pub use note::{BadNote, note_key, open_note, sign_note};
pub use seal::Passphrase;
