//! What a choice says: token bytes in, text and log-probabilities out, in step with one another.
//!
//! A token's text may wait, for the rest of a character or because it could begin a stop text; its
//! log-probability waits with it. Joined, the bytes of all log-probabilities given out are the text
//! given out, except where a stop text or the end cut a token.

use std::collections::VecDeque;
use std::ops::Range;

use kwaainet_core::TokenLogprob;

use crate::detokenize::Detokenizer;
use crate::stop::{Stop, StopMatcher};

/// What one token released.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Out {
    /// Whole characters, to be appended.
    pub(crate) text: String,
    /// One for each token whose text has come out whole with this.
    pub(crate) logprobs: Vec<TokenLogprob>,
    /// Where in all of the text each of these tokens stands, in bytes.
    pub(crate) spans: Vec<Range<usize>>,
    /// This stop text came: nothing follows.
    pub(crate) stopped_by: Option<String>,
}

/// The text of one choice on its way out.
pub(crate) struct TextOut {
    detokenizer: Detokenizer,
    stops: StopMatcher,
    /// Bytes of text that were decoded, and how many of them were given out.
    decoded: usize,
    released: usize,
    /// Log-probabilities whose text is still on its way, in order.
    waiting: VecDeque<Waiting>,
}

/// A log-probability and where in the decoded text its token stands.
struct Waiting {
    logprob: TokenLogprob,
    start: usize,
    /// Unknown while the token's last character is incomplete.
    end: Option<usize>,
}

impl Waiting {
    /// Where its token stands in the text that was given out, and what it is.
    fn taken(self, released: usize) -> (Range<usize>, TokenLogprob) {
        let end = self.end.map_or(released, |end| end.min(released));
        (self.start..end, self.logprob)
    }
}

impl TextOut {
    /// For a choice that ends with one of these texts.
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self {
            detokenizer: Detokenizer::new(),
            stops: StopMatcher::new(stops),
            decoded: 0,
            released: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Takes the next token: its bytes, and its log-probability if those are asked for.
    pub(crate) fn push(&mut self, token_bytes: &[u8], logprob: Option<TokenLogprob>) -> Out {
        let text = self.detokenizer.push(token_bytes);
        // Characters that were incomplete before end with the first that is whole now.
        if let Some(first) = text.chars().next() {
            let end = self.decoded + first.len_utf8();
            for waiting in self.waiting.iter_mut().filter(|w| w.end.is_none()) {
                waiting.end = Some(end);
            }
        }
        let start = self.decoded;
        self.decoded += text.len();
        let whole = !self.detokenizer.is_waiting();
        self.waiting.extend(logprob.map(|logprob| Waiting {
            logprob,
            start,
            end: whole.then_some(self.decoded),
        }));
        match self.stops.push(&text) {
            Stop::Open { release } => self.release(release, false),
            Stop::Stopped { release, by } => Out {
                stopped_by: Some(by),
                ..self.release(release, true)
            },
        }
    }

    /// Gives out what is held back, when the choice has ended without a stop text.
    pub(crate) fn finish(mut self) -> Out {
        let stops = std::mem::replace(&mut self.stops, StopMatcher::new(Vec::new()));
        self.release(stops.finish(), true)
    }

    /// Gives out text and the tokens that are whole in it; as the last text, also a token of which
    /// only the first part is in it.
    fn release(&mut self, text: String, last: bool) -> Out {
        self.released += text.len();
        let released = self.released;
        let is_out = |waiting: &Waiting| {
            waiting.end.is_some_and(|end| end <= released) || (last && waiting.start < released)
        };
        let count = self
            .waiting
            .iter()
            .take_while(|waiting| is_out(waiting))
            .count();
        let (spans, logprobs) = self
            .waiting
            .drain(..count)
            .map(|w| w.taken(released))
            .unzip();
        Out {
            text,
            logprobs,
            spans,
            stopped_by: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::TopLogprob;

    fn logprob(bytes: &[u8]) -> TokenLogprob {
        TokenLogprob {
            chosen: TopLogprob {
                bytes: bytes.to_vec(),
                logprob: -1.0,
            },
            top: Vec::new(),
        }
    }

    /// For each token, and for the end, the text and the tokens that came out.
    fn run(stops: &[&str], tokens: &[&[u8]]) -> Vec<(String, Vec<Vec<u8>>)> {
        let mut out = TextOut::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let plain = |out: Out| {
            let bytes = out.logprobs.into_iter().map(|l| l.chosen.bytes).collect();
            (out.text, bytes)
        };
        let mut released = Vec::new();
        for token in tokens {
            let step = out.push(token, Some(logprob(token)));
            let stopped = step.stopped_by.is_some();
            released.push(plain(step));
            if stopped {
                return released;
            }
        }
        released.push(plain(out.finish()));
        released
    }

    fn step(text: &str, tokens: &[&[u8]]) -> (String, Vec<Vec<u8>>) {
        (
            text.to_owned(),
            tokens.iter().map(|token| token.to_vec()).collect(),
        )
    }

    #[test]
    fn a_token_comes_with_its_text() {
        let expected = [
            step("a", &[b"a"]),
            step("", &[b""]),
            step("bc", &[b"bc"]),
            step("", &[]),
        ];
        assert_eq!(run(&[], &[b"a", b"", b"bc"]), expected);
    }

    #[test]
    fn tokens_that_share_a_character_come_when_it_is_whole() {
        let expected = [
            step("x", &[]),
            step("", &[]),
            step("😀y", &[b"x\xF0\x9F", b"\x98", b"\x80y"]),
            step("", &[]),
        ];
        assert_eq!(run(&[], &[b"x\xF0\x9F", b"\x98", b"\x80y"]), expected);
    }

    #[test]
    fn a_character_without_an_end_is_dropped_with_the_tokens_that_are_only_in_it() {
        let expected = [step("x", &[]), step("", &[]), step("", &[b"x\xF0"])];
        assert_eq!(run(&[], &[b"x\xF0", b"\x9F"]), expected);
    }

    #[test]
    fn a_malformed_character_comes_with_its_tokens() {
        let expected = [
            step("", &[]),
            step("\u{FFFD}a", &[b"\xE2\x82", b"a"]),
            step("", &[]),
        ];
        assert_eq!(run(&[], &[b"\xE2\x82", b"a"]), expected);
    }

    #[test]
    fn held_back_text_brings_its_tokens_when_it_is_released() {
        let tokens: [&[u8]; 3] = [b"a S", b"TO", b"x"];
        let expected = [
            step("a ", &[]),
            step("", &[]),
            step("STOx", &[b"a S", b"TO", b"x"]),
            step("", &[]),
        ];
        assert_eq!(run(&["STOP"], &tokens), expected);
        let ended = run(&["STOP"], &tokens[..2]);
        assert_eq!(ended[2], step("STO", &[b"a S", b"TO"]));
    }

    #[test]
    fn tokens_of_a_stop_text_are_dropped_and_one_that_it_cuts_is_not() {
        let expected = [step("a ", &[]), step("", &[]), step("", &[b"a S"])];
        assert_eq!(run(&["STOP"], &[b"a S", b"TO", b"P b"]), expected);
        let expected = [step("a", &[b"a"]), step("", &[]), step("", &[])];
        assert_eq!(run(&["STOP"], &[b"a", b"ST", b"OP"]), expected);
    }

    #[test]
    fn text_does_not_depend_on_whether_log_probabilities_are_asked_for() {
        let tokens: [&[u8]; 5] = [b"x\xF0\x9F", b"\x98\x80 S", b"T", b"Q\xFF", b"\xC3"];
        let with: String = run(&["STOP"], &tokens)
            .into_iter()
            .map(|(text, _)| text)
            .collect();
        let mut out = TextOut::new(vec!["STOP".to_owned()]);
        let mut without: String = tokens.iter().map(|t| out.push(t, None).text).collect();
        without.push_str(&out.finish().text);
        assert_eq!(with, without);
        assert_eq!(with, "x😀 STQ\u{FFFD}");
    }
}
