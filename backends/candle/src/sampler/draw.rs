//! A draw at a temperature. Weights are whole numbers, so sums are exact and need no order: what is
//! drawn depends on which tokens are kept, and not on how they were found.

use kwaainet_core::Sampling;
use kwaainet_kernels::{Kernel, ops};

use super::logits::{Logits, PART};
use super::ranking::{Candidates, Ranking};

/// With top-p, so many of the best tokens are looked at first, and then times so many.
const FIRST_LOOK: usize = 64;
const LOOK_FURTHER: usize = 8;

/// Below this, tokens are sorted rather than parted into better and worse ones.
const SORTED: usize = 32;

/// A token among others, by its rank and id.
#[derive(Clone, Copy)]
struct Weighed {
    key: u64,
    weight: u64,
}

/// The token on which `random`, of all numbers of 64 bits, falls: tokens that are kept lie side by
/// side in the order of their ids, each as wide as its weight.
pub(super) fn draw(kernel: Kernel, logits: &Logits<'_>, sampling: &Sampling, random: u64) -> u32 {
    let ranking = Ranking::new(kernel, logits);
    if ranking.best() == f32::NEG_INFINITY {
        // None is possible.
        return ranking.best_id();
    }
    let draw = Draw {
        kernel,
        logits,
        how: ops::Weighing {
            best: ranking.best(),
            inverse: (1.0 / sampling.temperature).min(f32::MAX),
            least: 0.0,
        },
    };
    // The best token is always kept.
    let least = sampling.min_p.min(1.0) * ops::FULL_WEIGHT;
    let Some(mut kept) = draw.kept(&ranking, sampling) else {
        return draw.any(least, random);
    };
    kept.retain(|token| token.weight as f32 >= least);
    let id = |token: &Weighed| token.key & 0xFFFF_FFFF;
    let target = part_of(sum(&kept), random);
    let drawn = reach(&mut kept, id, target + 1);
    id(&kept[drawn - 1]) as u32
}

/// The weight of all tokens at temperature 1, as a multiple of the best one's.
pub(super) fn relative_mass(kernel: Kernel, logits: &Logits<'_>, best: f32) -> f64 {
    let how = ops::Weighing {
        best: best.max(f32::MIN),
        inverse: 1.0,
        least: 0.0,
    };
    let draw = Draw {
        kernel,
        logits,
        how,
    };
    draw.total() as f64 / f64::from(ops::FULL_WEIGHT)
}

struct Draw<'l> {
    kernel: Kernel,
    logits: &'l Logits<'l>,
    how: ops::Weighing,
}

impl Draw<'_> {
    /// Draws from all tokens that weigh at least so much.
    fn any(mut self, least: f32, random: u64) -> u32 {
        self.how.least = least;
        let sums: Vec<u64> = self.sums().collect();
        let mut target = part_of(sums.iter().sum(), random);
        let part = passed(sums.iter().copied(), &mut target);
        let start = part * PART;
        let end = self.logits.len().min(start + PART);
        let mut weights = [0.0; PART];
        self.weigh(&self.logits.range(start, end), &mut weights);
        let weights = weights[..end - start].iter();
        (start + passed(weights.map(|weight| *weight as u64), &mut target)) as u32
    }

    /// The tokens that top-k and top-p keep, in no order; none if they keep all.
    fn kept(&self, ranking: &Ranking<'_>, sampling: &Sampling) -> Option<Vec<Weighed>> {
        let all = self.logits.len();
        let top_k = match sampling.top_k as usize {
            0 => all,
            k => k.min(all),
        };
        let wanted = |mass: u64| (f64::from(sampling.top_p) * mass as f64).ceil() as u64;
        let all_by_mass = sampling.top_p >= 1.0;
        let (mut tokens, wanted) = if top_k < all {
            let mut best = self.weighed(ranking.candidates(top_k));
            best.select_nth_unstable_by_key(top_k - 1, rank);
            best.truncate(top_k);
            let wanted = wanted(sum(&best));
            (best, wanted)
        } else if all_by_mass {
            return None;
        } else {
            let wanted = wanted(self.total());
            (self.weighing(ranking, wanted), wanted)
        };
        if !all_by_mass {
            let reached = reach(&mut tokens, rank, wanted);
            tokens.truncate(reached);
        }
        Some(tokens)
    }

    /// As many of the best tokens as together weigh `wanted`, and perhaps some more.
    fn weighing(&self, ranking: &Ranking<'_>, wanted: u64) -> Vec<Weighed> {
        let mut count = FIRST_LOOK;
        loop {
            let tokens = self.weighed(ranking.candidates(count));
            if tokens.len() == self.logits.len() || sum(&tokens) >= wanted {
                return tokens;
            }
            count *= LOOK_FURTHER;
        }
    }

    fn weighed(&self, candidates: Candidates) -> Vec<Weighed> {
        let mut tokens = Vec::with_capacity(candidates.keys.len());
        let mut weights = [0.0; PART];
        let logits = candidates.logits.chunks(PART);
        for (keys, logits) in candidates.keys.chunks(PART).zip(logits) {
            self.weigh(logits, &mut weights);
            tokens.extend(keys.iter().zip(&weights).map(|(key, weight)| Weighed {
                key: *key,
                weight: *weight as u64,
            }));
        }
        tokens
    }

    fn total(&self) -> u64 {
        self.sums().sum()
    }

    /// What each part of the vocabulary weighs.
    fn sums(&self) -> impl Iterator<Item = u64> {
        let mut weights = [0.0; PART];
        let parts = self.logits.parts();
        parts.map(move |(_, logits)| self.weigh(&logits, &mut weights))
    }

    /// Weights of up to [`PART`] logits, which go to the front of `weights`, and their exact sum.
    fn weigh(&self, logits: &[f32], weights: &mut [f32; PART]) -> u64 {
        let weights = &mut weights[..logits.len()];
        ops::weights(self.kernel, logits, self.how, weights) as u64
    }
}

fn rank(token: &Weighed) -> u64 {
    token.key
}

fn sum(tokens: &[Weighed]) -> u64 {
    tokens.iter().map(|token| token.weight).sum()
}

/// The same part of `total` as `random` is of all numbers of 64 bits; less than `total`.
fn part_of(total: u64, random: u64) -> u64 {
    ((u128::from(total) * u128::from(random)) >> 64) as u64
}

/// How many weights lie wholly below `target`, of which they are taken away.
fn passed(mut weights: impl Iterator<Item = u64>, target: &mut u64) -> usize {
    let beyond = weights.position(|weight| {
        let beyond = *target < weight;
        if !beyond {
            *target -= weight;
        }
        beyond
    });
    beyond.expect("the target is less than the sum of all weights")
}

/// How many tokens, in the order of `key`, it takes to weigh `wanted`, at least one; those come to
/// lie in front, the last one last. All together weigh as much, and there is at least one.
fn reach(tokens: &mut [Weighed], key: impl Fn(&Weighed) -> u64, wanted: u64) -> usize {
    let (mut start, mut end) = (0, tokens.len());
    let mut below = 0;
    // The token in question is between start and end, and those before start weigh `below`.
    while end - start > SORTED {
        let middle = (end - start) / 2;
        let open = &mut tokens[start..end];
        open.select_nth_unstable_by_key(middle, &key);
        let better = sum(&open[..middle]);
        if below + better >= wanted {
            end = start + middle;
        } else {
            start += middle;
            below += better;
        }
    }
    let open = &mut tokens[start..end];
    open.sort_unstable_by_key(&key);
    let reached = open.iter().position(|token| {
        below += token.weight;
        below >= wanted
    });
    start + 1 + reached.expect("all together weigh enough")
}
