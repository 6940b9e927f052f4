//! Chats and continuations.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::OllamaError;

use crate::{Kwaai, Other};

/// `POST /api/chat`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct OllamaChatRequest {
    /// The model's name; `name:latest` is `name`.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "smollm2-135m-instruct"
    )]
    pub model: Option<String>,
    /// The conversation; without any, the model is only loaded.
    #[serde(default)]
    pub messages: Option<Vec<OllamaMessage>>,
    /// What the model may call.
    #[serde(default)]
    #[schema(max_items = 128)]
    pub tools: Option<Vec<OllamaTool>>,
    /// `false` for one answer in place of a stream.
    #[serde(default)]
    pub stream: Option<bool>,
    /// `json`, or a JSON schema that the answer validates against.
    #[serde(default)]
    #[schema(value_type = Option<OllamaFormat>)]
    pub format: Option<Value>,
    /// How the answer is generated.
    #[serde(default)]
    pub options: Option<OllamaOptions>,
    /// Send log-probabilities.
    #[serde(default)]
    pub logprobs: Option<bool>,
    /// With so many alternatives for each token; needs `logprobs`.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<i64>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// The form of an answer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OllamaFormat {
    /// `json`, or empty for any form.
    Named(String),
    /// A JSON schema.
    Schema(std::collections::BTreeMap<String, Value>),
}

/// One turn of a conversation.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct OllamaMessage {
    /// Who speaks.
    #[schema(required, nullable = false, value_type = OllamaRole)]
    pub role: Option<String>,
    /// What is said.
    #[serde(default)]
    pub content: Option<String>,
    /// What the assistant called.
    #[serde(default)]
    pub tool_calls: Option<Vec<OllamaToolCall>>,
    /// Whose result this is.
    #[serde(default)]
    pub tool_name: Option<String>,
    /// Which call's result this is; without it, the first that has none yet.
    #[serde(default)]
    pub tool_call_id: Option<String>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// The speaker of a message.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OllamaRole {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a call.
    Tool,
}

/// A call that the model made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OllamaToolCall {
    /// The call's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is called.
    pub function: OllamaCalled,
}

/// What is called.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OllamaCalled {
    /// Which call of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 4294967295.0)]
    pub index: Option<u32>,
    /// The tool's name.
    pub name: String,
    /// The arguments, an object.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub arguments: serde_json::Map<String, Value>,
}

/// A tool that the client runs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct OllamaTool {
    /// `function`.
    #[serde(default, rename = "type")]
    #[schema(value_type = Option<crate::FunctionKind>)]
    pub kind: Option<String>,
    /// The function.
    #[schema(required, nullable = false)]
    pub function: Option<OllamaFunction>,
}

/// A function that the model may call.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct OllamaFunction {
    /// Letters, digits, `_` and `-`; at most 64.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 64,
        pattern = "^[A-Za-z0-9_-]+$"
    )]
    pub name: Option<String>,
    /// When and how to call it.
    #[serde(default)]
    pub description: Option<String>,
    /// A JSON schema of its arguments, an object.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
}

/// How an answer is generated. What only concerns how a machine computes it (`num_ctx`, `num_gpu`
/// and the like) is passed over.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct OllamaOptions {
    /// Most tokens of the answer; -1 or -2 for as many as fit.
    #[serde(default)]
    #[schema(minimum = -2)]
    pub num_predict: Option<i64>,
    /// The same seed and request give the same answer; -1 is none.
    #[serde(default)]
    pub seed: Option<i64>,
    /// 0 takes the most probable token; 0.8 if not given.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Draw from the k most probable tokens; 0 means all, 40 if not given.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub top_k: Option<i64>,
    /// Draw from the smallest set of tokens that holds this much probability; 0.9 if not given.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// Draw from tokens at least this fraction as probable as the best.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f64>,
    /// Texts that end the answer and are not part of it.
    #[serde(default)]
    #[schema(value_type = Option<crate::Stop>)]
    pub stop: Option<Value>,
    /// Divides the logits of tokens in the prompt or the answer; 1 is off.
    #[serde(default)]
    #[schema(exclusive_minimum = 0, maximum = 10)]
    pub repeat_penalty: Option<f64>,
    /// Lowers tokens that came.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f64>,
    /// Lowers tokens by how often they came.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f64>,
    /// Options that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// `POST /api/generate`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct OllamaGenerateRequest {
    /// The model's name; `name:latest` is `name`.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "smollm2-135m-instruct"
    )]
    pub model: Option<String>,
    /// What is answered, or continued with `raw`; without any, the model is only loaded.
    #[serde(default)]
    pub prompt: Option<String>,
    /// What comes after the gap that is filled, for models with fill-in tokens.
    #[serde(default)]
    pub suffix: Option<String>,
    /// Instructions.
    #[serde(default)]
    pub system: Option<String>,
    /// Continue the prompt as it stands. Control tokens spelled out in it count.
    #[serde(default)]
    pub raw: Option<bool>,
    /// `false` for one answer in place of a stream.
    #[serde(default)]
    pub stream: Option<bool>,
    /// `json`, or a JSON schema that the answer validates against.
    #[serde(default)]
    #[schema(value_type = Option<OllamaFormat>)]
    pub format: Option<Value>,
    /// How the answer is generated.
    #[serde(default)]
    pub options: Option<OllamaOptions>,
    /// Send log-probabilities.
    #[serde(default)]
    pub logprobs: Option<bool>,
    /// With so many alternatives for each token; needs `logprobs`.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<i64>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// An answer to `/api/chat`, whole or a piece of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaChatAnswer {
    /// As it was asked for.
    pub model: String,
    /// When this was said.
    pub created_at: String,
    /// What is said.
    pub message: OllamaSaid,
    /// If asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<OllamaLogprob>>,
    /// How it ended, in the last piece.
    #[serde(flatten)]
    pub end: OllamaEnd,
}

/// An answer to `/api/generate`, whole or a piece of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaGenerateAnswer {
    /// As it was asked for.
    pub model: String,
    /// When this was said.
    pub created_at: String,
    /// What is said.
    pub response: String,
    /// If asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<OllamaLogprob>>,
    /// How it ended, in the last piece.
    #[serde(flatten)]
    pub end: OllamaEnd,
}

/// A line of a streamed answer to `/api/chat`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OllamaChatLine {
    /// More of it.
    Piece(Box<OllamaChatAnswer>),
    /// It failed, and nothing follows.
    Failed(OllamaError),
}

/// A line of a streamed answer to `/api/generate`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OllamaGenerateLine {
    /// More of it.
    Piece(OllamaGenerateAnswer),
    /// It failed, and nothing follows.
    Failed(OllamaError),
}

/// What the model says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaSaid {
    /// `assistant`.
    pub role: &'static str,
    /// More text.
    pub content: String,
    /// Calls, each whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<OllamaToolCall>,
}

/// Whether an answer is over, and what is known then.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct OllamaEnd {
    /// Whether nothing follows.
    pub done: bool,
    /// `stop`, `length`, `content_filter` or `load`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_reason: Option<&'static str>,
    /// What it took in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_duration: Option<u64>,
    /// Until the prompt was accepted: waiting for a place, and for the model to load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_duration: Option<u64>,
    /// Tokens of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_eval_count: Option<u32>,
    /// From then to the first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_eval_duration: Option<u64>,
    /// Tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_count: Option<u32>,
    /// From the first token to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_duration: Option<u64>,
}

/// One token that was chosen.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaLogprob {
    /// The token.
    #[serde(flatten)]
    pub chosen: OllamaTokenLogprob,
    /// The most probable tokens there, best first.
    pub top_logprobs: Vec<OllamaTokenLogprob>,
}

/// One token with its log-probability.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaTokenLogprob {
    /// Its text; bytes that are no whole character are replaced.
    pub token: String,
    /// Natural logarithm of its probability under the model.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}
