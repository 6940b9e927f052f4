//! What one choice says: drawn tokens in, events out.

use kwaainet_core::{CallDelta, Delta, Event, FinishReason};

use super::Request;
use super::draw::{Drawn, bytes_of};
use super::job::Job;
use crate::sampler::Sampler;
use crate::text_out::{Out, TextOut};
use crate::tokenizer::TextModel;
use crate::tools::{CallFormat, Caller};

/// The sampler of a choice, and its text on its way out.
pub(super) struct Voice {
    choice: u32,
    sampler: Sampler,
    text: TextOut,
    /// Takes calls out of the text, if there may be any.
    caller: Option<(CallFormat, Caller)>,
}

impl Voice {
    pub(super) fn new(choice: u32, request: &Request) -> Self {
        Self {
            choice,
            sampler: Sampler::new(&request.sampling, request.seed, choice),
            text: TextOut::new(request.stop.clone()),
            caller: request.calls.clone().map(|format| {
                let caller = Caller::new(&format, request.seed, &request.prompt, choice);
                (format, caller)
            }),
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
        let format = self.caller.as_ref().map(|(format, _)| format);
        let mark = format.and_then(|format| format.spelling(drawn.token, text));
        let bytes = mark.unwrap_or_else(|| bytes_of(drawn.token, text));
        let mut out = self.text.push(bytes, drawn.logprob);
        let calls = match &mut self.caller {
            Some((_, caller)) => caller.take(&mut out),
            None => Vec::new(),
        };
        let stopped = out.stopped || self.caller.as_ref().is_some_and(|(_, c)| c.is_over());
        self.send(out, 1, calls, job);
        let is_full = tokens.len() - job.prompt_len >= job.max_tokens;
        match (stopped, is_full) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Length),
            (false, false) => None,
        }
    }

    /// Says what was held back, and that it is over.
    pub(super) fn finish(mut self, mut reason: FinishReason, job: &Job) {
        let mut rest = std::mem::replace(&mut self.text, TextOut::new(Vec::new())).finish();
        let mut calls = Vec::new();
        if let Some((_, caller)) = &mut self.caller {
            calls = caller.finish(&mut rest);
            reason = caller.reason(reason);
        }
        self.send(rest, 0, calls, job);
        job.send(Event::Finished {
            choice: self.choice,
            reason,
        });
        job.choice_ended();
    }

    /// Sends what tokens have brought.
    fn send(&self, out: Out, tokens: u32, calls: Vec<CallDelta>, job: &Job) {
        if tokens > 0 || !out.text.is_empty() || !out.logprobs.is_empty() {
            job.send(Event::Delta(Delta {
                choice: self.choice,
                text: out.text,
                tokens,
                logprobs: out.logprobs,
            }));
        }
        for call in calls {
            job.send(Event::Call(call));
        }
    }
}
