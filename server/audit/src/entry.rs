//! One entry, before it is sealed.

use std::fmt;

use serde_json::{Map, Value};

/// Bytes of what an entry says of people and things, as JSON.
const PRIVATE_MAX: usize = 16 << 10;

/// Why an entry is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// Its action is no name.
    #[error("an action is one to 64 small letters, digits, dots and underscores")]
    Action,
    /// It says too much.
    #[error("what an audit entry says is over {PRIVATE_MAX} bytes")]
    TooLong,
}

/// What was done, like `storage.document.read`. Told in the open, so it names no person and no thing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Action(String);

impl Action {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(name: impl Into<String>) -> Result<Self, BadEntry> {
        let name = name.into();
        let is_good =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'_');
        match (1..=64).contains(&name.len()) && name.bytes().all(is_good) {
            true => Ok(Self(name)),
            false => Err(BadEntry::Action),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was refused.
    Denied,
    /// It failed.
    Failed,
}

impl AuditOutcome {
    /// All.
    pub const EVERY: [Self; 3] = [Self::Done, Self::Denied, Self::Failed];

    /// As stored and told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }

    /// The one with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::EVERY
            .into_iter()
            .find(|outcome| outcome.name() == name)
    }
}

/// Who touched what. Never holds the contents of documents, prompts, answers, keys or secrets.
#[derive(Clone, PartialEq)]
pub struct Entry {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// What was done.
    pub action: Action,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Who did it.
    pub actor: String,
    /// Whom it is about; empty for the node itself. Its key seals the entry.
    pub subject: String,
    /// On what.
    pub resource: String,
    /// What else there is to say.
    pub details: Map<String, Value>,
}

/// Without what it says of people.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} {})", self.action, self.outcome.name())
    }
}

impl Entry {
    /// What of it is sealed, as JSON.
    ///
    /// # Errors
    /// When it is too long.
    pub(crate) fn private(&self) -> Result<Vec<u8>, BadEntry> {
        let value = serde_json::json!({
            "actor": self.actor,
            "subject": self.subject,
            "resource": self.resource,
            "details": self.details,
        });
        let text = value.to_string().into_bytes();
        match text.len() <= PRIVATE_MAX {
            true => Ok(text),
            false => Err(BadEntry::TooLong),
        }
    }
}
