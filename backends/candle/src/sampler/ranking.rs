//! Tokens from the best down, as far as anyone asks. Most draws look at a few dozen of a quarter of a
//! million tokens, so only a growing part is ever sorted; what comes out does not depend on how much.
//!
//! A token's weight is `exp((logit - best logit) / temperature)`, its probability but for a factor.

use crate::rank::descending;

/// Sorted at first; each further part is seven times as long as all before.
const FIRST_PART: usize = 256;

/// Tokens by descending logit, and by id where logits are equal.
pub(super) struct Ranking<'l> {
    logits: &'l [f32],
    best: f64,
    temperature: f64,
    /// A token's rank in the high half and its id in the low half; in order as far as `sorted`.
    keys: Vec<u64>,
    sorted: usize,
    /// The weights of the best token, the best two, the best three, ...
    sums: Vec<f64>,
}

impl<'l> Ranking<'l> {
    pub(super) fn new(logits: &'l [f32], temperature: f64) -> Self {
        let key =
            |(id, logit): (u32, &f32)| u64::from(descending(clean(*logit))) << 32 | u64::from(id);
        Self {
            best: best_logit(logits),
            temperature,
            keys: (0..).zip(logits).map(key).collect(),
            logits,
            sorted: 0,
            sums: Vec::new(),
        }
    }

    /// The logit that weighs 1.
    pub(super) fn best(&self) -> f64 {
        self.best
    }

    /// The token of a rank, counted from 0. The rank is below the number of logits.
    pub(super) fn id(&mut self, rank: usize) -> u32 {
        self.sort_beyond(rank);
        self.keys[rank] as u32
    }

    /// The weight of the best `count` tokens together.
    pub(super) fn cumulative(&mut self, count: usize) -> f64 {
        while self.sums.len() < count {
            let id = self.id(self.sums.len());
            let weight = weight(self.logits[id as usize], self.best, self.temperature);
            self.sums.push(self.sums.last().unwrap_or(&0.0) + weight);
        }
        count.checked_sub(1).map_or(0.0, |last| self.sums[last])
    }

    /// The weight of all tokens together, summed by id: nothing has to be sorted for it.
    pub(super) fn total(&self) -> f64 {
        self.logits
            .iter()
            .map(|logit| weight(*logit, self.best, self.temperature))
            .sum()
    }

    /// How many of the best tokens it takes to weigh `wanted`: between 1 and `most`.
    pub(super) fn first_reaching(&mut self, wanted: f64, most: usize) -> usize {
        (1..most)
            .find(|count| self.cumulative(*count) >= wanted)
            .unwrap_or(most)
    }

    /// How many of the best tokens weigh `least` each or more: between 1 and `most`.
    pub(super) fn down_to_weight(&mut self, least: f64, most: usize) -> usize {
        let lighter = |rank: &usize| {
            let id = self.id(*rank);
            weight(self.logits[id as usize], self.best, self.temperature) < least
        };
        (1..most).find(lighter).unwrap_or(most)
    }

    /// The first token with which the best ones together weigh more than `target`. Rounding may
    /// leave none; then it is the last one, of the best `most`, that weighs anything.
    pub(super) fn first_beyond(&mut self, target: f64, most: usize) -> u32 {
        let mut last = 0;
        let mut before = 0.0;
        for rank in 0..most {
            let sum = self.cumulative(rank + 1);
            if sum > target {
                return self.id(rank);
            }
            if sum > before {
                last = rank;
            } else if rank > 0 {
                // From here on the weights are too small to add anything.
                break;
            }
            before = sum;
        }
        if self.keys.is_empty() {
            0
        } else {
            self.id(last)
        }
    }

    fn sort_beyond(&mut self, rank: usize) {
        while self.sorted <= rank {
            let length = (self.sorted * 7).max(FIRST_PART);
            let rest = &mut self.keys[self.sorted..];
            if length < rest.len() {
                rest.select_nth_unstable(length);
            }
            let part = length.min(rest.len());
            rest[..part].sort_unstable();
            self.sorted += part;
        }
    }
}

/// The most probable token, the lowest id if there are several.
pub(super) fn best(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if clean(*logit) > clean(logits[best]) {
            best = id;
        }
    }
    best as u32
}

/// A logit that compares and subtracts: not-a-number is impossible, and infinity a large number.
pub(super) fn clean(logit: f32) -> f32 {
    if logit.is_nan() {
        f32::NEG_INFINITY
    } else {
        logit.min(f32::MAX)
    }
}

fn best_logit(logits: &[f32]) -> f64 {
    let best = logits
        .get(best(logits) as usize)
        .map_or(0.0, |logit| clean(*logit));
    // Where all are impossible, all are alike.
    f64::from(best.max(f32::MIN))
}

fn weight(logit: f32, best: f64, temperature: f64) -> f64 {
    libm::exp((f64::from(clean(logit)) - best) / temperature)
}
