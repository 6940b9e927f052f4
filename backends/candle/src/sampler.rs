//! The choice of the next token: a pure function of the logits, the tokens so far, the position, the
//! seed and the parameters. It keeps nothing from one token to the next, so that a sequence can be
//! resumed anywhere.
//!
//! The order is that of [`Sampling`]: bias, penalties, temperature, top-k, top-p, min-p. Top-k and
//! top-p keep the best so many tokens, by logit and then by id. Weights are the kernels' whole numbers,
//! whose sums are exact, so that every machine draws the same token.

mod draw;
mod logits;
mod philox;
mod ranking;

use kwaainet_core::Sampling;
use kwaainet_kernels::Kernel;

use draw::{draw, relative_mass};
use logits::{Logits, clean};
pub(crate) use philox::{bits as random_bits, philox};
use ranking::Ranking;

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
        &self,
        kernel: Kernel,
        logits: &[f32],
        prompt: &[u32],
        generated: &[u32],
        position: u64,
    ) -> u32 {
        let logits = Logits::adjusted(logits, &self.sampling, prompt, generated);
        self.choose(kernel, &logits, position)
    }

    /// The same from only those tokens whose bit is set in `mask`, of which there is at least one:
    /// as if the others had no probability, before anything is cut off or weighed.
    pub(crate) fn sample_masked(
        &self,
        kernel: Kernel,
        logits: &[f32],
        mask: &[u32],
        prompt: &[u32],
        generated: &[u32],
        position: u64,
    ) -> u32 {
        let logits = Logits::adjusted(logits, &self.sampling, prompt, generated);
        let (ids, allowed) = logits.allowed(mask);
        // Tokens keep their order, so that a tie or a draw falls as it would among all.
        let chosen = match ids.len() {
            1 => 0,
            _ => self.choose(kernel, &Logits::raw(&allowed), position),
        };
        ids.get(chosen as usize).copied().unwrap_or_default()
    }

    fn choose(&self, kernel: Kernel, logits: &Logits<'_>, position: u64) -> u32 {
        if self.sampling.temperature > 0.0 {
            let random = philox::bits(self.seed, position, self.choice);
            draw(kernel, logits, &self.sampling, random)
        } else {
            Ranking::new(kernel, logits).best_id()
        }
    }
}

/// The log-probability of `chosen` and those of the `top` most probable tokens, best first, under
/// the raw logits.
pub(crate) fn log_probs(
    kernel: Kernel,
    logits: &[f32],
    chosen: u32,
    top: usize,
) -> (f32, Vec<(u32, f32)>) {
    let raw = Logits::raw(logits);
    let ranking = Ranking::new(kernel, &raw);
    let mass = relative_mass(kernel, &raw, ranking.best());
    let norm = f64::from(ranking.best().max(f32::MIN)) + libm::log(mass.max(f64::MIN_POSITIVE));
    let logprob = |id: u32| {
        let logit = logits
            .get(id as usize)
            .map_or(f32::NEG_INFINITY, |logit| clean(*logit));
        (f64::from(logit) - norm) as f32
    };
    let top = ranking.top(top).into_iter().map(|id| (id, logprob(id)));
    (logprob(chosen), top.collect())
}

#[cfg(test)]
mod tests;
