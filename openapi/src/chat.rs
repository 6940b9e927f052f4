use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    ChatRole, ChatTool, ChatToolCall, ChatToolCallDelta, ChatToolChoice, ErrorBody, FunctionCall,
    FunctionCallChoice, FunctionCallDelta, FunctionDefinition, Kwaai, LogitBias, Metadata, Other,
    PastFunctionCall, PastToolCall, Prediction, ResponseFormat, Stop, StreamOptions,
    StructuredOutputs, TextKind, Usage,
};

/// `POST /v1/chat/completions`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// The model's name.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "smollm2-135m-instruct"
    )]
    pub model: Option<String>,
    /// The conversation, at least one message.
    #[schema(required, nullable = false, min_items = 1)]
    pub messages: Option<Vec<ChatMessage>>,
    /// Answer as server-sent events.
    #[serde(default)]
    pub stream: Option<bool>,
    /// Options of the stream.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// Most tokens of the answer; without it, until the context is full.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_completion_tokens: Option<i64>,
    /// The same under its older name.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_tokens: Option<i64>,
    /// How many answers.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 128)]
    pub n: Option<i64>,
    /// Texts that end the answer and are not part of it.
    #[serde(default)]
    #[schema(value_type = Option<Stop>)]
    pub stop: Option<Value>,
    /// 0 takes the most probable token.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Draw from the smallest set of tokens that holds this much probability.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// Extension: draw from the k most probable tokens; 0 means all.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub top_k: Option<i64>,
    /// Extension: draw from tokens at least this fraction as probable as the best.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f64>,
    /// Lowers tokens by how often they came.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f64>,
    /// Lowers tokens that came.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f64>,
    /// Extension: divides the logits of tokens in the prompt or the answer; 1 is off.
    #[serde(default)]
    #[schema(exclusive_minimum = 0, maximum = 10)]
    pub repetition_penalty: Option<f64>,
    /// Token id to a number between -100 and 100 that is added to its logit.
    #[serde(default)]
    #[schema(value_type = Option<LogitBias>)]
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// Send log-probabilities.
    #[serde(default)]
    pub logprobs: Option<bool>,
    /// With so many alternatives for each token; needs `logprobs`.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<i64>,
    /// The same seed and request give the same answer.
    #[serde(default)]
    pub seed: Option<i64>,
    /// Functions that the model may ask the caller to run, at most 128.
    #[serde(default)]
    #[schema(max_items = 128)]
    pub tools: Option<Vec<ChatTool>>,
    /// Whether the model has to call one of them, and which.
    #[serde(default)]
    #[schema(value_type = Option<ChatToolChoice>)]
    pub tool_choice: Option<Value>,
    /// Whether one answer may hold several calls; true if not given.
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    /// The older form of `tools`. The answer then has `function_call`.
    #[serde(default)]
    #[schema(max_items = 128)]
    pub functions: Option<Vec<FunctionDefinition>>,
    /// The older form of `tool_choice`.
    #[serde(default)]
    #[schema(value_type = Option<FunctionCallChoice>)]
    pub function_call: Option<Value>,
    /// What the text has to be.
    #[serde(default)]
    pub response_format: Option<ResponseFormat>,
    /// Extension: other languages for the text. At most one of this, `response_format` and the four
    /// older names below.
    #[serde(default)]
    pub structured_outputs: Option<StructuredOutputs>,
    /// Extension: the same as `structured_outputs.json`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub guided_json: Option<Value>,
    /// Extension: the same as `structured_outputs.regex`.
    #[serde(default)]
    #[schema(min_length = 1)]
    pub guided_regex: Option<String>,
    /// Extension: the same as `structured_outputs.choice`.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 1024)]
    pub guided_choice: Option<Vec<String>>,
    /// Extension: the same as `structured_outputs.grammar`.
    #[serde(default)]
    #[schema(min_length = 1)]
    pub guided_grammar: Option<String>,
    /// Up to 16 pairs; checked, and not kept.
    #[serde(default)]
    #[schema(value_type = Option<Metadata>)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// What the answer will probably be. It changes nothing about the answer.
    #[serde(default)]
    pub prediction: Option<Prediction>,
    /// The caller's name for his user; not kept.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub user: Option<String>,
    /// The same under its newer name; not kept.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub safety_identifier: Option<String>,
    /// What is alike is found in the cache without it; not kept.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub prompt_cache_key: Option<String>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// One turn of a conversation.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ChatMessage {
    /// `system`, `developer`, `user`, `assistant`, `tool` or, older, `function`.
    #[schema(required, nullable = false, value_type = ChatRole)]
    pub role: Option<String>,
    /// What is said. May be null where an assistant calls something.
    #[serde(default)]
    #[schema(value_type = Option<ChatContent>)]
    pub content: Option<Value>,
    /// Tells apart several speakers of one role; with the role `function`, the function.
    #[serde(default)]
    pub name: Option<String>,
    /// What the assistant called.
    #[serde(default)]
    pub tool_calls: Option<Vec<PastToolCall>>,
    /// With the role `tool`: the call that this is the result of.
    #[serde(default)]
    pub tool_call_id: Option<String>,
    /// The older form of `tool_calls`.
    #[serde(default)]
    pub function_call: Option<PastFunctionCall>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// A message's text, whole or in parts.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ChatContent {
    /// Whole.
    Text(String),
    /// In parts, joined without anything between.
    Parts(Vec<ContentPart>),
}

/// A part of a message. Only text is read; images, audio and files are refused.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ContentPart {
    /// `text`.
    #[serde(rename = "type")]
    #[schema(value_type = TextKind)]
    pub kind: String,
    /// The text.
    pub text: String,
}

/// The whole answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatCompletion {
    /// Starts with `chatcmpl-`.
    pub id: String,
    /// `chat.completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: i64,
    /// The model that answered.
    pub model: String,
    /// One for each of `n`.
    pub choices: Vec<ChatChoice>,
    /// Tokens counted.
    pub usage: Usage,
    /// `default`.
    pub service_tier: &'static str,
    /// Changes when the same seed may give another answer.
    pub system_fingerprint: String,
}

/// One answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatChoice {
    /// From 0 to `n` - 1.
    pub index: u32,
    /// What the model said.
    pub message: AssistantMessage,
    /// If asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop`, `length`, `tool_calls`, `content_filter` or, for `functions`, `function_call`.
    pub finish_reason: &'static str,
}

/// What the model said.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AssistantMessage {
    /// `assistant`.
    pub role: &'static str,
    /// The text; null if there are only calls.
    pub content: Option<String>,
    /// Always null: a refusal is text here.
    pub refusal: Option<String>,
    /// Always empty: nothing is searched.
    #[schema(value_type = Vec<Object>)]
    pub annotations: Vec<Value>,
    /// What it calls, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ChatToolCall>>,
    /// The same if `functions` were offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall>,
}

/// A piece of a streamed answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatChunk {
    /// The same in all chunks.
    pub id: String,
    /// `chat.completion.chunk`.
    pub object: &'static str,
    /// The same in all chunks.
    pub created: i64,
    /// The model that answers.
    pub model: String,
    /// `default`.
    pub service_tier: &'static str,
    /// Changes when the same seed may give another answer.
    pub system_fingerprint: String,
    /// One piece of one choice; none in the chunk with the usage.
    pub choices: Vec<ChatChunkChoice>,
    /// Absent unless `include_usage`; then null but in the last chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    pub usage: Option<Option<Usage>>,
}

/// What an event of a streamed chat says. The last one says `[DONE]` instead.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ChatEvent {
    /// More of it.
    Chunk(ChatChunk),
    /// It failed, and nothing follows, not even `[DONE]`.
    Failed(ErrorBody),
}

/// A piece of one choice.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatChunkChoice {
    /// From 0 to `n` - 1.
    pub index: u32,
    /// What is new.
    pub delta: ChatDelta,
    /// If asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// In the last piece.
    pub finish_reason: Option<&'static str>,
}

/// What is new in a choice.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ChatDelta {
    /// `assistant`, in the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// More text; null in the first piece of a choice that begins with a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub content: Option<Option<String>>,
    /// Null, in the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub refusal: Option<Option<String>>,
    /// A call begins or goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ChatToolCallDelta>>,
    /// The same if `functions` were offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCallDelta>,
}

/// Log-probabilities of an answer or a piece of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatLogprobs {
    /// One for each token.
    pub content: Vec<TokenLogprob>,
    /// Always null.
    #[schema(value_type = Option<Vec<TokenLogprob>>)]
    pub refusal: Option<Vec<Value>>,
}

/// One token that was chosen.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenLogprob {
    /// Its text; bytes that are no whole character are replaced.
    pub token: String,
    /// Natural logarithm of its probability under the model.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The most probable tokens there, best first.
    pub top_logprobs: Vec<TopLogprob>,
}

/// One token that could have been chosen.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TopLogprob {
    /// Its text; bytes that are no whole character are replaced.
    pub token: String,
    /// Natural logarithm of its probability under the model.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}
