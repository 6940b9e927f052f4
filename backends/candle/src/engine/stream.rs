//! The reading end of a request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread::Thread;

use futures_util::Stream;
use kwaainet_core::{BackendError, Event};
use tokio::sync::mpsc::Receiver;

/// Passes events on. Wakes the engine when there is room again, and when it is dropped.
pub(super) struct Reader {
    inbox: Receiver<Result<Event, BackendError>>,
    engine: Thread,
    over: bool,
}

impl Reader {
    pub(super) fn new(inbox: Receiver<Result<Event, BackendError>>, engine: Thread) -> Self {
        Self {
            inbox,
            engine,
            over: false,
        }
    }
}

impl Stream for Reader {
    type Item = Result<Event, BackendError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let item = ready!(self.inbox.poll_recv(context)).unwrap_or_else(|| Err(broken_down()));
        self.over = matches!(item, Ok(Event::Done(_)) | Err(_));
        self.engine.unpark();
        Poll::Ready(Some(item))
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
