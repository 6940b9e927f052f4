//! Tokens from the best down, as far as anyone asks. Most draws look at a few dozen of a quarter of a
//! million tokens. Those are found through the largest logit of each group of neighbours: where `n`
//! groups reach a threshold, at least `n` tokens do, and no other group holds any.

use std::borrow::Cow;

use kwaainet_kernels::{Kernel, ops};

use super::logits::{Logits, PART, clean};
use crate::rank::descending;

const _: () = assert!(PART.is_multiple_of(ops::GROUP));

/// Tokens by descending logit, and by id where logits are equal.
pub(super) struct Ranking<'l> {
    logits: &'l Logits<'l>,
    /// Of each group of neighbours.
    largest: Vec<f32>,
    best: f32,
}

/// Tokens that rank above all others, in no order.
#[derive(Default)]
pub(super) struct Candidates {
    /// A token's rank in the high half and its id in the low half.
    pub(super) keys: Vec<u64>,
    pub(super) logits: Vec<f32>,
}

impl<'l> Ranking<'l> {
    pub(super) fn new(kernel: Kernel, logits: &'l Logits<'l>) -> Self {
        let mut largest = vec![0.0; logits.len().div_ceil(ops::GROUP)];
        for ((_, part), largest) in logits.parts().zip(largest.chunks_mut(PART / ops::GROUP)) {
            ops::largest(kernel, &part, largest);
        }
        for largest in &mut largest {
            *largest = clean(*largest);
        }
        Self {
            best: largest.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            logits,
            largest,
        }
    }

    /// The largest logit; negative infinity where no token is possible.
    pub(super) fn best(&self) -> f32 {
        self.best
    }

    /// The most probable token, the lowest id if there are several; 0 if there is none.
    pub(super) fn best_id(&self) -> u32 {
        let group = self.largest.iter().position(|logit| *logit == self.best);
        let (start, group) = self.group(group.unwrap_or(0));
        let within = group.iter().position(|logit| clean(*logit) == self.best);
        (start + within.unwrap_or(0)) as u32
    }

    /// The best `count` tokens and perhaps some more; or all, if there are not as many.
    pub(super) fn candidates(&self, count: usize) -> Candidates {
        let found = self.reaching(self.threshold(count));
        if found.keys.len() < count.min(self.logits.len()) {
            self.reaching(f32::NEG_INFINITY)
        } else {
            found
        }
    }

    /// All tokens whose logit is at least so large.
    fn reaching(&self, threshold: f32) -> Candidates {
        let mut found = Candidates::default();
        let groups = self.largest.iter().enumerate();
        for (index, _) in groups.filter(|(_, largest)| **largest >= threshold) {
            let (start, group) = self.group(index);
            for (id, logit) in (start as u64..).zip(group.iter()) {
                let logit = clean(*logit);
                if logit >= threshold {
                    found.keys.push(u64::from(descending(logit)) << 32 | id);
                    found.logits.push(logit);
                }
            }
        }
        found
    }

    /// The best `count` tokens in order, or all.
    pub(super) fn top(&self, count: usize) -> Vec<u32> {
        let mut keys = self.candidates(count).keys;
        if count < keys.len() {
            keys.select_nth_unstable(count);
            keys.truncate(count);
        }
        keys.sort_unstable();
        keys.into_iter().map(|key| key as u32).collect()
    }

    /// A logit that at least `count` tokens reach, or as many as there are groups.
    fn threshold(&self, count: usize) -> f32 {
        let Some(last) = count.min(self.largest.len()).checked_sub(1) else {
            return f32::INFINITY;
        };
        let mut largest = self.largest.clone();
        let (_, threshold, _) = largest.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
        *threshold
    }

    /// A group and the id of its first token.
    fn group(&self, index: usize) -> (usize, Cow<'_, [f32]>) {
        let start = (index * ops::GROUP).min(self.logits.len());
        let end = self.logits.len().min(start + ops::GROUP);
        (start, self.logits.range(start, end))
    }
}
