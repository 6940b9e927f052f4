//! Events that go into one frame: those that are there, none that is waited for.

use kwaainet_core::{CallDelta, Delta, Event};

use super::super::wire::says::{Events, say};
use super::super::wire::{event, list};

/// From so many bytes or events on a frame is full: a slow line has to carry it well within a second.
const BYTES_FULL: usize = 16 << 10;
const EVENTS_FULL: usize = 256;
/// Bytes of text and log-probabilities of one event; more are cut into several.
const TEXT_MAX: usize = 128 << 10;
const LOGPROBS_MAX: usize = 256;

/// The next frame.
#[derive(Default)]
pub(super) struct Batch {
    seq: u64,
    events: Vec<u8>,
    count: usize,
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= BYTES_FULL || self.count >= EVENTS_FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds an event, which is not the end of all.
    pub(super) fn add(&mut self, event: Event) {
        if let Ok(said) = event::write(event) {
            list::add(&mut self.events, &said);
            self.count += 1;
        }
    }

    /// The frame, after which the next one is begun.
    pub(super) fn take(&mut self) -> say::Kind {
        let seq = self.seq;
        self.seq += 1;
        self.count = 0;
        let events = std::mem::take(&mut self.events);
        say::Kind::Events(Events { seq, events })
    }
}

/// The event, in several if it is too long for a frame: an echoed prompt is as long as a context.
pub(super) fn pieces(event: Event) -> Vec<Event> {
    let mut pieces = Vec::new();
    let rest = match event {
        Event::Delta(mut delta) => {
            while delta.text.len() > TEXT_MAX || delta.logprobs.len() > LOGPROBS_MAX {
                let text = delta.text.floor_char_boundary(TEXT_MAX);
                let later = delta.text.split_off(text);
                let logprobs = delta.logprobs.len().min(LOGPROBS_MAX);
                pieces.push(Event::Delta(Delta {
                    choice: delta.choice,
                    text: std::mem::replace(&mut delta.text, later),
                    logprobs: delta.logprobs.drain(..logprobs).collect(),
                    ..Delta::default()
                }));
            }
            Event::Delta(delta)
        }
        Event::Call(mut call) => {
            while call.arguments.len() > TEXT_MAX {
                let cut = call.arguments.floor_char_boundary(TEXT_MAX);
                let later = call.arguments.split_off(cut);
                pieces.push(Event::Call(CallDelta {
                    start: call.start.take(),
                    arguments: std::mem::replace(&mut call.arguments, later),
                    ..call
                }));
            }
            Event::Call(call)
        }
        other => other,
    };
    pieces.push(rest);
    pieces
}
