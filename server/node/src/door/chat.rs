//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_core::{
    Delta, Event, FinishReason, GenerateParams, Job, JobId, Message, ModelId, Principal, Priority,
    Prompt, Role, TokenLogprob, Usage, Work,
};
use kwaainet_openapi::{
    AssistantMessage, ChatChoice, ChatChunk, ChatChunkChoice, ChatCompletion, ChatDelta,
    ChatLogprobs, ChatMessage, ChatRequest,
};
use serde_json::Value;

use super::body::{self, ApiJson};
use super::params::{self, IncludeUsage, sampling_fields};
use super::stream::{self, Collected, Framing, Piece, Shape};
use super::{ApiError, App, unsupported};

const MESSAGES_MAX: usize = 4_096;
const TOP_LOGPROBS_MAX: i64 = 20;

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "inference",
    operation_id = "createChatCompletion",
    request_body = ChatRequest,
    responses((status = 200, description = "The answer; with `stream`, chunks of it.", content(
        (ChatCompletion = "application/json"),
        (ChatChunk = "text/event-stream"),
    )))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<ChatRequest>,
) -> Result<Response, ApiError> {
    let asked = Asked::parse(request, Priority::Interactive)?;
    match asked.stream {
        Some(include_usage) => {
            let chunks = ChatChunks {
                head: asked.head(&app),
                include_usage,
                choices: asked.choices,
                logprobs: asked.logprobs,
            };
            let events = app.hallway.generate(principal, asked.job).await?;
            Ok(stream::respond(&app, events, chunks))
        }
        None => Ok(Json(whole(&app, principal, asked).await?).into_response()),
    }
}

/// The answer in one piece.
async fn whole(app: &App, principal: Principal, asked: Asked) -> Result<ChatCompletion, ApiError> {
    let head = asked.head(app);
    let events = app.hallway.generate(principal, asked.job).await?;
    let (choices, usage) = stream::collect(app, events, asked.choices as usize).await?;
    Ok(head.completion(choices, usage, asked.logprobs))
}

/// The answer to a request that came in a batch.
pub(crate) async fn answer(
    app: &App,
    principal: Principal,
    body: Value,
    priority: Priority,
) -> Result<Value, ApiError> {
    let asked = Asked::parse(body::from_value(body)?, priority)?;
    params::no_stream(asked.stream)?;
    Ok(body::to_value(&whole(app, principal, asked).await?))
}

struct Asked {
    job: Job,
    choices: u32,
    logprobs: bool,
    stream: Option<IncludeUsage>,
}

impl Asked {
    fn head(&self, app: &App) -> Head {
        Head {
            id: format!("chatcmpl-{}", self.job.id),
            created: app.clock.unix_ms() / 1_000,
            model: self.job.model.clone(),
        }
    }

    fn parse(mut request: ChatRequest, priority: Priority) -> Result<Self, ApiError> {
        unsupported::check_chat(&request.other)?;
        let model = params::model(request.model.take())?;
        let messages = messages(request.messages.take())?;
        let n = params::choices(request.n, 1)?;
        let logprobs = logprobs(request.logprobs, request.top_logprobs)?;
        let (max_tokens, max_tokens_param) = max_tokens(&request)?;
        params::user(request.user.take())?;
        let params = GenerateParams {
            n,
            max_tokens,
            max_tokens_param,
            stop: params::stop(request.stop.take())?,
            logprobs,
            sampling: sampling_fields!(request).check()?,
            priority,
            ..GenerateParams::default()
        };
        Ok(Self {
            choices: u32::from(n),
            logprobs: logprobs.is_some(),
            stream: params::streaming(request.stream, request.stream_options)?,
            job: Job {
                id: JobId::random(),
                model,
                work: Work::Generate {
                    prompts: vec![Prompt::Chat(messages.into())],
                    params,
                },
            },
        })
    }
}

fn max_tokens(request: &ChatRequest) -> Result<(Option<u32>, &'static str), ApiError> {
    const NEW: &str = "max_completion_tokens";
    const OLD: &str = "max_tokens";
    match (request.max_completion_tokens, request.max_tokens) {
        (Some(_), Some(_)) => {
            let message = "Give either 'max_tokens' or 'max_completion_tokens', not both.";
            Err(ApiError::invalid(OLD, "invalid_value", message))
        }
        (None, Some(_)) => Ok((params::max_tokens(request.max_tokens, OLD)?, OLD)),
        (new, None) => Ok((params::max_tokens(new, NEW)?, NEW)),
    }
}

fn logprobs(wanted: Option<bool>, top: Option<i64>) -> Result<Option<u8>, ApiError> {
    let top = params::integer(top, "top_logprobs", (0, TOP_LOGPROBS_MAX))?;
    match (wanted.unwrap_or(false), top) {
        (false, Some(_)) => {
            let message = "'top_logprobs' needs 'logprobs' to be true.";
            Err(ApiError::invalid("top_logprobs", "invalid_value", message))
        }
        (false, None) => Ok(None),
        (true, top) => Ok(Some(top.unwrap_or(0) as u8)),
    }
}

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
    messages
        .into_iter()
        .enumerate()
        .map(|(i, message)| one_message(message, &format!("messages[{i}]")))
        .collect()
}

fn one_message(message: ChatMessage, at: &str) -> Result<Message, ApiError> {
    unsupported::check_message(&message.other, at)?;
    let role = match message.role.as_deref() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        other => {
            let param = format!("{at}.role");
            let (code, message) = match other {
                None => ("missing_required_parameter", format!("Missing '{param}'.")),
                Some("tool" | "function") => (
                    "unsupported_value",
                    format!("Unsupported '{param}': this node calls no tools."),
                ),
                Some(_) => (
                    "invalid_value",
                    format!(
                        "Invalid '{param}': it must be 'system', 'developer', 'user' or \
                         'assistant'."
                    ),
                ),
            };
            return Err(ApiError::invalid(param, code, message));
        }
    };
    Ok(Message {
        name: message.name,
        ..Message::new(role, content(message.content, &format!("{at}.content"))?)
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

/// What all chunks of an answer share.
#[derive(Clone)]
struct Head {
    id: String,
    created: i64,
    model: ModelId,
}

impl Head {
    fn completion(self, choices: Vec<Collected>, usage: Usage, logprobs: bool) -> ChatCompletion {
        let choices = (0_u32..).zip(choices).map(|(index, choice)| ChatChoice {
            index,
            message: AssistantMessage {
                role: "assistant",
                content: choice.text,
                refusal: None,
                annotations: Vec::new(),
            },
            logprobs: logprobs.then(|| wire_logprobs(choice.logprobs)),
            finish_reason: choice.reason.unwrap_or(FinishReason::Stop).as_str(),
        });
        ChatCompletion {
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: self.model.to_string(),
            choices: choices.collect(),
            usage: stream::usage(usage),
            service_tier: "default",
            system_fingerprint: stream::fingerprint(),
        }
    }
}

struct ChatChunks {
    head: Head,
    include_usage: IncludeUsage,
    choices: u32,
    logprobs: bool,
}

impl ChatChunks {
    fn chunk(&self, choices: Vec<ChatChunkChoice>, usage: Option<Usage>) -> ChatChunk {
        ChatChunk {
            id: self.head.id.clone(),
            object: "chat.completion.chunk",
            created: self.head.created,
            model: self.head.model.to_string(),
            service_tier: "default",
            system_fingerprint: stream::fingerprint(),
            choices,
            usage: self.include_usage.0.then(|| usage.map(stream::usage)),
        }
    }

    fn choice(&self, index: u32, delta: ChatDelta) -> ChatChunkChoice {
        ChatChunkChoice {
            index,
            delta,
            logprobs: None,
            finish_reason: None,
        }
    }
}

impl Shape for ChatChunks {
    const FRAMING: Framing = Framing::Events;

    fn start(&mut self) -> Vec<Piece> {
        let opening = || ChatDelta {
            role: Some("assistant"),
            content: Some(String::new()),
            refusal: Some(None),
        };
        (0..self.choices)
            .map(|index| self.chunk(vec![self.choice(index, opening())], None))
            .map(|chunk| Piece::json(&chunk))
            .collect()
    }

    fn event(&mut self, event: Event) -> Vec<Piece> {
        let chunk = match event {
            Event::Started { .. } | Event::Call(_) => None,
            Event::Delta(delta) => self.delta(delta),
            Event::Finished { choice, reason } => Some(self.finished(choice, reason)),
            Event::Done(usage) => {
                let last = self.usage(usage).map(|chunk| Piece::json(&chunk));
                return last.into_iter().chain([Piece::text("[DONE]")]).collect();
            }
        };
        chunk.iter().map(Piece::json).collect()
    }

    fn error(&mut self, error: &ApiError) -> Vec<Piece> {
        vec![Piece::json(&error.body())]
    }
}

impl ChatChunks {
    fn delta(&self, delta: Delta) -> Option<ChatChunk> {
        if delta.text.is_empty() && delta.logprobs.is_empty() {
            return None;
        }
        let mut choice = self.choice(
            delta.choice,
            ChatDelta {
                content: Some(delta.text),
                ..ChatDelta::default()
            },
        );
        choice.logprobs = self.logprobs.then(|| wire_logprobs(delta.logprobs));
        Some(self.chunk(vec![choice], None))
    }

    fn finished(&self, choice: u32, reason: FinishReason) -> ChatChunk {
        let mut choice = self.choice(choice, ChatDelta::default());
        choice.finish_reason = Some(reason.as_str());
        self.chunk(vec![choice], None)
    }

    fn usage(&self, usage: Usage) -> Option<ChatChunk> {
        self.include_usage
            .0
            .then(|| self.chunk(Vec::new(), Some(usage)))
    }
}

fn wire_logprobs(logprobs: Vec<TokenLogprob>) -> ChatLogprobs {
    let top = |token: kwaainet_core::TopLogprob| kwaainet_openapi::TopLogprob {
        token: String::from_utf8_lossy(&token.bytes).into_owned(),
        logprob: token.logprob,
        bytes: token.bytes,
    };
    let content = logprobs.into_iter().map(|token| {
        let chosen = top(token.chosen);
        kwaainet_openapi::TokenLogprob {
            token: chosen.token,
            logprob: chosen.logprob,
            bytes: chosen.bytes,
            top_logprobs: token.top.into_iter().map(top).collect(),
        }
    });
    ChatLogprobs {
        content: content.collect(),
        refusal: None,
    }
}
