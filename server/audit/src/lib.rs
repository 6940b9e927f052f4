//! The audit log: who touched what, so that nobody can change it afterwards and everybody can be forgotten.
//!
//! Owns what an entry is and how it is sealed. An entry is committed to in a Merkle tree by a salted hash; what it says of
//! people is encrypted under a key of the one whom it is about. When that key is gone, so are the names, the salt, and any
//! way to guess them, and the tree is still the same. Keeps nothing itself.

mod entry;
mod holder;
mod seal;

pub use entry::{Action, AuditOutcome, BadEntry, Entry};
pub use holder::{Erased, Held, Holder, HolderError};
pub use seal::{Opened, Sealed, SubjectKey, Unreadable};
