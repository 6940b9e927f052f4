//! The stream of one scripted generation. Pulled by its reader: nothing happens between polls.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream;
use kwaainet_core::{
    BackendError, CallDelta, CallStart, Delta, Event, EventStream, FinishReason, GenerateParams,
    TokenLogprob, TopLogprob, Usage,
};

use super::script::{Alive, Answer, Fault, Script};
use super::text_out::TextOut;
use super::vocab::NUMBERED;
use super::{pause, stir};

/// A prompt that was found to fit.
pub(super) struct Read {
    pub(super) tokens: u32,
    /// Its text in pieces, if it is to be said first.
    pub(super) echo: Vec<String>,
    /// Tokens that each choice may have.
    pub(super) room: u32,
}

/// All choices of one prompt, told in turns.
pub(super) fn stream(
    script: Arc<Script>,
    alive: Alive,
    params: GenerateParams,
    prompt: Read,
    begun: &[Vec<u32>],
) -> EventStream {
    let indices = 0..u32::from(params.n);
    let started = Event::Started {
        prompt_tokens: prompt.tokens,
        cached_tokens: 0,
    };
    let echo = |choice| echo(choice, &prompt.echo, params.logprobs);
    let mut generation = Generation {
        choices: indices.clone().map(|i| Choice::new(i, &params)).collect(),
        turn: 0,
        ready: std::iter::once(started)
            .chain(indices.flat_map(echo))
            .collect(),
        usage: Usage {
            prompt_tokens: prompt.tokens,
            ..Usage::default()
        },
        logprobs: params.logprobs,
        room: prompt.room,
        script,
        alive,
    };
    generation.replay(begun);
    Box::pin(stream::unfold(Some(generation), |state| async {
        let mut generation = state?;
        let event = generation.next().await;
        let over = matches!(event, Ok(Event::Done(_)) | Err(_));
        Some((event, (!over).then_some(generation)))
    }))
}

struct Generation {
    script: Arc<Script>,
    alive: Alive,
    choices: Vec<Choice>,
    /// Whose token is next.
    turn: usize,
    /// Events that were made and not yet read.
    ready: VecDeque<Event>,
    usage: Usage,
    logprobs: Option<u8>,
    room: u32,
}

struct Choice {
    index: u32,
    first_word: u32,
    tokens: u32,
    out: TextOut,
    over: bool,
}

impl Choice {
    fn new(index: u32, params: &GenerateParams) -> Self {
        let drawn = params
            .sampling
            .seed
            .filter(|_| params.sampling.temperature > 0.0);
        let first_word = drawn.map_or(0, |seed| {
            (stir(stir(seed) ^ u64::from(index)) % u64::from(NUMBERED)) as u32
        });
        Self {
            index,
            first_word,
            tokens: 0,
            out: TextOut::new(&params.stop),
            over: false,
        }
    }

    /// The bytes of its next token, if its answer goes on.
    fn piece(&self, answer: &Answer) -> Option<Vec<u8>> {
        match answer {
            Answer::Words(count) if self.tokens >= *count => None,
            Answer::Words(_) => {
                let word = (self.first_word + self.tokens) % NUMBERED;
                let gap = if self.tokens == 0 { "" } else { " " };
                Some(format!("{gap}w{word}").into_bytes())
            }
            Answer::Pieces(pieces) => pieces.get(self.tokens as usize).cloned(),
            Answer::Calls(_) => None,
        }
    }

    /// The part of a call that its next token is.
    fn call(&self, answer: &Answer) -> Option<CallDelta> {
        let Answer::Calls(calls) = answer else {
            return None;
        };
        let mut at = self.tokens as usize;
        for (index, call) in (0_u32..).zip(calls) {
            let delta = CallDelta {
                choice: self.index,
                index,
                ..CallDelta::default()
            };
            if at == 0 {
                let start = CallStart {
                    id: format!("call_scripted{}{index}", self.index),
                    name: call.name.clone(),
                };
                return Some(CallDelta {
                    start: Some(start),
                    ..delta
                });
            }
            if let Some(piece) = call.arguments.get(at - 1) {
                return Some(CallDelta {
                    arguments: piece.clone(),
                    ..delta
                });
            }
            at -= 1 + call.arguments.len();
        }
        None
    }
}

impl Generation {
    async fn next(&mut self) -> Result<Event, BackendError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            match &self.script.fault {
                Some(Fault::FailAfter { tokens, error })
                    if self.usage.completion_tokens >= *tokens =>
                {
                    return Err(error.clone());
                }
                Some(Fault::HangAfter { tokens }) if self.usage.completion_tokens >= *tokens => {
                    std::future::pending().await
                }
                _ => {}
            }
            let Some(at) = self.running() else {
                return Ok(Event::Done(self.usage));
            };
            pause(self.script.delay).await;
            self.step(at);
        }
    }

    /// Takes the steps that were taken elsewhere, without a word.
    fn replay(&mut self, begun: &[Vec<u32>]) {
        let first = self.ready.len();
        for (at, tokens) in begun.iter().enumerate() {
            while self.choices[at].tokens < tokens.len() as u32 && !self.choices[at].over {
                self.step(at);
            }
        }
        self.turn = 0;
        let is_end = |event: &Event| matches!(event, Event::Finished { .. });
        let said = self.ready.split_off(first);
        self.ready.extend(said.into_iter().filter(is_end));
    }

    /// One token of the choice whose turn it is, or its end.
    fn step(&mut self, at: usize) {
        self.turn = (at + 1) % self.choices.len();
        let choice = &mut self.choices[at];
        let mut delta = Delta {
            choice: choice.index,
            ..Delta::default()
        };
        let mut reason = None;
        let call = choice.call(&self.script.answer);
        let call = call.filter(|_| choice.tokens < self.room);
        let piece = choice.piece(&self.script.answer);
        if call.is_some() {
            choice.tokens += 1;
            self.usage.completion_tokens += 1;
            self.alive.count_token();
            delta.tokens = 1;
            delta.ids.push(choice.tokens);
        } else if let Some(bytes) = piece.filter(|_| choice.tokens < self.room) {
            choice.tokens += 1;
            self.usage.completion_tokens += 1;
            self.alive.count_token();
            let logprob = self.logprobs.map(|top| logprob(&bytes, top));
            let released = choice.out.push(&bytes, logprob);
            delta.tokens = 1;
            delta.ids.push(choice.tokens);
            delta.text = released.text;
            delta.logprobs = released.logprobs;
            reason = released.stopped_by.as_ref().map(|_| FinishReason::Stop);
            delta.stopped_by = released.stopped_by;
        } else if choice.tokens < self.room {
            reason = Some(match self.script.answer {
                Answer::Calls(_) => FinishReason::ToolCalls,
                Answer::Words(_) | Answer::Pieces(_) => FinishReason::Stop,
            });
        }
        if reason.is_none() && choice.tokens >= self.room {
            reason = Some(FinishReason::Length);
        }
        if reason.is_some() {
            let rest = choice.out.finish();
            delta.text.push_str(&rest.text);
            delta.logprobs.extend(rest.logprobs);
            choice.over = true;
        }
        let choice = choice.index;
        if delta.tokens > 0 || !delta.text.is_empty() {
            self.ready.push_back(Event::Delta(delta));
        }
        self.ready.extend(call.map(Event::Call));
        self.ready
            .extend(reason.map(|reason| Event::Finished { choice, reason }));
    }

    /// The next choice in turn that is not over.
    fn running(&self) -> Option<usize> {
        let count = self.choices.len();
        let mut order = (self.turn..count).chain(0..self.turn);
        order.find(|&at| !self.choices[at].over)
    }
}

/// The prompt as one choice says it: no token of it is generated, and nothing comes before the first.
fn echo(choice: u32, pieces: &[String], logprobs: Option<u8>) -> Vec<Event> {
    let delta = |(at, piece): (usize, &String)| {
        let logprob = logprobs.map(|top| match at {
            0 => TokenLogprob {
                chosen: TopLogprob {
                    bytes: piece.clone().into_bytes(),
                    logprob: f32::NAN,
                },
                top: Vec::new(),
            },
            _ => logprob(piece.as_bytes(), top),
        });
        Event::Delta(Delta {
            choice,
            text: piece.clone(),
            logprobs: logprob.into_iter().collect(),
            ..Delta::default()
        })
    };
    pieces.iter().enumerate().map(delta).collect()
}

/// The chosen token first, then words that no answer begins with.
fn logprob(bytes: &[u8], top: u8) -> TokenLogprob {
    let chosen = TopLogprob {
        bytes: bytes.to_vec(),
        logprob: -0.125,
    };
    let others = (1..u32::from(top.max(1))).map(|rank| TopLogprob {
        bytes: format!(" other{rank}").into_bytes(),
        logprob: -2.0 - rank as f32,
    });
    let top = std::iter::once(chosen.clone())
        .chain(others)
        .take(usize::from(top));
    TokenLogprob {
        top: top.collect(),
        chosen,
    }
}
