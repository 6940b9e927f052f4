//! One choice of a request: its tokens, its keys and values, and what it has said.

use std::mem;
use std::ops::Range;
use std::rc::Rc;

use kwaainet_core::{FinishReason, TokenLogprob};
use kwaainet_decoder::{KvCache, Part};
use kwaainet_kernels::Pages;

use super::Request;
use super::draw::{Draw, Drawn};
use super::job::Job;
use super::lookup::guess;
use super::masking::Masking;
use super::score::{Score, Scoring};
use super::trust::Trust;
use super::voice::Voice;
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
    /// The draft model's, of the first so many tokens; none before it was asked.
    pub(super) draft: Option<KvCache>,
    /// Tokens that the step at hand computes.
    pub(super) take: usize,
    /// Tokens that the draft model is asked for.
    pub(super) asked: usize,
    /// Left out of the step at hand because its reader is slow.
    pub(super) parked: bool,
    /// Set when it has said its last word.
    pub(super) finished: Option<FinishReason>,
    /// How many of the last tokens are guesses.
    guessed: usize,
    /// Whose they are.
    guesser: Guesser,
    lookup: Trust,
    drafting: Trust,
    voice: Voice,
    /// What the grammar leaves no choice about.
    forced: Vec<u32>,
    /// Of the prompt, while it is to be scored here.
    score: Option<Score>,
}

/// Rows of logits.
#[derive(Clone, Copy, Default)]
pub(super) struct Rows {
    /// From which prompt tokens are scored.
    pub(super) scored: usize,
    /// From which the next tokens are drawn.
    pub(super) drawn: usize,
}

/// Who guesses.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Guesser {
    #[default]
    Lookup,
    Draft,
    /// The grammar, which needs no trust.
    Grammar,
}

/// What a step brought one sequence.
#[derive(Clone, Copy, Default)]
pub(super) struct Settled {
    pub(super) guesser: Guesser,
    pub(super) drawn: usize,
    pub(super) drafted: usize,
    pub(super) accepted: usize,
}

impl Sequence {
    pub(super) fn new(
        job: Rc<Job>,
        choice: u32,
        request: &Request,
        maker: &Pages,
        text: &TextModel,
    ) -> Self {
        let mut voice = Voice::new(choice, request);
        let mut tokens = request.prompt.clone();
        let begun = request.begun.get(choice as usize);
        let finished = begun.and_then(|begun| voice.replay(begun, &mut tokens, &job, text));
        Self {
            job,
            seniority: None,
            tokens,
            kv: KvCache::new(maker),
            draft: None,
            take: 0,
            asked: 0,
            parked: false,
            finished,
            guessed: 0,
            guesser: Guesser::default(),
            lookup: Trust::new(),
            drafting: Trust::new(),
            voice,
            forced: Vec::new(),
            score: request.echo.clone().filter(|_| choice == 0).map(Score::new),
        }
    }

    /// Whether it has something to do, for which its reader has room.
    pub(super) fn may_begin(&self) -> bool {
        self.job.has_room() && (self.job.is_scored() || self.score.is_some())
    }

    /// Whether it scores its prompt.
    pub(super) fn is_scoring(&self) -> bool {
        self.score.is_some()
    }

    /// The tokens that need not be computed if somebody has computed them: all but the last, and
    /// none whose logits are wanted.
    pub(super) fn knowable(&self) -> &[u32] {
        let most = self.tokens.len() - 1;
        let settled = self.score.as_ref().map_or(most, Score::settled);
        &self.tokens[..most.min(settled)]
    }

    /// Tokens that are to be computed before the next one can be drawn.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.kv.len()
    }

    /// Whether the step at hand reaches the last token.
    pub(super) fn wants_logits(&self) -> bool {
        self.take == self.pending()
    }

    /// After how many of the last tokens of the step at hand the logits are wanted.
    pub(super) fn rows(&self) -> Rows {
        let drawn = 1 + self.guessed;
        Rows {
            scored: self.unscored(self.take).len(),
            drawn: if self.wants_logits() { drawn } else { 0 },
        }
    }

    /// Of the next so many tokens, those after which the next is scored.
    fn unscored(&self, next: usize) -> Range<usize> {
        let start = self.kv.len();
        let score = self.score.as_ref();
        score.map_or(start..start, |score| score.wanted(start..start + next))
    }

    /// Prompt tokens that are still to be scored.
    pub(super) fn left_to_score(&self) -> usize {
        self.unscored(self.pending()).len()
    }

    /// How many tokens may be computed so that at most so many are scored.
    pub(super) fn readable(&self, scored: usize) -> usize {
        let unscored = self.unscored(self.pending());
        if unscored.len() <= scored {
            return self.pending();
        }
        unscored.start + scored - self.kv.len()
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

    /// Finds out what the grammar leaves no choice about; at most so many tokens.
    pub(super) fn look_ahead(&mut self, most: usize) {
        self.forced = self.voice.forced();
        self.forced.truncate(most);
    }

    /// How many tokens are worth guessing. The last one that it may say is not: nothing comes of it.
    pub(super) fn guesses_wanted(&self, has_draft: bool) -> usize {
        let said = self.tokens.len() - self.job.prompt_len;
        let left = self.job.max_tokens.saturating_sub(said + 1);
        let drafting = if has_draft { self.drafting.width() } else { 0 };
        let width = self.lookup.width().max(drafting).max(self.forced.len());
        width.min(left)
    }

    /// Adds at most so many guessed tokens to the step at hand: what is found in the text; where
    /// nothing is, the draft model is asked.
    pub(super) fn guess(&mut self, most: usize, has_draft: bool) {
        let mut found = mem::take(&mut self.forced);
        found.truncate(most);
        self.guesser = Guesser::Grammar;
        if found.is_empty() {
            found = guess(&self.tokens, most.min(self.lookup.width()));
            self.guesser = Guesser::Lookup;
        }
        if found.is_empty() {
            self.lookup.rest();
            if has_draft {
                self.asked = most.min(self.drafting.width());
                self.drafting.rest();
            }
        }
        self.guessed = found.len();
        self.take += found.len();
        self.tokens.extend(found);
    }

    /// Tokens that the draft model has not read.
    pub(super) fn behind(&self) -> usize {
        self.tokens.len() - self.draft.as_ref().map_or(0, KvCache::len)
    }

    /// Adds a token to the step at hand that the draft model guesses.
    pub(super) fn propose(&mut self, token: u32) {
        self.guesser = Guesser::Draft;
        self.guessed += 1;
        self.take += 1;
        self.tokens.push(token);
    }

    /// Takes the guesses back; says whether there were any.
    pub(super) fn forget_guesses(&mut self) -> bool {
        let guessed = self.guessed;
        self.keep_guesses(0);
        guessed > 0
    }

    /// Takes back what the grammar forbids.
    pub(super) fn check_guesses(&mut self, text: &TextModel) {
        let known = self.tokens.len() - self.guessed;
        let allowed = self.voice.may_follow(&self.tokens[known..], text);
        self.keep_guesses(allowed);
    }

    /// Takes back all but so many guesses.
    fn keep_guesses(&mut self, kept: usize) {
        let forgotten = self.guessed - kept;
        self.guessed = kept;
        self.take -= forgotten;
        self.tokens.truncate(self.tokens.len() - forgotten);
        if let Some(draft) = &mut self.draft {
            draft.truncate(self.tokens.len());
        }
    }

    /// What the step computes and what the grammar is to say meanwhile, for these rows.
    pub(super) fn parts(&mut self, rows: Rows) -> (Part<'_>, Option<Masking<'_>>) {
        let (start, end) = (self.kv.len(), self.kv.len() + self.take);
        self.kv.reserve(end);
        let known = self.tokens.len() - self.guessed;
        let masking = Masking {
            voice: &mut self.voice,
            guesses: &self.tokens[known..],
        };
        let part = Part {
            tokens: &self.tokens[start..end],
            kv: &mut self.kv,
            logits: rows.scored + rows.drawn,
        };
        let masking = (rows.drawn > 0).then_some(masking);
        (part, masking.filter(Masking::is_needed))
    }

    /// Gives up what was computed.
    pub(super) fn free(&mut self) {
        self.kv.truncate(0);
        self.draft = None;
        self.take = 0;
    }

    /// The scores from the rows that the step at hand gave for them, each of so many numbers.
    pub(super) fn scorings<'r>(
        &self,
        rows: &'r [f32],
        vocab: usize,
    ) -> impl Iterator<Item = Scoring<'r>> + use<'_, 'r> {
        // All that it has computed by now; the first of the rows is that of the first token not scored.
        let first = self.score.as_ref().map_or(0, Score::settled) + 1;
        let tokens = self.tokens.iter().skip(first);
        rows.chunks_exact(vocab)
            .zip(tokens)
            .map(|(row, token)| Scoring {
                row,
                token: *token,
                top: self.job.logprobs.unwrap_or_default(),
                scored: None,
            })
    }

    /// Says the prompt as far as it is scored now.
    pub(super) fn say_scored(&mut self, scored: impl Iterator<Item = TokenLogprob>) {
        let Some(score) = &mut self.score else {
            return;
        };
        scored.for_each(|scored| score.push(scored));
        if let Some(delta) = score.say() {
            self.job.send_to_all(delta);
        }
        if score.is_over() {
            self.score = None;
            self.job.scored();
        }
    }

    /// The draws from the rows that the step at hand gave.
    pub(super) fn draw<'a>(&'a mut self, rows: &'a [f32]) -> Draw<'a> {
        let is_silent = self.voice.is_broken() || self.job.max_tokens == 0;
        let rows = if is_silent { &[] } else { rows };
        let (sampler, masks) = self.voice.drawing();
        Draw {
            sampler,
            masks,
            rows,
            tokens: &self.tokens,
            prompt: self.job.prompt_len,
            known: self.tokens.len() - self.guessed,
            logprobs: self.job.logprobs,
            drawn: Vec::new(),
        }
    }

    /// The draw of what follows all tokens, guesses included, with the random numbers that will
    /// decide it.
    pub(super) fn draw_next<'a>(&'a mut self, row: &'a [f32]) -> Draw<'a> {
        let known = self.tokens.len();
        let guesses = &self.tokens[known - self.guessed..];
        self.voice.make_mask_after(guesses);
        Draw {
            known,
            logprobs: None,
            ..self.draw(row)
        }
    }

    /// Says what was drawn, and forgets what was guessed wrong.
    pub(super) fn settle(&mut self, drawn: Vec<Drawn>, text: &TextModel) -> Settled {
        let known = self.tokens.len() - self.guessed;
        let guesses = self.tokens.split_off(known);
        let pairs = drawn.iter().zip(&guesses);
        let right = pairs.take_while(|(d, guess)| d.token == **guess).count();
        let settled = Settled {
            guesser: self.guesser,
            drawn: drawn.len(),
            drafted: guesses.len(),
            accepted: right,
        };
        for drawn in drawn {
            // A stop text may have come before the last of them.
            if self.finished.is_none() && !self.voice.is_broken() {
                self.finished = self.voice.say(drawn, &mut self.tokens, &self.job, text);
            }
        }
        if !guesses.is_empty() {
            let sure = (known + right).min(self.tokens.len());
            self.kv.truncate(sure);
            if let Some(draft) = &mut self.draft {
                draft.truncate(sure);
            }
            match self.guesser {
                Guesser::Lookup => self.lookup.learn(guesses.len(), right),
                Guesser::Draft => self.drafting.learn(guesses.len(), right),
                Guesser::Grammar => {}
            }
        }
        self.guessed = 0;
        if self.job.max_tokens == 0 {
            self.finished = Some(FinishReason::Length);
        }
        settled
    }

    /// Whether its grammar leads no further.
    pub(super) fn is_broken(&self) -> bool {
        self.voice.is_broken()
    }

    /// Ends the stream of its request with the reason.
    pub(super) fn fail(self) {
        if let Some(fault) = self.voice.fault() {
            self.job.fail(fault);
        }
    }

    /// Says what was held back, and that it is over.
    pub(super) fn finish(self, reason: FinishReason) {
        match self.job.max_tokens {
            0 => self.job.end_unsaid(),
            _ => self.voice.finish(reason, &self.job),
        }
    }
}
