use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{AllowedKind, AllowedMode, FunctionKind, FunctionMode, ToolMode};

/// Something that the model may call.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ChatTool {
    /// `function`; nothing else can be called.
    #[serde(rename = "type")]
    #[schema(required, nullable = false, value_type = FunctionKind)]
    pub kind: Option<String>,
    /// Which function.
    #[schema(required, nullable = false)]
    pub function: Option<FunctionDefinition>,
}

/// A function that the caller offers to run.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct FunctionDefinition {
    /// Letters, digits, `_` and `-`, at most 64; unlike all others.
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
    /// A JSON schema of its arguments; without one it takes none.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// Whether the arguments of a call have to follow the schema.
    #[serde(default)]
    pub strict: Option<bool>,
}

/// Which tools the model may call, and whether it has to.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ChatToolChoice {
    /// `none`, `auto` or `required`.
    Mode(ToolMode),
    /// This one, once.
    Named(NamedTool),
    /// Some of them.
    Allowed(AllowedToolsChoice),
}

/// A tool by its name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NamedTool {
    /// `function`.
    #[serde(rename = "type")]
    pub kind: FunctionKind,
    /// Which one.
    pub function: FunctionName,
}

/// A function by its name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct FunctionName {
    /// One of those that are offered.
    pub name: String,
}

/// Some of the tools.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AllowedToolsChoice {
    /// `allowed_tools`.
    #[serde(rename = "type")]
    pub kind: AllowedKind,
    /// Which, and how.
    pub allowed_tools: AllowedTools,
}

/// Some of the tools.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AllowedTools {
    /// `auto` or `required`.
    pub mode: AllowedMode,
    /// Which.
    pub tools: Vec<NamedTool>,
}

/// The older form of a tool choice.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum FunctionCallChoice {
    /// `none` or `auto`.
    Mode(FunctionMode),
    /// This one.
    Named(FunctionName),
}

/// A call that an assistant made earlier.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct PastToolCall {
    /// Its result comes in a message with this `tool_call_id`.
    #[schema(required, nullable = false, min_length = 1, max_length = 512)]
    pub id: Option<String>,
    /// `function`.
    #[serde(rename = "type")]
    #[schema(required, nullable = false, value_type = FunctionKind)]
    pub kind: Option<String>,
    /// What was called.
    #[schema(required, nullable = false)]
    pub function: Option<PastFunctionCall>,
}

/// What an assistant called earlier.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct PastFunctionCall {
    /// The function.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 64,
        pattern = "^[A-Za-z0-9_-]+$"
    )]
    pub name: Option<String>,
    /// Its arguments, JSON in a string.
    #[schema(required, nullable = false)]
    pub arguments: Option<String>,
}

/// A call that the model makes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatToolCall {
    /// To be given back with its result.
    pub id: String,
    /// `function`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What is called.
    pub function: FunctionCall,
}

/// What the model calls.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FunctionCall {
    /// The function.
    pub name: String,
    /// Its arguments: JSON in a string, unless it was cut.
    pub arguments: String,
}

/// A piece of a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatToolCallDelta {
    /// Which call of the choice, from 0.
    pub index: u32,
    /// In the first piece only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`, in the first piece only.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// What is called.
    pub function: FunctionCallDelta,
}

/// A piece of what is called.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FunctionCallDelta {
    /// In the first piece only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// More of the arguments; nothing in the first piece.
    pub arguments: String,
}
