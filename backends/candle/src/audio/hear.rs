//! What is said in one window: the most probable tokens, or where that goes wrong, drawn ones (Radford et
//! al. 2022, section 4.5).

use std::io::Write;

use candle_core::Tensor;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use kwaainet_core::BackendError;

use super::Stop;
use super::filter;
use super::model::Model;
use crate::sampler::random_bits;

/// Tried one after the other until the text is no repetition and probable enough.
const TEMPERATURES: [f32; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
/// A text that becomes smaller than this repeats itself.
const COMPRESSION_MAX: f32 = 2.4;
/// Below this mean log-probability the model has guessed.
const LOGPROB_MIN: f32 = -1.0;
/// Above this probability nobody speaks, where the model has guessed too.
const NO_SPEECH_MAX: f32 = 0.6;

/// What the decoder begins with.
pub(super) struct Opening {
    /// What was said before, then start, language and task.
    pub(super) tokens: Vec<u32>,
    /// Where the start is.
    pub(super) start: usize,
}

/// One window's tokens, and how sure they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) tokens: Vec<u32>,
    pub(super) temperature: f32,
    pub(super) avg_logprob: f32,
    pub(super) compression_ratio: f32,
    pub(super) no_speech_prob: f32,
}

impl Heard {
    /// Nobody speaks.
    pub(super) fn is_silence(&self) -> bool {
        self.no_speech_prob > NO_SPEECH_MAX && self.avg_logprob < LOGPROB_MIN
    }

    fn is_good(&self) -> bool {
        let good = self.compression_ratio <= COMPRESSION_MAX && self.avg_logprob >= LOGPROB_MIN;
        good || self.is_silence()
    }
}

/// Listens to a window at rising temperatures, or at the one that was asked for. Gives the attempt to
/// keep, and the number of tokens of all.
pub(super) fn hear(
    model: &mut Model,
    window: &Tensor,
    opening: &Opening,
    temperature: f32,
    stop: &Stop,
) -> Result<(Heard, u32), BackendError> {
    let asked = [temperature];
    let ladder = if temperature > 0.0 {
        &asked[..]
    } else {
        &TEMPERATURES[..]
    };
    let (mut heard, mut tokens) = (Heard::default(), 0);
    for &temperature in ladder {
        heard = attempt(model, window, opening, temperature, stop)?;
        tokens += heard.tokens.len() as u32;
        if heard.is_good() {
            break;
        }
    }
    Ok((heard, tokens))
}

/// Listens once.
pub(super) fn attempt(
    model: &mut Model,
    window: &Tensor,
    opening: &Opening,
    temperature: f32,
    stop: &Stop,
) -> Result<Heard, BackendError> {
    let mut heard = Heard {
        temperature,
        ..Heard::default()
    };
    let mut tokens = opening.tokens.clone();
    let mut total = 0.0;
    let most = (model.context() / 2).min(model.context() - tokens.len());
    for position in 0..most {
        stop.check()?;
        let places = [tokens.len() - 1, opening.start];
        let mut logits = if position == 0 {
            let [logits, start] = model.logits(&tokens, window, true, places)?;
            heard.no_speech_prob = model
                .words
                .no_speech
                .map_or(0.0, |id| probabilities(&start, 1.0)[id as usize] as f32);
            logits
        } else {
            let [logits] = model.logits(&tokens, window, false, [tokens.len() - 1])?;
            logits
        };
        filter::apply(&model.words, &heard.tokens, &mut logits);
        let chosen = choose(&logits, temperature, position as u64);
        total += probabilities(&logits, 1.0)[chosen as usize].ln();
        if chosen == model.words.end {
            break;
        }
        heard.tokens.push(chosen);
        tokens.push(chosen);
    }
    heard.avg_logprob = (total / (heard.tokens.len() + 1) as f64) as f32;
    heard.compression_ratio = compression_ratio(&model.words.text(&heard.tokens));
    Ok(heard)
}

/// The best token, the lower one on a tie; or one drawn. The same recording gives the same draws.
fn choose(logits: &[f32], temperature: f32, position: u64) -> u32 {
    if temperature <= 0.0 {
        let better = |best: usize, id: usize| if logits[id] > logits[best] { id } else { best };
        return (0..logits.len()).reduce(better).unwrap_or(0) as u32;
    }
    let probabilities = probabilities(logits, temperature);
    let seed = u64::from(temperature.to_bits());
    let mut left = random_bits(seed, position, 0) as f64 / 2.0_f64.powi(64);
    let mut last = 0;
    for (id, probability) in probabilities.into_iter().enumerate() {
        if probability > 0.0 {
            last = id;
            left -= probability;
            if left < 0.0 {
                break;
            }
        }
    }
    last as u32
}

fn probabilities(logits: &[f32], temperature: f32) -> Vec<f64> {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |x: &f32| f64::from((x - best) / temperature).exp();
    let mut weights: Vec<f64> = logits.iter().map(weight).collect();
    let sum: f64 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= sum;
    }
    weights
}

/// How many times smaller a text becomes.
fn compression_ratio(text: &str) -> f32 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(text.as_bytes());
    let packed = written.and_then(|()| encoder.finish());
    let packed = packed.expect("memory takes whatever is written");
    text.len() as f32 / packed.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_show() {
        assert!(compression_ratio(&"again and ".repeat(20)) > COMPRESSION_MAX);
        assert!(compression_ratio("Nothing in this sentence comes twice.") < COMPRESSION_MAX);
        assert_eq!(compression_ratio(""), 0.0);
    }

    #[test]
    fn the_best_token_is_taken_and_others_are_drawn() {
        let logits = [0.0, 2.0, 2.0, f32::NEG_INFINITY];
        assert_eq!(choose(&logits, 0.0, 7), 1);
        let mut drawn = [0; 4];
        for position in 0..4_000 {
            drawn[choose(&logits, 1.0, position) as usize] += 1;
        }
        let expected = probabilities(&logits, 1.0);
        for (count, probability) in drawn.into_iter().zip(expected) {
            assert!(
                (f64::from(count) / 4_000.0 - probability).abs() < 0.03,
                "{drawn:?}"
            );
        }
    }
}
