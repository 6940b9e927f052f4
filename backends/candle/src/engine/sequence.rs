//! One choice of a request: its tokens, its keys and values, and what it has said.

use std::rc::Rc;

use kwaainet_core::{Delta, Event, FinishReason};
use kwaainet_decoder::KvCache;
use kwaainet_kernels::Pages;

use super::Request;
use super::draw::{Draw, Drawn, bytes_of};
use super::job::Job;
use super::lookup::{Lookup, guess};
use crate::sampler::Sampler;
use crate::text_out::TextOut;
use crate::tokenizer::TextModel;

/// Everything can be computed again from `tokens` alone, so the memory of a sequence may be taken
/// away at any time.
pub(super) struct Sequence {
    pub(super) job: Rc<Job>,
    /// Who is preempted: the higher, the sooner. Given with the first memory, and kept.
    pub(super) seniority: Option<u64>,
    /// The prompt, then what was generated, then what is guessed for the step at hand.
    pub(super) tokens: Vec<u32>,
    /// Of the first so many tokens.
    pub(super) kv: KvCache,
    /// Tokens that the step at hand computes.
    pub(super) take: usize,
    /// Left out of the step at hand because its reader is slow.
    pub(super) parked: bool,
    /// Set when it has said its last word.
    pub(super) finished: Option<FinishReason>,
    /// How many of the last tokens are guesses.
    guessed: usize,
    lookup: Lookup,
    choice: u32,
    sampler: Sampler,
    text: TextOut,
}

/// What a step brought one sequence.
#[derive(Clone, Copy, Default)]
pub(super) struct Settled {
    pub(super) drawn: usize,
    pub(super) drafted: usize,
    pub(super) accepted: usize,
}

impl Sequence {
    pub(super) fn new(job: Rc<Job>, choice: u32, request: &Request, maker: &Pages) -> Self {
        Self {
            job,
            seniority: None,
            tokens: request.prompt.clone(),
            kv: KvCache::new(maker),
            take: 0,
            parked: false,
            finished: None,
            guessed: 0,
            lookup: Lookup::new(),
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

    /// After how many tokens of the step at hand the logits are wanted.
    pub(super) fn rows(&self) -> usize {
        if self.wants_logits() {
            1 + self.guessed
        } else {
            0
        }
    }

    /// Pages that the step at hand needs.
    pub(super) fn lacking(&self) -> usize {
        self.kv.lacking(self.kv.len() + self.take)
    }

    /// Tokens of the prompt among those that the step at hand computes.
    pub(super) fn prompt_tokens_taken(&self) -> usize {
        let end = self.kv.len() + self.take;
        end.min(self.job.prompt_len).saturating_sub(self.kv.len())
    }

    /// How many tokens are worth guessing. The last one that it may say is not: nothing comes of it.
    pub(super) fn guesses_wanted(&self) -> usize {
        let said = self.tokens.len() - self.job.prompt_len;
        let left = self.job.max_tokens.saturating_sub(said + 1);
        self.lookup.width().min(left)
    }

    /// Adds at most so many guessed tokens to the step at hand.
    pub(super) fn guess(&mut self, most: usize) {
        let guessed = guess(&self.tokens, most);
        if guessed.is_empty() {
            self.lookup.rest();
        }
        self.guessed = guessed.len();
        self.take += guessed.len();
        self.tokens.extend(guessed);
    }

    /// Takes the guesses back.
    pub(super) fn forget_guesses(&mut self) {
        self.tokens.truncate(self.tokens.len() - self.guessed);
        self.take -= self.guessed;
        self.guessed = 0;
    }

    /// The draws from the rows that the step at hand gave.
    pub(super) fn draw<'a>(&'a mut self, rows: &'a [f32]) -> Draw<'a> {
        Draw {
            sampler: &mut self.sampler,
            rows,
            tokens: &self.tokens,
            prompt: self.job.prompt_len,
            known: self.tokens.len() - self.guessed,
            logprobs: self.job.logprobs,
            drawn: Vec::new(),
        }
    }

    /// Says what was drawn, and forgets what was guessed wrong.
    pub(super) fn settle(&mut self, drawn: Vec<Drawn>, text: &TextModel) -> Settled {
        let known = self.tokens.len() - self.guessed;
        let guesses = self.tokens.split_off(known);
        let pairs = drawn.iter().zip(&guesses);
        let right = pairs.take_while(|(d, guess)| d.token == **guess).count();
        let settled = Settled {
            drawn: drawn.len(),
            drafted: guesses.len(),
            accepted: right,
        };
        for drawn in drawn {
            // A stop text may have come before the last of them.
            if self.finished.is_none() {
                self.say(drawn, text);
            }
        }
        if !guesses.is_empty() {
            self.kv.truncate((known + right).min(self.tokens.len()));
            self.lookup.learn(guesses.len(), right);
        }
        self.guessed = 0;
        settled
    }

    fn say(&mut self, drawn: Drawn, text: &TextModel) {
        if text.is_end(drawn.token) {
            self.finished = Some(FinishReason::Stop);
            return;
        }
        self.tokens.push(drawn.token);
        self.job.count_token();
        let out = self.text.push(bytes_of(drawn.token, text), drawn.logprob);
        if out.stopped_by.is_some() {
            self.finished = Some(FinishReason::Stop);
        } else if self.tokens.len() - self.job.prompt_len >= self.job.max_tokens {
            self.finished = Some(FinishReason::Length);
        }
        self.job.send(Event::Delta(Delta {
            choice: self.choice,
            text: out.text,
            tokens: 1,
            logprobs: out.logprobs,
            stopped_by: out.stopped_by,
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
                stopped_by: None,
            }));
        }
        self.job.send(Event::Finished {
            choice: self.choice,
            reason,
        });
        self.job.choice_ended();
    }
}
