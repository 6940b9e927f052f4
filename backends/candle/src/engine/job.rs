//! One request inside the engine: what its choices share.

use std::cell::Cell;

use kwaainet_core::{BackendError, Delta, Event, FinishReason, PrincipalId, Priority, Usage};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::Request;
use super::stream::Said;

/// At most so many times something is said for one choice in one step: the prompt's scores, what its
/// token brought, the rest that was held back with its end (or an error), and the end of all. One more
/// for each guessed token that was right.
const SAID_PER_STEP: usize = 4;
/// So far a reader may fall behind before its request is parked.
const SAID_MIN: usize = 32;

/// Places in a request's channel: for its start, and for a step of all of its choices, so that none
/// waits for the others.
pub(super) fn said_max(n: u32) -> usize {
    1 + SAID_MIN.max(SAID_PER_STEP * n as usize)
}

/// A request on its way to the thread.
pub(super) struct Ticket {
    pub(super) request: Request,
    pub(super) events: Sender<Result<Said, BackendError>>,
    pub(super) place: OwnedSemaphorePermit,
}

/// A request on the thread. It leaves when its last choice does.
pub(super) struct Job {
    pub(super) owner: PrincipalId,
    pub(super) priority: Priority,
    pub(super) prompt_len: usize,
    pub(super) max_tokens: usize,
    pub(super) logprobs: Option<u8>,
    /// The prompt's tokens have their log-probabilities, if those are wanted.
    scored: Cell<bool>,
    events: Sender<Result<Said, BackendError>>,
    unfinished: Cell<u32>,
    /// Tokens of the prompt that were not computed; unknown until it starts.
    cached_tokens: Cell<Option<u32>>,
    completion_tokens: Cell<u32>,
    /// How often something may be said in the step that is being planned.
    booked: Cell<usize>,
    _place: OwnedSemaphorePermit,
}

impl Job {
    pub(super) fn new(ticket: Ticket) -> (Self, Request) {
        let request = ticket.request;
        let job = Self {
            owner: request.owner.clone(),
            priority: request.priority,
            prompt_len: request.prompt.len(),
            max_tokens: request.max_tokens,
            logprobs: request.logprobs,
            scored: Cell::new(request.echo.is_none()),
            events: ticket.events,
            unfinished: Cell::new(request.n),
            cached_tokens: Cell::new(None),
            completion_tokens: Cell::new(0),
            booked: Cell::new(0),
            _place: ticket.place,
        };
        (job, request)
    }

    /// Whether nobody reads any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// Before a step is planned.
    pub(super) fn begin_plan(&self) {
        self.booked.set(0);
    }

    /// Whether there is room for what a choice says in a step.
    pub(super) fn has_room(&self) -> bool {
        self.events.capacity() >= SAID_PER_STEP
    }

    /// Lets one more choice take part in the step, if there is room for what it says too.
    pub(super) fn may_take_part(&self) -> bool {
        self.book(SAID_PER_STEP) == SAID_PER_STEP
    }

    /// Makes room for what guessed tokens bring, for as many as there is any.
    pub(super) fn book_guesses(&self, wanted: usize) -> usize {
        let left = self.events.capacity().saturating_sub(self.booked.get());
        self.book(wanted.min(left))
    }

    /// All of it or nothing.
    fn book(&self, said: usize) -> usize {
        let booked = self.booked.get() + said;
        if booked > self.events.capacity() {
            return 0;
        }
        self.booked.set(booked);
        said
    }

    /// The first choice has its memory: says how much of the prompt needs no computing.
    pub(super) fn started(&self, cached_tokens: usize) {
        if self.cached_tokens.get().is_some() {
            return;
        }
        // Of what was said elsewhere, some may be known too.
        let cached_tokens = cached_tokens.min(self.prompt_len) as u32;
        self.cached_tokens.set(Some(cached_tokens));
        self.send(vec![Event::Started {
            prompt_tokens: self.prompt_len as u32,
            cached_tokens,
        }]);
    }

    pub(super) fn count_token(&self) {
        self.completion_tokens.set(self.completion_tokens.get() + 1);
    }

    /// Whether the prompt is scored, if it is to be.
    pub(super) fn is_scored(&self) -> bool {
        self.scored.get()
    }

    /// The prompt is scored.
    pub(super) fn scored(&self) {
        self.scored.set(true);
    }

    /// Says what came together, in order.
    pub(super) fn send(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.say(Ok(Said::Events(events)));
        }
    }

    /// Says the same of every choice.
    pub(super) fn send_to_all(&self, delta: Delta) {
        self.say(Ok(Said::ToAll(delta)));
    }

    /// Ends the stream with an error.
    pub(super) fn fail(&self, error: BackendError) {
        self.say(Err(error));
    }

    /// There is room by plan; a reader who left is noticed before the next step.
    fn say(&self, said: Result<Said, BackendError>) {
        let sent = self.events.try_send(said);
        let is_full = matches!(sent, Err(TrySendError::Full(_)));
        debug_assert!(!is_full, "what is said in a step was booked");
    }

    /// Ends every choice of a request for no tokens.
    pub(super) fn end_unsaid(&self) {
        let end = |choice| Event::Finished {
            choice,
            reason: FinishReason::Length,
        };
        self.send((0..self.unfinished.get()).map(end).collect());
        self.unfinished.set(1);
        self.choice_ended();
    }

    /// One choice has ended; the last one ends the stream.
    pub(super) fn choice_ended(&self) {
        self.unfinished.set(self.unfinished.get() - 1);
        if self.unfinished.get() == 0 {
            self.send(vec![Event::Done(Usage {
                prompt_tokens: self.prompt_len as u32,
                cached_tokens: self.cached_tokens.get().unwrap_or_default(),
                completion_tokens: self.completion_tokens.get(),
            })]);
        }
    }
}
