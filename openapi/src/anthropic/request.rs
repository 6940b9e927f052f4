//! What is asked.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{Kwaai, Other};

/// `POST /v1/messages`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AnthropicRequest {
    /// The model's name.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "smollm2-135m-instruct"
    )]
    pub model: Option<String>,
    /// The conversation, at least one message; the last is the user's.
    #[schema(required, nullable = false, min_items = 1)]
    pub messages: Option<Vec<AnthropicTurn>>,
    /// Most tokens of the answer.
    #[serde(default)]
    #[schema(required, nullable = false, minimum = 1)]
    pub max_tokens: Option<i64>,
    /// Instructions.
    #[serde(default)]
    #[schema(value_type = Option<AnthropicText>)]
    pub system: Option<Value>,
    /// Answer as server-sent events.
    #[serde(default)]
    pub stream: Option<bool>,
    /// Texts that end the answer and are not part of it.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub stop_sequences: Option<Vec<String>>,
    /// 0 takes the most probable token.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub temperature: Option<f64>,
    /// Draw from the smallest set of tokens that holds this much probability.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// Draw from the k most probable tokens; 0 means all.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub top_k: Option<i64>,
    /// What the model may call.
    #[serde(default)]
    #[schema(max_items = 128)]
    pub tools: Option<Vec<AnthropicTool>>,
    /// Whether it has to.
    #[serde(default)]
    pub tool_choice: Option<AnthropicToolChoice>,
    /// The form of the answer.
    #[serde(default)]
    pub output_config: Option<AnthropicOutputConfig>,
    /// The form of the answer, under its older name.
    #[serde(default)]
    pub output_format: Option<AnthropicOutputFormat>,
    /// About the caller's user; not kept.
    #[serde(default)]
    pub metadata: Option<AnthropicMetadata>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// `POST /v1/messages/count_tokens`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AnthropicCountRequest {
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
    pub messages: Option<Vec<AnthropicTurn>>,
    /// Instructions.
    #[serde(default)]
    #[schema(value_type = Option<AnthropicText>)]
    pub system: Option<Value>,
    /// What the model may call.
    #[serde(default)]
    #[schema(max_items = 128)]
    pub tools: Option<Vec<AnthropicTool>>,
    /// Whether it has to.
    #[serde(default)]
    pub tool_choice: Option<AnthropicToolChoice>,
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
pub struct AnthropicTurn {
    /// Who speaks.
    #[schema(required, nullable = false, value_type = AnthropicRole)]
    pub role: Option<String>,
    /// What is said.
    #[serde(default)]
    #[schema(required, nullable = false, value_type = AnthropicContent)]
    pub content: Option<Value>,
}

/// The speaker of a message.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnthropicRole {
    /// The person.
    User,
    /// The model.
    Assistant,
    /// Instructions.
    System,
}

/// What a message says, as text or in blocks.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum AnthropicContent {
    /// Text.
    Text(String),
    /// Blocks.
    Blocks(Vec<AnthropicBlockParam>),
}

/// A text, whole or in blocks.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum AnthropicText {
    /// Whole.
    Text(String),
    /// In blocks, which become paragraphs.
    Blocks(Vec<AnthropicTextBlock>),
}

/// A block of text.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AnthropicTextBlock {
    /// `text`.
    #[serde(rename = "type")]
    pub kind: crate::TextKind,
    /// The text.
    pub text: String,
}

/// A block of a message. Images, documents and what a server of Anthropic's would run are refused;
/// the model's thoughts of earlier turns are passed over.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AnthropicBlockParam {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A call that the assistant made.
    ToolUse {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
        /// The arguments.
        #[schema(value_type = Object)]
        input: Value,
    },
    /// What came of a call.
    ToolResult {
        /// The call's id.
        tool_use_id: String,
        /// The result.
        #[serde(default)]
        #[schema(value_type = Option<AnthropicText>)]
        content: Option<Value>,
        /// Whether the tool failed.
        #[serde(default)]
        is_error: Option<bool>,
    },
}

/// A tool that the client runs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AnthropicTool {
    /// `custom`, or left out; tools that a server of Anthropic's would run are refused.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
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
    #[schema(required, nullable = false, value_type = Object)]
    pub input_schema: Option<Value>,
    /// Whether the arguments have to follow the schema.
    #[serde(default)]
    pub strict: Option<bool>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// Whether the model calls a tool.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AnthropicToolChoice {
    /// Which way.
    #[serde(rename = "type")]
    #[schema(required, nullable = false, value_type = AnthropicToolMode)]
    pub kind: Option<String>,
    /// Which, for `tool`.
    #[serde(default)]
    pub name: Option<String>,
    /// At most one call in an answer.
    #[serde(default)]
    pub disable_parallel_tool_use: Option<bool>,
}

/// Whether the model calls a tool.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnthropicToolMode {
    /// As it likes.
    Auto,
    /// At least one.
    Any,
    /// The named one.
    Tool,
    /// Never.
    None,
}

/// Options of the answer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AnthropicOutputConfig {
    /// Its form.
    #[serde(default)]
    pub format: Option<AnthropicOutputFormat>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// The form of the answer's text.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AnthropicOutputFormat {
    /// `json_schema`.
    #[serde(rename = "type")]
    #[schema(required, nullable = false, value_type = AnthropicFormatKind)]
    pub kind: Option<String>,
    /// The schema that the text validates against.
    #[serde(default)]
    #[schema(required, nullable = false, value_type = Object)]
    pub schema: Option<Value>,
}

/// What a form is written in.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnthropicFormatKind {
    /// A JSON schema.
    JsonSchema,
}

/// About the caller's user.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AnthropicMetadata {
    /// The caller's name for his user; not kept.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub user_id: Option<String>,
}
