//! The draws of one sequence in one step: pure, so that many sequences draw at the same time.

use kwaainet_core::{TokenLogprob, TopLogprob};
use kwaainet_kernels::Kernel;

use crate::grammar::Mask;
use crate::sampler::{Sampler, log_probs};
use crate::tokenizer::TextModel;

/// What is drawn from.
pub(super) struct Draw<'a> {
    pub(super) sampler: &'a mut Sampler,
    /// For each row, what may be drawn; none where everything may.
    pub(super) masks: &'a [Mask],
    /// Logits after the last known token and after each guess.
    pub(super) rows: &'a [f32],
    /// Prompt, answer, guesses.
    pub(super) tokens: &'a [u32],
    /// How many tokens are the prompt's, and how many are no guesses.
    pub(super) prompt: usize,
    pub(super) known: usize,
    /// How many alternatives, if log-probabilities are wanted.
    pub(super) logprobs: Option<u8>,
    /// What came of it.
    pub(super) drawn: Vec<Drawn>,
}

/// A token that was drawn.
pub(super) struct Drawn {
    pub(super) token: u32,
    pub(super) logprob: Option<TokenLogprob>,
}

impl Draw<'_> {
    /// Draws for each position exactly as without guesses, as far as these are right.
    pub(super) fn draw(&mut self, kernel: Kernel, text: &TextModel) {
        let rows = self.rows.chunks_exact(text.vocab_len());
        for ((row, position), at) in rows.zip(self.known..).zip(0..) {
            let (prompt, generated) = self.tokens[..position].split_at(self.prompt);
            let (sampler, place) = (&self.sampler, position as u64);
            let token = match self.masks.get(at) {
                None => sampler.sample(kernel, row, prompt, generated, place),
                Some(mask) => {
                    sampler.sample_masked(kernel, row, mask.bits(), prompt, generated, place)
                }
            };
            let ends = text.is_end(token);
            let logprob = self.logprobs.filter(|_| !ends);
            self.drawn.push(Drawn {
                token,
                logprob: logprob.map(|top| token_logprob(kernel, row, token, top, text)),
            });
            if ends || self.tokens.get(position) != Some(&token) {
                return;
            }
        }
    }
}

/// The log-probability of one token, and of so many of the best.
pub(super) fn token_logprob(
    kernel: Kernel,
    logits: &[f32],
    token: u32,
    top: u8,
    text: &TextModel,
) -> TokenLogprob {
    let with_bytes = |token: u32, logprob: f32| TopLogprob {
        bytes: bytes_of(token, text).to_vec(),
        logprob,
    };
    let (logprob, best) = log_probs(kernel, logits, token, usize::from(top));
    TokenLogprob {
        chosen: with_bytes(token, logprob),
        top: best
            .into_iter()
            .map(|(token, logprob)| with_bytes(token, logprob))
            .collect(),
    }
}

/// The bytes of a token.
pub(super) fn bytes_of(token: u32, text: &TextModel) -> &[u8] {
    text.token_bytes(token).unwrap_or_default()
}
