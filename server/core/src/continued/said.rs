//! What was said so far, and from where it can be said again.

use std::collections::VecDeque;
use std::mem;

use crate::{BackendError, Delta, Event, GenerateParams, Resume, TokenLogprob};

/// The tokens and the last events of each choice. A choice can be resumed after any token behind which no
/// log-probability is held back; what was said after that point is computed again, compared and not repeated.
pub(super) struct Said {
    choices: Vec<Choice>,
    logprobs: bool,
    /// The first of the stream; it comes once.
    started: Option<Event>,
}

#[derive(Default)]
struct Choice {
    ids: Vec<u32>,
    /// Resumed after so many of them.
    from: usize,
    /// What was said after those.
    since: Vec<Event>,
    /// Tokens whose log-probability has not come out.
    held_back: usize,
    finished: bool,
    /// What is now said again.
    again: VecDeque<Event>,
}

impl Said {
    pub(super) fn new(params: &GenerateParams) -> Self {
        let choices = (0..params.n).map(|_| Choice::default()).collect();
        Self {
            choices,
            logprobs: params.logprobs.is_some(),
            started: None,
        }
    }

    /// Whether a reader could not tell another beginning from this one.
    pub(super) fn is_nothing(&self) -> bool {
        let silent = |choice: &Choice| choice.ids.is_empty() && choice.since.is_empty();
        self.choices
            .iter()
            .all(|choice| silent(choice) && !choice.finished)
    }

    /// Whether the next backend begins anew: at most the prompt was said.
    fn begins_anew(&self) -> bool {
        let silent = |choice: &Choice| choice.ids.is_empty() && !choice.finished;
        self.choices.iter().all(silent)
    }

    /// What the next backend is to be told; none if it begins anew.
    pub(super) fn resume(&self, exact: bool) -> Option<Resume> {
        if self.begins_anew() {
            return None;
        }
        let tokens = |choice: &Choice| match exact && !choice.finished {
            true => choice.ids[..choice.from].to_vec(),
            false => choice.ids.clone(),
        };
        let choices = self.choices.iter().map(tokens).collect();
        Some(Resume { choices })
    }

    /// Another backend goes on after `resume`.
    pub(super) fn goes_on(&mut self, exact: bool) {
        let anew = self.begins_anew();
        for choice in &mut self.choices {
            // The prompt is not said again where anything follows it.
            let again = anew || (exact && !choice.ids.is_empty());
            choice.again = match again && !choice.finished {
                true => choice.since.iter().cloned().collect(),
                false => VecDeque::new(),
            };
        }
    }

    /// Takes an event in; gives it back if it is new.
    ///
    /// # Errors
    /// When it is not what was said before in its place.
    pub(super) fn take(&mut self, event: Event) -> Result<Option<Event>, BackendError> {
        match event {
            Event::Started { .. } => Ok(self.start(event)),
            Event::Done(mut usage) => {
                // What the first backend had in its cache is what the reader was told.
                if let Some(Event::Started { cached_tokens, .. }) = self.started {
                    usage.cached_tokens = cached_tokens;
                }
                Ok(Some(Event::Done(usage)))
            }
            Event::Delta(Delta { choice, .. }) | Event::Finished { choice, .. } => {
                self.of_choice(choice, event)
            }
            Event::Call(ref call) => self.of_choice(call.choice, event),
        }
    }

    fn start(&mut self, event: Event) -> Option<Event> {
        let first = self.started.is_none();
        if first {
            self.started = Some(event.clone());
        }
        first.then_some(event)
    }

    fn of_choice(&mut self, choice: u32, event: Event) -> Result<Option<Event>, BackendError> {
        let logprobs = self.logprobs;
        let Some(choice) = self.choices.get_mut(choice as usize) else {
            let reason = "there is no such choice".into();
            return Err(BackendError::Upstream { reason });
        };
        if choice.finished {
            return Ok(None);
        }
        if let Some(before) = choice.again.pop_front() {
            return match same(&before, &event) {
                true => Ok(None),
                false => Err(BackendError::Upstream {
                    reason: "it does not say what was said before".into(),
                }),
            };
        }
        choice.keep(&event, logprobs);
        Ok(Some(event))
    }
}

impl Choice {
    fn keep(&mut self, event: &Event, logprobs: bool) {
        match event {
            Event::Delta(delta) => {
                if !delta.ids.is_empty() && self.held_back == 0 {
                    // Before this token, so that one at least is compared.
                    self.from = self.ids.len();
                    self.since.clear();
                }
                if delta.tokens > 0 && delta.ids.is_empty() {
                    // Nobody can go on after tokens that are not known; that something was said is enough.
                    self.since.clear();
                }
                self.ids.extend(&delta.ids);
                if logprobs && !self.ids.is_empty() {
                    let waiting = self.held_back + delta.ids.len();
                    self.held_back = waiting.saturating_sub(delta.logprobs.len());
                }
                self.since.push(event.clone());
            }
            Event::Call(_) => self.since.push(event.clone()),
            Event::Finished { .. } => {
                self.finished = true;
                self.since = Vec::new();
            }
            Event::Started { .. } | Event::Done(_) => {}
        }
    }
}

/// Whether two events are equal to the bit.
fn same(a: &Event, b: &Event) -> bool {
    match (a, b) {
        (Event::Delta(a), Event::Delta(b)) => {
            let bits = |delta: &Delta| -> Vec<u32> {
                let all = |one: &TokenLogprob| {
                    let top = one.top.iter().map(|top| top.logprob.to_bits());
                    std::iter::once(one.chosen.logprob.to_bits())
                        .chain(top)
                        .collect::<Vec<_>>()
                };
                delta.logprobs.iter().flat_map(all).collect()
            };
            let rest = |delta: &Delta| {
                let mut delta = delta.clone();
                mem::take(&mut delta.logprobs);
                delta
            };
            bits(a) == bits(b) && rest(a) == rest(b)
        }
        _ => a == b,
    }
}
