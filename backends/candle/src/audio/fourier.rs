//! A discrete Fourier transform of one fixed length whose factors are small: Cooley and Tukey, "An
//! algorithm for the machine calculation of complex Fourier series" (1965), by recursion.

use std::f64::consts::TAU;

/// Real and imaginary part.
pub(super) type Complex = (f64, f64);

/// The largest factor that a length may have.
const FACTOR_MAX: usize = 5;

/// A transform with its roots of unity.
pub(super) struct Fourier {
    roots: Vec<Complex>,
}

impl Fourier {
    /// A transform of this length, the product of twos, threes and fives.
    pub(super) fn new(length: usize) -> Self {
        let angle = |k: usize| -TAU * k as f64 / length as f64;
        let roots = (0..length).map(|k| (angle(k).cos(), angle(k).sin()));
        Self {
            roots: roots.collect(),
        }
    }

    /// Transforms real numbers; both slices have the transform's length.
    pub(super) fn transform(&self, input: &[f64], output: &mut [Complex]) {
        self.part(input, 1, output);
    }

    /// Transforms every so manyth number.
    fn part(&self, input: &[f64], stride: usize, output: &mut [Complex]) {
        let length = output.len();
        if length == 1 {
            output[0] = (input[0], 0.0);
            return;
        }
        let factor = (2..=FACTOR_MAX)
            .find(|factor| length.is_multiple_of(*factor))
            .expect("a length has small factors");
        let share = length / factor;
        for (start, part) in output.chunks_exact_mut(share).enumerate() {
            self.part(&input[start * stride..], stride * factor, part);
        }
        let root = |power: usize| self.roots[power % self.roots.len()];
        let turn = self.roots.len() / factor;
        let mut turned = [(0.0, 0.0); FACTOR_MAX];
        for at in 0..share {
            for (part, turned) in turned[..factor].iter_mut().enumerate() {
                *turned = times(output[part * share + at], root(part * at * stride));
            }
            for row in 0..factor {
                let parts = turned[..factor].iter().enumerate();
                output[row * share + at] = parts.fold((0.0, 0.0), |sum, (part, value)| {
                    let (re, im) = times(*value, root(part * row * turn));
                    (sum.0 + re, sum.1 + im)
                });
            }
        }
    }
}

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_equals_the_definition() {
        for length in [1, 2, 15, 40, 400] {
            let input: Vec<f64> = (0..length).map(|n| ((n * n) as f64).sin()).collect();
            let mut output = vec![(0.0, 0.0); length];
            Fourier::new(length).transform(&input, &mut output);
            for (k, (re, im)) in output.into_iter().enumerate() {
                let terms = input.iter().enumerate().map(|(n, x)| {
                    let angle = -TAU * (n * k) as f64 / length as f64;
                    (x * angle.cos(), x * angle.sin())
                });
                let sum = terms.fold((0.0, 0.0), |sum, term| (sum.0 + term.0, sum.1 + term.1));
                assert!((sum.0 - re).abs() < 1e-9 && (sum.1 - im).abs() < 1e-9);
            }
        }
    }
}
