//! The choice of the next token: a pure function of the logits, the tokens so far, the position, the
//! seed and the parameters. It keeps nothing from one token to the next, so that a sequence can be
//! resumed anywhere.
//!
//! The order is that of [`Sampling`]: bias, penalties, temperature, top-k, top-p, min-p. What is kept
//! is always the best so many tokens, by logit and then by id; the draw walks down this ranking.
//! Sums are in `f64` and in a fixed order, exponentials and logarithms come from the `libm` crate, so
//! that every machine draws the same token.

mod philox;
mod ranking;

use kwaainet_core::Sampling;

use ranking::{Ranking, best, clean};

/// Draws the tokens of one choice.
pub(crate) struct Sampler {
    sampling: Sampling,
    seed: u64,
    choice: u32,
}

impl Sampler {
    /// For one choice of a request; choices of one seed draw independently.
    pub(crate) fn new(sampling: &Sampling, seed: u64, choice: u32) -> Self {
        Self {
            sampling: sampling.clone(),
            seed,
            choice,
        }
    }

    /// The token for `position`, given the prompt and the tokens generated before it. The
    /// repetition penalty counts both, the frequency and the presence penalty only what was
    /// generated. Logits that are not a number count as impossible. At least one logit is needed;
    /// without any, the answer is 0.
    pub(crate) fn sample(
        &mut self,
        logits: &[f32],
        prompt: &[u32],
        generated: &[u32],
        position: u64,
    ) -> u32 {
        let adjusted = self.adjusted(logits, prompt, generated);
        let logits = adjusted.as_deref().unwrap_or(logits);
        if self.sampling.temperature > 0.0 {
            let uniform = philox::uniform(self.seed, position, self.choice);
            draw(logits, &self.sampling, uniform)
        } else {
            best(logits)
        }
    }

    /// The logits after bias and penalties, if there are any.
    fn adjusted(&self, logits: &[f32], prompt: &[u32], generated: &[u32]) -> Option<Vec<f32>> {
        let sampling = &self.sampling;
        let repeats = sampling.repetition_penalty != 1.0;
        let counts = sampling.frequency_penalty != 0.0 || sampling.presence_penalty != 0.0;
        if sampling.logit_bias.is_empty() && !repeats && !counts {
            return None;
        }
        let mut adjusted = logits.to_vec();
        for (id, bias) in &sampling.logit_bias {
            if let Some(logit) = adjusted.get_mut(*id as usize) {
                *logit += bias;
            }
        }
        if repeats {
            let tokens = prompt.iter().chain(generated);
            penalize_repeated(&mut adjusted, tokens, sampling.repetition_penalty);
        }
        if counts {
            penalize_counted(&mut adjusted, generated, sampling);
        }
        Some(adjusted)
    }
}

/// Makes each of these tokens less likely, once however often it occurs.
fn penalize_repeated<'t>(logits: &mut [f32], tokens: impl Iterator<Item = &'t u32>, penalty: f32) {
    let mut seen = vec![false; logits.len()];
    for id in tokens.map(|id| *id as usize) {
        let (Some(logit), Some(seen)) = (logits.get_mut(id), seen.get_mut(id)) else {
            continue;
        };
        if !std::mem::replace(seen, true) {
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
    }
}

/// The frequency penalty for each occurrence and the presence penalty once.
fn penalize_counted(logits: &mut [f32], generated: &[u32], sampling: &Sampling) {
    let mut generated = generated.to_vec();
    generated.sort_unstable();
    for same in generated.chunk_by(|a, b| a == b) {
        if let Some(logit) = logits.get_mut(same[0] as usize) {
            *logit =
                *logit - sampling.frequency_penalty * same.len() as f32 - sampling.presence_penalty;
        }
    }
}

/// The token on which a number from 0 to 1 falls.
fn draw(logits: &[f32], sampling: &Sampling, uniform: f64) -> u32 {
    let mut ranking = Ranking::new(logits, f64::from(sampling.temperature));
    let all = logits.len();
    let mut kept = match sampling.top_k as usize {
        0 => all,
        k => k.min(all),
    };
    // Summed by id where nothing is cut off, which spares ranking what no draw will reach.
    let mass = |kept: usize, ranking: &mut Ranking<'_>| {
        if kept == all {
            ranking.total()
        } else {
            ranking.cumulative(kept)
        }
    };
    if sampling.top_p < 1.0 {
        let wanted = f64::from(sampling.top_p) * mass(kept, &mut ranking);
        kept = ranking.first_reaching(wanted, kept);
    }
    if sampling.min_p > 0.0 {
        kept = ranking.down_to_weight(f64::from(sampling.min_p), kept);
    }
    let target = uniform * mass(kept, &mut ranking);
    ranking.first_beyond(target, kept)
}

/// The log-probability of `chosen` and those of the `top` most probable tokens, best first, under
/// the raw logits.
pub(crate) fn log_probs(logits: &[f32], chosen: u32, top: usize) -> (f32, Vec<(u32, f32)>) {
    let mut ranking = Ranking::new(logits, 1.0);
    let norm = ranking.best() + libm::log(ranking.total());
    let logprob = |id: u32| {
        let logit = logits
            .get(id as usize)
            .map_or(f32::NEG_INFINITY, |logit| clean(*logit));
        (f64::from(logit) - norm) as f32
    };
    let top = (0..top.min(logits.len()))
        .map(|rank| ranking.id(rank))
        .map(|id| (id, logprob(id)))
        .collect();
    (logprob(chosen), top)
}

#[cfg(test)]
mod tests;
