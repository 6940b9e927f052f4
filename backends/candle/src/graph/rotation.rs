//! Rotary position embedding (Su et al. 2021), in both layouts that decoders use.

use kwaainet_decoder::{Rope, RopeStyle};

/// The angles of one kind of layer, per position.
pub(super) struct Rotation {
    style: RopeStyle,
    /// Radians per position, for each pair of components.
    frequencies: Vec<f64>,
    magnitude: f32,
}

/// Sines and cosines for the rows of one step.
#[derive(Default)]
pub(super) struct Angles {
    cos_sin: Vec<(f32, f32)>,
}

impl Rotation {
    /// `factors` divide the frequencies (Llama 3's `rope_freqs` tensor); one for each pair.
    pub(super) fn new(rope: &Rope, style: RopeStyle, factors: Option<&[f32]>) -> Self {
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
            magnitude: rope.magnitude,
        }
    }

    /// Computes the angles of these positions, a row each.
    pub(super) fn prepare(&self, positions: impl Iterator<Item = usize>, angles: &mut Angles) {
        angles.cos_sin.clear();
        for position in positions {
            for frequency in &self.frequencies {
                let angle = position as f64 * frequency;
                let (cos, sin) = (libm::cos(angle) as f32, libm::sin(angle) as f32);
                angles
                    .cos_sin
                    .push((cos * self.magnitude, sin * self.magnitude));
            }
        }
    }

    /// Turns one head of row `row`.
    pub(super) fn turn(&self, head: &mut [f32], row: usize, angles: &Angles) {
        let pairs = self.frequencies.len();
        let angles = &angles.cos_sin[row * pairs..(row + 1) * pairs];
        for (pair, &(cos, sin)) in angles.iter().enumerate() {
            let (i, j) = match self.style {
                RopeStyle::Pairs => (2 * pair, 2 * pair + 1),
                RopeStyle::Halves => (pair, pair + pairs),
            };
            let (x, y) = (head[i], head[j]);
            head[i] = x * cos - y * sin;
            head[j] = x * sin + y * cos;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROPE: Rope = Rope {
        base: 10_000.0,
        scale: 1.0,
        dims: 4,
        magnitude: 1.0,
        factors: None,
    };

    fn turned(style: RopeStyle, factors: Option<&[f32]>, position: usize) -> [f32; 6] {
        let rotation = Rotation::new(&ROPE, style, factors);
        let mut angles = Angles::default();
        rotation.prepare([0, position].into_iter(), &mut angles);
        let mut head = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        rotation.turn(&mut head, 1, &angles);
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
