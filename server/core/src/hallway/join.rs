//! The streams of several prompts as one.

use futures_util::stream::{self, SelectAll, StreamExt};

use crate::{Event, EventStream, Usage};

/// One stream out of one for each prompt: choices are renumbered, usage is added up, and the first
/// error ends all.
pub(super) fn join(mut parts: Vec<EventStream>, n: u32) -> EventStream {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut running = parts.len();
    let mut total = Usage::default();
    let merged: SelectAll<_> = parts
        .into_iter()
        .zip(0_u32..)
        .map(|(part, prompt)| part.map(move |event| event.map(|e| renumber(e, prompt * n))))
        .collect();
    let joined = merged.filter_map(move |event| {
        let event = match event {
            Ok(Event::Done(usage)) => {
                running -= 1;
                total = total.plus(usage);
                (running == 0).then_some(Ok(Event::Done(total)))
            }
            other => Some(other),
        };
        std::future::ready(event)
    });
    // After an error nothing may follow, and the other parts must stop.
    Box::pin(stream::unfold(Some(joined), |state| async {
        let mut joined = state?;
        let event = joined.next().await?;
        let rest = event.is_ok().then_some(joined);
        Some((event, rest))
    }))
}

fn renumber(event: Event, first: u32) -> Event {
    match event {
        Event::Delta(mut delta) => {
            delta.choice += first;
            Event::Delta(delta)
        }
        Event::Call(mut call) => {
            call.choice += first;
            Event::Call(call)
        }
        Event::Finished { choice, reason } => Event::Finished {
            choice: choice + first,
            reason,
        },
        other => other,
    }
}
