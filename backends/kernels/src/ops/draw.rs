//! What a draw of a token needs from all logits of a vocabulary: where the large ones are, and what
//! each weighs. Weights are whole numbers, so that their sums are exact in any order.

use super::{exp, padded};
use crate::kernel::{Kernel, Task};
use crate::lanes::{LANES, Lanes};

/// Neighbours that [`largest`] looks at together.
pub const GROUP: usize = 64;

/// What the best token weighs in a draw: 2^40.
pub const FULL_WEIGHT: f32 = (1_u64 << 40) as f32;

/// From here on every f32 is a whole number.
const WHOLE: f32 = (1 << 23) as f32;

/// How logits become weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighing {
    /// The largest logit, finite.
    pub best: f32,
    /// One over the temperature, finite and above zero.
    pub inverse: f32,
    /// A lighter token weighs nothing.
    pub least: f32,
}

/// The largest of each [`GROUP`] of numbers, the last of which may be shorter. Not-a-number does not
/// count; where there is nothing else it is negative infinity.
///
/// # Panics
/// When `out` has not one place for each group.
pub fn largest(kernel: Kernel, x: &[f32], out: &mut [f32]) {
    assert!(
        out.len() == x.len().div_ceil(GROUP),
        "a place for each group"
    );
    kernel.run(Largest(x, out));
}

/// Weights of logits, as [`crate::definition::weight`] says, but zero below `least`; returns their sum,
/// which is exact for up to 8,192 of them.
///
/// # Panics
/// When lengths differ.
pub fn weights(kernel: Kernel, logits: &[f32], how: Weighing, out: &mut [f32]) -> f64 {
    assert!(logits.len() == out.len(), "equal lengths");
    kernel.run(Weights { logits, how, out })
}

struct Largest<'a>(&'a [f32], &'a mut [f32]);

/// Plain code, which the compiler makes vectors of: the lanes' own maximum is not for NaN.
impl Task for Largest<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (group, out) in self.0.chunks(GROUP).zip(self.1) {
            let (whole, rest) = group.as_chunks::<LANES>();
            let mut lanes = [f32::NEG_INFINITY; LANES];
            for x in whole {
                for (lane, x) in lanes.iter_mut().zip(x) {
                    *lane = larger(*x, *lane);
                }
            }
            for (lane, x) in lanes.iter_mut().zip(rest) {
                *lane = larger(*x, *lane);
            }
            // Adding 0 turns -0 into 0.
            *out = L::max_across(L::load(&lanes)) + 0.0;
        }
    }
}

/// `than` unless `x` is larger; so never `x` if that is NaN.
#[inline(always)]
fn larger(x: f32, than: f32) -> f32 {
    if x > than { x } else { than }
}

struct Weights<'a> {
    logits: &'a [f32],
    how: Weighing,
    out: &'a mut [f32],
}

impl Task for Weights<'_> {
    type Out = f64;
    #[inline(always)]
    fn run<L: Lanes>(self) -> f64 {
        let (logits, logits_rest) = self.logits.as_chunks::<LANES>();
        let (out, out_rest) = self.out.as_chunks_mut::<LANES>();
        let mut sums = [0.0_f64; LANES];
        for (logits, out) in logits.iter().zip(out) {
            L::store(weights_of::<L>(L::load(logits), self.how), out);
            for (sum, weight) in sums.iter_mut().zip(out) {
                *sum += f64::from(*weight);
            }
        }
        let mut last = [0.0; LANES];
        L::store(
            weights_of::<L>(L::load(&padded(logits_rest)), self.how),
            &mut last,
        );
        let last = &last[..out_rest.len()];
        out_rest.copy_from_slice(last);
        let last: f64 = last.iter().copied().map(f64::from).sum();
        sums.iter().sum::<f64>() + last
    }
}

#[inline(always)]
fn weights_of<L: Lanes>(logits: L::F, how: Weighing) -> L::F {
    let finite = L::min(logits, L::splat(f32::MAX));
    let power = L::mul(L::sub(finite, L::splat(how.best)), L::splat(how.inverse));
    let weight = L::mul(exp::<L>(power), L::splat(FULL_WEIGHT));
    // Next to 2^23, f32 has only whole numbers: adding and taking it away again rounds what is below.
    let large = L::keep_from(weight, weight, L::splat(WHOLE));
    let small = L::sub(weight, large);
    let rounded = L::sub(L::add(small, L::splat(WHOLE)), L::splat(WHOLE));
    let weight = L::add(large, rounded);
    let heavy = L::keep_from(weight, weight, L::splat(how.least));
    // Whatever became of NaN above, it is gone here.
    L::keep_from(heavy, logits, L::splat(f32::NEG_INFINITY))
}
