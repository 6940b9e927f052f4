//! The conversation, from OpenAI's messages to the domain's. Owns which role may carry what, and that a
//! result answers a call that stands before it; touches no text.

use std::collections::HashSet;

use kwaainet_core::{Message, Role, ToolCall};
use kwaainet_openapi::{ChatMessage, PastFunctionCall, PastToolCall};
use serde_json::Value;

use super::super::tooling::{self, Form};
use super::super::{ApiError, params, unsupported};

const MESSAGES_MAX: usize = 4_096;
/// Calls of one message.
const CALLS_MAX: usize = 128;
const CALL_ID_BYTES_MAX: usize = 512;

/// The conversation in the domain's words.
pub(crate) fn messages(messages: Option<Vec<ChatMessage>>) -> Result<Vec<Message>, ApiError> {
    let messages = params::required(messages, "messages")?;
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected at least one message.";
        return Err(ApiError::invalid("messages", "empty_array", message));
    }
    if messages.len() > MESSAGES_MAX {
        let message = format!("Invalid 'messages': more than {MESSAGES_MAX}.");
        return Err(ApiError::invalid(
            "messages",
            "array_above_max_length",
            message,
        ));
    }
    let mut before = Before::default();
    messages
        .into_iter()
        .enumerate()
        .map(|(i, message)| before.read(message, &format!("messages[{i}]")))
        .collect()
}

/// What was called in the messages before.
#[derive(Default)]
struct Before {
    ids: HashSet<String>,
    /// The last call in the older form that has no result yet.
    function: Option<ToolCall>,
    /// Calls in the older form, which have no ids of their own.
    functions: usize,
}

impl Before {
    fn read(&mut self, message: ChatMessage, at: &str) -> Result<Message, ApiError> {
        unsupported::check_message(&message.other, at)?;
        let role = role(message.role.as_deref(), at)?;
        refuse_foreign_fields(&message, role, at)?;
        match role {
            WireRole::Plain(role) => Ok(Message {
                name: message.name,
                ..Message::new(role, content(message.content, &format!("{at}.content"))?)
            }),
            WireRole::Assistant => self.assistant(message, at),
            WireRole::Tool => self.tool(message, at),
            WireRole::Function => self.function(message, at),
        }
    }

    fn assistant(&mut self, message: ChatMessage, at: &str) -> Result<Message, ApiError> {
        let called = message.tool_calls.unwrap_or_default();
        let mut calls = tool_calls(called, &format!("{at}.tool_calls"))?;
        self.ids.extend(calls.iter().map(|call| call.id.clone()));
        if let Some(call) = message.function_call {
            let at = format!("{at}.function_call");
            if !calls.is_empty() {
                let message = format!("Invalid '{at}': the message has 'tool_calls' already.");
                return Err(ApiError::invalid(at, "invalid_value", message));
            }
            let id = format!("function_call_{}", self.functions);
            self.functions += 1;
            let call = function_call(call, id, &at)?;
            self.function = Some(call.clone());
            calls.push(call);
        }
        let text = match message.content {
            None | Some(Value::Null) if !calls.is_empty() => String::new(),
            said => content(said, &format!("{at}.content"))?,
        };
        Ok(Message {
            name: message.name,
            tool_calls: calls,
            ..Message::new(Role::Assistant, text)
        })
    }

    fn tool(&self, message: ChatMessage, at: &str) -> Result<Message, ApiError> {
        let param = format!("{at}.tool_call_id");
        let id = message
            .tool_call_id
            .ok_or_else(|| ApiError::missing(&param))?;
        if self.ids.is_empty() {
            return Err(answers_nothing(at, "tool", "tool_calls"));
        }
        if !self.ids.contains(&id) {
            let message =
                format!("Invalid '{param}': no message before this one has a call with this id.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
        Ok(Message {
            name: message.name,
            tool_call_id: Some(id),
            ..Message::new(
                Role::Tool,
                content(message.content, &format!("{at}.content"))?,
            )
        })
    }

    /// A result in the older form answers the last call.
    fn function(&mut self, message: ChatMessage, at: &str) -> Result<Message, ApiError> {
        let param = format!("{at}.name");
        let name = message.name.ok_or_else(|| ApiError::missing(&param))?;
        let Some(call) = self.function.take() else {
            return Err(answers_nothing(at, "function", "function_call"));
        };
        if call.name != name {
            let message = format!("Invalid '{param}': the last call is of another function.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
        let text = match message.content {
            Some(Value::Null) => String::new(),
            said => content(said, &format!("{at}.content"))?,
        };
        Ok(Message {
            name: Some(name),
            tool_call_id: Some(call.id),
            ..Message::new(Role::Tool, text)
        })
    }
}

/// A role, as far as it decides what a message may carry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WireRole {
    Plain(Role),
    Assistant,
    Tool,
    Function,
}

fn role(role: Option<&str>, at: &str) -> Result<WireRole, ApiError> {
    let param = format!("{at}.role");
    match role {
        Some("system" | "developer") => Ok(WireRole::Plain(Role::System)),
        Some("user") => Ok(WireRole::Plain(Role::User)),
        Some("assistant") => Ok(WireRole::Assistant),
        Some("tool") => Ok(WireRole::Tool),
        Some("function") => Ok(WireRole::Function),
        None => Err(ApiError::missing(&param)),
        Some(_) => {
            let message = format!(
                "Invalid '{param}': it must be 'system', 'developer', 'user', 'assistant', 'tool' \
                 or 'function'."
            );
            Err(ApiError::invalid(param, "invalid_value", message))
        }
    }
}

fn refuse_foreign_fields(message: &ChatMessage, role: WireRole, at: &str) -> Result<(), ApiError> {
    let calls = message
        .tool_calls
        .as_ref()
        .is_some_and(|calls| !calls.is_empty());
    let (calls, function) = match role {
        WireRole::Assistant => (false, false),
        _ => (calls, message.function_call.is_some()),
    };
    let id = role != WireRole::Tool && message.tool_call_id.is_some();
    let fields = [
        (calls, "tool_calls", "assistant"),
        (function, "function_call", "assistant"),
        (id, "tool_call_id", "tool"),
    ];
    for (found, field, role) in fields {
        if found {
            let param = format!("{at}.{field}");
            let message = format!("Invalid '{param}': only the role '{role}' may have it.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
    }
    Ok(())
}

fn tool_calls(calls: Vec<PastToolCall>, at: &str) -> Result<Vec<ToolCall>, ApiError> {
    if calls.len() > CALLS_MAX {
        let message = format!("Invalid '{at}': more than {CALLS_MAX}.");
        return Err(ApiError::invalid(at, "array_above_max_length", message));
    }
    let read = |(i, call): (usize, PastToolCall)| {
        let at = format!("{at}[{i}]");
        Form::Nested.require_function(call.kind.as_deref(), &format!("{at}.type"))?;
        let param = format!("{at}.id");
        let id = call.id.ok_or_else(|| ApiError::missing(&param))?;
        if id.is_empty() || id.len() > CALL_ID_BYTES_MAX {
            let message = format!("Invalid '{param}': expected 1 to {CALL_ID_BYTES_MAX} bytes.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
        let at = format!("{at}.function");
        let function = call.function.ok_or_else(|| ApiError::missing(&at))?;
        function_call(function, id, &at)
    };
    calls.into_iter().enumerate().map(read).collect()
}

fn function_call(call: PastFunctionCall, id: String, at: &str) -> Result<ToolCall, ApiError> {
    let param = format!("{at}.name");
    let name = call.name.ok_or_else(|| ApiError::missing(&param))?;
    tooling::check_name(&name, &param)?;
    let arguments = call
        .arguments
        .ok_or_else(|| ApiError::missing(format!("{at}.arguments")))?;
    Ok(ToolCall {
        id,
        name,
        arguments,
    })
}

fn content(content: Option<Value>, at: &str) -> Result<String, ApiError> {
    match content {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(parts)) => parts
            .into_iter()
            .enumerate()
            .map(|(i, part)| part_text(part, &format!("{at}[{i}]")))
            .collect(),
        None | Some(Value::Null) => {
            let message = format!("Missing '{at}': expected a string or an array of text parts.");
            Err(ApiError::invalid(at, "missing_required_parameter", message))
        }
        Some(_) => {
            let message =
                format!("Invalid type for '{at}': expected a string or an array of text parts.");
            Err(ApiError::invalid(at, "invalid_type", message))
        }
    }
}

fn part_text(part: Value, at: &str) -> Result<String, ApiError> {
    let field = |name| part.get(name).and_then(Value::as_str);
    let text = match field("type") {
        Some("text") => field("text"),
        Some("refusal") => field("refusal"),
        Some("image_url" | "input_image" | "input_audio" | "file") => {
            let message = format!("Unsupported '{at}': this node's models read text only.");
            return Err(ApiError::invalid(at, "unsupported_value", message));
        }
        _ => None,
    };
    text.map(str::to_owned).ok_or_else(|| {
        let message = format!("Invalid '{at}': expected {{\"type\": \"text\", \"text\": \"…\"}}.");
        ApiError::invalid(at, "invalid_value", message)
    })
}

fn answers_nothing(at: &str, role: &str, field: &str) -> ApiError {
    let param = format!("{at}.role");
    let message = format!(
        "Invalid '{param}': a message with the role '{role}' must answer a message with \
         '{field}' before it."
    );
    ApiError::invalid(param, "invalid_value", message)
}
