//! Takes the calls out of what a choice says: text in, text and calls out.

use std::collections::VecDeque;

use kwaainet_core::{CallDelta, CallStart, FinishReason, TokenLogprob};

use super::CallFormat;
use super::call_id::CallIds;
use super::parser::{Parser, Piece};
use crate::text_out::Out;

/// The calls of one choice.
pub(crate) struct Caller {
    parser: Parser,
    ids: CallIds,
    choice: u32,
    /// Calls that were begun.
    begun: u32,
    /// Ends with its first call.
    one_only: bool,
    /// Bytes of the text that have been given out, or will never be.
    settled: usize,
    /// Log-probabilities of tokens that are not settled, in order.
    waiting: VecDeque<Waiting>,
}

/// A token's log-probability.
struct Waiting {
    logprob: TokenLogprob,
    /// Where in the text the token stands.
    start: usize,
    end: usize,
    /// Some of it was said as text.
    is_text: bool,
}

impl Caller {
    pub(crate) fn new(format: &CallFormat, seed: u64, prompt: &[u32], choice: u32) -> Self {
        Self {
            parser: format.parser(),
            ids: CallIds::new(seed, prompt, choice),
            choice,
            begun: 0,
            one_only: !format.parallel,
            settled: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Leaves in `out` what is text, with the log-probabilities of that; gives the calls.
    pub(crate) fn take(&mut self, out: &mut Out) -> Vec<CallDelta> {
        let pieces = self.parser.push(&out.text);
        self.sort(pieces, out)
    }

    /// Adds to `out`, the last text, what was held back.
    pub(crate) fn finish(&mut self, out: &mut Out) -> Vec<CallDelta> {
        let mut pieces = self.parser.push(&out.text);
        pieces.extend(self.parser.finish());
        self.sort(pieces, out)
    }

    /// Whether nothing more may be said.
    pub(crate) fn is_over(&self) -> bool {
        self.one_only && self.parser.whole() > 0
    }

    /// Why the choice ended, if its tokens ended for this reason.
    pub(crate) fn reason(&self, reason: FinishReason) -> FinishReason {
        match reason {
            FinishReason::Stop if self.parser.whole() > 0 => FinishReason::ToolCalls,
            reason => reason,
        }
    }

    fn sort(&mut self, pieces: Vec<Piece>, out: &mut Out) -> Vec<CallDelta> {
        let logprobs = out.logprobs.drain(..).zip(out.spans.drain(..));
        let waiting = logprobs.map(|(logprob, span)| Waiting {
            logprob,
            start: span.start,
            end: span.end,
            is_text: false,
        });
        self.waiting.extend(waiting);
        let mut text = String::new();
        let mut calls: Vec<CallDelta> = Vec::new();
        for piece in pieces {
            match piece {
                // One call it was to be.
                Piece::Call(_) if self.one_only && self.begun > 0 => break,
                Piece::Text(more) => {
                    self.settle(more.len(), true, &mut out.logprobs);
                    text.push_str(&more);
                }
                Piece::Silence(bytes) => self.settle(bytes, false, &mut out.logprobs),
                Piece::Call(name) => {
                    let start = CallStart {
                        id: self.ids.id(self.begun),
                        name,
                    };
                    calls.push(self.delta(self.begun, Some(start)));
                    self.begun += 1;
                }
                Piece::Arguments(more) => {
                    if calls.is_empty() {
                        calls.push(self.delta(self.begun.saturating_sub(1), None));
                    }
                    if let Some(call) = calls.last_mut() {
                        call.arguments.push_str(&more);
                    }
                }
                Piece::Whole => {}
            }
        }
        out.text = text;
        calls
    }

    fn delta(&self, index: u32, start: Option<CallStart>) -> CallDelta {
        CallDelta {
            choice: self.choice,
            index,
            start,
            arguments: String::new(),
        }
    }

    /// So many bytes more are text, or are not.
    fn settle(&mut self, bytes: usize, is_text: bool, logprobs: &mut Vec<TokenLogprob>) {
        let from = self.settled;
        self.settled += bytes;
        for waiting in &mut self.waiting {
            if waiting.start >= self.settled {
                break;
            }
            waiting.is_text |= is_text && waiting.end > from;
        }
        while let Some(first) = self.waiting.pop_front() {
            if first.end > self.settled {
                self.waiting.push_front(first);
                return;
            }
            if first.is_text {
                logprobs.push(first.logprob);
            }
        }
    }
}
