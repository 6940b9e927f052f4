use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{BatchEndpoint, BatchWindow, ExpiryAnchor, Metadata, Other};

/// `POST /v1/batches`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct BatchRequest {
    /// A file with purpose `batch`: a request in each line, as a JSON object with `custom_id`, `method`
    /// (`POST`), `url` and `body`.
    #[schema(required, nullable = false, example = "file-abc")]
    pub input_file_id: Option<String>,
    /// Where all its lines go: `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings` or
    /// `/v1/responses`.
    #[schema(required, nullable = false, example = "/v1/chat/completions", value_type = BatchEndpoint)]
    pub endpoint: Option<String>,
    /// `24h`.
    #[schema(required, nullable = false, example = "24h", value_type = BatchWindow)]
    pub completion_window: Option<String>,
    /// Up to 16 pairs of strings.
    #[serde(default)]
    #[schema(value_type = Option<Metadata>)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// How long the output is kept.
    #[serde(default)]
    pub output_expires_after: Option<ExpiresAfter>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// When something is deleted.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ExpiresAfter {
    /// `created_at`.
    #[schema(required, nullable = false, example = "created_at", value_type = ExpiryAnchor)]
    pub anchor: Option<String>,
    /// Seconds from then on, from 3,600 (an hour) to 2,592,000 (30 days).
    #[schema(required, nullable = false, minimum = 3600, maximum = 2592000)]
    pub seconds: Option<i64>,
}

/// A batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Batch {
    /// Names it in other requests.
    pub id: String,
    /// `batch`.
    pub object: &'static str,
    /// Where its lines go.
    pub endpoint: String,
    /// Always null: each line names its own model.
    pub model: Option<String>,
    /// What was wrong with it, if it failed.
    pub errors: Option<BatchErrors>,
    /// The file with the lines.
    pub input_file_id: String,
    /// `24h`.
    pub completion_window: &'static str,
    /// `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling` or
    /// `cancelled`.
    pub status: &'static str,
    /// The file with the answers, once it is over.
    pub output_file_id: Option<String>,
    /// The file with the requests that failed, once it is over.
    pub error_file_id: Option<String>,
    /// Seconds since 1970, as all times here.
    pub created_at: i64,
    /// When its first line ran.
    pub in_progress_at: Option<i64>,
    /// When it is given up.
    pub expires_at: i64,
    /// When all lines were done.
    pub finalizing_at: Option<i64>,
    /// When its files were there.
    pub completed_at: Option<i64>,
    /// When it failed.
    pub failed_at: Option<i64>,
    /// When its time was up.
    pub expired_at: Option<i64>,
    /// When its owner called it off.
    pub cancelling_at: Option<i64>,
    /// When it had stopped.
    pub cancelled_at: Option<i64>,
    /// Its lines.
    pub request_counts: BatchCounts,
    /// Tokens over all good answers.
    pub usage: BatchUsage,
    /// As its owner gave it.
    #[schema(value_type = Option<Metadata>)]
    pub metadata: Option<BTreeMap<String, String>>,
}

/// What was wrong with a batch's input.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchErrors {
    /// `list`.
    pub object: &'static str,
    /// The first of them.
    pub data: Vec<BatchError>,
}

/// One thing that is wrong with a batch's input.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchError {
    /// A word for a program.
    pub code: String,
    /// In which line, from 1; null if it is the whole file.
    pub line: Option<u32>,
    /// One sentence for a person.
    pub message: String,
    /// The line's field that is at fault.
    pub param: Option<String>,
}

/// Lines of a batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchCounts {
    /// In all.
    pub total: u64,
    /// With a good answer.
    pub completed: u64,
    /// With a bad one.
    pub failed: u64,
}

/// Tokens of a batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchUsage {
    /// In prompts and inputs.
    pub input_tokens: u32,
    /// More about them.
    pub input_tokens_details: BatchInputTokens,
    /// Generated.
    pub output_tokens: u32,
    /// More about them.
    pub output_tokens_details: BatchOutputTokens,
    /// The sum of both.
    pub total_tokens: u32,
}

/// More about a batch's input tokens.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchInputTokens {
    /// Tokens that came from a cache and cost no computing.
    pub cached_tokens: u32,
}

/// More about a batch's output tokens.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchOutputTokens {
    /// Always 0: reasoning is part of the text.
    pub reasoning_tokens: u32,
}

/// A page of batches.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchList {
    /// `list`.
    pub object: &'static str,
    /// The batches.
    pub data: Vec<Batch>,
    /// The first one's id.
    pub first_id: Option<String>,
    /// The last one's id; give it as `after` to go on.
    pub last_id: Option<String>,
    /// Whether there is more.
    pub has_more: bool,
}

/// A line of a batch's input.
#[derive(Clone, Debug, Deserialize)]
pub struct BatchLine {
    /// Tells the line apart from all others.
    pub custom_id: Option<Value>,
    /// `POST`.
    pub method: Option<Value>,
    /// The batch's endpoint.
    pub url: Option<Value>,
    /// The request.
    pub body: Option<Value>,
}

/// A line of a batch's output.
#[derive(Clone, Debug, Serialize)]
pub struct BatchOutput {
    /// Of its own.
    pub id: String,
    /// Which line of the input it answers.
    pub custom_id: String,
    /// The answer, if the request ran.
    pub response: Option<BatchResponse>,
    /// Why it did not run.
    pub error: Option<BatchOutputError>,
}

/// The answer to a line.
#[derive(Clone, Debug, Serialize)]
pub struct BatchResponse {
    /// As over HTTP.
    pub status_code: u16,
    /// Of its own.
    pub request_id: String,
    /// As over HTTP.
    pub body: Value,
}

/// Why a line did not run.
#[derive(Clone, Debug, Serialize)]
pub struct BatchOutputError {
    /// A word for a program.
    pub code: &'static str,
    /// One sentence for a person.
    pub message: &'static str,
}
