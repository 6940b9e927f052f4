//! Anthropic's Messages API: `POST /v1/messages` and `POST /v1/messages/count_tokens`.
//!
//! What is asked becomes a job like any other; what is said becomes Anthropic's messages and events.
//! Errors are said in Anthropic's words by `dialect`, with what stands in `error` here.

mod answer;
mod conversation;
mod error;
mod tools;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_core::{
    GenerateParams, Grammar, GrammarKind, Job, JobId, Principal, Prompt, Sampling, Tokenized, Work,
};
use kwaainet_openapi::{
    AnthropicCountRequest, AnthropicEvent, AnthropicMessage, AnthropicMetadata,
    AnthropicOutputConfig, AnthropicOutputFormat, AnthropicRequest, AnthropicTokens, Other,
};
use serde_json::Value;

use super::body::ApiJson;
use super::constraints::Demands;
use super::unsupported::{self, Neutral, Refusal};
use super::{ApiError, App, params, stream};
use answer::{Head, MessageEvents};
use conversation::Said;
pub(crate) use error::{body as error_body, status};

/// More texts than anybody needs, few enough to look for all of them in every token.
const STOPS_MAX: usize = 64;
/// Anthropic's limit.
const USER_BYTES_MAX: usize = 256;

/// What this node cannot honour, and the values that ask for nothing.
const REFUSED: &[Refusal] = &[
    ("container", &[]),
    ("context_management", &[]),
    ("diagnostics", &[]),
    ("inference_geo", &[]),
    ("mcp_servers", &[Neutral::Empty]),
    (
        "service_tier",
        &[Neutral::Text("auto"), Neutral::Text("standard_only")],
    ),
    ("speed", &[Neutral::Text("standard")]),
    ("user_profile_id", &[]),
];

const REFUSED_OUTPUT: &[Refusal] = &[("effort", &[Neutral::Text("high")]), ("task_budget", &[])];

/// Answers a conversation, in Anthropic's shape.
#[utoipa::path(
    post,
    path = "/v1/messages",
    tag = "anthropic",
    operation_id = "createMessage",
    request_body = AnthropicRequest,
    responses((status = 200, description = "The answer; with `stream`, events of it.", content(
        (AnthropicMessage = "application/json"),
        (AnthropicEvent = "text/event-stream"),
    )))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<AnthropicRequest>,
) -> Result<Response, ApiError> {
    let is_stream = request.stream.unwrap_or(false);
    let job = job(request, demands)?;
    let head = Head {
        id: format!("msg_{}", job.id),
        model: job.model.to_string(),
    };
    let events = app.hallway.generate(principal, job).await?;
    if is_stream {
        return Ok(stream::respond(&app, events, MessageEvents::new(head)));
    }
    let served_by = stream::served_by(&events);
    let (mut choices, usage) = stream::collect(&app, events, 1).await?;
    let said = choices.pop().unwrap_or_default();
    Ok((served_by, Json(head.message(said, usage))).into_response())
}

/// Counts the tokens of a conversation.
#[utoipa::path(
    post,
    path = "/v1/messages/count_tokens",
    tag = "anthropic",
    operation_id = "countMessageTokens",
    request_body = AnthropicCountRequest,
    responses((status = 200, description = "How many there are.", body = AnthropicTokens))
)]
pub(crate) async fn count_tokens(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<AnthropicCountRequest>,
) -> Result<Json<AnthropicTokens>, ApiError> {
    check(&request.other)?;
    let model = params::model(request.model)?;
    let constraints = demands.with(request.kwaai)?;
    let conversation = conversation::read(Said {
        messages: request.messages,
        system: request.system,
        tools: request.tools,
        tool_choice: request.tool_choice,
    })?;
    let (backend, _permit) = app.hallway.question(&principal, &model, &constraints)?;
    let text = Tokenized::Chat(conversation);
    let tokens = backend.tokenize(model, text).await?;
    Ok(Json(AnthropicTokens {
        input_tokens: tokens.ids.len() as u32,
    }))
}

fn job(request: AnthropicRequest, demands: Demands) -> Result<Job, ApiError> {
    check(&request.other)?;
    let model = params::model(request.model)?;
    let constraints = demands.with(request.kwaai)?;
    let max_tokens = params::required(request.max_tokens, "max_tokens")?;
    user(request.metadata)?;
    let conversation = conversation::read(Said {
        messages: request.messages,
        system: request.system,
        tools: request.tools,
        tool_choice: request.tool_choice,
    })?;
    let top_k = params::integer(request.top_k, "top_k", (0, i64::from(u32::MAX)))?;
    let params = GenerateParams {
        max_tokens: params::max_tokens(Some(max_tokens), "max_tokens")?,
        stop: params::stops(
            request.stop_sequences.unwrap_or_default(),
            "stop_sequences",
            STOPS_MAX,
        )?,
        sampling: Sampling {
            temperature: params::number(request.temperature, "temperature", (0.0, 1.0), 1.0)?,
            top_p: params::number(request.top_p, "top_p", (0.0, 1.0), 1.0)?,
            top_k: top_k.unwrap_or(0) as u32,
            ..Sampling::default()
        },
        grammar: form(request.output_config, request.output_format)?,
        ..GenerateParams::default()
    };
    Ok(Job::new(
        JobId::random(),
        model,
        Work::Generate {
            prompts: vec![Prompt::Chat(conversation)],
            params,
        },
    )
    .within(constraints))
}

fn check(other: &Other) -> Result<(), ApiError> {
    unsupported::check(other, REFUSED, "")?;
    let thinking = other.get("thinking").unwrap_or(&Value::Null);
    if thinking.is_null() || thinking["type"] == "disabled" {
        return Ok(());
    }
    let message = "Unsupported 'thinking': this node's models answer without; only \
                   {\"type\": \"disabled\"} is taken.";
    Err(ApiError::invalid("thinking", "unsupported_value", message))
}

fn user(metadata: Option<AnthropicMetadata>) -> Result<(), ApiError> {
    let user = metadata.and_then(|metadata| metadata.user_id);
    params::label(user, "metadata.user_id", USER_BYTES_MAX).map(drop)
}

/// The form of the answer, under its name or its older one.
fn form(
    config: Option<AnthropicOutputConfig>,
    older: Option<AnthropicOutputFormat>,
) -> Result<Option<Grammar>, ApiError> {
    if let Some(config) = &config {
        unsupported::check(&config.other, REFUSED_OUTPUT, "output_config.")?;
    }
    let (format, param) = match (config.and_then(|config| config.format), older) {
        (Some(_), Some(_)) => {
            let message = "Give either 'output_config.format' or 'output_format', not both.";
            return Err(ApiError::invalid("output_format", "invalid_value", message));
        }
        (Some(format), None) => (format, "output_config.format"),
        (None, Some(format)) => (format, "output_format"),
        (None, None) => return Ok(None),
    };
    if format.kind.as_deref() != Some("json_schema") {
        let param = format!("{param}.type");
        let message = format!("Invalid '{param}': it must be 'json_schema'.");
        return Err(ApiError::invalid(param, "invalid_value", message));
    }
    match format.schema {
        Some(schema @ Value::Object(_)) => Ok(Some(Grammar {
            kind: GrammarKind::JsonSchema(schema),
            param,
        })),
        _ => {
            let param = format!("{param}.schema");
            let message = format!("Invalid '{param}': expected a JSON schema, an object.");
            Err(ApiError::invalid(param, "invalid_type", message))
        }
    }
}
