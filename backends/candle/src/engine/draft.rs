//! A small model that guesses what the large one will say: speculative decoding with a draft model
//! (Leviathan and others 2023), where acceptance is equality.
//!
//! It owns the draft model's weights, its keys and values, and the account of whether it pays. It
//! never decides what is said: it proposes tokens, and the large model's own draws are compared with
//! them. It draws by the same sampler and the same random numbers as those will, so that two models
//! that agree on the probabilities agree on the token, within the same grammar.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::Clock;
use kwaainet_decoder::{Decoder, Part, Work};
use kwaainet_kernels::Compute;

use super::draw::Draw;
use super::memory::Memory;
use super::sequence::{Guesser, Sequence, Settled};
use super::shares::shares;
use super::worth::{Round, Worth};
use crate::tokenizer::TextModel;

/// Tokens that the draft model reads in one step, of what the large one has read already: how far a
/// stream is slowed by that.
const READ_BESIDE: usize = 128;

/// What the thread is given: a decoder with the large model's vocabulary.
pub(crate) struct Draft {
    pub(crate) decoder: Decoder,
    /// Tells how long steps take.
    pub(crate) clock: Arc<dyn Clock>,
}

/// The draft model of an engine.
pub(super) struct Drafter {
    decoder: Decoder,
    pub(super) memory: Memory,
    clock: Arc<dyn Clock>,
    work: Work,
    worth: Worth,
    /// When the large model's step began.
    begin: Duration,
    /// What drafting for the step at hand took.
    drafting: Duration,
}

/// A sequence for which the draft model computes.
struct Drafting<'a> {
    sequence: &'a mut Sequence,
    /// Tokens that it reads next.
    take: usize,
    /// Tokens that it is still to guess; none while it has more to read.
    left: usize,
}

impl Drafter {
    /// With so many pages of keys and values, for steps of at most so many rows.
    pub(super) fn new(draft: Draft, pages_max: usize, rows_max: usize) -> Self {
        let shape = draft.decoder.page_shape();
        Self {
            decoder: draft.decoder,
            memory: Memory::new(shape, pages_max, |sequence| sequence.draft.as_ref()),
            clock: draft.clock,
            work: Work::default(),
            worth: Worth::new(rows_max),
            begin: Duration::ZERO,
            drafting: Duration::ZERO,
        }
    }

    /// Whether it is worth asking in a step that has so many rows without it.
    pub(super) fn pays(&self, rows: usize) -> bool {
        self.worth.pays(rows)
    }

    /// Adds guesses to the step at hand for those who ask. Who is far behind reads first, piece by
    /// piece; who finds no memory, or is longer than the draft model's context, is left out.
    pub(super) fn propose(&mut self, active: &mut [Sequence], compute: &Compute, text: &TextModel) {
        let begin = self.clock.monotonic();
        self.recall(active);
        let mut drafting = self.begin(active);
        while !drafting.is_empty() {
            self.advance(&mut drafting, compute, text);
            drafting.retain(|drafting| drafting.left > 0);
        }
        self.drafting += self.clock.monotonic().saturating_sub(begin);
    }

    /// The large model begins its step.
    pub(super) fn step_begins(&mut self) {
        self.begin = self.clock.monotonic();
    }

    /// The large model's step of so many tokens brought this, from so many rows.
    pub(super) fn step_ended(&mut self, tokens: usize, rows: usize, settled: &[Settled]) {
        let step_s = self.clock.monotonic().saturating_sub(self.begin);
        let step_s = step_s.as_secs_f64();
        let drafting_s = mem::take(&mut self.drafting).as_secs_f64();
        let ours = settled.iter().filter(|s| s.guesser == Guesser::Draft);
        let (drafted, accepted) = ours.fold((0, 0), |(drafted, accepted), s| {
            (drafted + s.drafted, accepted + s.accepted)
        });
        if drafted > 0 {
            self.worth.round(Round {
                sequences: settled.len(),
                plain_rows: rows - drafted,
                drafting_s,
                step_s,
                accepted,
            });
            return;
        }
        if drafting_s > 0.0 {
            self.worth.reading(drafting_s);
        }
        // Prompts beside would tell nothing of what a token takes.
        if tokens == rows {
            self.worth.plain_step(rows, step_s);
        }
    }

    /// Finds what is known of those who ask for the first time.
    fn recall(&mut self, active: &mut [Sequence]) {
        for at in 0..active.len() {
            if active[at].asked > 0 && active[at].draft.is_none() {
                active[at].draft = Some(self.memory.known(&active[at], active));
            }
        }
    }

    /// Those who ask, as far as there is memory, with what each of them reads.
    fn begin<'a>(&mut self, active: &'a mut [Sequence]) -> Vec<Drafting<'a>> {
        let asking: Vec<_> = active.iter_mut().filter(|s| s.asked > 0).collect();
        let behind: Vec<usize> = asking.iter().map(|s| s.behind()).collect();
        let takes = shares(READ_BESIDE, &behind);
        let mut drafting = Vec::new();
        for ((sequence, behind), take) in asking.into_iter().zip(behind).zip(takes) {
            let asked = mem::take(&mut sequence.asked);
            let is_short = sequence.tokens.len() + asked <= self.decoder.config().context;
            let left = if take == behind { asked } else { 0 };
            let Some(kv) = sequence.draft.as_mut().filter(|_| take > 0 && is_short) else {
                continue;
            };
            // The last guess is read by nobody before it is known to be right.
            let positions = kv.len() + take + left.saturating_sub(1);
            if self.memory.make_room(|| kv.lacking(positions)) {
                kv.reserve(positions);
                drafting.push(Drafting {
                    sequence,
                    take,
                    left,
                });
            }
        }
        drafting
    }

    /// One step of the draft model: a guess more for everybody who has read enough.
    fn advance(&mut self, drafting: &mut [Drafting<'_>], compute: &Compute, text: &TextModel) {
        let mut parts: Vec<_> = drafting.iter_mut().map(Drafting::part).collect();
        let logits = self.decoder.step(compute, &mut parts, &mut self.work);
        let rows = logits.chunks_exact(self.decoder.vocab());
        let guessing = drafting.iter_mut().filter(|drafting| drafting.left > 0);
        let mut draws: Vec<Draw<'_>> = guessing
            .zip(rows)
            .map(|(drafting, row)| drafting.sequence.draw_next(row))
            .collect();
        let pool = &compute.pool;
        pool.each(&mut draws, 1, |_, draw| draw.draw(compute.kernel, text));
        let drawn = draws.iter().flat_map(|draw| &draw.drawn);
        let tokens: Vec<u32> = drawn.map(|drawn| drawn.token).collect();
        let guessing = drafting.iter_mut().filter(|drafting| drafting.left > 0);
        for (drafting, token) in guessing.zip(tokens) {
            drafting.guess(token, text);
        }
    }
}

impl Drafting<'_> {
    fn part(&mut self) -> Part<'_> {
        let Sequence { tokens, draft, .. } = &mut *self.sequence;
        let kv = draft.as_mut().expect("it was given memory");
        Part {
            tokens: &tokens[kv.len()..][..self.take],
            kv,
            logits: usize::from(self.left > 0),
        }
    }

    fn guess(&mut self, token: u32, text: &TextModel) {
        if text.is_end(token) {
            // What it would save, the large model's draw after the last guess saves too.
            self.left = 0;
            return;
        }
        self.sequence.propose(token);
        (self.take, self.left) = (1, self.left - 1);
    }
}
