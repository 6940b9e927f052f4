//! One request inside the engine: what its choices share.

use std::cell::Cell;

use kwaainet_core::{BackendError, Event, PrincipalId, Priority, Usage};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;

use super::Request;

/// At most so many events leave for one choice in one step: its text, the rest that was held back,
/// its end, and the end of all; and the calls in that text, which are long, and of which several end in
/// one step only where a stop text held them back. More for each guessed token that was right.
const EVENTS_PER_STEP: usize = 8;
/// So far a reader may fall behind before its request is parked.
const EVENTS_MIN: usize = 32;

/// Places in a request's channel: for its start, and for a step of all of its choices, so that none
/// waits for the others.
pub(super) fn events_max(n: u32) -> usize {
    1 + EVENTS_MIN.max(EVENTS_PER_STEP * n as usize)
}

/// A request on its way to the thread.
pub(super) struct Ticket {
    pub(super) request: Request,
    pub(super) events: Sender<Result<Event, BackendError>>,
    pub(super) place: OwnedSemaphorePermit,
}

/// A request on the thread. It leaves when its last choice does.
pub(super) struct Job {
    pub(super) owner: PrincipalId,
    pub(super) priority: Priority,
    pub(super) prompt_len: usize,
    pub(super) max_tokens: usize,
    pub(super) logprobs: Option<u8>,
    /// Of a token that was guessed right: its text, and a call in it.
    events_per_guess: usize,
    events: Sender<Result<Event, BackendError>>,
    unfinished: Cell<u32>,
    /// Tokens of the prompt that were not computed; unknown until it starts.
    cached_tokens: Cell<Option<u32>>,
    completion_tokens: Cell<u32>,
    /// Events that may come of the step that is being planned.
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
            events_per_guess: if request.calls.is_some() { 2 } else { 1 },
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

    /// Whether there is room for the events of a choice.
    pub(super) fn has_room(&self) -> bool {
        self.events.capacity() >= EVENTS_PER_STEP
    }

    /// Lets one more choice take part in the step, if there is room for its events too.
    pub(super) fn may_take_part(&self) -> bool {
        self.book(EVENTS_PER_STEP) == EVENTS_PER_STEP
    }

    /// Makes room for the events of guessed tokens, for as many as there is any.
    pub(super) fn book_guesses(&self, wanted: usize) -> usize {
        let left = self.events.capacity().saturating_sub(self.booked.get());
        let most = wanted.min(left / self.events_per_guess);
        self.book(most * self.events_per_guess) / self.events_per_guess
    }

    /// All of them or none.
    fn book(&self, events: usize) -> usize {
        let booked = self.booked.get() + events;
        if booked > self.events.capacity() {
            return 0;
        }
        self.booked.set(booked);
        events
    }

    /// The first choice has its memory: says how much of the prompt needs no computing.
    pub(super) fn started(&self, cached_tokens: usize) {
        if self.cached_tokens.get().is_some() {
            return;
        }
        let cached_tokens = cached_tokens as u32;
        self.cached_tokens.set(Some(cached_tokens));
        self.send(Event::Started {
            prompt_tokens: self.prompt_len as u32,
            cached_tokens,
        });
    }

    pub(super) fn count_token(&self) {
        self.completion_tokens.set(self.completion_tokens.get() + 1);
    }

    /// Sends what there is room for by plan; a reader who left is noticed before the next step.
    pub(super) fn send(&self, event: Event) {
        let _ = self.events.try_send(Ok(event));
    }

    /// Ends the stream with an error.
    pub(super) fn fail(&self, error: BackendError) {
        let _ = self.events.try_send(Err(error));
    }

    /// One choice has ended; the last one ends the stream.
    pub(super) fn choice_ended(&self) {
        self.unfinished.set(self.unfinished.get() - 1);
        if self.unfinished.get() == 0 {
            self.send(Event::Done(Usage {
                prompt_tokens: self.prompt_len as u32,
                cached_tokens: self.cached_tokens.get().unwrap_or_default(),
                completion_tokens: self.completion_tokens.get(),
            }));
        }
    }
}
