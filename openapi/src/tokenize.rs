use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ChatMessage, ChatTool, Kwaai, Other};

/// `POST /v1/tokenize`: a text or a conversation.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct TokenizeRequest {
    /// The model's name.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "smollm2-135m-instruct"
    )]
    pub model: Option<String>,
    /// A text.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Or a conversation, put through the model's chat template.
    #[serde(default)]
    pub messages: Option<Vec<ChatMessage>>,
    /// With the tools that the model would be told of.
    #[serde(default)]
    pub tools: Option<Vec<ChatTool>>,
    /// Put the model's own start and end tokens around a text; true if not given.
    #[serde(default)]
    pub add_special_tokens: Option<bool>,
    /// Read control tokens that are spelled out in a text as such; true if not given, as for
    /// `/v1/completions`.
    #[serde(default)]
    pub parse_special_tokens: Option<bool>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// The answer to `/v1/tokenize`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Tokens {
    /// Token ids, in order.
    pub tokens: Vec<u32>,
    /// How many.
    pub count: u32,
    /// The model's context.
    pub max_model_len: u32,
}

/// `POST /v1/detokenize`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct DetokenizeRequest {
    /// The model's name.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "smollm2-135m-instruct"
    )]
    pub model: Option<String>,
    /// Token ids, in order.
    #[schema(required, nullable = false)]
    pub tokens: Option<Vec<u32>>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// The answer to `/v1/detokenize`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Detokenized {
    /// The text, control tokens spelled out, malformed bytes replaced.
    pub prompt: String,
}
