//! Anthropic's Messages API.

mod answer;
mod request;

pub use answer::{
    AnthropicBlock, AnthropicBlockDelta, AnthropicError, AnthropicErrorBody, AnthropicEvent,
    AnthropicMessage, AnthropicStop, AnthropicTokens, AnthropicUsage,
};
pub use request::{
    AnthropicBlockParam, AnthropicContent, AnthropicCountRequest, AnthropicFormatKind,
    AnthropicMetadata, AnthropicOutputConfig, AnthropicOutputFormat, AnthropicRequest,
    AnthropicRole, AnthropicText, AnthropicTextBlock, AnthropicTool, AnthropicToolChoice,
    AnthropicToolMode, AnthropicTurn,
};
