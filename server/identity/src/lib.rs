//! Who a node is: one Ed25519 key, its names, and the one envelope for everything that it signs.

mod envelope;
mod key;

pub use envelope::{Domain, Envelope, EnvelopeError, Fields, Reader};
pub use key::{KeyError, NodeKey, verify};
