//! Log-mel spectrograms, which are what Whisper hears: Radford et al., "Robust speech recognition via
//! large-scale weak supervision" (2022), section 2.2, with the constants of its published code.
//!
//! Frames of 25 ms every 10 ms, Hann's window, power, triangular filters of equal area that are evenly
//! spaced on Slaney's mel scale ("Auditory toolbox", 1998), the logarithm cut off 80 dB below the loudest.

use std::f64::consts::TAU;

use super::RATE;
use super::fourier::Fourier;

/// Samples of a frame.
const FRAME: usize = 400;
/// Samples from one frame to the next.
pub(super) const HOP: usize = 160;
/// Frequencies of a spectrum, up to half the rate.
const BINS: usize = FRAME / 2 + 1;

/// Frames of mel bands.
pub(super) struct Spectrogram {
    bands: usize,
    /// Band after band of frame after frame.
    values: Vec<f32>,
}

impl Spectrogram {
    /// The spectrogram of samples at 16 kHz, with so many samples of silence after them. Ends early, and
    /// short, when told to stop.
    pub(super) fn new(
        samples: &[f32],
        silence: usize,
        bands: usize,
        stopped: impl Fn() -> bool,
    ) -> Self {
        let filters = filters(bands);
        let fourier = Fourier::new(FRAME);
        let hann: Vec<f64> = (0..FRAME)
            .map(|i| 0.5 - 0.5 * (TAU * i as f64 / FRAME as f64).cos())
            .collect();
        let length = samples.len() + silence;
        let frames = length / HOP;
        let mut values = Vec::with_capacity(frames * bands);
        let mut frame = vec![0.0; FRAME];
        let mut spectrum = vec![(0.0, 0.0); FRAME];
        for at in 0..frames {
            if at.is_multiple_of(1_000) && stopped() {
                break;
            }
            for (i, (value, weight)) in frame.iter_mut().zip(&hann).enumerate() {
                let place = mirrored(at * HOP + i, length);
                *value = samples.get(place).map_or(0.0, |&x| f64::from(x)) * weight;
            }
            fourier.transform(&frame, &mut spectrum);
            let power: Vec<f64> = spectrum[..BINS]
                .iter()
                .map(|(re, im)| re * re + im * im)
                .collect();
            values.extend(filters.iter().map(|filter| filter.loudness(&power)));
        }
        let loudest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for value in &mut values {
            *value = (value.max(loudest - 8.0) + 4.0) / 4.0;
        }
        Self { bands, values }
    }

    /// How many frames there are.
    pub(super) fn frames(&self) -> usize {
        self.values.len() / self.bands
    }

    /// So many frames from one on, frame after frame of band after band; zeros after the last.
    pub(super) fn window(&self, from: usize, frames: usize) -> Vec<f32> {
        let mut window = vec![0.0; self.bands * frames];
        let there = self.values.chunks_exact(self.bands).skip(from);
        for (at, frame) in there.take(frames).enumerate() {
            for (band, value) in frame.iter().enumerate() {
                window[band * frames + at] = *value;
            }
        }
        window
    }
}

/// The sample at a place of the recording that is mirrored at both its ends, half a frame being before it.
fn mirrored(place: usize, length: usize) -> usize {
    let place = place.abs_diff(FRAME / 2);
    if place < length {
        place
    } else {
        (2 * length).saturating_sub(place + 2)
    }
}

/// A triangle over some frequencies.
struct Filter {
    from: usize,
    weights: Vec<f64>,
}

impl Filter {
    fn loudness(&self, power: &[f64]) -> f32 {
        let weighed = self.weights.iter().zip(&power[self.from..]);
        let sum: f64 = weighed.map(|(weight, power)| weight * power).sum();
        sum.max(1e-10).log10() as f32
    }
}

fn filters(bands: usize) -> Vec<Filter> {
    let top = to_mel(RATE as f64 / 2.0);
    let corners: Vec<f64> = (0..bands + 2)
        .map(|i| to_hertz(top * i as f64 / (bands + 1) as f64))
        .collect();
    let hertz = |bin: usize| bin as f64 * RATE as f64 / FRAME as f64;
    let filter = |corners: &[f64]| {
        let (low, peak, high) = (corners[0], corners[1], corners[2]);
        let weight = |bin: usize| {
            let (up, down) = (
                (hertz(bin) - low) / (peak - low),
                (high - hertz(bin)) / (high - peak),
            );
            up.min(down).max(0.0) * 2.0 / (high - low)
        };
        let from = (0..BINS).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
        let weights = (from..BINS).map(weight);
        Filter {
            from,
            weights: weights.take_while(|weight| *weight > 0.0).collect(),
        }
    };
    corners.windows(3).map(filter).collect()
}

/// Mels: linear up to 1 kHz, which is 15 of them, then 27 for each factor of 6.4.
fn to_mel(hertz: f64) -> f64 {
    if hertz < 1_000.0 {
        hertz * 3.0 / 200.0
    } else {
        15.0 + (hertz / 1_000.0).ln() * 27.0 / 6.4_f64.ln()
    }
}

fn to_hertz(mel: f64) -> f64 {
    if mel < 15.0 {
        mel * 200.0 / 3.0
    } else {
        1_000.0 * ((mel - 15.0) * 6.4_f64.ln() / 27.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_goes_both_ways() {
        for hertz in [0.0, 440.0, 999.9, 1_000.0, 6_400.0, 8_000.0] {
            assert!((to_hertz(to_mel(hertz)) - hertz).abs() < 1e-9);
        }
        assert!((to_mel(6_400.0) - 42.0).abs() < 1e-9);
    }

    #[test]
    fn windows_are_filled_up_with_zeros() {
        let samples = vec![0.5; 1_600];
        let spectrogram = Spectrogram::new(&samples, 0, 80, || false);
        assert_eq!(spectrogram.frames(), 10);
        let window = spectrogram.window(8, 4);
        assert_eq!(window.len(), 320);
        assert!(window.chunks(4).all(|band| band[2..] == [0.0, 0.0]));
        assert!(window.chunks(4).any(|band| band[..2] != [0.0, 0.0]));
        let stopped = Spectrogram::new(&samples, 0, 80, || true);
        assert_eq!(stopped.frames(), 0);
    }
}
