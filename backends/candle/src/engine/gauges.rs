//! What the engine's thread tells the outside: a few numbers, written once per step.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::sequence::Settled;
use crate::backend::EngineStats;

#[derive(Default)]
pub(super) struct Gauges {
    submitted: AtomicUsize,
    received: AtomicUsize,
    running: AtomicUsize,
    waiting: AtomicUsize,
    parked: AtomicUsize,
    kv_tokens: AtomicUsize,
    cached_pages: AtomicUsize,
    prefill_tokens: AtomicUsize,
    free_pages: AtomicUsize,
    prefill_rate: Rate,
    decode_rate: Rate,
    cached_tokens: AtomicU64,
    tokens_in: AtomicU64,
    tokens_out: AtomicU64,
    drafted: AtomicU64,
    accepted: AtomicU64,
}

/// What the scheduler has in hand.
pub(super) struct InHand {
    /// Requests taken out of the queue so far.
    pub(super) received: usize,
    pub(super) running: usize,
    pub(super) waiting: usize,
    pub(super) parked: usize,
    pub(super) kv_tokens: usize,
    pub(super) cached_pages: usize,
    /// Prompt tokens that are to be computed.
    pub(super) prefill_tokens: usize,
    pub(super) free_pages: usize,
}

/// What a step computed and said.
pub(super) struct Step<'a> {
    pub(super) prompt_tokens: usize,
    pub(super) settled: &'a [Settled],
    pub(super) took: Duration,
}

/// Tokens a second, an average over some eight steps; the bits of an f32.
#[derive(Default)]
struct Rate(AtomicU32);

impl Rate {
    fn learn(&self, tokens: f32, took: Duration) {
        let now = tokens / took.as_secs_f32().max(1e-6);
        let before = self.read();
        let next = match before > 0.0 {
            true => before + (now - before) / 8.0,
            false => now,
        };
        self.0.store(next.to_bits(), Ordering::Relaxed);
    }

    fn read(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Gauges {
    pub(super) fn publish(&self, now: &InHand) {
        self.running.store(now.running, Ordering::Relaxed);
        self.waiting.store(now.waiting, Ordering::Relaxed);
        self.parked.store(now.parked, Ordering::Relaxed);
        self.kv_tokens.store(now.kv_tokens, Ordering::Relaxed);
        self.cached_pages.store(now.cached_pages, Ordering::Relaxed);
        self.prefill_tokens
            .store(now.prefill_tokens, Ordering::Relaxed);
        self.free_pages.store(now.free_pages, Ordering::Relaxed);
        // Last, so that a request is never missing from both the queue and what is in hand.
        self.received.store(now.received, Ordering::Release);
    }

    pub(super) fn computed(&self, step: &Step<'_>) {
        let (prompt_tokens, settled) = (step.prompt_tokens, step.settled);
        let add = |to: &AtomicU64, of: fn(&Settled) -> usize| {
            let sum: usize = settled.iter().map(of).sum();
            to.fetch_add(sum as u64, Ordering::Relaxed);
        };
        self.tokens_in
            .fetch_add(prompt_tokens as u64, Ordering::Relaxed);
        add(&self.tokens_out, |settled| settled.drawn);
        add(&self.drafted, |settled| settled.drafted);
        add(&self.accepted, |settled| settled.accepted);
        let drawn: usize = settled.iter().map(|settled| settled.drawn).sum();
        if prompt_tokens > drawn {
            self.prefill_rate.learn(prompt_tokens as f32, step.took);
        } else if drawn > 0 {
            let each = drawn as f32 / settled.len() as f32;
            self.decode_rate.learn(each, step.took);
        }
    }

    /// So many tokens needed no computing.
    pub(super) fn hit(&self, tokens: usize) {
        self.cached_tokens
            .fetch_add(tokens as u64, Ordering::Relaxed);
    }

    /// A request was put into the queue.
    pub(super) fn submitted(&self) {
        self.submitted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> EngineStats {
        let received = self.received.load(Ordering::Acquire);
        let submitted = self.submitted.load(Ordering::Relaxed);
        EngineStats {
            running: self.running.load(Ordering::Relaxed),
            queued: self.waiting.load(Ordering::Relaxed) + submitted.saturating_sub(received),
            parked: self.parked.load(Ordering::Relaxed),
            kv_tokens: self.kv_tokens.load(Ordering::Relaxed),
            cached_pages: self.cached_pages.load(Ordering::Relaxed),
            prefill_tokens: self.prefill_tokens.load(Ordering::Relaxed),
            free_pages: self.free_pages.load(Ordering::Relaxed),
            prefill_rate: self.prefill_rate.read(),
            decode_rate: self.decode_rate.read(),
            cached_tokens: self.cached_tokens.load(Ordering::Relaxed),
            tokens_in: self.tokens_in.load(Ordering::Relaxed),
            tokens_out: self.tokens_out.load(Ordering::Relaxed),
            drafted: self.drafted.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
        }
    }
}
