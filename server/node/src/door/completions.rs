//! `POST /v1/completions`, the older endpoint that continues raw text.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_core::{
    Delta, Event, FinishReason, GenerateParams, Job, JobId, ModelId, Principal, Priority, Prompt,
    TokenLogprob, Usage, Work,
};
use kwaainet_openapi::{
    Completion, CompletionChoice, CompletionLogprobs, CompletionPrompt, CompletionRequest,
};
use serde_json::Value;

use super::body::{self, ApiJson};
use super::params::{self, IncludeUsage, sampling_fields};
use super::stream::{self, Framing, Piece, Shape};
use super::{ApiError, App, unsupported};

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
    responses((status = 200, description = "The continuations; with `stream`, pieces of them.",
        content(
            (Completion = "application/json"),
            (Completion = "text/event-stream"),
        )))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<CompletionRequest>,
) -> Result<Response, ApiError> {
    let asked = Asked::parse(request, Priority::Interactive)?;
    match asked.stream {
        Some(include_usage) => {
            let chunks = asked.chunks(&app, include_usage);
            let events = app.hallway.generate(principal, asked.job).await?;
            Ok(stream::respond(&app, events, chunks))
        }
        None => Ok(Json(whole(&app, principal, asked).await?).into_response()),
    }
}

/// The answer in one piece.
async fn whole(app: &App, principal: Principal, asked: Asked) -> Result<Completion, ApiError> {
    let mut chunks = asked.chunks(app, IncludeUsage(true));
    let events = app.hallway.generate(principal, asked.job).await?;
    let (collected, usage) = stream::collect(app, events, asked.choices).await?;
    let choices = (0_u32..).zip(collected).map(|(index, choice)| {
        let delta = Delta {
            choice: index,
            text: choice.text,
            tokens: 0,
            logprobs: choice.logprobs,
        };
        chunks.choice(delta, Some(choice.reason.unwrap_or(FinishReason::Stop)))
    });
    let choices = choices.collect();
    Ok(chunks.completion(choices, Some(usage)))
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
    choices: usize,
    logprobs: bool,
    stream: Option<IncludeUsage>,
}

impl Asked {
    fn chunks(&self, app: &App, include_usage: IncludeUsage) -> CompletionChunks {
        CompletionChunks {
            id: format!("cmpl-{}", self.job.id),
            created: app.clock.unix_ms() / 1_000,
            model: self.job.model.clone(),
            include_usage,
            logprobs: self.logprobs,
            offsets: vec![0; self.choices],
        }
    }

    fn parse(mut request: CompletionRequest, priority: Priority) -> Result<Self, ApiError> {
        unsupported::check_completion(&request.other)?;
        let model = params::model(request.model.take())?;
        let prompts = prompts(request.prompt.take())?;
        let n = params::choices(request.n, prompts.len())?;
        let logprobs = params::integer(request.logprobs, "logprobs", (0, LOGPROBS_MAX))?;
        let max_tokens = params::max_tokens(request.max_tokens, "max_tokens")?;
        params::user(request.user.take())?;
        let params = GenerateParams {
            n,
            max_tokens: Some(max_tokens.unwrap_or(MAX_TOKENS_DEFAULT)),
            max_tokens_param: "max_tokens",
            stop: params::stop(request.stop.take())?,
            logprobs: logprobs.map(|top| top as u8),
            sampling: sampling_fields!(request).check()?,
            priority,
            ..GenerateParams::default()
        };
        Ok(Self {
            choices: prompts.len() * usize::from(n),
            logprobs: logprobs.is_some(),
            stream: params::streaming(request.stream, request.stream_options)?,
            job: Job {
                id: JobId::random(),
                model,
                work: Work::Generate { prompts, params },
            },
        })
    }
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

struct CompletionChunks {
    id: String,
    created: i64,
    model: ModelId,
    include_usage: IncludeUsage,
    logprobs: bool,
    /// Characters sent so far, for each choice.
    offsets: Vec<u32>,
}

impl CompletionChunks {
    fn completion(&self, choices: Vec<CompletionChoice>, usage: Option<Usage>) -> Completion {
        Completion {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.model.to_string(),
            choices,
            system_fingerprint: stream::fingerprint(),
            usage: self.include_usage.0.then(|| usage.map(stream::usage)),
        }
    }

    fn choice(&mut self, delta: Delta, reason: Option<FinishReason>) -> CompletionChoice {
        let offset = &mut self.offsets[delta.choice as usize];
        let start = *offset;
        *offset += delta.text.chars().count() as u32;
        CompletionChoice {
            text: delta.text,
            index: delta.choice,
            logprobs: self.logprobs.then(|| wire_logprobs(delta.logprobs, start)),
            finish_reason: reason.map(FinishReason::as_str),
        }
    }
}

impl Shape for CompletionChunks {
    const FRAMING: Framing = Framing::Events;

    fn start(&mut self) -> Vec<Piece> {
        Vec::new()
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

impl CompletionChunks {
    fn delta(&mut self, delta: Delta) -> Option<Completion> {
        if delta.text.is_empty() && delta.logprobs.is_empty() {
            return None;
        }
        let choice = self.choice(delta, None);
        Some(self.completion(vec![choice], None))
    }

    fn finished(&mut self, choice: u32, reason: FinishReason) -> Completion {
        let last = Delta {
            choice,
            ..Delta::default()
        };
        let mut choice = self.choice(last, Some(reason));
        choice.logprobs = None;
        self.completion(vec![choice], None)
    }

    fn usage(&self, usage: Usage) -> Option<Completion> {
        self.include_usage
            .0
            .then(|| self.completion(Vec::new(), Some(usage)))
    }
}

fn wire_logprobs(logprobs: Vec<TokenLogprob>, start: u32) -> CompletionLogprobs {
    let mut wire = CompletionLogprobs::default();
    let mut offset = start;
    for token in logprobs {
        let text = String::from_utf8_lossy(&token.chosen.bytes).into_owned();
        wire.text_offset.push(offset);
        offset += text.chars().count() as u32;
        wire.tokens.push(text);
        wire.token_logprobs.push(token.chosen.logprob);
        let top = token.top.into_iter().map(|top| {
            let text = String::from_utf8_lossy(&top.bytes).into_owned();
            (text, top.logprob)
        });
        wire.top_logprobs.push(top.collect());
    }
    wire
}
