//! What is computed between the products: norms, activations, sums.

use crate::kernel::{Kernel, Task};
use crate::lanes::{LANES, Lanes};

mod draw;

pub use draw::{FULL_WEIGHT, GROUP, Weighing, largest, weights};

/// Below this, e to the power of it is zero.
pub(crate) const EXP_LOWEST: f32 = -87.0;
/// Above this, e to the power of it is no f32 any more.
pub(crate) const EXP_HIGHEST: f32 = 88.0;
pub(crate) const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; the first has so few bits that its products with whole numbers are exact.
pub(crate) const LN_2_HIGH: f32 = 0.693_359_4;
pub(crate) const LN_2_LOW: f32 = -2.121_944_4e-4;
/// 1 / n! from 1 / 7! down.
pub(crate) const EXP_TERMS: [f32; 8] = [
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

/// e to the power of x: x is `n * ln 2 + r` with |r| at most half of ln 2; Taylor's series of r by
/// Horner's rule, times 2 to the power of n. Zero below -87; as for 88 above that.
#[inline(always)]
pub(crate) fn exp<L: Lanes>(x: L::F) -> L::F {
    let clamped = L::max(L::min(x, L::splat(EXP_HIGHEST)), L::splat(EXP_LOWEST));
    let n = L::round(L::mul(clamped, L::splat(LOG2_E)));
    let whole = L::to_float(n);
    let r = L::sub(clamped, L::mul(whole, L::splat(LN_2_HIGH)));
    let r = L::sub(r, L::mul(whole, L::splat(LN_2_LOW)));
    let mut sum = L::splat(EXP_TERMS[0]);
    for term in &EXP_TERMS[1..] {
        sum = L::add(L::mul(sum, r), L::splat(*term));
    }
    L::keep_from(L::mul(sum, L::power_of_two(n)), x, L::splat(EXP_LOWEST))
}

/// `x / (1 + exp(-by))`.
#[inline(always)]
fn sigmoid_times<L: Lanes>(x: L::F, by: L::F) -> L::F {
    let e = exp::<L>(L::sub(L::splat(0.0), by));
    L::div(x, L::add(L::splat(1.0), e))
}

/// The hyperbolic tangent, as `1 - 2 / (1 + exp(2x))`.
#[inline(always)]
pub(crate) fn tanh<L: Lanes>(x: L::F) -> L::F {
    let e = exp::<L>(L::add(x, x));
    let part = L::div(L::splat(2.0), L::add(L::splat(1.0), e));
    L::sub(L::splat(1.0), part)
}

/// Root-mean-square norm (Zhang and Sennrich 2019) of `x` into `out`, one vector:
/// `x / sqrt(mean(x²) + eps) * weight`. The squares are summed in sixteen lanes, which are added by a
/// tree.
///
/// # Panics
/// When lengths differ.
pub fn rms_norm(kernel: Kernel, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert!(
        x.len() == weight.len() && x.len() == out.len(),
        "equal lengths"
    );
    let scale = 1.0 / (kernel.run(SumOfSquares(x)) / x.len() as f32 + eps).sqrt();
    kernel.run(Scaled {
        x,
        scale,
        weight,
        out,
    });
}

/// The same in place.
///
/// # Panics
/// When lengths differ.
pub fn rms_norm_inplace(kernel: Kernel, x: &mut [f32], weight: &[f32], eps: f32) {
    assert!(x.len() == weight.len(), "equal lengths");
    let scale = 1.0 / (kernel.run(SumOfSquares(x)) / x.len() as f32 + eps).sqrt();
    kernel.run(Update(x, weight, RmsScale(scale)));
}

/// `x += y`.
///
/// # Panics
/// When lengths differ.
pub fn add(kernel: Kernel, x: &mut [f32], y: &[f32]) {
    assert!(x.len() == y.len(), "equal lengths");
    kernel.run(Update(x, y, Add));
}

/// `gate = gate / (1 + exp(-gate)) * up`.
///
/// # Panics
/// When lengths differ.
pub fn silu_mul(kernel: Kernel, gate: &mut [f32], up: &[f32]) {
    assert!(gate.len() == up.len(), "equal lengths");
    kernel.run(Update(gate, up, Silu));
}

/// `gate = gelu(gate) * up`, by the tanh approximation (Hendrycks and Gimpel 2016, section 2), whose
/// tanh is written as a quotient of exponentials.
///
/// # Panics
/// When lengths differ.
pub fn gelu_mul(kernel: Kernel, gate: &mut [f32], up: &[f32]) {
    assert!(gate.len() == up.len(), "equal lengths");
    kernel.run(Update(gate, up, Gelu));
}

/// `x = cap * tanh(x / cap)`: bends values softly below a bound.
pub fn soft_cap(kernel: Kernel, x: &mut [f32], cap: f32) {
    kernel.run(SoftCap(x, cap));
}

/// Turns pairs of components and scales all of them: with a pair `(x, y)` and its angle,
/// `((x cos - y sin) scale, (x sin + y cos) scale)`. Pairs are neighbours, or as far apart as there are
/// angles; components beyond the pairs are only scaled.
///
/// # Panics
/// When there are fewer components than twice the angles, or not as many sines as cosines.
pub fn rotate(
    kernel: Kernel,
    x: &mut [f32],
    cos: &[f32],
    sin: &[f32],
    neighbours: bool,
    scale: f32,
) {
    assert!(
        cos.len() == sin.len() && 2 * cos.len() <= x.len(),
        "pairs of components"
    );
    kernel.run(Rotate {
        x,
        cos,
        sin,
        neighbours,
        scale,
    });
}

struct Rotate<'a> {
    x: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
    neighbours: bool,
    scale: f32,
}

/// Plain code, which the compiler makes vectors of: each operation is rounded by itself either way.
impl Task for Rotate<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let pairs = self.cos.len();
        let (turned, rest) = self.x.split_at_mut(2 * pairs);
        let angles = self.cos.iter().zip(self.sin);
        if self.neighbours {
            let (turned, _) = turned.as_chunks_mut::<2>();
            for ([x, y], (cos, sin)) in turned.iter_mut().zip(angles) {
                (*x, *y) = (
                    (*x * cos - *y * sin) * self.scale,
                    (*x * sin + *y * cos) * self.scale,
                );
            }
        } else {
            let (xs, ys) = turned.split_at_mut(pairs);
            for ((x, y), (cos, sin)) in xs.iter_mut().zip(ys).zip(angles) {
                (*x, *y) = (
                    (*x * cos - *y * sin) * self.scale,
                    (*x * sin + *y * cos) * self.scale,
                );
            }
        }
        for x in rest {
            *x *= self.scale;
        }
    }
}

struct SumOfSquares<'a>(&'a [f32]);

impl Task for SumOfSquares<'_> {
    type Out = f32;
    #[inline(always)]
    fn run<L: Lanes>(self) -> f32 {
        let (whole, rest) = self.0.as_chunks::<LANES>();
        let mut sum = L::splat(0.0);
        for x in whole {
            let x = L::load(x);
            sum = L::add(sum, L::mul(x, x));
        }
        if !rest.is_empty() {
            let x = L::load(&padded(rest));
            sum = L::add(sum, L::mul(x, x));
        }
        L::sum_across(sum)
    }
}

struct Scaled<'a> {
    x: &'a [f32],
    scale: f32,
    weight: &'a [f32],
    out: &'a mut [f32],
}

impl Task for Scaled<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        self.out.copy_from_slice(self.x);
        Update(self.out, self.weight, RmsScale(self.scale)).run::<L>();
    }
}

/// What becomes of each of a vector's components beside another's.
trait Binary: Copy {
    fn apply<L: Lanes>(self, x: L::F, y: L::F) -> L::F;
}

struct Update<'a, B>(&'a mut [f32], &'a [f32], B);

impl<B: Binary> Task for Update<'_, B> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (xs, x_rest) = self.0.as_chunks_mut::<LANES>();
        let (ys, y_rest) = self.1.as_chunks::<LANES>();
        for (x, y) in xs.iter_mut().zip(ys) {
            L::store(self.2.apply::<L>(L::load(x), L::load(y)), x);
        }
        if !x_rest.is_empty() {
            let mut x = padded(x_rest);
            L::store(
                self.2.apply::<L>(L::load(&x), L::load(&padded(y_rest))),
                &mut x,
            );
            x_rest.copy_from_slice(&x[..x_rest.len()]);
        }
    }
}

#[derive(Clone, Copy)]
struct RmsScale(f32);
#[derive(Clone, Copy)]
struct Add;
#[derive(Clone, Copy)]
struct Silu;
#[derive(Clone, Copy)]
struct Gelu;

impl Binary for RmsScale {
    #[inline(always)]
    fn apply<L: Lanes>(self, x: L::F, weight: L::F) -> L::F {
        L::mul(L::mul(x, L::splat(self.0)), weight)
    }
}

impl Binary for Add {
    #[inline(always)]
    fn apply<L: Lanes>(self, x: L::F, y: L::F) -> L::F {
        L::add(x, y)
    }
}

impl Binary for Silu {
    #[inline(always)]
    fn apply<L: Lanes>(self, gate: L::F, up: L::F) -> L::F {
        L::mul(sigmoid_times::<L>(gate, gate), up)
    }
}

impl Binary for Gelu {
    #[inline(always)]
    fn apply<L: Lanes>(self, gate: L::F, up: L::F) -> L::F {
        // x/2 (1 + tanh(u)) is x / (1 + exp(-2u)).
        const TWICE_SQRT_2_OVER_PI: f32 = 2.0 * 0.797_884_6;
        let cubic = L::mul(L::splat(0.044_715), L::mul(gate, gate));
        let twice_u = L::mul(
            L::mul(L::splat(TWICE_SQRT_2_OVER_PI), gate),
            L::add(L::splat(1.0), cubic),
        );
        L::mul(sigmoid_times::<L>(gate, twice_u), up)
    }
}

struct SoftCap<'a>(&'a mut [f32], f32);

impl Task for SoftCap<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (whole, rest) = self.0.as_chunks_mut::<LANES>();
        for x in whole {
            L::store(capped::<L>(L::load(x), self.1), x);
        }
        if !rest.is_empty() {
            let mut x = padded(rest);
            L::store(capped::<L>(L::load(&x), self.1), &mut x);
            rest.copy_from_slice(&x[..rest.len()]);
        }
    }
}

#[inline(always)]
pub(crate) fn capped<L: Lanes>(x: L::F, cap: f32) -> L::F {
    L::mul(L::splat(cap), tanh::<L>(L::div(x, L::splat(cap))))
}

#[inline(always)]
fn padded(part: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    lanes[..part.len()].copy_from_slice(part);
    lanes
}
