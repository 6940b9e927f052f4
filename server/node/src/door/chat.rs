//! `POST /v1/chat/completions`: reads the request whole before anything is done, and hands it to the
//! hallway as one job.

mod answer;
mod messages;
mod tools;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_core::{
    Conversation, GenerateParams, Job, JobId, Principal, Priority, Prompt, ToolMode, Work,
};
use kwaainet_openapi::{ChatCompletion, ChatEvent, ChatRequest};

use serde_json::Value;

pub(crate) use messages::messages;
pub(crate) use tools::tools;

use super::body::{self, ApiJson};
use super::constraints::Demands;
use super::format::format_fields;
use super::params::{self, IncludeUsage, sampling_fields};
use super::stream::{self, ServedBy};
use super::{ApiError, App, footprint, unsupported};
use answer::{ChatChunks, Head};
use tools::{CallForm, Offer};

const TOP_LOGPROBS_MAX: i64 = 20;

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "inference",
    operation_id = "createChatCompletion",
    request_body = ChatRequest,
    responses((status = 200, description = "The answer; with `stream`, chunks of it as server-sent events, and `[DONE]` as the last.", content(
        (ChatCompletion = "application/json"),
        (ChatEvent = "text/event-stream"),
    )))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<ChatRequest>,
) -> Result<Response, ApiError> {
    let asked = Asked::parse(request, demands, Priority::Interactive)?;
    match asked.stream {
        Some(include_usage) => {
            let chunks = ChatChunks::new(asked.head(&app), include_usage, asked.choices)
                .with_carbon(asked.carbon)
                .with_logprobs(asked.logprobs)
                .with_calls(asked.calls);
            let events = app.hallway.generate(principal, asked.job).await?;
            Ok(stream::respond(&app, events, chunks))
        }
        None => {
            let (completion, served_by) = whole(&app, principal, asked).await?;
            Ok((served_by, Json(completion)).into_response())
        }
    }
}

/// Where a request would go.
pub(crate) fn job(body: Value, demands: Demands) -> Result<Job, ApiError> {
    let asked = Asked::parse(body::from_value(body)?, demands, Priority::Interactive)?;
    Ok(asked.job)
}

/// The answer in one piece.
async fn whole(
    app: &App,
    principal: Principal,
    asked: Asked,
) -> Result<(ChatCompletion, ServedBy), ApiError> {
    let head = asked.head(app);
    let form = asked.calls.unwrap_or(CallForm::Tools);
    let events = app.hallway.generate(principal, asked.job).await?;
    let served_by = stream::served_by(&events);
    let (choices, usage) = stream::collect(app, events, asked.choices as usize).await?;
    let mut completion = head.completion(choices, usage, asked.logprobs, form);
    if asked.carbon {
        completion.usage.kwaai = served_by.footprint().as_ref().map(footprint::usage);
    }
    Ok((completion, served_by))
}

/// The answer to a request that came in a batch.
pub(crate) async fn answer(
    app: &App,
    principal: Principal,
    body: Value,
    priority: Priority,
) -> Result<Value, ApiError> {
    let asked = Asked::parse(body::from_value(body)?, Demands::default(), priority)?;
    params::not_in_a_batch("stream", asked.stream.is_some())?;
    let (completion, _) = whole(app, principal, asked).await?;
    Ok(body::to_value(&completion))
}

/// A request that was found to be sound.
struct Asked {
    job: Job,
    choices: u32,
    logprobs: bool,
    /// How calls are written, if any can come.
    calls: Option<CallForm>,
    stream: Option<IncludeUsage>,
    /// Whether the usage says what it took of energy.
    carbon: bool,
}

impl Asked {
    fn parse(
        mut request: ChatRequest,
        demands: Demands,
        priority: Priority,
    ) -> Result<Self, ApiError> {
        unsupported::check_chat(&request.other)?;
        let model = params::model(request.model.take())?;
        let carbon = demands.carbon(request.kwaai.as_ref());
        let constraints = demands.with(request.kwaai.take())?;
        let messages = messages(request.messages.take())?;
        let Offer {
            tools,
            choice,
            parallel,
            form,
        } = tools::offer(&mut request)?;
        let can_call = !tools.is_empty() && choice.mode != ToolMode::None;
        // Where a call is certain there is no text that could have a format.
        let grammar = format_fields!(request).grammar()?;
        let grammar = grammar.filter(|_| choice.mode != ToolMode::Required);
        let n = params::choices(request.n, 1)?;
        let logprobs = logprobs(request.logprobs, request.top_logprobs)?;
        let (max_tokens, max_tokens_param) = max_tokens(&request)?;
        check_labels(&mut request)?;
        let params = GenerateParams {
            n,
            max_tokens,
            max_tokens_param,
            stop: params::stop(request.stop.take())?,
            logprobs,
            sampling: sampling_fields!(request).check()?,
            grammar,
            priority,
            ..GenerateParams::default()
        };
        let chat = Conversation {
            messages,
            tools,
            tool_choice: choice,
            parallel_calls: parallel,
        };
        Ok(Self {
            choices: u32::from(n),
            logprobs: logprobs.is_some(),
            calls: can_call.then_some(form),
            carbon,
            stream: params::streaming(request.stream, request.stream_options)?,
            job: Job::new(
                JobId::random(),
                model,
                Work::Generate {
                    prompts: vec![Prompt::Chat(chat)],
                    params,
                },
            )
            .within(constraints),
        })
    }

    fn head(&self, app: &App) -> Head {
        Head {
            id: format!("chatcmpl-{}", self.job.id),
            created: app.clock.unix_ms() / 1_000,
            model: self.job.model.clone(),
        }
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

/// What is for the caller's own books, and what changes no answer: checked, then forgotten.
fn check_labels(request: &mut ChatRequest) -> Result<(), ApiError> {
    params::user(request.user.take())?;
    for (label, param) in [
        (request.safety_identifier.take(), "safety_identifier"),
        (request.prompt_cache_key.take(), "prompt_cache_key"),
    ] {
        params::label(label, param, params::LABEL_BYTES_MAX)?;
    }
    params::metadata(request.metadata.take())?;
    let Some(prediction) = request.prediction.take() else {
        return Ok(());
    };
    let (param, message) = match (prediction.kind.as_deref(), prediction.content) {
        (Some("content"), Some(content)) if content.is_string() || content.is_array() => {
            return Ok(());
        }
        (Some("content"), _) => ("prediction.content", "expected a string or text parts"),
        _ => ("prediction.type", "expected 'content'"),
    };
    let message = format!("Invalid '{param}': {message}.");
    Err(ApiError::invalid(param, "invalid_value", message))
}
