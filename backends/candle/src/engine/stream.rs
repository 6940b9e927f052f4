//! The reading end of a request.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread::Thread;

use futures_util::Stream;
use kwaainet_core::{BackendError, Delta, Event};
use tokio::sync::mpsc::Receiver;

/// What the thread says at once, in one place of the request's channel: what a token brought may be
/// any number of events.
pub(super) enum Said {
    /// These, in order.
    Events(Vec<Event>),
    /// This of every choice.
    ToAll(Delta),
}

impl Said {
    fn events(self, choices: u32) -> VecDeque<Event> {
        match self {
            Self::Events(events) => events.into(),
            Self::ToAll(delta) => (0..choices)
                .map(|choice| {
                    Event::Delta(Delta {
                        choice,
                        ..delta.clone()
                    })
                })
                .collect(),
        }
    }
}

/// Passes events on. Wakes the engine when there is room again, and when it is dropped.
pub(super) struct Reader {
    inbox: Receiver<Result<Said, BackendError>>,
    /// Taken out of the inbox, and not passed on yet.
    events: VecDeque<Event>,
    choices: u32,
    engine: Thread,
    over: bool,
}

impl Reader {
    /// Of a request for so many choices.
    pub(super) fn new(
        inbox: Receiver<Result<Said, BackendError>>,
        choices: u32,
        engine: Thread,
    ) -> Self {
        Self {
            inbox,
            events: VecDeque::new(),
            choices,
            engine,
            over: false,
        }
    }
}

impl Stream for Reader {
    type Item = Result<Event, BackendError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.over {
            if let Some(event) = self.events.pop_front() {
                self.over = matches!(event, Event::Done(_));
                return Poll::Ready(Some(Ok(event)));
            }
            let said = ready!(self.inbox.poll_recv(context)).unwrap_or_else(|| Err(broken_down()));
            self.engine.unpark();
            match said {
                Ok(said) => self.events = said.events(self.choices),
                Err(error) => {
                    self.over = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Closed first, so that the engine sees it when it wakes.
        self.inbox.close();
        self.engine.unpark();
    }
}

/// What is said when the engine's thread has ended.
pub(super) fn broken_down() -> BackendError {
    BackendError::Internal("the engine of this model has stopped".into())
}
