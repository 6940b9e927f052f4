//! `POST /v1/completions`, the older endpoint that continues raw text.

mod answer;
mod best;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_core::{GenerateParams, Job, JobId, Principal, Priority, Prompt, Work};
use kwaainet_openapi::{Completion, CompletionEvent, CompletionPrompt, CompletionRequest};
use serde_json::Value;

use super::body::{self, ApiJson};
use super::constraints::Demands;
use super::format::format_fields;
use super::params::{self, IncludeUsage, sampling_fields};
use super::stream::{self, ServedBy};
use super::{ApiError, App, unsupported};
use answer::CompletionChunks;

/// OpenAI's default for this endpoint.
const MAX_TOKENS_DEFAULT: u32 = 16;
const LOGPROBS_MAX: i64 = 5;

/// Continues one text or several.
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "inference",
    operation_id = "createCompletion",
    request_body = CompletionRequest,
    responses((status = 200, description = "The continuations; with `stream`, pieces of them as server-sent events, and `[DONE]` as the last.",
        content(
            (Completion = "application/json"),
            (CompletionEvent = "text/event-stream"),
        )))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<CompletionRequest>,
) -> Result<Response, ApiError> {
    let asked = Asked::parse(request, demands, Priority::Interactive)?;
    match asked.stream {
        Some(include_usage) => {
            let chunks = asked.chunks(&app, include_usage);
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
) -> Result<(Completion, ServedBy), ApiError> {
    let mut answer = asked.chunks(app, IncludeUsage(true));
    let events = app.hallway.generate(principal, asked.job).await?;
    let served_by = stream::served_by(&events);
    let made = asked.prompts * asked.candidates;
    let (choices, usage) = stream::collect(app, events, made).await?;
    answer.took = served_by.footprint();
    let choices = best::best(choices, asked.candidates, asked.kept);
    Ok((answer.whole(choices, usage), served_by))
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
    prompts: usize,
    /// Continuations that are made of each prompt.
    candidates: usize,
    /// And how many of them are given.
    kept: usize,
    logprobs: bool,
    stream: Option<IncludeUsage>,
    /// Whether the usage says what it took of energy.
    carbon: bool,
}

impl Asked {
    fn parse(
        mut request: CompletionRequest,
        demands: Demands,
        priority: Priority,
    ) -> Result<Self, ApiError> {
        unsupported::check_completion(&request.other)?;
        let model = params::model(request.model.take())?;
        let carbon = demands.carbon(request.kwaai.as_ref());
        let constraints = demands.with(request.kwaai.take())?;
        let echo = request.echo.unwrap_or(false);
        let prompts = prompts(request.prompt.take())?;
        let prompts = with_suffix(prompts, request.suffix.take(), echo)?;
        let n = params::choices(request.n, prompts.len())?;
        let stream = params::streaming(request.stream, request.stream_options.take())?;
        let candidates = best::candidates(request.best_of, n, prompts.len(), stream.is_some())?;
        let logprobs = params::integer(request.logprobs, "logprobs", (0, LOGPROBS_MAX))?;
        let logprobs = logprobs.map(|top| top as u8);
        params::user(request.user.take())?;
        let params = GenerateParams {
            n: candidates,
            max_tokens: Some(max_tokens(request.max_tokens, echo)?),
            max_tokens_param: "max_tokens",
            stop: params::stop(request.stop.take())?,
            // Those who are compared are compared by their log-probabilities.
            logprobs: logprobs.or((candidates > n).then_some(0)),
            sampling: sampling_fields!(request).check()?,
            grammar: format_fields!(request).grammar()?,
            echo,
            priority,
        };
        Ok(Self {
            prompts: prompts.len(),
            candidates: usize::from(candidates),
            kept: usize::from(n),
            logprobs: logprobs.is_some(),
            stream,
            carbon,
            job: Job::new(JobId::random(), model, Work::Generate { prompts, params })
                .within(constraints),
        })
    }

    fn chunks(&self, app: &App, include_usage: IncludeUsage) -> CompletionChunks {
        CompletionChunks {
            id: format!("cmpl-{}", self.job.id),
            created: app.clock.unix_ms() / 1_000,
            model: self.job.model.clone(),
            include_usage,
            carbon: self.carbon,
            took: None,
            logprobs: self.logprobs,
            offsets: vec![0; self.prompts * self.kept],
        }
    }
}

/// Whoever only wants the prompt's log-probabilities needs no token.
fn max_tokens(value: Option<i64>, echo: bool) -> Result<u32, ApiError> {
    if echo && value == Some(0) {
        return Ok(0);
    }
    let value = params::max_tokens(value, "max_tokens")?;
    Ok(value.unwrap_or(MAX_TOKENS_DEFAULT))
}

fn prompts(prompt: Option<Value>) -> Result<Vec<Prompt>, ApiError> {
    let prompt = params::required(prompt, "prompt")?;
    let prompts = match serde_json::from_value(prompt) {
        Ok(CompletionPrompt::Text(text)) => vec![Prompt::Text(text)],
        Ok(CompletionPrompt::Texts(texts)) => texts.into_iter().map(Prompt::Text).collect(),
        Ok(CompletionPrompt::Tokens(ids)) => vec![Prompt::Tokens(ids)],
        Ok(CompletionPrompt::TokenLists(lists)) => lists.into_iter().map(Prompt::Tokens).collect(),
        Err(_) => {
            let message = "Invalid type for 'prompt': expected a string, an array of strings, an \
                           array of token ids, or an array of those.";
            return Err(ApiError::invalid("prompt", "invalid_type", message));
        }
    };
    if prompts.is_empty() {
        let message = "Invalid 'prompt': empty array. Expected at least one prompt.";
        return Err(ApiError::invalid("prompt", "empty_array", message));
    }
    Ok(prompts)
}

/// The gaps between the prompts and what comes after them.
fn with_suffix(
    prompts: Vec<Prompt>,
    suffix: Option<String>,
    echo: bool,
) -> Result<Vec<Prompt>, ApiError> {
    let Some(suffix) = suffix.filter(|suffix| !suffix.is_empty()) else {
        return Ok(prompts);
    };
    let refused = |param, message| ApiError::invalid(param, "invalid_value", message);
    if echo {
        let message = "'echo' and 'suffix' do not go together.";
        return Err(refused("echo", message));
    }
    let gap = |prompt| match prompt {
        Prompt::Text(prefix) => Ok(Prompt::Infill {
            prefix,
            suffix: suffix.clone(),
        }),
        _ => {
            let message = "'suffix' needs a prompt that is a text.";
            Err(refused("suffix", message))
        }
    };
    prompts.into_iter().map(gap).collect()
}
