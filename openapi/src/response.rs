use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    InputItemKind, InputPartKind, Kwaai, LogitBias, Metadata, Other, RankingOptions,
    ResponseInclude, ResponseItem, ServiceTier, StreamOptions, ToolMode, Verbosity,
};

/// `POST /v1/responses`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct ResponseRequest {
    /// The model's name.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "smollm2-135m-instruct"
    )]
    pub model: Option<String>,
    /// A text, or items: messages, function calls, their outputs, references to stored items.
    #[serde(default)]
    #[schema(value_type = Option<ResponseInput>)]
    pub input: Option<Value>,
    /// A system message that stands before everything else; it is not carried on.
    #[serde(default)]
    pub instructions: Option<String>,
    /// Functions that the model may call, and `file_search`, which the node runs itself.
    #[serde(default)]
    #[schema(value_type = Option<Vec<ResponseTool>>)]
    pub tools: Option<Vec<Value>>,
    /// `auto`, `none`, `required`, one function, `file_search`, or `allowed_tools`.
    #[serde(default)]
    #[schema(value_type = Option<ResponseToolChoice>)]
    pub tool_choice: Option<Value>,
    /// Whether one answer may hold several calls; true if not given.
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    /// What the answer's text has to be.
    #[serde(default)]
    pub text: Option<TextRequest>,
    /// Most tokens of the answer; without it, until the context is full.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_output_tokens: Option<i64>,
    /// Most searches that the node makes; 16 at the most, which is also what holds if not given.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub max_tool_calls: Option<i64>,
    /// 0 takes the most probable token.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Draw from the smallest set of tokens that holds this much probability.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// So many alternatives for each token; needs `message.output_text.logprobs` in `include`.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<i64>,
    /// More to put into the answer: `message.output_text.logprobs`, `file_search_call.results`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<ResponseInclude>>)]
    pub include: Option<Vec<String>>,
    /// The response that this one follows on.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    pub previous_response_id: Option<String>,
    /// The conversation that this response belongs to: its id, or an object with it.
    #[serde(default)]
    #[schema(value_type = Option<ConversationParam>)]
    pub conversation: Option<Value>,
    /// Keep the response, with its words; true if not given.
    #[serde(default)]
    pub store: Option<bool>,
    /// Answer at once and go on without the client. Needs `store`.
    #[serde(default)]
    pub background: Option<bool>,
    /// Up to 16 pairs that are kept with the response.
    #[serde(default)]
    #[schema(value_type = Option<Metadata>)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// `auto` leaves out the oldest items until the prompt fits.
    #[serde(default)]
    pub truncation: Option<Truncation>,
    /// Answer as server-sent events.
    #[serde(default)]
    pub stream: Option<bool>,
    /// Options of the stream.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// The caller's name for his user.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub user: Option<String>,
    /// The same under a newer name.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub safety_identifier: Option<String>,
    /// Echoed; what is cached does not depend on it.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub prompt_cache_key: Option<String>,
    /// `auto` or `default`.
    #[serde(default)]
    #[schema(value_type = Option<ServiceTier>)]
    pub service_tier: Option<String>,
    /// Extension: draw from the k most probable tokens; 0 means all.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub top_k: Option<i64>,
    /// Extension: draw from tokens at least this fraction as probable as the best.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f64>,
    /// Extension: lowers tokens by how often they came.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f64>,
    /// Extension: lowers tokens that came.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f64>,
    /// Extension: divides the logits of tokens in the prompt or the answer; 1 is off.
    #[serde(default)]
    #[schema(exclusive_minimum = 0, maximum = 10)]
    pub repetition_penalty: Option<f64>,
    /// Extension: token id to a number between -100 and 100 that is added to its logit.
    #[serde(default)]
    #[schema(value_type = Option<LogitBias>)]
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// Extension: the same seed and request give the same answer.
    #[serde(default)]
    pub seed: Option<i64>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// What the model answers to.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ResponseInput {
    /// The user's words.
    Text(String),
    /// Items, in order.
    Items(Vec<InputItem>),
}

/// An item as it comes in. Which fields it needs depends on its type.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct InputItem {
    /// `message` (if there is a `role`), `function_call`, `function_call_output`, `file_search_call`,
    /// `reasoning` or `item_reference`.
    #[serde(default, rename = "type")]
    #[schema(value_type = Option<InputItemKind>)]
    pub kind: Option<String>,
    /// Of an `item_reference`: which stored item. Items that come in get ids of the node's own.
    #[serde(default)]
    pub id: Option<String>,
    /// Of an item that comes back: whether it is whole.
    #[serde(default)]
    pub status: Option<crate::ItemStatus>,
    /// Of a message: `user`, `assistant`, `system` or `developer`.
    #[serde(default)]
    #[schema(value_type = Option<crate::MessageRole>)]
    pub role: Option<String>,
    /// Of a message: a text, or parts.
    #[serde(default)]
    #[schema(value_type = Option<InputContent>)]
    pub content: Option<Value>,
    /// Of a call and its output: what ties them together.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 256)]
    pub call_id: Option<String>,
    /// Of a call: which function.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    pub name: Option<String>,
    /// Of a call: JSON.
    #[serde(default)]
    pub arguments: Option<String>,
    /// Of an output: a text, or parts.
    #[serde(default)]
    #[schema(value_type = Option<InputContent>)]
    pub output: Option<Value>,
    /// Of a search: what was looked for.
    #[serde(default)]
    pub queries: Option<Vec<String>>,
    /// Of a search: what was found. A search without it is not shown to the model.
    #[serde(default)]
    #[schema(max_items = 50)]
    pub results: Option<Vec<crate::FileSearchResult>>,
    /// Of reasoning.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub summary: Option<Vec<Value>>,
}

/// A text, whole or in parts.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum InputContent {
    /// Whole.
    Text(String),
    /// In parts: `input_text`; of the assistant, `output_text` and `refusal` too.
    Parts(Vec<InputPart>),
}

/// A part of a text.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct InputPart {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: InputPartKind,
    /// Its text.
    #[serde(default)]
    pub text: Option<String>,
    /// The text of a refusal.
    #[serde(default)]
    pub refusal: Option<String>,
}

/// A conversation's id.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ConversationParam {
    /// Bare.
    Id(String),
    /// In an object.
    Object(ConversationRef),
}

/// The conversation that a response belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConversationRef {
    /// Starts with `conv_`.
    pub id: String,
}

/// Which functions may be called.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ResponseToolChoice {
    /// Whether it has to call one.
    Mode(ToolMode),
    /// `{"type": "function", "name": …}`, `{"type": "file_search"}` (the node searches with the user's
    /// last text, then the model answers), or `{"type": "allowed_tools", "mode": …, "tools": […]}`.
    #[schema(value_type = Object)]
    Which(Other),
}

/// What is done with a prompt that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// The oldest items are left out.
    Auto,
    /// It is refused.
    #[default]
    Disabled,
}

/// What the answer's text has to be, as it is asked for.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct TextRequest {
    /// The format.
    #[serde(default)]
    #[schema(value_type = Option<TextFormat>)]
    pub format: Option<Value>,
    /// `medium`.
    #[serde(default)]
    #[schema(value_type = Option<Verbosity>)]
    pub verbosity: Option<String>,
}

/// What the answer's text has to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TextConfig {
    /// The format.
    pub format: TextFormat,
    /// Always `medium`.
    pub verbosity: String,
}

/// A text's format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TextFormat {
    /// Any text.
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema(ResponseJsonSchema),
}

/// JSON that follows a schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResponseJsonSchema {
    /// Letters, digits, `_` and `-`; at most 64.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The schema.
    #[schema(value_type = Object)]
    pub schema: Value,
    /// Echoed: the schema holds in either case.
    pub strict: Option<bool>,
}

/// What the model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseTool {
    /// A function of the client's.
    Function(FunctionTool),
    /// A search in vector stores, which the node makes itself.
    FileSearch(FileSearchTool),
}

/// A search in vector stores, which the node makes itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FileSearchTool {
    /// Where to search, at most 16.
    #[schema(min_items = 1, max_items = 16)]
    pub vector_store_ids: Vec<String>,
    /// At most so many pieces, 1 to 50; 10 if not given, and no more than the model has room for.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 50)]
    pub max_num_results: Option<i64>,
    /// Only in files with such attributes, as in a search of a vector store.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub filters: Option<Value>,
    /// How results are ranked.
    #[serde(default)]
    pub ranking_options: Option<RankingOptions>,
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionTool {
    /// Letters, digits, `_` and `-`; at most 64.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    pub name: String,
    /// When and how to call it.
    pub description: Option<String>,
    /// A JSON schema of its arguments.
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// Whether a call's arguments have to follow the schema; false if not given.
    #[serde(default)]
    pub strict: bool,
}

/// Where a response stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    /// It waits for its turn.
    Queued,
    /// It is being made.
    InProgress,
    /// It is whole.
    Completed,
    /// It was cut; `incomplete_details` says why.
    Incomplete,
    /// Something went wrong; `error` says what.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl ResponseStatus {
    /// Whether nothing more comes.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }
}

/// What went wrong with a response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResponseError {
    /// `server_error`, `rate_limit_exceeded` or `invalid_prompt`.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
}

/// Why a response was cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncompleteDetails {
    /// `max_output_tokens` or `content_filter`.
    pub reason: String,
}

/// How the model reasons.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReasoningConfig {
    /// Always null.
    pub effort: Option<String>,
    /// Always null.
    pub summary: Option<String>,
}

/// An answer and how it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResponseObject {
    /// Starts with `resp_`.
    pub id: String,
    /// `response`.
    pub object: String,
    /// Seconds since 1970.
    pub created_at: i64,
    /// When it was completed, if it was.
    pub completed_at: Option<i64>,
    /// Where it stands.
    pub status: ResponseStatus,
    /// Whether it was made without the client.
    pub background: bool,
    /// What went wrong, if `failed`.
    pub error: Option<ResponseError>,
    /// Why it was cut, if `incomplete`.
    pub incomplete_details: Option<IncompleteDetails>,
    /// As asked for.
    pub instructions: Option<String>,
    /// As asked for.
    pub max_output_tokens: Option<i64>,
    /// As asked for.
    pub max_tool_calls: Option<i64>,
    /// As asked for.
    #[schema(value_type = Metadata)]
    pub metadata: BTreeMap<String, String>,
    /// The model that answers.
    pub model: String,
    /// What the model said and called.
    pub output: Vec<ResponseItem>,
    /// As asked for.
    pub parallel_tool_calls: bool,
    /// As asked for.
    pub previous_response_id: Option<String>,
    /// The conversation it belongs to.
    pub conversation: Option<ConversationRef>,
    /// As asked for.
    pub prompt_cache_key: Option<String>,
    /// Always without effort: reasoning is part of the text.
    pub reasoning: ReasoningConfig,
    /// As asked for.
    pub safety_identifier: Option<String>,
    /// `default`.
    pub service_tier: String,
    /// Whether it is kept.
    pub store: bool,
    /// What holds.
    pub temperature: f64,
    /// What holds.
    pub text: TextConfig,
    /// What holds.
    #[schema(value_type = ResponseToolChoice)]
    pub tool_choice: Value,
    /// As asked for.
    pub tools: Vec<ResponseTool>,
    /// As asked for.
    pub top_logprobs: i64,
    /// What holds.
    pub top_p: f64,
    /// What holds.
    pub truncation: Truncation,
    /// Tokens counted, once it is over.
    pub usage: Option<ResponseUsage>,
    /// As asked for.
    pub user: Option<String>,
}

/// Tokens counted over one response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResponseUsage {
    /// Tokens in the prompt.
    pub input_tokens: u32,
    /// More about them.
    pub input_tokens_details: InputTokensDetails,
    /// Tokens generated.
    pub output_tokens: u32,
    /// More about them.
    pub output_tokens_details: OutputTokensDetails,
    /// The sum of both.
    pub total_tokens: u32,
}

/// More about a prompt's tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InputTokensDetails {
    /// Tokens that came from a cache and cost no computing.
    pub cached_tokens: u32,
    /// Always 0: what is cached is not counted.
    pub cache_write_tokens: u32,
}

/// More about an answer's tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutputTokensDetails {
    /// Always 0: reasoning is part of the text.
    pub reasoning_tokens: u32,
}

/// The length of a prompt.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InputTokens {
    /// `response.input_tokens`.
    pub object: &'static str,
    /// In tokens.
    pub input_tokens: u32,
}
