//! Anthropic's messages in the domain's words. A user's turn may hold results of calls among its
//! text: each becomes a turn of the tool's. Turns of one speaker that follow each other are one turn,
//! as Anthropic has it; blocks are paragraphs.

use std::collections::HashSet;

use kwaainet_core::{Conversation, Message, Role, ToolCall};
use kwaainet_openapi::{AnthropicTool, AnthropicToolChoice, AnthropicTurn};
use serde_json::Value;

use super::tools;
use crate::door::{ApiError, params};

const MESSAGES_MAX: usize = 4_096;
const PARAGRAPH: &str = "\n\n";

/// The fields of a request that make a conversation.
pub(super) struct Said {
    pub(super) messages: Option<Vec<AnthropicTurn>>,
    pub(super) system: Option<Value>,
    pub(super) tools: Option<Vec<AnthropicTool>>,
    pub(super) tool_choice: Option<AnthropicToolChoice>,
}

/// The conversation.
pub(super) fn read(said: Said) -> Result<Conversation, ApiError> {
    let messages = params::required(said.messages, "messages")?;
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected at least one message.";
        return Err(ApiError::invalid("messages", "empty_array", message));
    }
    if messages.len() > MESSAGES_MAX {
        let message = format!("Invalid 'messages': more than {MESSAGES_MAX} messages.");
        let code = "array_above_max_length";
        return Err(ApiError::invalid("messages", code, message));
    }
    let tools = tools::read(said.tools.unwrap_or_default())?;
    let (tool_choice, parallel_calls) = tools::choice(said.tool_choice, &tools)?;
    let mut turns = Turns::default();
    if let Some(system) = said.system.filter(|system| !system.is_null()) {
        let system = text(system, "system")?;
        if !system.is_empty() {
            turns.say(Role::System, &system);
        }
    }
    for (index, turn) in messages.into_iter().enumerate() {
        turns.take(turn, &format!("messages[{index}]"))?;
    }
    let last = turns.messages.last().map(|message| message.role);
    if last == Some(Role::Assistant) {
        let message = "Unsupported 'messages': the last one is the assistant's, and this node does \
                       not go on with a text that is begun; end with the user's.";
        return Err(ApiError::invalid("messages", "unsupported_value", message));
    }
    Ok(Conversation {
        messages: turns.messages,
        tools,
        tool_choice,
        parallel_calls,
    })
}

#[derive(Default)]
struct Turns {
    messages: Vec<Message>,
    /// The ids of all calls so far.
    called: HashSet<String>,
}

impl Turns {
    fn take(&mut self, turn: AnthropicTurn, at: &str) -> Result<(), ApiError> {
        let content_at = format!("{at}.content");
        let content = turn.content.filter(|content| !content.is_null());
        let Some(content) = content else {
            return Err(ApiError::missing(content_at));
        };
        let role = match turn.role.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => {
                let content = text(content, &content_at)?;
                self.say(Role::System, &content);
                return Ok(());
            }
            _ => {
                let param = format!("{at}.role");
                let message =
                    format!("Invalid '{param}': it must be 'user', 'assistant' or 'system'.");
                return Err(ApiError::invalid(param, "invalid_value", message));
            }
        };
        let blocks = match content {
            Value::String(text) => {
                self.say(role, &text);
                return Ok(());
            }
            Value::Array(blocks) if !blocks.is_empty() => blocks,
            _ => return Err(no_content(&content_at)),
        };
        for (index, block) in blocks.into_iter().enumerate() {
            self.block(role, block, &format!("{content_at}[{index}]"))?;
        }
        Ok(())
    }

    fn block(&mut self, role: Role, mut block: Value, at: &str) -> Result<(), ApiError> {
        match (role, block["type"].as_str()) {
            (_, Some("text")) => {
                let text = string(&mut block, "text", at)?;
                self.say(role, &text);
                Ok(())
            }
            (Role::Assistant, Some("tool_use")) => self.call(block, at),
            (Role::User, Some("tool_result")) => self.result(block, at),
            // Anthropic, too, drops thoughts of earlier turns.
            (Role::Assistant, Some("thinking" | "redacted_thinking")) => Ok(()),
            (_, Some("image" | "document" | "search_result" | "container_upload")) => {
                let message = format!("Unsupported '{at}': this node's models read text only.");
                Err(ApiError::invalid(at, "unsupported_value", message))
            }
            _ => {
                let expected = match role {
                    Role::Assistant => "'text' or 'tool_use'",
                    _ => "'text' or 'tool_result'",
                };
                let param = format!("{at}.type");
                let message = format!("Invalid '{param}': expected {expected}.");
                Err(ApiError::invalid(param, "invalid_value", message))
            }
        }
    }

    /// Adds to the last turn if it is the same speaker's.
    fn say(&mut self, role: Role, text: &str) {
        match self.messages.last_mut() {
            Some(last) if last.role == role => {
                if !last.content.is_empty() && !text.is_empty() {
                    last.content.push_str(PARAGRAPH);
                }
                last.content.push_str(text);
            }
            _ => self.messages.push(Message::new(role, text)),
        }
    }

    fn call(&mut self, mut block: Value, at: &str) -> Result<(), ApiError> {
        let call = ToolCall {
            id: string(&mut block, "id", at)?,
            name: string(&mut block, "name", at)?,
            arguments: match &block["input"] {
                input @ Value::Object(_) => input.to_string(),
                _ => {
                    let param = format!("{at}.input");
                    let message = format!("Invalid type for '{param}': expected an object.");
                    return Err(ApiError::invalid(param, "invalid_type", message));
                }
            },
        };
        if !self.called.insert(call.id.clone()) {
            let param = format!("{at}.id");
            let message = format!("Invalid '{param}': two calls have this id.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
        self.say(Role::Assistant, "");
        let last = self.messages.last_mut().expect("the assistant just spoke");
        last.tool_calls.push(call);
        Ok(())
    }

    fn result(&mut self, mut block: Value, at: &str) -> Result<(), ApiError> {
        let id = string(&mut block, "tool_use_id", at)?;
        if !self.called.contains(&id) {
            let param = format!("{at}.tool_use_id");
            let message = format!("Invalid '{param}': no 'tool_use' before it has this id.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
        let mut content = match block["content"].take() {
            Value::Null => String::new(),
            content => text(content, &format!("{at}.content"))?,
        };
        if block["is_error"].as_bool().unwrap_or(false) {
            // Templates know no failed results; the model has to read it.
            content.insert_str(0, "Error: ");
        }
        self.messages.push(Message {
            tool_call_id: Some(id),
            ..Message::new(Role::Tool, content)
        });
        Ok(())
    }
}

/// A text, whole or in blocks.
fn text(content: Value, at: &str) -> Result<String, ApiError> {
    let blocks = match content {
        Value::String(text) => return Ok(text),
        Value::Array(blocks) => blocks,
        _ => return Err(no_content(at)),
    };
    let texts = blocks.into_iter().enumerate().map(|(index, mut block)| {
        let at = format!("{at}[{index}]");
        if block["type"] == "text" {
            return string(&mut block, "text", &at);
        }
        let message = format!("Unsupported '{at}': only text is read here.");
        Err(ApiError::invalid(at, "unsupported_value", message))
    });
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join(PARAGRAPH))
}

fn no_content(at: &str) -> ApiError {
    let message = format!("Invalid '{at}': expected a string or an array of content blocks.");
    ApiError::invalid(at, "invalid_type", message)
}

fn string(block: &mut Value, field: &str, at: &str) -> Result<String, ApiError> {
    match block.get_mut(field).map(Value::take) {
        Some(Value::String(text)) => Ok(text),
        _ => {
            let param = format!("{at}.{field}");
            let message = format!("Invalid type for '{param}': expected a string.");
            Err(ApiError::invalid(param, "invalid_type", message))
        }
    }
}
