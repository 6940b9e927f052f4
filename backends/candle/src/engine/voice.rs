//! What one choice says: drawn tokens in, events out.

use kwaainet_core::{Delta, Event, FinishReason};

use super::Request;
use super::draw::{Drawn, bytes_of};
use super::job::Job;
use crate::sampler::Sampler;
use crate::text_out::TextOut;
use crate::tokenizer::TextModel;

/// The sampler of a choice, and its text on its way out.
pub(super) struct Voice {
    choice: u32,
    sampler: Sampler,
    text: TextOut,
}

impl Voice {
    pub(super) fn new(choice: u32, request: &Request) -> Self {
        Self {
            choice,
            sampler: Sampler::new(&request.sampling, request.seed, choice),
            text: TextOut::new(request.stop.clone()),
        }
    }

    pub(super) fn sampler(&mut self) -> &mut Sampler {
        &mut self.sampler
    }

    /// Puts a drawn token behind `tokens` (prompt and answer so far) and says its text; gives the
    /// reason if it was the last.
    pub(super) fn say(
        &mut self,
        drawn: Drawn,
        tokens: &mut Vec<u32>,
        job: &Job,
        text: &TextModel,
    ) -> Option<FinishReason> {
        if text.is_end(drawn.token) {
            return Some(FinishReason::Stop);
        }
        tokens.push(drawn.token);
        job.count_token();
        let out = self.text.push(bytes_of(drawn.token, text), drawn.logprob);
        job.send(Event::Delta(Delta {
            choice: self.choice,
            text: out.text,
            tokens: 1,
            logprobs: out.logprobs,
        }));
        let is_full = tokens.len() - job.prompt_len >= job.max_tokens;
        match (out.stopped, is_full) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Length),
            (false, false) => None,
        }
    }

    /// Says what was held back, and that it is over.
    pub(super) fn finish(self, reason: FinishReason, job: &Job) {
        let rest = self.text.finish();
        if !rest.text.is_empty() || !rest.logprobs.is_empty() {
            job.send(Event::Delta(Delta {
                choice: self.choice,
                text: rest.text,
                tokens: 0,
                logprobs: rest.logprobs,
            }));
        }
        job.send(Event::Finished {
            choice: self.choice,
            reason,
        });
        job.choice_ended();
    }
}
