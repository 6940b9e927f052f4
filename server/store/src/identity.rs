//! Whoever signed in: accounts, what is linked to them, their sessions and passkeys; and the states of credentials that
//! this node issued.

mod accounts;
mod credentials;
mod sessions;

pub use accounts::{AccountRecord, Admission, LinkRecord, Linked, PasskeyKept, PasskeyRecord};
pub use credentials::{IssuedCredential, ShownCredential};
pub use sessions::SessionRow;

#[cfg(test)]
mod tests;
