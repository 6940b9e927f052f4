//! From token bytes to the text that a client may see: whole characters, nothing of a stop text,
//! and each log-probability together with the text of its token.

use std::collections::VecDeque;
use std::ops::Range;

use kwaainet_core::TokenLogprob;

/// The way out of one choice.
pub(super) struct TextOut {
    stops: Vec<String>,
    /// The beginning of a character.
    undecoded: Vec<u8>,
    /// Text that may be the beginning of a stop text.
    held: String,
    /// Bytes of text that went out before `held`.
    released: usize,
    waiting: VecDeque<Waiting>,
}

/// What one token lets out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Released {
    pub(super) text: String,
    pub(super) logprobs: Vec<TokenLogprob>,
    /// This stop text came: the choice is over.
    pub(super) stopped_by: Option<String>,
}

/// A log-probability whose token is not wholly out.
struct Waiting {
    start: usize,
    /// Unknown while the token ends inside a character.
    end: Option<usize>,
    logprob: TokenLogprob,
}

impl TextOut {
    pub(super) fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty());
        Self {
            stops: stops.cloned().collect(),
            undecoded: Vec::new(),
            held: String::new(),
            released: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Takes one token and gives what is now certain to be no part of a stop text.
    pub(super) fn push(&mut self, bytes: &[u8], logprob: Option<TokenLogprob>) -> Released {
        let start = self.released + self.held.len();
        self.decode(bytes);
        self.waiting.extend(logprob.map(|logprob| Waiting {
            start,
            end: None,
            logprob,
        }));
        if self.undecoded.is_empty() {
            let end = self.released + self.held.len();
            for token in &mut self.waiting {
                token.end.get_or_insert(end);
            }
        }
        match self.stop_place() {
            Some(place) => self.stop(place),
            None => self.release(self.certain()),
        }
    }

    /// Gives what was held for a stop text that did not come. Half a character is dropped.
    pub(super) fn finish(&mut self) -> Released {
        self.release(self.held.len())
    }

    fn decode(&mut self, bytes: &[u8]) {
        self.undecoded.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.undecoded);
        for chunk in bytes.utf8_chunks() {
            self.held.push_str(chunk.valid());
            match std::str::from_utf8(chunk.invalid()) {
                Ok(_) => {}
                // Only the last chunk can be the beginning of a character.
                Err(cut) if cut.error_len().is_none() => self.undecoded = chunk.invalid().to_vec(),
                Err(_) => self.held.push(char::REPLACEMENT_CHARACTER),
            }
        }
    }

    /// Where the stop text is that is complete first; the longest of those that end together.
    fn stop_place(&self) -> Option<Range<usize>> {
        let found = self.stops.iter().filter_map(|stop| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        found.min().map(|(end, start)| start..end)
    }

    /// How much of the held text cannot belong to a stop text any more.
    fn certain(&self) -> usize {
        let may_begin = |at: &usize| {
            let tail = &self.held[*at..];
            self.stops.iter().any(|stop| stop.starts_with(tail))
        };
        let mut starts = self.held.char_indices().map(|(at, _)| at);
        starts.find(may_begin).unwrap_or(self.held.len())
    }

    fn release(&mut self, length: usize) -> Released {
        let text: String = self.held.drain(..length).collect();
        self.released += length;
        let out = |token: &Waiting| token.end.is_some_and(|end| end <= self.released);
        let count = self.waiting.iter().take_while(|token| out(token)).count();
        Released {
            text,
            logprobs: self.waiting.drain(..count).map(|w| w.logprob).collect(),
            stopped_by: None,
        }
    }

    /// A token that lies half before the stop text is reported with the half that is seen.
    fn stop(&mut self, place: Range<usize>) -> Released {
        let stop = self.held[place.clone()].to_owned();
        self.held.truncate(place.start);
        let end = self.released + place.start;
        let seen = self.waiting.drain(..).filter(|token| token.start < end);
        Released {
            text: std::mem::take(&mut self.held),
            logprobs: seen.map(|token| token.logprob).collect(),
            stopped_by: Some(stop),
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

    /// Everything that comes out, the bytes of the reported tokens, and whether it stopped.
    fn run(stops: &[&str], pieces: &[&[u8]]) -> (String, Vec<u8>, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut out = TextOut::new(&stops);
        let (mut text, mut bytes) = (String::new(), Vec::new());
        let mut take = |released: Released| {
            text.push_str(&released.text);
            bytes.extend(released.logprobs.into_iter().flat_map(|l| l.chosen.bytes));
            released.stopped_by.is_some()
        };
        for piece in pieces {
            if take(out.push(piece, Some(logprob(piece)))) {
                return (text, bytes, true);
            }
        }
        take(out.finish());
        (text, bytes, false)
    }

    fn stopped(text: &str, bytes: &[u8]) -> (String, Vec<u8>, bool) {
        (text.to_owned(), bytes.to_vec(), true)
    }

    fn ended(text: &str) -> (String, Vec<u8>, bool) {
        (text.to_owned(), text.as_bytes().to_vec(), false)
    }

    #[test]
    fn a_stop_text_may_span_tokens_and_never_leaks() {
        assert_eq!(
            run(&["END"], &[b"a E", b"N", b"D z"]),
            stopped("a ", b"a E")
        );
        assert_eq!(run(&["END"], &[b"END"]), stopped("", b""));
        assert_eq!(run(&["aab"], &[b"a", b"a", b"a", b"b"]), stopped("a", b"a"));
    }

    #[test]
    fn what_only_looked_like_a_stop_text_is_not_lost() {
        assert_eq!(run(&["END"], &[b"a E", b"N"]), ended("a EN"));
        assert_eq!(run(&["END"], &[b"E", b"N", b"E", b"x"]), ended("ENEx"));
        assert_eq!(run(&[""], &[b"a"]), ended("a"));
    }

    #[test]
    fn the_stop_text_that_is_complete_first_wins() {
        assert_eq!(
            run(&["abcd", "bc"], &[b"xab", b"cd"]),
            stopped("xa", b"xab")
        );
        assert_eq!(run(&["b", "ab"], &[b"xab"]), stopped("x", b"xab"));
    }

    #[test]
    fn characters_are_whole() {
        let mut out = TextOut::new(&[]);
        assert_eq!(out.push(b"a\xE2", None).text, "a");
        assert_eq!(out.push(b"\x82", None).text, "");
        assert_eq!(out.push(b"\xACb", None).text, "€b");
        assert_eq!(out.push(b"\xFFc\xE2", None).text, "\u{FFFD}c");
        assert_eq!(out.finish(), Released::default());
    }

    #[test]
    fn a_log_probability_waits_for_the_last_byte_of_its_token() {
        assert_eq!(
            run(&[], &[b"a", b"\xE2\x82", b"\xAC", b"\xE2"]).1,
            "a€".as_bytes()
        );
        let mut out = TextOut::new(&["!!".to_owned()]);
        assert_eq!(out.push(b"a!", Some(logprob(b"a!"))).logprobs, []);
        let both = out.push(b"b", Some(logprob(b"b"))).logprobs;
        assert_eq!(both, [logprob(b"a!"), logprob(b"b")]);
    }
}
