//! Rotary position embedding (Su et al. 2021), in both layouts that decoders use.

use kwaainet_kernels::{Compute, Kernel, ops};

use super::each_row;
use super::weights::vector;
use crate::{FileError, Gguf, Rope, RopeStyle};

/// The angles of one kind of layer, per position.
pub(super) struct Rotation {
    style: RopeStyle,
    /// Radians per position, for each pair of components.
    frequencies: Vec<f64>,
    /// Cosines and sines are multiplied by this.
    magnitude: f64,
}

/// For the rows of one step: of each row, first all cosines, then all sines.
#[derive(Default)]
pub(super) struct Angles(Vec<f32>);

impl Rotation {
    /// Reads the factors where the model has some.
    pub(super) fn load(file: &Gguf, rope: &Rope, style: RopeStyle) -> Result<Self, FileError> {
        let factors = match rope.factors {
            Some(name) => Some(vector(file, name, rope.dims / 2)?),
            None => None,
        };
        Ok(Self::new(rope, style, factors.as_deref()))
    }

    /// `factors` divide the frequencies; one for each pair.
    fn new(rope: &Rope, style: RopeStyle, factors: Option<&[f32]>) -> Self {
        let pairs = rope.dims / 2;
        let frequencies = (0..pairs)
            .map(|pair| {
                let exponent = -2.0 * pair as f64 / rope.dims as f64;
                let frequency = libm::pow(f64::from(rope.base), exponent);
                let factor = factors.map_or(1.0, |factors| f64::from(factors[pair]));
                frequency * f64::from(rope.scale) / factor
            })
            .collect();
        Self {
            style,
            frequencies,
            magnitude: f64::from(rope.magnitude),
        }
    }

    /// Computes the angles of these positions, a row each.
    pub(super) fn prepare(&self, compute: &Compute, positions: &[usize], angles: &mut Angles) {
        let pairs = self.frequencies.len();
        angles.0.resize(positions.len() * 2 * pairs, 0.0);
        each_row(compute, &mut angles.0, 2 * pairs, |row, angles| {
            let (cos, sin) = angles.split_at_mut(pairs);
            for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(&self.frequencies) {
                let angle = positions[row] as f64 * frequency;
                *cos = (libm::cos(angle) * self.magnitude) as f32;
                *sin = (libm::sin(angle) * self.magnitude) as f32;
            }
        });
    }

    /// Turns one head of row `row`, and multiplies it by `scale`.
    pub(super) fn turn(
        &self,
        kernel: Kernel,
        head: &mut [f32],
        angles: &Angles,
        row: usize,
        scale: f32,
    ) {
        let pairs = self.frequencies.len();
        let (cos, sin) = angles.0[row * 2 * pairs..][..2 * pairs].split_at(pairs);
        let neighbours = self.style == RopeStyle::Pairs;
        ops::rotate(kernel, head, cos, sin, neighbours, scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_kernels::Pool;

    const ROPE: Rope = Rope {
        base: 10_000.0,
        scale: 1.0,
        dims: 4,
        magnitude: 1.0,
        factors: None,
    };

    fn turned(style: RopeStyle, factors: Option<&[f32]>, position: usize) -> [f32; 6] {
        let compute = Compute {
            kernel: Kernel::best(),
            pool: Pool::new(1).expect("one thread is the caller's"),
        };
        let rotation = Rotation::new(&ROPE, style, factors);
        let mut angles = Angles::default();
        rotation.prepare(&compute, &[0, position], &mut angles);
        let mut head = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        rotation.turn(compute.kernel, &mut head, &angles, 1, 1.0);
        head
    }

    #[test]
    fn both_layouts_turn_their_own_pairs_and_leave_the_rest() {
        let (cos, sin) = (1_f32.cos(), 1_f32.sin());
        let pairs = turned(RopeStyle::Pairs, None, 1);
        assert!((pairs[0] - (cos - 2.0 * sin)).abs() < 1e-6);
        let halves = turned(RopeStyle::Halves, None, 1);
        assert!((halves[0] - (cos - 3.0 * sin)).abs() < 1e-6);
        assert!((halves[2] - (sin + 3.0 * cos)).abs() < 1e-6);
        assert_eq!(pairs[4..], [5.0, 6.0]);
        assert_eq!(halves[4..], [5.0, 6.0]);
    }

    #[test]
    fn position_zero_and_infinite_factors_turn_nothing() {
        let still = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(turned(RopeStyle::Pairs, None, 0), still);
        let factors = [f32::INFINITY; 2];
        assert_eq!(turned(RopeStyle::Halves, Some(&factors), 7), still);
    }
}
