//! What is known of a batch.

use kwaainet_core::{KeyId, PrincipalId, Usage};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::StoreError;
use crate::files::{FileRecord, unsigned};

/// One batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// Names it to clients.
    pub id: String,
    /// Whose it is.
    pub principal: PrincipalId,
    /// The key that it was made with, if any; the batch goes on as long as the key is good.
    pub key: Option<KeyId>,
    /// Where its lines go.
    pub endpoint: String,
    /// The file with the lines.
    pub input_file: String,
    /// A JSON object, as its owner gave it.
    pub metadata: Option<String>,
    /// How long its output is kept, in seconds; without one, until it is deleted.
    pub output_expires_s: Option<u32>,
    /// How far it is.
    pub status: BatchStatus,
    /// Lines in all, and of them those with a good and a bad answer.
    pub counts: BatchCounts,
    /// Tokens over all good answers.
    pub usage: Usage,
    /// A JSON list of what was wrong with it, if it failed.
    pub errors: Option<String>,
    /// The good answers, once there is such a file.
    pub output_file: Option<String>,
    /// The bad answers, once there is such a file.
    pub error_file: Option<String>,
    /// Milliseconds since 1970, as all times here.
    pub created_at_ms: i64,
    /// When what is not done is given up.
    pub expires_at_ms: i64,
    /// When its first line ran.
    pub in_progress_at_ms: Option<i64>,
    /// When all lines were done.
    pub finalizing_at_ms: Option<i64>,
    /// When its owner called it off.
    pub cancelling_at_ms: Option<i64>,
    /// When it was over, whichever way.
    pub ended_at_ms: Option<i64>,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchStatus {
    /// Its file is being checked.
    Validating,
    /// Its lines run.
    InProgress,
    /// Its files are being written.
    Finalizing,
    /// It was called off, and what is done is being written.
    Cancelling,
    /// Over: every line has its answer.
    Completed,
    /// Over: it could not run.
    Failed,
    /// Over: its time was up before every line had its answer.
    Expired,
    /// Over: it was called off.
    Cancelled,
}

impl BatchStatus {
    const ALL: [Self; 8] = [
        Self::Validating,
        Self::InProgress,
        Self::Finalizing,
        Self::Cancelling,
        Self::Completed,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
    ];

    /// OpenAI's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Lines of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// In the input.
    pub total: u64,
    /// With a good answer.
    pub completed: u64,
    /// With a bad one.
    pub failed: u64,
}

/// The answer to one line.
#[derive(Clone, Debug)]
pub struct BatchLine {
    /// Which line of the input, from 1.
    pub line: u32,
    /// Whether the request succeeded.
    pub good: bool,
    /// A line of JSON.
    pub output: String,
    /// Tokens that it took.
    pub usage: Usage,
}

/// How a batch ends.
#[derive(Clone, Debug)]
pub struct BatchEnd {
    /// One of those that are over.
    pub status: BatchStatus,
    /// When.
    pub now_ms: i64,
    /// The file with the good answers, if there are any.
    pub output: Option<FileRecord>,
    /// The file with the bad ones.
    pub error: Option<FileRecord>,
    /// A JSON list of what was wrong with the batch.
    pub errors: Option<String>,
}

/// Reads a row.
pub(super) fn record(row: &SqliteRow) -> Result<BatchRecord, StoreError> {
    let status: String = row.try_get("status")?;
    let status = BatchStatus::ALL.into_iter().find(|s| s.as_str() == status);
    let key: Option<String> = row.try_get("key")?;
    let tokens = |column| row.try_get::<u32, _>(column);
    Ok(BatchRecord {
        id: row.try_get("id")?,
        principal: PrincipalId::new(row.try_get::<String, _>("principal")?),
        key: key.map(KeyId::new),
        endpoint: row.try_get("endpoint")?,
        input_file: row.try_get("input_file")?,
        metadata: row.try_get("metadata")?,
        output_expires_s: row.try_get("output_expires_s")?,
        status: status.ok_or(StoreError::Malformed("batch status"))?,
        counts: BatchCounts {
            total: unsigned(row, "total")?,
            completed: unsigned(row, "completed")?,
            failed: unsigned(row, "failed")?,
        },
        usage: Usage {
            prompt_tokens: tokens("input_tokens")?,
            cached_tokens: tokens("cached_tokens")?,
            completion_tokens: tokens("output_tokens")?,
        },
        errors: row.try_get("errors")?,
        output_file: row.try_get("output_file")?,
        error_file: row.try_get("error_file")?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
        in_progress_at_ms: row.try_get("in_progress_at_ms")?,
        finalizing_at_ms: row.try_get("finalizing_at_ms")?,
        cancelling_at_ms: row.try_get("cancelling_at_ms")?,
        ended_at_ms: row.try_get("ended_at_ms")?,
    })
}
