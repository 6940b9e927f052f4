//! What one choice says: drawn tokens in, events out.

use kwaainet_core::{BackendError, CallDelta, Delta, Event, FinishReason};

use super::Request;
use super::draw::{Drawn, bytes_of};
use super::job::Job;
use crate::grammar::{Compiled, Mask, Matching};
use crate::sampler::Sampler;
use crate::text_out::{Out, TextOut};
use crate::tokenizer::TextModel;
use crate::tools::{CallFormat, Caller};

/// The sampler of a choice, its place in the grammar, and its text on its way out.
pub(super) struct Voice {
    choice: u32,
    sampler: Sampler,
    matching: Option<Matching>,
    /// Of the step at hand, for each row that is drawn from; none without a grammar.
    masks: Vec<Mask>,
    /// Why the grammar cannot be kept to any further.
    fault: Option<BackendError>,
    text: TextOut,
    /// Takes calls out of the text, if there may be any.
    caller: Option<(CallFormat, Caller)>,
}

impl Voice {
    pub(super) fn new(choice: u32, request: &Request) -> Self {
        Self {
            choice,
            sampler: Sampler::new(&request.sampling, request.seed, choice),
            matching: request.grammar.as_ref().map(Compiled::start),
            masks: Vec::new(),
            fault: None,
            text: TextOut::new(request.stop.clone()),
            caller: request.calls.clone().map(|format| {
                let caller = Caller::new(&format, request.seed, &request.prompt, choice);
                (format, caller)
            }),
        }
    }

    /// What draws, and from which tokens for each row.
    pub(super) fn drawing(&mut self) -> (&mut Sampler, &[Mask]) {
        (&mut self.sampler, &self.masks)
    }

    /// Whether there is a grammar, whose masks take time.
    pub(super) fn is_bound(&self) -> bool {
        self.matching.is_some()
    }

    /// The tokens that have to come next by the grammar, as far as it is certain, cut in one way of
    /// several.
    pub(super) fn forced(&mut self) -> Vec<u32> {
        self.matching
            .as_mut()
            .map(Matching::forced)
            .unwrap_or_default()
    }

    /// How many of the guesses the grammar allows.
    pub(super) fn may_follow(&mut self, guesses: &[u32], text: &TextModel) -> usize {
        let Some(matching) = &mut self.matching else {
            return guesses.len();
        };
        let end = guesses.iter().position(|token| text.is_end(*token));
        matching.may_follow(&guesses[..end.unwrap_or(guesses.len())])
    }

    /// Finds out what may be drawn next, and after each of the guesses, which may follow.
    pub(super) fn make_masks(&mut self, guesses: &[u32]) {
        let Some(matching) = &mut self.matching else {
            return;
        };
        match matching.masks(guesses) {
            Ok(masks) => self.masks = masks,
            Err(fault) => self.fault = Some(fault),
        }
    }

    /// Finds out what may be drawn after all of the guesses.
    pub(super) fn make_mask_after(&mut self, guesses: &[u32]) {
        let mask = self.matching.as_mut().map(|m| m.mask_after(guesses));
        // What is wrong will be wrong with the masks of the next step too.
        self.masks = mask.and_then(Result::ok).into_iter().collect();
    }

    /// Whether it cannot go on; it says nothing any more.
    pub(super) fn is_broken(&self) -> bool {
        self.fault.is_some()
    }

    /// Why it cannot go on.
    pub(super) fn fault(self) -> Option<BackendError> {
        self.fault
    }

    /// Takes in what was said elsewhere, without a word; gives the reason if that was all.
    pub(super) fn replay(
        &mut self,
        begun: &[u32],
        tokens: &mut Vec<u32>,
        job: &Job,
        text: &TextModel,
    ) -> Option<FinishReason> {
        begun.iter().find_map(|&token| {
            let logprob = None;
            let (_, reason) = self.take(Drawn { token, logprob }, tokens, job, text);
            reason
        })
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
        let token = drawn.token;
        let (said, reason) = self.take(drawn, tokens, job, text);
        if let Some((out, calls)) = said {
            job.send(self.said(out, vec![token], calls));
        }
        reason
    }

    /// Puts a drawn token behind `tokens`; gives what it brings, and the reason if it was the last.
    fn take(
        &mut self,
        drawn: Drawn,
        tokens: &mut Vec<u32>,
        job: &Job,
        text: &TextModel,
    ) -> (Option<(Out, Vec<CallDelta>)>, Option<FinishReason>) {
        if text.is_end(drawn.token) {
            return (None, Some(FinishReason::Stop));
        }
        let complete = match self.matching.as_mut().map(|m| m.push(drawn.token)) {
            None => false,
            Some(Ok(complete)) => complete,
            Some(Err(fault)) => {
                self.fault = Some(fault);
                return (None, None);
            }
        };
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
        let stopped = complete
            || out.stopped_by.is_some()
            || self.caller.as_ref().is_some_and(|(_, c)| c.is_over());
        let is_full = tokens.len() - job.prompt_len >= job.max_tokens;
        let reason = match (stopped, is_full) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Length),
            (false, false) => None,
        };
        (Some((out, calls)), reason)
    }

    /// Says what was held back, and that it is over.
    pub(super) fn finish(mut self, mut reason: FinishReason, job: &Job) {
        let mut rest = std::mem::replace(&mut self.text, TextOut::new(Vec::new())).finish();
        let mut calls = Vec::new();
        if let Some((_, caller)) = &mut self.caller {
            calls = caller.finish(&mut rest);
            reason = caller.reason(reason);
        }
        let mut last = self.said(rest, Vec::new(), calls);
        last.push(Event::Finished {
            choice: self.choice,
            reason,
        });
        job.send(last);
        job.choice_ended();
    }

    /// What tokens have brought: text before calls.
    fn said(&self, out: Out, ids: Vec<u32>, calls: Vec<CallDelta>) -> Vec<Event> {
        let mut said = Vec::with_capacity(1 + calls.len());
        if !ids.is_empty() || !out.text.is_empty() || !out.logprobs.is_empty() {
            said.push(Event::Delta(Delta {
                choice: self.choice,
                text: out.text,
                tokens: ids.len() as u32,
                ids,
                logprobs: out.logprobs,
                stopped_by: out.stopped_by,
            }));
        }
        said.extend(calls.into_iter().map(Event::Call));
        said
    }
}
