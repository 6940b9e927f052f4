//! `POST /api/generate`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kwaainet_core::{Job, JobId, Message, Principal, Prompt, Role, Work};
use kwaainet_openapi::{OllamaGenerateAnswer, OllamaGenerateLine, OllamaGenerateRequest};

use super::answer::{self, Answering, Form};
use super::{load, named, options};
use crate::door::body::ApiJson;
use crate::door::constraints::Demands;
use crate::door::{ApiError, App};

/// Answers one text, continues it, or fills a gap in it.
#[utoipa::path(
    post,
    path = "/api/generate",
    tag = "ollama",
    operation_id = "ollamaGenerate",
    request_body = OllamaGenerateRequest,
    responses((status = 200, description = "Lines of the answer; without `stream`, all of it.",
        content(
            (OllamaGenerateLine = "application/x-ndjson"),
            (OllamaGenerateAnswer = "application/json"),
        )))
)]
pub(crate) async fn generate(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<OllamaGenerateRequest>,
) -> Result<Response, ApiError> {
    options::check(&request.other)?;
    let constraints = demands.with(request.kwaai)?;
    let named = named(&app.hallway, request.model)?;
    let logprobs = options::logprobs(request.logprobs, request.top_logprobs)?;
    let params = options::read(request.options, request.format, logprobs)?;
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (text, suffix) = (said(request.prompt), said(request.suffix));
    if text.is_none() && suffix.is_none() {
        options::refuse_unload(&request.other)?;
        load(&app, &principal, &named.id, &constraints).await?;
        return Ok(answer::loaded(&app, Form::Generate, named.asked));
    }
    let raw = request.raw.unwrap_or(false);
    let prompt = prompt(text, suffix, said(request.system), raw)?;
    let job = Job::new(
        JobId::random(),
        named.id,
        Work::Generate {
            prompts: vec![prompt],
            params,
        },
    )
    .within(constraints);
    let answering = Answering {
        form: Form::Generate,
        asked: named.asked,
        stream: request.stream.unwrap_or(true),
        logprobs: logprobs.is_some(),
    };
    answer::answer(&app, principal, job, answering).await
}

/// Raw text is continued, text before and after a gap is filled in, and all else is a question.
fn prompt(
    text: Option<String>,
    suffix: Option<String>,
    system: Option<String>,
    raw: bool,
) -> Result<Prompt, ApiError> {
    let text = text.unwrap_or_default();
    if system.is_some() && (raw || suffix.is_some()) {
        let message = "'system' cannot be given together with 'raw' or 'suffix'.";
        return Err(ApiError::invalid("system", "invalid_value", message));
    }
    match suffix {
        Some(_) if raw => {
            let message = "'suffix' cannot be given together with 'raw'.";
            Err(ApiError::invalid("suffix", "invalid_value", message))
        }
        Some(suffix) => Ok(Prompt::Infill {
            prefix: text,
            suffix,
        }),
        None if raw => Ok(Prompt::Text(text)),
        None => {
            let system = system.map(|system| Message::new(Role::System, system));
            let user = Message::new(Role::User, text);
            let messages: Vec<_> = system.into_iter().chain([user]).collect();
            Ok(Prompt::Chat(messages.into()))
        }
    }
}
