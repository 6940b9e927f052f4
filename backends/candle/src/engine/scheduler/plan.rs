//! What a step holds: a token of every sequence that generates, prompt tokens of those that read,
//! and guesses.

use kwaainet_core::{PrincipalId, Priority};

use super::Scheduler;
use crate::engine::sequence::Sequence;
use crate::engine::shares::{shares, shares_by_group};

/// Prompt tokens in one step while somebody generates: how far a stream is slowed by the prompts of
/// others.
const PREFILL_BESIDE: usize = 128;
/// Prompt tokens in one step while nobody does: how long one who comes then waits for his first turn,
/// and how long a cancelled request goes on.
const PREFILL_ALONE: usize = 512;
/// Prompt tokens that are scored in one step: each takes a row of logits, as long as the vocabulary.
const SCORED_MAX: usize = 32;
/// Rows of a step with guesses. Up to about so many, reading the weights takes longer than computing
/// with them, so that a row more costs little.
pub(super) const ROWS_WITH_GUESSES: usize = 16;

/// Tokens of a step that a grammar leaves no choice about.
const FORCED_MAX: usize = 8;

/// What of a step is still to be shared out among those who read.
#[derive(Clone, Copy)]
struct Left {
    tokens: usize,
    scored: usize,
}

impl Scheduler {
    /// Says of each active sequence how many tokens it takes, and sees to the memory for them.
    pub(super) fn plan(&mut self) {
        loop {
            self.share_out();
            let active = &self.active;
            let lacking = || active.iter().map(|s| s.lacking()).sum();
            if self.memory.make_room(lacking) {
                break;
            }
            // The oldest alone always fits, so there is another one.
            let youngest = self.active.len() - 1;
            self.preempt(self.slow_reader().unwrap_or(youngest));
        }
        if self.settings.speculate {
            self.guess();
        }
    }

    fn share_out(&mut self) {
        for sequence in &mut self.active {
            (sequence.take, sequence.parked) = (0, false);
            sequence.job.begin_plan();
        }
        let mut places = self.settings.running_max;
        let mut reading = Vec::new();
        for (at, sequence) in self.active.iter_mut().enumerate() {
            if places == 0 {
                break;
            }
            if sequence.pending() > 1 {
                reading.push(at);
            } else if sequence.job.may_take_part() {
                sequence.take = 1;
            } else {
                sequence.parked = true;
                continue;
            }
            places -= 1;
        }
        let generates = self.active.iter().any(|sequence| sequence.take > 0);
        let budget = Left {
            tokens: if generates {
                PREFILL_BESIDE
            } else {
                PREFILL_ALONE
            },
            scored: SCORED_MAX,
        };
        // Batch work reads with what interactive work leaves.
        let (batch, interactive): (Vec<_>, Vec<_>) = reading
            .into_iter()
            .partition(|&at| self.active[at].job.priority == Priority::Batch);
        let left = self.share_prefill(budget, &interactive);
        self.share_prefill(left, &batch);
    }

    /// Equal shares for owners, and for what each of them asked; gives what is left.
    fn share_prefill(&mut self, budget: Left, reading: &[usize]) -> Left {
        let wants = |want: &dyn Fn(usize, &Sequence) -> usize| -> Vec<(PrincipalId, usize)> {
            let sequences = reading.iter().map(|&at| &self.active[at]).enumerate();
            let want = |(which, s): (usize, &Sequence)| (s.job.owner.clone(), want(which, s));
            sequences.map(want).collect()
        };
        let scored = wants(&|_, sequence| sequence.left_to_score());
        let scored = shares_by_group(budget.scored, &scored);
        let tokens = wants(&|which, sequence| sequence.readable(scored[which]));
        let given = shares_by_group(budget.tokens, &tokens);
        for (&at, &share) in reading.iter().zip(&given) {
            let sequence = &mut self.active[at];
            sequence.take = share;
            let speaks = share > 0 && (sequence.is_scoring() || sequence.wants_logits());
            if speaks && !sequence.job.may_take_part() {
                // Reads on, as far as nothing has to be said.
                sequence.parked = sequence.is_scoring();
                sequence.take = if sequence.parked { 0 } else { share - 1 };
            }
        }
        Left {
            tokens: budget.tokens - given.iter().sum::<usize>(),
            scored: budget.scored - scored.iter().sum::<usize>(),
        }
    }

    /// Adds guessed tokens where a step's rows are cheap: none beside prompts, few among many.
    fn guess(&mut self) {
        let rows: usize = self.active.iter().map(|sequence| sequence.take).sum();
        if self.active.iter().any(|s| s.take > 0 && s.pending() > 1) {
            return;
        }
        let drafter = self.drafter.as_mut().filter(|drafter| drafter.pays(rows));
        let has_draft = drafter.is_some();
        let generating = self.active.iter_mut().filter(|s| s.take > 0);
        generating.for_each(|s| s.look_ahead(FORCED_MAX));
        let generating = self.active.iter().filter(|s| s.take > 0);
        let wants: Vec<usize> = generating.map(|s| s.guesses_wanted(has_draft)).collect();
        let given = shares(ROWS_WITH_GUESSES.saturating_sub(rows), &wants);
        let generating = self.active.iter_mut().filter(|s| s.take > 0);
        for (sequence, share) in generating.zip(given) {
            sequence.guess(sequence.job.book_guesses(share), has_draft);
        }
        if let Some(drafter) = drafter {
            drafter.propose(&mut self.active, &self.compute, &self.text);
        }
        let text = &self.text;
        self.active.iter_mut().for_each(|s| s.check_guesses(text));
        self.fit_guesses();
    }

    /// Takes guesses back for which there is no memory: only the cache gives any for them.
    fn fit_guesses(&mut self) {
        loop {
            let active = &self.active;
            let lacking = || active.iter().map(|s| s.lacking()).sum();
            if self.memory.make_room(lacking) {
                return;
            }
            let mut youngest_first = self.active.iter_mut().rev();
            if !youngest_first.any(|s| s.lacking() > 0 && s.forget_guesses()) {
                return;
            }
        }
    }
}
