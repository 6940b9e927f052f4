//! `POST /api/chat`.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kwaainet_core::{
    Conversation, Job, JobId, Message, Principal, Prompt, Role, Tool, ToolCall, ToolChoice, Work,
};
use kwaainet_openapi::{
    OllamaChatAnswer, OllamaChatLine, OllamaChatRequest, OllamaMessage, OllamaTool, OllamaToolCall,
};
use serde_json::Value;

use super::answer::{self, Answering, Form};
use super::{load, named, options};
use crate::door::body::ApiJson;
use crate::door::constraints::Demands;
use crate::door::tooling::{self, Function};
use crate::door::unsupported::{self, Neutral, Refusal};
use crate::door::{ApiError, App};

const MESSAGES_MAX: usize = 4_096;

const REFUSED_MESSAGE: &[Refusal] = &[("images", &[Neutral::Empty])];

/// Answers a conversation, in Ollama's shape.
#[utoipa::path(
    post,
    path = "/api/chat",
    tag = "ollama",
    operation_id = "ollamaChat",
    request_body = OllamaChatRequest,
    responses((status = 200, description = "Lines of the answer; without `stream`, all of it.",
        content(
            (OllamaChatLine = "application/x-ndjson"),
            (OllamaChatAnswer = "application/json"),
        )))
)]
pub(crate) async fn chat(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<OllamaChatRequest>,
) -> Result<Response, ApiError> {
    options::check(&request.other)?;
    let constraints = demands.with(request.kwaai)?;
    let named = named(&app.hallway, request.model)?;
    let logprobs = options::logprobs(request.logprobs, request.top_logprobs)?;
    let params = options::read(request.options, request.format, logprobs)?;
    let tools = tools(request.tools.unwrap_or_default())?;
    let messages = request.messages.unwrap_or_default();
    if messages.is_empty() {
        options::refuse_unload(&request.other)?;
        load(&app, &principal, &named.id, &constraints).await?;
        return Ok(answer::loaded(&app, Form::Chat, named.asked));
    }
    let conversation = Conversation {
        messages: read(messages)?,
        tools,
        tool_choice: ToolChoice::default(),
        parallel_calls: true,
    };
    let job = Job::new(
        JobId::random(),
        named.id,
        Work::Generate {
            prompts: vec![Prompt::Chat(conversation)],
            params,
        },
    )
    .within(constraints);
    let answering = Answering {
        form: Form::Chat,
        asked: named.asked,
        stream: request.stream.unwrap_or(true),
        logprobs: logprobs.is_some(),
    };
    answer::answer(&app, principal, job, answering).await
}

fn tools(tools: Vec<OllamaTool>) -> Result<Vec<Tool>, ApiError> {
    let at = |index: usize| format!("tools[{index}].function");
    let mut functions = Vec::with_capacity(tools.len());
    for (index, tool) in tools.into_iter().enumerate() {
        if tool.kind.is_some_and(|kind| kind != "function") {
            let param = format!("tools[{index}].type");
            let message = format!("Invalid '{param}': it must be 'function'.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
        let Some(function) = tool.function else {
            return Err(ApiError::missing(at(index)));
        };
        functions.push(Function {
            name: function.name,
            description: function.description,
            parameters: function.parameters.filter(|schema| !schema.is_null()),
            strict: None,
        });
    }
    tooling::tools(functions, "tools", at)
}

fn read(messages: Vec<OllamaMessage>) -> Result<Vec<Message>, ApiError> {
    if messages.len() > MESSAGES_MAX {
        let message = format!("Invalid 'messages': more than {MESSAGES_MAX} messages.");
        let code = "array_above_max_length";
        return Err(ApiError::invalid("messages", code, message));
    }
    let mut calls = Calls::default();
    let messages = messages.into_iter().enumerate();
    messages
        .map(|(index, message)| read_one(message, &mut calls, &format!("messages[{index}]")))
        .collect()
}

fn read_one(message: OllamaMessage, calls: &mut Calls, at: &str) -> Result<Message, ApiError> {
    unsupported::check(&message.other, REFUSED_MESSAGE, &format!("{at}."))?;
    let role = match message.role.as_deref() {
        Some("system") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        _ => {
            let param = format!("{at}.role");
            let message =
                format!("Invalid '{param}': it must be 'system', 'user', 'assistant' or 'tool'.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
    };
    let mut read = Message::new(role, message.content.unwrap_or_default());
    match role {
        Role::Assistant => {
            let said = message.tool_calls.unwrap_or_default().into_iter();
            read.tool_calls = said.map(|call| calls.made(call)).collect();
        }
        Role::Tool => {
            read.tool_call_id = calls.answered(message.tool_call_id, message.tool_name.as_deref());
        }
        Role::System | Role::User => {}
    }
    Ok(read)
}

/// Ollama's clients need not name calls, nor the call that a result belongs to: then it is the first
/// of that tool that has no result yet.
#[derive(Default)]
struct Calls {
    made: usize,
    /// Ids and tools of calls without a result.
    open: VecDeque<(String, String)>,
}

impl Calls {
    fn made(&mut self, call: OllamaToolCall) -> ToolCall {
        let function = call.function;
        let id = call.id.filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| format!("call_{}", self.made));
        self.made += 1;
        self.open.push_back((id.clone(), function.name.clone()));
        ToolCall {
            id,
            name: function.name,
            arguments: Value::Object(function.arguments).to_string(),
        }
    }

    fn answered(&mut self, id: Option<String>, tool: Option<&str>) -> Option<String> {
        let is_meant = |(open, name): &(String, String)| match (&id, tool) {
            (Some(id), _) => open == id,
            (None, Some(tool)) => name == tool,
            (None, None) => true,
        };
        let meant = self.open.iter().position(is_meant);
        let meant = meant.and_then(|at| self.open.remove(at));
        meant.map(|(id, _)| id).or(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ids(messages: Value) -> Vec<Option<String>> {
        let messages = serde_json::from_value(messages).expect("they are messages");
        let read = read(messages).expect("they are sound").into_iter();
        read.map(|message| message.tool_call_id).collect()
    }

    #[test]
    fn results_without_an_id_find_their_call() {
        let call = |name: &str| json!({"function": {"name": name, "arguments": {}}});
        let result = |name: Option<&str>| json!({"role": "tool", "content": "", "tool_name": name});
        let asked = json!({"role": "assistant", "content": null,
            "tool_calls": [call("a"), call("b"), call("a")]});
        let messages = json!([asked, result(Some("a")), result(None), result(Some("a"))]);
        let expected = [None, Some("call_0"), Some("call_1"), Some("call_2")];
        assert_eq!(ids(messages), expected.map(|id| id.map(str::to_owned)));
        let lonely = json!([{"role": "tool", "content": "", "tool_call_id": "x"}, result(None)]);
        assert_eq!(ids(lonely), [Some("x".to_owned()), None]);
    }
}
