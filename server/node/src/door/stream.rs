//! Events out: collected into one answer, or sent on as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use futures_util::stream::{self, Stream, StreamExt};
use kwaainet_core::{
    AdmissionError, CallDelta, Course, Delta, Event, FinishReason, Footprint, MeteredStream, Place,
    ToolCall, Usage,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::footprint::{self, Figures};
use super::{ApiError, App};

/// Silence after which a comment is sent, so that proxies do not give up.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Carries whose machine answers: `local`, `upstream`, or a peer's id.
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("x-kwaai-served-by");

/// Carries the id of the job, under which its receipt and its footprint are kept.
pub(crate) const JOB: HeaderName = HeaderName::from_static("x-kwaai-job");

/// Carries how often another machine had to go on.
pub(crate) const CONTINUED: HeaderName = HeaderName::from_static("x-kwaai-continued");

/// Is there when one machine alone would have said something else.
pub(crate) const INEXACT: HeaderName = HeaderName::from_static("x-kwaai-inexact");

/// What an endpoint makes of a generation's events. One for each protocol.
pub(crate) trait Shape: Send + 'static {
    /// How its pieces are told apart.
    const FRAMING: Framing;

    /// What goes out before the first event.
    fn start(&mut self) -> Vec<Piece>;

    /// What goes out for an event. [`Event::Done`] is the last.
    fn event(&mut self, event: Event) -> Vec<Piece>;

    /// What the work took, said before [`Event::Done`], for who has asked for it.
    fn took(&mut self, _: Footprint) {}

    /// What goes out for an error, after which nothing follows.
    fn error(&mut self, error: &ApiError) -> Vec<Piece>;

    /// What goes out after a silence, if the protocol has something of its own for it.
    fn keep_alive(&self) -> Option<Piece> {
        None
    }
}

/// How the pieces of a streamed answer are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events (WHATWG HTML, section 9.2).
    Events,
    /// A line of JSON each.
    Lines,
}

/// A piece of a streamed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The name of a server-sent event.
    event: Option<&'static str>,
    data: String,
}

impl Piece {
    /// A value as JSON.
    pub(crate) fn json<T: Serialize>(value: &T) -> Self {
        let data = serde_json::to_string(value).expect("wire types have string keys only");
        Self { event: None, data }
    }

    /// A text that is no JSON; without line ends.
    pub(crate) fn text(text: &str) -> Self {
        let data = text.to_owned();
        Self { event: None, data }
    }

    /// Under this event's name.
    pub(crate) fn named(mut self, event: &'static str) -> Self {
        self.event = Some(event);
        self
    }

    /// What it says.
    #[cfg(test)]
    pub(crate) fn data(&self) -> &str {
        &self.data
    }

    fn framed(&self, framing: Framing) -> Bytes {
        match (framing, self.event) {
            (Framing::Lines, _) => format!("{}\n", self.data),
            (Framing::Events, None) => format!("data: {}\n\n", self.data),
            (Framing::Events, Some(event)) => format!("event: {event}\ndata: {}\n\n", self.data),
        }
        .into()
    }
}

/// Sends the events as they come; an error is the last of them.
pub(crate) fn respond<S: Shape>(app: &App, events: MeteredStream, mut shape: S) -> Response {
    let served_by = served_by(&events);
    let cut = app.cut.clone();
    let start = frames(&shape.start(), S::FRAMING);
    let told = Told {
        course: events.course(),
        continued: 0,
    };
    let live = stream::unfold(Some((events, shape, told)), move |state| {
        let cut = cut.clone();
        async move {
            let (mut events, mut shape, mut told) = state?;
            let event = match tokio::time::timeout(KEEP_ALIVE, next(&mut events, &cut)).await {
                Ok(event) => event?,
                Err(_) => {
                    let own = shape.keep_alive().map(|piece| piece.framed(S::FRAMING));
                    let bytes = own.unwrap_or_else(|| keep_alive(S::FRAMING));
                    return Some((bytes, Some((events, shape, told))));
                }
            };
            let over = matches!(event, Ok(Event::Done(_)) | Err(_));
            let footprint = over.then(|| told.course.stages().footprint).flatten();
            if let Some(footprint) = footprint {
                shape.took(footprint);
            }
            let pieces = match event {
                Ok(event) => shape.event(event),
                Err(error) => {
                    error.record();
                    shape.error(&error)
                }
            };
            let news = told.news(S::FRAMING, footprint);
            let rest = (!over).then_some((events, shape, told));
            let bytes = frames(&pieces, S::FRAMING);
            let bytes = match news {
                None => bytes,
                Some(news) => [news, bytes].concat().into(),
            };
            Some((bytes, rest))
        }
    });
    (
        served_by,
        streamed(S::FRAMING, stream::iter([start]).chain(live)),
    )
        .into_response()
}

/// The headers that say which job it was, whose machine answers, and how often another one had to go on, as of when the answer's
/// head is made.
pub(crate) struct ServedBy(Arc<Course>);

/// Says whose machine works on these events.
pub(crate) fn served_by(events: &MeteredStream) -> ServedBy {
    ServedBy(events.course())
}

impl ServedBy {
    /// Says whose machine has done what goes this way.
    pub(crate) fn of(course: Arc<Course>) -> Self {
        Self(course)
    }
}

impl IntoResponseParts for ServedBy {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let stages = self.0.stages();
        let place = stages.place.map(|place| match place {
            Place::Peer(peer) => HeaderValue::from_str(&peer.node.to_string()),
            place => Ok(HeaderValue::from_static(place.as_str())),
        });
        let headers = parts.headers_mut();
        if let Some(Ok(place)) = place {
            headers.insert(SERVED_BY, place);
        }
        let job = stages.job.map(|job| HeaderValue::from_str(job.as_str()));
        if let Some(Ok(job)) = job {
            headers.insert(JOB, job);
        }
        if stages.continued > 0 {
            headers.insert(CONTINUED, stages.continued.into());
        }
        if stages.inexact {
            headers.insert(INEXACT, HeaderValue::from_static("true"));
        }
        Figures(stages.footprint).into_response_parts(parts)
    }
}

impl ServedBy {
    /// What the work took, once it is over and where that is known.
    pub(crate) fn footprint(&self) -> Option<Footprint> {
        self.0.stages().footprint
    }
}

/// What the client of a stream was told of its course.
struct Told {
    course: Arc<Course>,
    continued: u32,
}

impl Told {
    /// Comments for whoever looks at the stream itself: when another machine went on since the last event, and at
    /// the end what the work took. Lines have no comments.
    fn news(&mut self, framing: Framing, footprint: Option<Footprint>) -> Option<Bytes> {
        if framing == Framing::Lines {
            return None;
        }
        let continued = self.course.continued();
        let moved = std::mem::replace(&mut self.continued, continued) != continued;
        let moved = moved.then(|| format!(": {CONTINUED} {continued}\n\n"));
        let took = footprint.map(|footprint| footprint::comment(&footprint));
        let news: String = moved.into_iter().chain(took).collect();
        (!news.is_empty()).then(|| news.into())
    }
}

/// A streamed answer of these bytes.
pub(crate) fn streamed(
    framing: Framing,
    body: impl Stream<Item = Bytes> + Send + 'static,
) -> Response {
    let body = body.filter(|bytes| std::future::ready(!bytes.is_empty()));
    let kind = match framing {
        Framing::Events => "text/event-stream",
        Framing::Lines => "application/x-ndjson",
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // Proxies would otherwise hold the answer back until it is whole.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    let body = Body::from_stream(body.map(Ok::<_, Infallible>));
    (headers, body).into_response()
}

/// The pieces on the wire.
pub(crate) fn frames(pieces: &[Piece], framing: Framing) -> Bytes {
    let frames: Vec<Bytes> = pieces.iter().map(|piece| piece.framed(framing)).collect();
    frames.concat().into()
}

/// Lines have no comments, so that silence stays silence there.
pub(crate) fn keep_alive(framing: Framing) -> Bytes {
    match framing {
        Framing::Events => Bytes::from_static(b": keep-alive\n\n"),
        Framing::Lines => Bytes::new(),
    }
}

/// One choice, complete.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) text: String,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) logprobs: Vec<kwaainet_core::TokenLogprob>,
    /// How many of `logprobs` belong to an echoed prompt.
    pub(crate) echoed: usize,
    pub(crate) reason: Option<FinishReason>,
    /// Generated, not echoed.
    pub(crate) tokens: u32,
    /// The stop text that ended it, where that is known.
    pub(crate) stopped_by: Option<String>,
    /// When its first token came, by the monotonic clock.
    pub(crate) first: Option<Duration>,
}

impl Collected {
    fn add(&mut self, delta: Delta, now: Duration) {
        self.tokens = self.tokens.saturating_add(delta.tokens);
        if self.tokens == 0 {
            self.echoed += delta.logprobs.len();
        }
        self.text.push_str(&delta.text);
        self.logprobs.extend(delta.logprobs);
        self.stopped_by = delta.stopped_by.or(self.stopped_by.take());
        self.first.get_or_insert(now);
    }

    fn add_call(&mut self, delta: CallDelta) {
        if let Some(start) = delta.start {
            self.calls.push(ToolCall {
                id: start.id,
                name: start.name,
                arguments: String::new(),
            });
        }
        if let Some(call) = self.calls.get_mut(delta.index as usize) {
            call.arguments.push_str(&delta.arguments);
        }
    }
}

/// The next event, or the end that the node has to put to it.
pub(crate) async fn next(
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
                    choice.add(delta, app.clock.monotonic());
                }
            }
            Event::Call(call) => {
                if let Some(choice) = collected.get_mut(call.choice as usize) {
                    choice.add_call(call);
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
        kwaai: None,
    }
}

/// Says under which conditions the same seed gives the same answer: this program's version.
pub(crate) fn fingerprint() -> String {
    format!("fp_kwaainet_{}", crate::VERSION.replace('.', "_"))
}
