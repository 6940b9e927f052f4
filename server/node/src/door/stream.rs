//! Events out: collected into one answer, or sent on as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use kwaainet_core::{AdmissionError, Delta, Event, FinishReason, MeteredStream, Usage};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{ApiError, App};

/// Silence after which a comment is sent, so that proxies do not give up.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What an endpoint makes of events: one shape for chat, one for completions.
pub(crate) trait Chunks: Send + 'static {
    /// What goes out for each event.
    type Chunk: Serialize;

    /// Chunks for the start of a stream with so many choices.
    fn start(&mut self) -> Vec<Self::Chunk>;

    /// The chunk for new text, if there is anything to say.
    fn delta(&mut self, delta: Delta) -> Option<Self::Chunk>;

    /// The chunk that ends a choice.
    fn finished(&mut self, choice: u32, reason: FinishReason) -> Self::Chunk;

    /// The chunk with the usage, if it was asked for.
    fn usage(&mut self, usage: Usage) -> Option<Self::Chunk>;
}

/// Sends the events as they come; an error is the last event.
pub(crate) fn respond<C: Chunks>(app: &App, events: MeteredStream, mut chunks: C) -> Response {
    let cut = app.cut.clone();
    let start: Vec<_> = chunks.start().iter().map(data).collect();
    let live = stream::unfold(Some((events, chunks)), move |state| {
        let cut = cut.clone();
        async move {
            let (mut events, mut chunks) = state?;
            let event = next(&mut events, &cut).await?;
            let (frames, ended) = frames(event, &mut chunks);
            let rest = (!ended).then_some((events, chunks));
            Some((stream::iter(frames), rest))
        }
    });
    let body = stream::iter(start).chain(live.flatten());
    let mut response = Sse::new(body.map(Ok::<_, Infallible>))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive"))
        .into_response();
    // Proxies would otherwise hold the answer back until it is whole.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

type Frame = axum::response::sse::Event;

fn frames<C: Chunks>(event: Result<Event, ApiError>, chunks: &mut C) -> (Vec<Frame>, bool) {
    match event {
        Ok(Event::Started { .. }) => (Vec::new(), false),
        Ok(Event::Delta(delta)) => (chunks.delta(delta).iter().map(data).collect(), false),
        Ok(Event::Finished { choice, reason }) => {
            (vec![data(&chunks.finished(choice, reason))], false)
        }
        Ok(Event::Done(usage)) => {
            let mut frames: Vec<_> = chunks.usage(usage).iter().map(data).collect();
            frames.push(Frame::default().data("[DONE]"));
            (frames, true)
        }
        Err(error) => {
            error.record();
            (vec![data(&error.body())], true)
        }
    }
}

fn data<T: Serialize>(value: &T) -> Frame {
    let json = serde_json::to_string(value).expect("wire types have string keys only");
    Frame::default().data(json)
}

/// One choice, complete.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) text: String,
    pub(crate) logprobs: Vec<kwaainet_core::TokenLogprob>,
    pub(crate) reason: Option<FinishReason>,
}

/// The next event, or the end that the node has to put to it.
async fn next(
    events: &mut MeteredStream,
    cut: &CancellationToken,
) -> Option<Result<Event, ApiError>> {
    tokio::select! {
        event = events.next() => event.map(|event| event.map_err(ApiError::from)),
        () = cut.cancelled() => Some(Err(AdmissionError::Draining.into())),
    }
}

/// Waits for the end and gives each choice whole.
pub(crate) async fn collect(
    app: &App,
    mut events: MeteredStream,
    choices: usize,
) -> Result<(Vec<Collected>, Usage), ApiError> {
    let mut collected: Vec<Collected> = Vec::new();
    collected.resize_with(choices, Collected::default);
    while let Some(event) = next(&mut events, &app.cut).await {
        match event? {
            Event::Started { .. } => {}
            Event::Delta(delta) => {
                if let Some(choice) = collected.get_mut(delta.choice as usize) {
                    choice.text.push_str(&delta.text);
                    choice.logprobs.extend(delta.logprobs);
                }
            }
            Event::Finished { choice, reason } => {
                if let Some(choice) = collected.get_mut(choice as usize) {
                    choice.reason = Some(reason);
                }
            }
            Event::Done(usage) => return Ok((collected, usage)),
        }
    }
    Err(ApiError::internal("the stream ended without saying so"))
}

/// OpenAI's usage object.
pub(crate) fn usage(usage: Usage) -> kwaainet_openapi::Usage {
    kwaainet_openapi::Usage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        total_tokens: usage.prompt_tokens.saturating_add(usage.completion_tokens),
        prompt_tokens_details: kwaainet_openapi::PromptTokensDetails {
            cached_tokens: usage.cached_tokens,
            audio_tokens: 0,
        },
        completion_tokens_details: kwaainet_openapi::CompletionTokensDetails {
            reasoning_tokens: 0,
            audio_tokens: 0,
            accepted_prediction_tokens: 0,
            rejected_prediction_tokens: 0,
        },
    }
}

/// Says under which conditions the same seed gives the same answer: this program's version.
pub(crate) fn fingerprint() -> String {
    format!("fp_kwaainet_{}", crate::VERSION.replace('.', "_"))
}
