//! A generation that is asked of a second backend too where the first takes long to answer. Whoever has a place
//! for it first does it; the other one is stopped before that one begins.

use std::time::Duration;

use tokio::time::sleep;

use crate::{Backend, BackendError, EventStream, GenerateRequest};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    First,
    Second,
}

/// Asks the first, and after a while the second to keep a place. What the first says, if it says anything before
/// the second has a place, is the answer. Otherwise it is what the second says when it begins.
pub(super) async fn ask(
    first: &dyn Backend,
    second: &dyn Backend,
    request: impl Fn() -> GenerateRequest,
    after: Duration,
) -> (By, Result<EventStream, BackendError>) {
    let mut asked = first.generate(request());
    tokio::select! {
        biased;
        answer = &mut asked => return (By::First, answer),
        () = sleep(after) => {}
    }
    let kept = tokio::select! {
        biased;
        answer = &mut asked => return (By::First, answer),
        kept = second.reserve(request()) => kept,
    };
    let Ok(place) = kept else {
        return (By::First, asked.await);
    };
    // Stopped before the other begins, so that no two do the same work.
    drop(asked);
    (By::Second, place.await)
}

#[cfg(test)]
mod tests;
