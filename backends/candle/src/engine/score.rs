//! The log-probabilities of a prompt that is said first: which logits they need, and what is said of
//! them when.
//!
//! The first choice of a request scores for all of them, while it reads; the others begin when it is
//! done. What was said stays said: a sequence that loses its memory goes on where it was.

use std::ops::Range;

use kwaainet_core::{Delta, TokenLogprob, TopLogprob};
use kwaainet_kernels::Kernel;

use super::draw::token_logprob;
use crate::detokenize::Detokenizer;
use crate::tokenizer::{Spelled, TextModel};

/// A prompt on its way to being scored.
pub(super) struct Score {
    prompt: Spelled,
    /// Tokens that were scored; the first one needs nothing for it.
    done: usize,
    detokenizer: Detokenizer,
    /// What was not said yet, and how much of it ends with a whole character.
    text: String,
    logprobs: Vec<TokenLogprob>,
    whole: (usize, usize),
}

impl Score {
    /// Of a prompt with at least one token.
    pub(super) fn new(prompt: Spelled) -> Self {
        let mut score = Self {
            prompt,
            done: 0,
            detokenizer: Detokenizer::new(),
            text: String::new(),
            logprobs: Vec::new(),
            whole: (0, 0),
        };
        // Nothing comes before the first token that could make it probable.
        score.push(TokenLogprob {
            chosen: TopLogprob {
                bytes: Vec::new(),
                logprob: f32::NAN,
            },
            top: Vec::new(),
        });
        score
    }

    /// After which positions of `read` the logits are wanted: those before tokens that are not scored.
    pub(super) fn wanted(&self, read: Range<usize>) -> Range<usize> {
        let start = read.start.max(self.settled());
        start..read.end.min(self.prompt.len() - 1).max(start)
    }

    /// The first so many positions need not be computed by whoever scores.
    pub(super) fn settled(&self) -> usize {
        self.done - 1
    }

    /// Takes the score of the next token.
    pub(super) fn push(&mut self, mut scored: TokenLogprob) {
        let bytes = self.prompt.token(self.done);
        self.text += &self.detokenizer.push(bytes);
        scored.chosen.bytes = bytes.to_vec();
        self.logprobs.push(scored);
        self.done += 1;
        if self.is_over() && self.detokenizer.is_waiting() {
            // The prompt ends within a character.
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        if self.is_over() || !self.detokenizer.is_waiting() {
            self.whole = (self.text.len(), self.logprobs.len());
        }
    }

    /// What is new and whole, of whichever choice.
    pub(super) fn say(&mut self) -> Option<Delta> {
        let (text, logprobs) = std::mem::take(&mut self.whole);
        (logprobs > 0).then(|| Delta {
            text: self.text.drain(..text).collect(),
            logprobs: self.logprobs.drain(..logprobs).collect(),
            ..Delta::default()
        })
    }

    /// Whether the whole prompt is scored.
    pub(super) fn is_over(&self) -> bool {
        self.done == self.prompt.len()
    }
}

/// The scoring of one token: pure, so that many are scored at the same time.
pub(super) struct Scoring<'a> {
    /// The logits before it.
    pub(super) row: &'a [f32],
    pub(super) token: u32,
    /// How many alternatives are wanted.
    pub(super) top: u8,
    pub(super) scored: Option<TokenLogprob>,
}

impl Scoring<'_> {
    pub(super) fn score(&mut self, kernel: Kernel, text: &TextModel) {
        let scored = token_logprob(kernel, self.row, self.token, self.top, text);
        self.scored = Some(scored);
    }
}
