//! What the model says, as Ollama's lines. A chat and a continuation differ in where the text stands
//! and in calls, which come whole; all else is the same.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use kwaainet_core::{
    CallDelta, Clock, Event, FinishReason, Job, MeteredStream, Principal, TokenLogprob, ToolCall,
    TopLogprob, Usage,
};
use kwaainet_openapi::{
    OllamaCalled, OllamaChatAnswer, OllamaEnd, OllamaGenerateAnswer, OllamaLogprob, OllamaSaid,
    OllamaTokenLogprob, OllamaToolCall,
};
use serde_json::Map;

use super::{json, rfc3339};
use crate::door::stream::{self, Framing, Piece, Shape};
use crate::door::{ApiError, App};

/// Which of the two shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Chat,
    Generate,
}

/// How a job is answered.
pub(super) struct Answering {
    pub(super) form: Form,
    /// The model as it was asked for.
    pub(super) asked: String,
    pub(super) stream: bool,
    pub(super) logprobs: bool,
}

/// Does the job and answers it.
pub(super) async fn answer(
    app: &App,
    principal: Principal,
    job: Job,
    answering: Answering,
) -> Result<Response, ApiError> {
    let came = app.clock.monotonic();
    let events = app.hallway.generate(principal, job).await?;
    let accepted = app.clock.monotonic();
    let lines = Lines {
        head: Head {
            form: answering.form,
            asked: answering.asked,
            logprobs: answering.logprobs,
            clock: Arc::clone(&app.clock),
        },
        times: Times {
            came,
            accepted,
            first: None,
        },
        call: None,
        calls: 0,
        reason: FinishReason::Stop,
    };
    if answering.stream {
        return Ok(stream::respond(app, events, lines));
    }
    whole(app, events, lines).await
}

/// The answer in one piece.
async fn whole(app: &App, events: MeteredStream, lines: Lines) -> Result<Response, ApiError> {
    let Lines {
        head, mut times, ..
    } = lines;
    let served_by = stream::served_by(&events);
    let (mut choices, usage) = stream::collect(app, events, 1).await?;
    let choice = choices.pop().unwrap_or_default();
    times.first = choice.first;
    let reason = choice.reason.unwrap_or(FinishReason::Stop);
    let said = Said {
        text: choice.text,
        calls: (0_u32..)
            .zip(choice.calls)
            .filter_map(|(index, call)| wire_call(index, call))
            .collect(),
        logprobs: choice.logprobs,
    };
    let answer = head.answer(said, times.end(head.clock.as_ref(), reason, usage));
    Ok((served_by, answer).into_response())
}

/// A model that was loaded and asked nothing.
pub(super) fn loaded(app: &App, form: Form, asked: String) -> Response {
    let head = Head {
        form,
        asked,
        logprobs: false,
        clock: Arc::clone(&app.clock),
    };
    let end = OllamaEnd {
        done: true,
        done_reason: Some("load"),
        ..OllamaEnd::default()
    };
    head.answer(Said::default(), end)
}

/// What is new, or all of it.
#[derive(Default)]
struct Said {
    text: String,
    calls: Vec<OllamaToolCall>,
    logprobs: Vec<TokenLogprob>,
}

/// What all lines share.
struct Head {
    form: Form,
    asked: String,
    logprobs: bool,
    clock: Arc<dyn Clock>,
}

impl Head {
    fn answer(&self, said: Said, end: OllamaEnd) -> Response {
        match self.form {
            Form::Chat => json(&self.chat(said, end)),
            Form::Generate => json(&self.generate(said, end)),
        }
    }

    fn piece(&self, said: Said, end: OllamaEnd) -> Piece {
        match self.form {
            Form::Chat => Piece::json(&self.chat(said, end)),
            Form::Generate => Piece::json(&self.generate(said, end)),
        }
    }

    fn chat(&self, said: Said, end: OllamaEnd) -> OllamaChatAnswer {
        OllamaChatAnswer {
            model: self.asked.clone(),
            created_at: rfc3339(self.clock.unix_ms()),
            logprobs: self.wire_logprobs(said.logprobs),
            message: OllamaSaid {
                role: "assistant",
                content: said.text,
                tool_calls: said.calls,
            },
            end,
        }
    }

    fn generate(&self, said: Said, end: OllamaEnd) -> OllamaGenerateAnswer {
        OllamaGenerateAnswer {
            model: self.asked.clone(),
            created_at: rfc3339(self.clock.unix_ms()),
            response: said.text,
            logprobs: self.wire_logprobs(said.logprobs),
            end,
        }
    }

    fn wire_logprobs(&self, logprobs: Vec<TokenLogprob>) -> Option<Vec<OllamaLogprob>> {
        let token = |token: TopLogprob| OllamaTokenLogprob {
            token: String::from_utf8_lossy(&token.bytes).into_owned(),
            logprob: token.logprob,
            bytes: token.bytes,
        };
        (self.logprobs && !logprobs.is_empty()).then(|| {
            logprobs
                .into_iter()
                .map(|logprob| OllamaLogprob {
                    chosen: token(logprob.chosen),
                    top_logprobs: logprob.top.into_iter().map(token).collect(),
                })
                .collect()
        })
    }
}

/// When what happened, by the monotonic clock.
#[derive(Clone, Copy)]
struct Times {
    came: Duration,
    accepted: Duration,
    /// The first token.
    first: Option<Duration>,
}

impl Times {
    fn end(self, clock: &dyn Clock, reason: FinishReason, usage: Usage) -> OllamaEnd {
        let now = clock.monotonic();
        let first = self.first.unwrap_or(now);
        let ns = |from: Duration, to: Duration| {
            let took = to.saturating_sub(from).as_nanos();
            Some(u64::try_from(took).unwrap_or(u64::MAX))
        };
        OllamaEnd {
            done: true,
            done_reason: Some(match reason {
                // Ollama has no word for it: calls are seen.
                FinishReason::ToolCalls => "stop",
                reason => reason.as_str(),
            }),
            total_duration: ns(self.came, now),
            load_duration: ns(self.came, self.accepted),
            prompt_eval_count: Some(usage.prompt_tokens),
            prompt_eval_duration: ns(self.accepted, first),
            eval_count: Some(usage.completion_tokens),
            eval_duration: ns(first, now),
        }
    }
}

/// The answer as a stream of lines.
struct Lines {
    head: Head,
    times: Times,
    /// The call whose arguments are still coming.
    call: Option<ToolCall>,
    /// Calls that were said.
    calls: u32,
    reason: FinishReason,
}

impl Lines {
    fn line(&self, said: Said) -> Piece {
        self.head.piece(said, OllamaEnd::default())
    }

    fn call(&mut self, delta: CallDelta) -> Option<Piece> {
        let mut before = None;
        if let Some(start) = delta.start {
            before = self.end_call();
            self.call = Some(ToolCall {
                id: start.id,
                name: start.name,
                arguments: String::new(),
            });
        }
        if let Some(call) = &mut self.call {
            call.arguments.push_str(&delta.arguments);
        }
        before
    }

    fn end_call(&mut self) -> Option<Piece> {
        let call = wire_call(self.calls, self.call.take()?)?;
        self.calls += 1;
        let calls = vec![call];
        Some(self.line(Said {
            calls,
            ..Said::default()
        }))
    }
}

impl Shape for Lines {
    const FRAMING: Framing = Framing::Lines;

    fn start(&mut self) -> Vec<Piece> {
        Vec::new()
    }

    fn event(&mut self, event: Event) -> Vec<Piece> {
        if matches!(event, Event::Delta(_) | Event::Call(_)) && self.times.first.is_none() {
            self.times.first = Some(self.head.clock.monotonic());
        }
        let piece = match event {
            Event::Started { .. } => None,
            Event::Delta(delta) if delta.text.is_empty() && delta.logprobs.is_empty() => None,
            Event::Delta(delta) => Some(self.line(Said {
                text: delta.text,
                calls: Vec::new(),
                logprobs: delta.logprobs,
            })),
            Event::Call(delta) => self.call(delta),
            Event::Finished { reason, .. } => {
                self.reason = reason;
                self.end_call()
            }
            Event::Done(usage) => {
                let end = self.times.end(self.head.clock.as_ref(), self.reason, usage);
                Some(self.head.piece(Said::default(), end))
            }
        };
        piece.into_iter().collect()
    }

    fn error(&mut self, error: &ApiError) -> Vec<Piece> {
        vec![Piece::json(&super::error_body(error))]
    }
}

/// A whole call. One that was cut has no arguments that anybody could read and is left out; the
/// reason for the end tells of it.
fn wire_call(index: u32, call: ToolCall) -> Option<OllamaToolCall> {
    let arguments = match call.arguments.trim() {
        "" => Map::new(),
        arguments => serde_json::from_str(arguments).ok()?,
    };
    Some(OllamaToolCall {
        id: Some(call.id),
        function: OllamaCalled {
            index: Some(index),
            name: call.name,
            arguments,
        },
    })
}
