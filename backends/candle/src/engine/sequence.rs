//! One choice of a request: its tokens, its keys and values, and what it has said.

use std::rc::Rc;

use kwaainet_core::{Delta, Event, FinishReason, TokenLogprob, TopLogprob};
use kwaainet_decoder::KvCache;
use kwaainet_kernels::Pages;

use super::Request;
use super::job::Job;
use crate::sampler::{Sampler, log_probs};
use crate::text_out::TextOut;
use crate::tokenizer::TextModel;

/// Everything can be computed again from `tokens` alone, so the memory of a sequence may be taken
/// away at any time.
pub(super) struct Sequence {
    pub(super) job: Rc<Job>,
    /// Whose turn it is: the lower, the earlier.
    pub(super) order: u64,
    /// The prompt, then what was generated.
    pub(super) tokens: Vec<u32>,
    /// Of the first so many tokens.
    pub(super) kv: KvCache,
    /// Tokens that the step at hand computes.
    pub(super) take: usize,
    /// Left out of the step at hand because its reader is slow.
    pub(super) parked: bool,
    /// Set when it has said its last word.
    pub(super) finished: Option<FinishReason>,
    choice: u32,
    sampler: Sampler,
    text: TextOut,
}

impl Sequence {
    pub(super) fn new(
        job: Rc<Job>,
        order: u64,
        choice: u32,
        request: &Request,
        maker: &Pages,
    ) -> Self {
        Self {
            job,
            order,
            tokens: request.prompt.clone(),
            kv: KvCache::new(maker),
            take: 0,
            parked: false,
            finished: None,
            choice,
            sampler: Sampler::new(&request.sampling, request.seed, choice),
            text: TextOut::new(request.stop.clone()),
        }
    }

    /// Tokens that are to be computed before the next one can be drawn.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.kv.len()
    }

    /// Whether the step at hand reaches the last token.
    pub(super) fn wants_logits(&self) -> bool {
        self.take == self.pending()
    }

    /// Whether its keys and values hold the whole prompt.
    pub(super) fn has_prompt(&self) -> bool {
        self.kv.len() >= self.job.prompt_len
    }

    /// Tokens of the prompt among those that the step at hand computes.
    pub(super) fn prompt_tokens_taken(&self) -> usize {
        let end = self.kv.len() + self.take;
        end.min(self.job.prompt_len).saturating_sub(self.kv.len())
    }

    /// Draws the next token and says what it adds.
    pub(super) fn extend(&mut self, logits: &[f32], text: &TextModel) {
        let (prompt, generated) = self.tokens.split_at(self.job.prompt_len);
        let position = self.tokens.len() as u64;
        let token = self.sampler.sample(logits, prompt, generated, position);
        if text.is_end(token) {
            self.finished = Some(FinishReason::Stop);
            return;
        }
        let logprob = self
            .job
            .logprobs
            .map(|top| token_logprob(logits, token, top, text));
        self.tokens.push(token);
        self.job.count_token();
        let out = self.text.push(bytes_of(token, text), logprob);
        if out.stopped {
            self.finished = Some(FinishReason::Stop);
        } else if self.tokens.len() - self.job.prompt_len >= self.job.max_tokens {
            self.finished = Some(FinishReason::Length);
        }
        self.job.send(Event::Delta(Delta {
            choice: self.choice,
            text: out.text,
            tokens: 1,
            logprobs: out.logprobs,
        }));
    }

    /// Says what was held back, and that it is over.
    pub(super) fn finish(self, reason: FinishReason) {
        let rest = self.text.finish();
        if !rest.text.is_empty() || !rest.logprobs.is_empty() {
            self.job.send(Event::Delta(Delta {
                choice: self.choice,
                text: rest.text,
                tokens: 0,
                logprobs: rest.logprobs,
            }));
        }
        self.job.send(Event::Finished {
            choice: self.choice,
            reason,
        });
        self.job.choice_ended();
    }
}

fn token_logprob(logits: &[f32], token: u32, top: u8, text: &TextModel) -> TokenLogprob {
    let with_bytes = |token: u32, logprob: f32| TopLogprob {
        bytes: bytes_of(token, text).to_vec(),
        logprob,
    };
    let (logprob, best) = log_probs(logits, token, usize::from(top));
    TokenLogprob {
        chosen: with_bytes(token, logprob),
        top: best
            .into_iter()
            .map(|(token, logprob)| with_bytes(token, logprob))
            .collect(),
    }
}

fn bytes_of(token: u32, text: &TextModel) -> &[u8] {
    text.token_bytes(token).unwrap_or_default()
}
