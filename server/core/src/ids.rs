//! Newtypes for everything that is named, so that one name is never taken for another.

use std::fmt;
use std::sync::Arc;

use data_encoding::Specification;
use serde::Serialize;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name as it was given.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }
    };
}

name! {
    /// One job: the unit of admission, routing and settlement.
    JobId
}
name! {
    /// A model as a client names it.
    ModelId
}
name! {
    /// One configured backend of this node.
    BackendId
}
name! {
    /// The public part of an API key.
    KeyId
}
name! {
    /// Who pays for a job: a key, or the node's own operator.
    PrincipalId
}

impl PrincipalId {
    /// The person who runs this node.
    pub fn operator() -> Self {
        Self::new("owner")
    }
}

impl JobId {
    /// A fresh id, 120 random bits.
    pub fn random() -> Self {
        Self::new(random_id())
    }
}

/// 120 random bits as 24 lower-case letters and digits, fit for ids that clients see.
///
/// # Panics
/// When the operating system gives no randomness: nothing safe can be done without it.
pub fn random_id() -> String {
    let mut bytes = [0_u8; 15];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    let mut alphabet = Specification::new();
    alphabet
        .symbols
        .push_str("abcdefghijklmnopqrstuvwxyz234567");
    alphabet
        .encoding()
        .expect("the alphabet has 32 distinct symbols")
        .encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_distinct_and_clean() {
        let (a, b) = (random_id(), random_id());
        assert_ne!(a, b);
        assert_eq!(a.len(), 24);
        assert!(
            a.bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        );
    }
}
