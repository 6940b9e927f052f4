//! From any sampling rate to 16 kHz: a sinc under Kaiser's window, as the pieces come.

use std::f64::consts::PI;

use super::RATE;

/// Rates that recordings may have, in hertz.
pub(super) const RATES: std::ops::RangeInclusive<u32> = 2_000..=192_000;
/// Zero crossings of the sinc on either side.
const CROSSINGS: f64 = 32.0;
/// The share of the band that passes; the rest is for the filter's slope.
const PASS: f64 = 0.94;
/// Of Kaiser's window: some 90 dB of damping.
const BETA: f64 = 9.0;

/// A conversion under way.
pub(super) struct Resampler {
    /// Input and output rate without common factors.
    step: usize,
    phases: usize,
    /// Inputs that a filter reaches before and after its middle.
    reach: usize,
    /// For each phase, `2 * reach` weights.
    weights: Vec<f32>,
    /// Inputs from `start - reach` on.
    waiting: Vec<f32>,
    start: usize,
    /// Inputs and outputs so far.
    taken: usize,
    made: usize,
}

impl Resampler {
    /// From this rate, which is one of [`RATES`].
    pub(super) fn new(rate: u32) -> Self {
        let common = common(rate as usize, RATE);
        let (step, phases) = (rate as usize / common, RATE / common);
        // In cycles for each input sample.
        let cut = 0.5 * PASS * (RATE as f64 / f64::from(rate)).min(1.0);
        let half = CROSSINGS / (2.0 * cut);
        let reach = half.ceil() as usize;
        let weight = |phase: usize, tap: usize| {
            let distance = (tap + 1) as f64 - reach as f64 - phase as f64 / phases as f64;
            (2.0 * cut * sinc(2.0 * cut * distance) * kaiser(distance / half)) as f32
        };
        let weights = (0..phases).flat_map(|phase| (0..2 * reach).map(move |tap| (phase, tap)));
        Self {
            step,
            phases,
            reach,
            weights: weights.map(|(phase, tap)| weight(phase, tap)).collect(),
            waiting: vec![0.0; reach],
            start: 0,
            taken: 0,
            made: 0,
        }
    }

    /// Takes samples in, and puts out what they complete.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        if self.step == self.phases {
            out.extend_from_slice(samples);
            return;
        }
        self.taken += samples.len();
        self.waiting.extend_from_slice(samples);
        self.make(usize::MAX, out);
    }

    /// Puts out the rest, as if silence followed.
    pub(super) fn finish(mut self, out: &mut Vec<f32>) {
        let wanted = (self.taken * self.phases).div_ceil(self.step);
        self.waiting
            .extend(std::iter::repeat_n(0.0, self.reach + 1));
        self.make(wanted, out);
    }

    fn make(&mut self, wanted: usize, out: &mut Vec<f32>) {
        while self.made < wanted {
            let place = self.made * self.step;
            let (middle, phase) = (place / self.phases, place % self.phases);
            // The first weight belongs to `middle + 1 - reach`.
            let from = middle + 1 - self.start;
            let Some(inputs) = self.waiting.get(from..from + 2 * self.reach) else {
                break;
            };
            let weights = &self.weights[phase * 2 * self.reach..][..2 * self.reach];
            out.push(inputs.iter().zip(weights).map(|(x, w)| x * w).sum());
            self.made += 1;
        }
        let next = self.made * self.step / self.phases;
        let done = (next - self.start).min(self.waiting.len());
        self.waiting.drain(..done);
        self.start += done;
    }
}

fn common(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common(b, a % b) }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// Kaiser's window at -1 to 1, zero outside.
fn kaiser(x: f64) -> f64 {
    let inside = 1.0 - x * x;
    if inside < 0.0 {
        0.0
    } else {
        bessel(BETA * inside.sqrt()) / bessel(BETA)
    }
}

/// The modified Bessel function of the first kind of order zero, by its series.
fn bessel(x: f64) -> f64 {
    let term = |term: &mut f64, k: i32| {
        *term *= (x / (2.0 * f64::from(k))).powi(2);
        Some(*term)
    };
    1.0 + (1..=40).scan(1.0, term).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, rate: u32, seconds: f64) -> Vec<f32> {
        let samples = (seconds * f64::from(rate)) as usize;
        let value = |i: usize| (2.0 * PI * hertz * i as f64 / f64::from(rate)).sin() as f32;
        (0..samples).map(value).collect()
    }

    fn converted(samples: &[f32], rate: u32, piece: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(rate);
        let mut out = Vec::new();
        for piece in samples.chunks(piece) {
            resampler.push(piece, &mut out);
        }
        resampler.finish(&mut out);
        out
    }

    #[test]
    fn a_tone_stays_what_it_is_from_any_rate() {
        let expected = tone(1_000.0, RATE as u32, 0.25);
        for rate in [
            2_500, 8_000, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000,
        ] {
            let made = converted(&tone(1_000.0, rate, 0.25), rate, 1_000);
            assert_eq!(made.len(), expected.len(), "{rate}");
            // Away from the ends, where a tone that begins at once is no longer one tone.
            let middle = 800..expected.len() - 800;
            for (a, b) in made[middle.clone()].iter().zip(&expected[middle]) {
                assert!((a - b).abs() < 1e-3, "{rate}: {a} is not {b}");
            }
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_gone() {
        for hertz in [8_600.0, 12_000.0, 20_000.0] {
            let made = converted(&tone(hertz, 48_000, 0.25), 48_000, 777);
            let loudest = made[800..3_200]
                .iter()
                .fold(0.0, |m: f32, x| m.max(x.abs()));
            assert!(loudest < 1e-3, "{hertz}: {loudest}");
        }
    }

    #[test]
    fn pieces_make_no_difference() {
        let samples = tone(440.0, 44_100, 0.1);
        let whole = converted(&samples, 44_100, samples.len());
        for piece in [1, 7, 441, 1_023] {
            assert_eq!(converted(&samples, 44_100, piece), whole);
        }
        assert!(converted(&[], 44_100, 1).is_empty());
    }
}
