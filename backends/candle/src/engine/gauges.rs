//! What the engine's thread tells the outside: a few numbers, written once per step.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::backend::EngineStats;

#[derive(Default)]
pub(super) struct Gauges {
    submitted: AtomicUsize,
    received: AtomicUsize,
    running: AtomicUsize,
    waiting: AtomicUsize,
    parked: AtomicUsize,
    kv_tokens: AtomicUsize,
    tokens_in: AtomicU64,
    tokens_out: AtomicU64,
}

/// What the scheduler has in hand.
pub(super) struct InHand {
    pub(super) running: usize,
    pub(super) waiting: usize,
    pub(super) parked: usize,
    pub(super) kv_tokens: usize,
}

impl Gauges {
    pub(super) fn publish(&self, now: &InHand) {
        self.running.store(now.running, Ordering::Relaxed);
        self.waiting.store(now.waiting, Ordering::Relaxed);
        self.parked.store(now.parked, Ordering::Relaxed);
        self.kv_tokens.store(now.kv_tokens, Ordering::Relaxed);
    }

    pub(super) fn computed(&self, prompt_tokens: u64, sampled: u64) {
        self.tokens_in.fetch_add(prompt_tokens, Ordering::Relaxed);
        self.tokens_out.fetch_add(sampled, Ordering::Relaxed);
    }

    /// A request was put into the queue.
    pub(super) fn submitted(&self) {
        self.submitted.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was taken out of it.
    pub(super) fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> EngineStats {
        let received = self.received.load(Ordering::Relaxed);
        let submitted = self.submitted.load(Ordering::Relaxed);
        EngineStats {
            running: self.running.load(Ordering::Relaxed),
            queued: self.waiting.load(Ordering::Relaxed) + submitted.saturating_sub(received),
            parked: self.parked.load(Ordering::Relaxed),
            kv_tokens: self.kv_tokens.load(Ordering::Relaxed),
            tokens_in: self.tokens_in.load(Ordering::Relaxed),
            tokens_out: self.tokens_out.load(Ordering::Relaxed),
        }
    }
}
