//! What the engine's thread tells the outside: a few numbers, written once per step.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
}

impl Gauges {
    pub(super) fn publish(&self, now: &InHand) {
        self.running.store(now.running, Ordering::Relaxed);
        self.waiting.store(now.waiting, Ordering::Relaxed);
        self.parked.store(now.parked, Ordering::Relaxed);
        self.kv_tokens.store(now.kv_tokens, Ordering::Relaxed);
        self.cached_pages.store(now.cached_pages, Ordering::Relaxed);
        // Last, so that a request is never missing from both the queue and what is in hand.
        self.received.store(now.received, Ordering::Release);
    }

    pub(super) fn computed(&self, prompt_tokens: usize, settled: &[Settled]) {
        let add = |to: &AtomicU64, of: fn(&Settled) -> usize| {
            let sum: usize = settled.iter().map(of).sum();
            to.fetch_add(sum as u64, Ordering::Relaxed);
        };
        self.tokens_in
            .fetch_add(prompt_tokens as u64, Ordering::Relaxed);
        add(&self.tokens_out, |settled| settled.drawn);
        add(&self.drafted, |settled| settled.drafted);
        add(&self.accepted, |settled| settled.accepted);
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
            cached_tokens: self.cached_tokens.load(Ordering::Relaxed),
            tokens_in: self.tokens_in.load(Ordering::Relaxed),
            tokens_out: self.tokens_out.load(Ordering::Relaxed),
            drafted: self.drafted.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
        }
    }
}
