//! What is answered.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnthropicMessage {
    /// Starts with `msg_`.
    pub id: String,
    /// `message`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `assistant`.
    pub role: &'static str,
    /// The model that answered.
    pub model: String,
    /// What it said and called.
    pub content: Vec<AnthropicBlock>,
    /// `end_turn`, `max_tokens`, `stop_sequence`, `tool_use` or `refusal`; null while it goes on.
    pub stop_reason: Option<&'static str>,
    /// The one of `stop_sequences` that came.
    pub stop_sequence: Option<String>,
    /// Tokens counted.
    pub usage: AnthropicUsage,
}

/// A block of the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AnthropicBlock {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A call.
    ToolUse {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
        /// The arguments; empty in a stream, and where the answer was cut within them.
        #[schema(value_type = Object)]
        input: Value,
    },
}

/// Tokens counted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnthropicUsage {
    /// Of the prompt, without those of the cache.
    pub input_tokens: u32,
    /// Always 0: what is kept costs nothing extra.
    pub cache_creation_input_tokens: u32,
    /// Of the prompt, from the cache.
    pub cache_read_input_tokens: u32,
    /// Of the answer.
    pub output_tokens: u32,
}

/// A piece of a streamed answer; the event's name is its `type`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AnthropicEvent {
    /// The answer begins.
    MessageStart {
        /// As yet without content.
        message: AnthropicMessage,
    },
    /// A block begins.
    ContentBlockStart {
        /// Which block.
        index: u32,
        /// As yet empty.
        content_block: AnthropicBlock,
    },
    /// A block goes on.
    ContentBlockDelta {
        /// Which block.
        index: u32,
        /// What is new.
        delta: AnthropicBlockDelta,
    },
    /// A block is complete.
    ContentBlockStop {
        /// Which block.
        index: u32,
    },
    /// The answer is complete.
    MessageDelta {
        /// Why it ended.
        delta: AnthropicStop,
        /// Tokens counted over all of it.
        usage: AnthropicUsage,
    },
    /// Nothing follows.
    MessageStop,
    /// Nothing is new.
    Ping,
    /// It failed; nothing follows.
    Error {
        /// What went wrong.
        error: AnthropicError,
    },
}

/// What is new in a block.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AnthropicBlockDelta {
    /// More text.
    TextDelta {
        /// To be appended.
        text: String,
    },
    /// More of a call's arguments.
    InputJsonDelta {
        /// JSON once all are joined.
        partial_json: String,
    },
}

/// Why an answer ended.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnthropicStop {
    /// As in the whole answer.
    pub stop_reason: &'static str,
    /// As in the whole answer.
    pub stop_sequence: Option<String>,
}

/// Every answer of these paths that is not a success.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnthropicErrorBody {
    /// `error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What went wrong.
    pub error: AnthropicError,
    /// As in the header `request-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What went wrong, in Anthropic's words.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnthropicError {
    /// `invalid_request_error`, `authentication_error`, `permission_error`, `not_found_error`,
    /// `request_too_large`, `rate_limit_error`, `api_error`, `timeout_error` or `overloaded_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// One sentence for a person.
    pub message: String,
}

/// The tokens of a conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnthropicTokens {
    /// With system text, tools, and what the template puts around them.
    pub input_tokens: u32,
}
