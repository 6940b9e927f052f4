//! One generation: the request, the wait for its first words, and the stream of its events.
//!
//! The stream owns the response, so dropping it closes the connection, and the upstream sees its
//! client leave.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use kwaainet_core::{BackendError, Event, EventStream, GenerateRequest, Prompt};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use tokio::time::{Instant, timeout_at};

use crate::errors::Asked;
use crate::request::GenerateBody;
use crate::sse::{SseParser, TooLong};
use crate::translate::Translator;
use crate::upstream::{Upstream, failed, within};

/// When all choices are complete, how long to wait for the usage and the end of the stream, from
/// then on and whatever else comes.
const END_WAIT_MAX: Duration = Duration::from_secs(1);

/// Sends the request and waits until the answer has its first words, so that an upstream that
/// fails until then can be replaced by another. `model` is the upstream's name.
pub(crate) async fn generate(
    upstream: &Arc<Upstream>,
    model: &str,
    request: &GenerateRequest,
) -> Result<EventStream, BackendError> {
    let asked = Asked {
        model: request.model.clone(),
        main: match request.prompt {
            Prompt::Chat(_) => "messages",
            Prompt::Text(_) | Prompt::Infill { .. } | Prompt::Tokens(_) => "prompt",
        },
        max_tokens: request.params.max_tokens_param,
        hidden: upstream.hidden(),
    };
    let (path, body) = GenerateBody::new(model, request)?;
    let tools = matches!(&request.prompt, Prompt::Chat(chat) if !chat.tools.is_empty());
    let begin = async {
        let response = upstream.post(path, &body, &asked).await?;
        if is_json(&response) {
            return Err(upstream.no_stream(response, &asked).await);
        }
        let mut reading = Reading {
            upstream: Arc::clone(upstream),
            response,
            parser: SseParser::default(),
            translator: Translator::new(request.params.n, request.params.logprobs, tools, asked),
            ready: VecDeque::new(),
        };
        // The wait as a whole is bounded below.
        let first = reading.next(Duration::MAX).await?;
        reading.ready.push_front(first);
        Ok(reading)
    };
    let mut reading = within(upstream.first_byte_timeout, "for its first words", begin).await??;
    // How many tokens the prompt has, the upstream tells only at the end.
    reading.ready.push_front(Event::Started {
        prompt_tokens: 0,
        cached_tokens: 0,
    });
    Ok(reading.into_events())
}

/// A server that sends one JSON value instead of a stream has something to say.
fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

/// An answer on its way.
struct Reading {
    upstream: Arc<Upstream>,
    response: Response,
    parser: SseParser,
    translator: Translator,
    /// Events that were read and not yet taken.
    ready: VecDeque<Event>,
}

/// One step of reading.
enum Step {
    Data(Vec<u8>),
    End,
}

impl Reading {
    fn into_events(self) -> EventStream {
        Box::pin(stream::unfold(Some(self), |state| async {
            let mut reading = state?;
            let wait_max = reading.upstream.idle_timeout;
            let event = reading.next(wait_max).await;
            let over = matches!(event, Ok(Event::Done(_)) | Err(_));
            Some((event, (!over).then_some(reading)))
        }))
    }

    /// The next event, if the data of each event of the wire comes within this time. Comments, with
    /// which servers keep connections open, are no data.
    async fn next(&mut self, wait_max: Duration) -> Result<Event, BackendError> {
        // Once all choices are complete there is one event left, so this call sees it to its end.
        let mut end = None;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let step = if self.translator.is_complete() {
                let end = *end.get_or_insert_with(|| Instant::now() + END_WAIT_MAX);
                let rest = timeout_at(end, self.step()).await;
                // The answer is whole. That its last line is missing is not the caller's problem.
                let rest = rest.unwrap_or(Ok(Step::End)).unwrap_or(Step::End);
                // What is there at once never times out.
                if Instant::now() < end {
                    rest
                } else {
                    Step::End
                }
            } else {
                within(wait_max, "for the rest of its answer", self.step()).await??
            };
            match step {
                Step::Data(data) => self.translator.take(&data, &mut self.ready)?,
                Step::End => return self.translator.done(),
            }
        }
    }

    /// The data of the next event of the wire. The caller bounds the time.
    async fn step(&mut self) -> Result<Step, BackendError> {
        loop {
            let mut data = self.parser.next_data().map_err(too_long)?;
            if data.is_none() {
                match self.upstream.chunk(&mut self.response).await? {
                    Some(bytes) => {
                        self.parser.feed(&bytes);
                        continue;
                    }
                    None => data = self.parser.finish().map_err(too_long)?,
                }
            }
            return Ok(match data {
                Some(data) if data.trim_ascii() != b"[DONE]" => Step::Data(data),
                _ => Step::End,
            });
        }
    }
}

fn too_long(error: TooLong) -> BackendError {
    failed(&error.to_string())
}
