//! Who holds what about whom: each part of the node says for itself what it has of a subject, and erases it.

use kwaainet_core::BoxFuture;
use serde_json::Value;

/// Why a holder could not do it. For our log; it may name things, never contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HolderError(pub String);

/// What one holder has of a subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// As JSON, in a form that a machine can read on (GDPR, article 20).
    pub items: Vec<Value>,
    /// Whether there is more than is told here.
    pub truncated: bool,
}

/// What one holder erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// How many things are gone.
    pub erased: u64,
    /// How many were kept for a duty, without the subject's name.
    pub anonymized: u64,
}

/// A part of the node that holds something about people.
pub trait Holder: Send + Sync + 'static {
    /// What it holds, as it is told: `files`, `responses`.
    fn name(&self) -> &'static str;

    /// All that it has of this subject.
    fn export<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Held, HolderError>>;

    /// Erases all of that. Called again, it has nothing to do.
    fn erase<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Erased, HolderError>>;
}
