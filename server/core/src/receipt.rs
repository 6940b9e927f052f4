//! What is left of a job when it is over. Accounts are computed from receipts and nothing else.

use serde::Serialize;

use crate::{BackendId, Footprint, JobId, KeyId, ModelId, PrincipalId, Usage};

/// One for each admitted job, however it ended. Holds no word of the prompt or the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The job.
    pub job: JobId,
    /// Who asked.
    pub principal: PrincipalId,
    /// With which key, if any.
    pub key: Option<KeyId>,
    /// For which model.
    pub model: ModelId,
    /// `generate`, `embed` or `transcribe`.
    pub work: &'static str,
    /// Who served it, or did last; none if no backend took it.
    pub backend: Option<BackendId>,
    /// How often another backend had to go on.
    pub continued: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens counted until then.
    pub usage: Usage,
    /// When it was admitted: milliseconds since 1970.
    pub admitted_at_ms: i64,
    /// How long it waited for a slot.
    pub queued_ms: u64,
    /// From admission to the first event with text, if there was one.
    pub first_token_ms: Option<u64>,
    /// From admission to the end.
    pub duration_ms: u64,
    /// What it took of energy, where that is known.
    pub footprint: Option<Footprint>,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// To its end.
    Done,
    /// With an error.
    Error,
    /// Broken off: the caller left before the end, or the node was stopped.
    Cancelled,
}

impl Outcome {
    /// As stored and as a metrics label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}
