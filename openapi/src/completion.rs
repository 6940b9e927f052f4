use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    ErrorBody, Kwaai, LogitBias, Other, ResponseFormat, Stop, StreamOptions, StructuredOutputs,
    Usage,
};

/// `POST /v1/completions`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct CompletionRequest {
    /// The model's name.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "smollm2-135m-instruct"
    )]
    pub model: Option<String>,
    /// What is continued. Control tokens spelled out in it count.
    #[serde(default)]
    #[schema(required, nullable = false, value_type = CompletionPrompt)]
    pub prompt: Option<Value>,
    /// Answer as server-sent events.
    #[serde(default)]
    pub stream: Option<bool>,
    /// Options of the stream.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// Most tokens for each choice; 16 if not given. 0 is allowed with `echo`.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub max_tokens: Option<i64>,
    /// Say the prompt first, with its log-probabilities if those are asked for.
    #[serde(default)]
    pub echo: Option<bool>,
    /// What comes after the text, for models with fill-in tokens.
    #[serde(default)]
    pub suffix: Option<String>,
    /// Make so many continuations and give the `n` best: those whose tokens have the highest mean
    /// log-probability. All are counted.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 128)]
    pub best_of: Option<i64>,
    /// How many continuations of each prompt.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 128)]
    pub n: Option<i64>,
    /// Texts that end a continuation and are not part of it.
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
    /// Send log-probabilities with so many alternatives for each token.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 5)]
    pub logprobs: Option<i64>,
    /// The same seed and request give the same answer.
    #[serde(default)]
    pub seed: Option<i64>,
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
    /// The caller's name for his user; not kept.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub user: Option<String>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// One prompt or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum CompletionPrompt {
    /// One text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// One list of token ids.
    Tokens(Vec<u32>),
    /// Several lists of token ids.
    TokenLists(Vec<Vec<u32>>),
}

/// The whole answer, or a piece of it in a stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Completion {
    /// Starts with `cmpl-`.
    pub id: String,
    /// `text_completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: i64,
    /// The model that answered.
    pub model: String,
    /// Choice `i` of prompt `p` has the index `p * n + i`.
    pub choices: Vec<CompletionChoice>,
    /// Changes when the same seed may give another answer.
    pub system_fingerprint: String,
    /// In a stream absent unless `include_usage`; then null but in the last chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    pub usage: Option<Option<Usage>>,
}

/// One continuation, or a piece of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CompletionChoice {
    /// The text.
    pub text: String,
    /// Which continuation.
    pub index: u32,
    /// If asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// `stop`, `length` or `content_filter`; null in all pieces but the last.
    pub finish_reason: Option<&'static str>,
}

/// What an event of a streamed continuation says. The last one says `[DONE]` instead.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum CompletionEvent {
    /// More of it.
    Piece(Completion),
    /// It failed, and nothing follows, not even `[DONE]`.
    Failed(ErrorBody),
}

/// Log-probabilities, in four lists of one length.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct CompletionLogprobs {
    /// Each token's text.
    pub tokens: Vec<String>,
    /// Natural logarithm of its probability under the model; null for the first token of an echoed
    /// prompt.
    pub token_logprobs: Vec<Option<f32>>,
    /// The most probable tokens there, and the chosen one if it is not among them; null where
    /// `token_logprobs` is.
    pub top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// Where the token starts in the text, in characters.
    pub text_offset: Vec<u32>,
}
