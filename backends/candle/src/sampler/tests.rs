use super::*;
use kwaainet_kernels::definition::weight;

/// A source of numbers for the tests: the sampler's own generator, under a seed of its own.
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        self.0 += 1;
        philox::bits(0xC0FF_EE00, self.0, 0)
    }

    fn uniform(&mut self) -> f64 {
        self.bits() as f64 / (1_u128 << 64) as f64
    }

    fn below(&mut self, n: u32) -> u32 {
        (self.uniform() * f64::from(n)) as u32
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u32) as usize]
    }

    /// Roughly bell-shaped, with ties.
    fn logits(&mut self, count: usize) -> Vec<f32> {
        let mut sum = || (0..6).map(|_| self.uniform() - 0.5).sum::<f64>() * 6.0;
        (0..count)
            .map(|_| ((sum() * 64.0).round() / 64.0) as f32)
            .collect()
    }

    fn sampling(&mut self) -> Sampling {
        Sampling {
            temperature: self.pick(&[0.0, 1e-40, 0.1, 0.7, 1.0, 2.0, 50.0]),
            top_k: self.pick(&[0, 0, 1, 40, 400, 9_999]),
            top_p: self.pick(&[1.0, 1.0, 0.9999, 0.95, 0.5, 0.01, 0.0]),
            min_p: self.pick(&[0.0, 0.0, 0.05, 0.5, 1.0]),
            repetition_penalty: self.pick(&[1.0, 1.0, 1.3, 0.5]),
            frequency_penalty: self.pick(&[0.0, 0.0, 0.7, -0.2]),
            presence_penalty: self.pick(&[0.0, 0.0, 1.0]),
            ..Sampling::default()
        }
    }
}

/// The definition: every token looked at, everything sorted.
fn by_the_book(
    logits: &[f32],
    sampling: &Sampling,
    prompt: &[u32],
    generated: &[u32],
    random: u64,
) -> u32 {
    let mut logits = logits.to_vec();
    for (id, bias) in &sampling.logit_bias {
        logits[*id as usize] += bias;
    }
    for (id, logit) in (0..).zip(&mut logits) {
        let times = generated.iter().filter(|g| **g == id).count() as f32;
        if times > 0.0 || prompt.contains(&id) {
            *logit = if *logit > 0.0 {
                *logit / sampling.repetition_penalty
            } else {
                *logit * sampling.repetition_penalty
            };
        }
        if times > 0.0 {
            *logit = *logit - sampling.frequency_penalty * times - sampling.presence_penalty;
        }
    }
    let mut ranked: Vec<(u32, f32)> = (0..).zip(logits.iter().copied().map(clean)).collect();
    // Adding 0 turns -0 into 0.
    ranked.sort_by(|a, b| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)).then(a.0.cmp(&b.0)));
    let (best_id, best) = ranked[0];
    if sampling.temperature == 0.0 || best == f32::NEG_INFINITY {
        return best_id;
    }
    let inverse = (1.0 / sampling.temperature).min(f32::MAX);
    let mut kept: Vec<(u32, u64)> = ranked
        .iter()
        .map(|(id, logit)| (*id, weight(*logit, best, inverse)))
        .collect();
    if sampling.top_k > 0 {
        kept.truncate(sampling.top_k as usize);
    }
    let mass = |tokens: &[(u32, u64)]| tokens.iter().map(|token| token.1).sum::<u64>();
    if sampling.top_p < 1.0 {
        let wanted = f64::from(sampling.top_p) * mass(&kept) as f64;
        let reaching = (1..kept.len()).find(|count| mass(&kept[..*count]) as f64 >= wanted);
        kept.truncate(reaching.unwrap_or(kept.len()));
    }
    kept.retain(|token| token.1 as f64 >= f64::from(sampling.min_p) * (1_u64 << 40) as f64);
    kept.sort_unstable();
    let target = ((u128::from(mass(&kept)) * u128::from(random)) >> 64) as u64;
    let mut sum = 0;
    let drawn = kept.iter().find(|token| {
        sum += token.1;
        sum > target
    });
    drawn.expect("the target is less than the sum").0
}

#[test]
fn draws_are_those_of_the_definition_on_every_kernel() {
    let mut numbers = Numbers(0);
    let kernels = Kernel::all();
    for round in 0..900 {
        let count = [1, 2, 7, 300, 1_025, 5_000][round % 6];
        let mut logits = numbers.logits(count);
        if round % 5 == 0 {
            for _ in 0..count / 3 {
                logits[numbers.below(count as u32) as usize] =
                    numbers.pick(&[f32::NAN, f32::NEG_INFINITY, f32::MIN, -0.0, f32::INFINITY]);
            }
        }
        let mut sampling = numbers.sampling();
        let mut ids = |most: u32| -> Vec<u32> {
            let some = numbers.below(most);
            (0..some).map(|_| numbers.below(count as u32)).collect()
        };
        let (prompt, generated, biased) = (ids(60), ids(60), ids(3));
        let biased = biased.into_iter();
        sampling.logit_bias = biased
            .map(|id| (id, numbers.pick(&[-100.0, 0.3])))
            .collect();
        let position = u64::from(numbers.below(1_000));
        let random = philox::bits(5, position, 3);
        let expected = by_the_book(&logits, &sampling, &prompt, &generated, random);
        let sampler = Sampler::new(&sampling, 5, 3);
        for kernel in &kernels {
            let drawn = sampler.sample(*kernel, &logits, &prompt, &generated, position);
            assert_eq!(drawn, expected, "{kernel:?}, {count}: {sampling:?}");
        }
    }
}

#[test]
fn the_ends_of_the_random_numbers_fall_on_the_ends_of_what_is_kept() {
    let mut numbers = Numbers(2);
    let logits = numbers.logits(3_000);
    for (top_k, top_p) in [(0, 1.0), (0, 0.9), (50, 1.0), (50, 0.9)] {
        let sampling = Sampling {
            top_k,
            top_p,
            ..Sampling::default()
        };
        for random in [0, u64::MAX] {
            let drawn = draw(Kernel::best(), &Logits::raw(&logits), &sampling, random);
            assert_eq!(drawn, by_the_book(&logits, &sampling, &[], &[], random));
        }
    }
}

#[test]
fn tokens_come_as_often_as_they_are_probable() {
    let probabilities = [0.5_f64, 0.25, 0.15, 0.1];
    let logits: Vec<f32> = probabilities.iter().map(|p| libm::log(*p) as f32).collect();
    let filtered = Sampling {
        top_p: 0.9,
        top_k: 4,
        ..Sampling::default()
    };
    for (sampling, possible) in [(Sampling::default(), 4), (filtered, 3)] {
        let sampler = Sampler::new(&sampling, 42, 0);
        let mut seen = [0_u32; 4];
        let draws = 20_000;
        for position in 0..draws {
            let drawn = sampler.sample(Kernel::best(), &logits, &[], &[], position);
            seen[drawn as usize] += 1;
        }
        let mass: f64 = probabilities[..possible].iter().sum();
        for (seen, probability) in seen.iter().zip(&probabilities[..possible]) {
            let expected = probability / mass * draws as f64;
            let deviation = (f64::from(*seen) - expected).abs();
            assert!(
                deviation < 4.0 * expected.sqrt(),
                "{seen} instead of {expected}"
            );
        }
        assert!(seen[possible..].iter().all(|seen| *seen == 0));
    }
}

#[test]
fn a_draw_depends_on_its_place_and_not_on_history() {
    let mut numbers = Numbers(1);
    let logits = numbers.logits(1_000);
    let draws = |seed, choice, positions: &mut dyn Iterator<Item = u64>| -> Vec<u32> {
        let sampler = Sampler::new(&Sampling::default(), seed, choice);
        positions
            .map(|position| sampler.sample(Kernel::best(), &logits, &[], &[], position))
            .collect()
    };
    let forwards = draws(7, 0, &mut (0..50));
    let mut backwards = draws(7, 0, &mut (0..50).rev());
    backwards.reverse();
    assert_eq!(forwards, backwards);
    assert_eq!(
        forwards[30..],
        draws(7, 0, &mut (30..50)),
        "resumed in the middle"
    );
    assert_ne!(forwards, draws(8, 0, &mut (0..50)), "another seed");
    assert_ne!(forwards, draws(7, 1, &mut (0..50)), "another choice");
}

fn greedy(logits: &[f32], generated: &[u32], change: impl Fn(&mut Sampling)) -> u32 {
    greedy_after(logits, &[], generated, change)
}

fn greedy_after(
    logits: &[f32],
    prompt: &[u32],
    generated: &[u32],
    change: impl Fn(&mut Sampling),
) -> u32 {
    let mut sampling = Sampling {
        temperature: 0.0,
        ..Sampling::default()
    };
    change(&mut sampling);
    Sampler::new(&sampling, 0, 0).sample(Kernel::best(), logits, prompt, generated, 0)
}

#[test]
fn without_temperature_the_best_token_is_taken_and_the_lower_id_on_a_tie() {
    let plain = |logits: &[f32]| greedy(logits, &[], |_| ());
    assert_eq!(plain(&[1.0, 3.0, 3.0, 2.0]), 1);
    assert_eq!(plain(&[f32::NAN, -5.0, f32::NAN, -4.0]), 3);
    assert_eq!(plain(&[f32::NEG_INFINITY, -f32::MAX]), 1);
    assert_eq!(plain(&[-0.0, 0.0]), 0);
    assert_eq!(plain(&[]), 0);
}

#[test]
fn bias_and_penalties_change_the_choice() {
    let logits = [2.0, 1.0, -1.0, 0.5];
    assert_eq!(
        greedy(&logits, &[], |s| s.logit_bias = vec![(2, 4.0), (9, 100.0)]),
        2
    );
    assert_eq!(
        greedy(&logits, &[], |s| s.logit_bias = vec![(0, -100.0)]),
        1
    );
    // Twice 0.6 is more than the lead of 1.0, once is not.
    assert_eq!(greedy(&logits, &[0], |s| s.frequency_penalty = 0.6), 0);
    assert_eq!(
        greedy(&logits, &[0, 3, 0], |s| s.frequency_penalty = 0.6),
        1
    );
    assert_eq!(greedy(&logits, &[0, 0, 0], |s| s.presence_penalty = 0.9), 0);
    assert_eq!(greedy(&logits, &[0], |s| s.presence_penalty = 1.1), 1);
    assert_eq!(greedy(&logits, &[0], |s| s.repetition_penalty = 2.5), 1);
    assert_eq!(
        greedy(&logits, &[77], |s| s.presence_penalty = 1.1),
        0,
        "not in the vocabulary"
    );
    // A penalty makes a negative logit worse, not better.
    assert_eq!(
        greedy(&[-1.0, -1.5], &[0], |s| s.repetition_penalty = 2.0),
        1
    );
    // A token that was pushed down by a negative penalty comes back.
    assert_eq!(greedy(&logits, &[1], |s| s.frequency_penalty = -1.5), 1);
}

#[test]
fn only_the_repetition_penalty_counts_the_prompt() {
    let logits = [2.0, 1.0];
    let after = |prompt: &[u32], generated: &[u32], change: fn(&mut Sampling)| {
        greedy_after(&logits, prompt, generated, change)
    };
    let repetition: fn(&mut Sampling) = |s| s.repetition_penalty = 2.5;
    assert_eq!(after(&[0], &[], repetition), 1);
    assert_eq!(after(&[1], &[], repetition), 0);
    assert_eq!(
        after(&[0, 0], &[0], |s| s.repetition_penalty = 1.9),
        0,
        "once"
    );
    assert_eq!(after(&[0, 0], &[], |s| s.frequency_penalty = 1.1), 0);
    assert_eq!(after(&[0, 0], &[], |s| s.presence_penalty = 1.1), 0);
    assert_eq!(after(&[77], &[], repetition), 0, "not in the vocabulary");
}

#[test]
fn impossible_logits_are_never_drawn() {
    let logits = [f32::NAN, 1.0, f32::NEG_INFINITY, 1.0, f32::NAN];
    for top_p in [1.0, 0.999, 0.3] {
        let sampling = Sampling {
            top_p,
            ..Sampling::default()
        };
        let sampler = Sampler::new(&sampling, 3, 0);
        let drawn: Vec<u32> = (0..200)
            .map(|at| sampler.sample(Kernel::best(), &logits, &[], &[], at))
            .collect();
        assert!(drawn.iter().all(|id| [1, 3].contains(id)));
    }
    let drawn = |logits: &[f32], random| {
        let logits = Logits::raw(logits);
        draw(Kernel::best(), &logits, &Sampling::default(), random)
    };
    for random in [0, 1 << 63, u64::MAX] {
        assert_eq!(drawn(&[f32::NAN; 3], random), 0, "none is possible");
        assert_eq!(drawn(&[], random), 0);
        assert_eq!(drawn(&[0.0, f32::INFINITY], random), 1);
        assert!(drawn(&[0.0; 9], random) < 9);
    }
}

#[test]
fn log_probabilities_are_those_of_the_raw_logits() {
    let logits = [0.0, libm::logf(2.0), libm::logf(5.0), f32::NAN];
    let (chosen, top) = log_probs(Kernel::best(), &logits, 1, 2);
    let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
    assert!(close(chosen, libm::logf(0.25)));
    assert_eq!((top[0].0, top[1].0), (2, 1));
    assert!(close(top[0].1, libm::logf(0.625)));
    assert_eq!(
        log_probs(Kernel::best(), &logits, 3, 0),
        (f32::NEG_INFINITY, Vec::new())
    );
    assert_eq!(
        log_probs(Kernel::best(), &logits, 0, 20).1.len(),
        4,
        "no more than there are"
    );
    let total: f32 = log_probs(Kernel::best(), &logits, 0, 4)
        .1
        .iter()
        .map(|(_, l)| libm::expf(*l))
        .sum();
    assert!(close(total, 1.0));
}

#[test]
fn log_probabilities_are_near_the_true_ones_for_large_vocabularies() {
    let mut numbers = Numbers(3);
    let logits = numbers.logits(20_000);
    let exact = |l: &f32| libm::exp(f64::from(*l));
    let norm = libm::log(logits.iter().map(exact).sum());
    let mut ranked: Vec<u32> = (0..20_000).collect();
    ranked.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
    for kernel in Kernel::all() {
        let (chosen, top) = log_probs(kernel, &logits, 77, 20);
        assert_eq!((chosen, top), log_probs(Kernel::scalar(), &logits, 77, 20));
        let (_, top) = log_probs(kernel, &logits, 77, 20);
        let ids: Vec<u32> = top.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, ranked[..20]);
        for (id, logprob) in top {
            let expected = f64::from(logits[id as usize]) - norm;
            assert!((f64::from(logprob) - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn a_mask_is_an_infinite_bias() {
    let mut numbers = Numbers(5);
    for (tokens, allowed) in [(40, 3), (1_000, 30), (3_001, 2_900), (5_000, 1)] {
        let mut logits = numbers.logits(tokens);
        logits[7] = f32::NAN;
        let mut mask = vec![0_u32; tokens.div_ceil(32)];
        for _ in 0..allowed {
            let id = numbers.below(tokens as u32);
            if id != 7 {
                mask[id as usize / 32] |= 1 << (id % 32);
            }
        }
        mask[0] |= 1 << 11;
        let is_set = |id: u32| mask[id as usize / 32] >> (id % 32) & 1 == 1;
        let biases = (0..tokens as u32).filter(|id| !is_set(*id));
        let forbidden: Vec<_> = biases.map(|id| (id, f32::NEG_INFINITY)).collect();
        for (temperature, top_k, top_p, min_p) in [
            (0.0, 0, 1.0, 0.0),
            (1.0, 0, 1.0, 0.0),
            (0.7, 40, 0.95, 0.0),
            (1.3, 0, 0.5, 0.0),
            (1.0, 5, 1.0, 0.1),
        ] {
            let free = Sampling {
                temperature,
                top_k,
                top_p,
                min_p,
                frequency_penalty: 0.5,
                ..Sampling::default()
            };
            let biased = Sampling {
                logit_bias: forbidden.clone(),
                ..free.clone()
            };
            let generated = [1, 2, 2, 9];
            let (masked, biased) = (Sampler::new(&free, 9, 0), Sampler::new(&biased, 9, 0));
            for kernel in Kernel::all() {
                for at in 0..20 {
                    let masked = masked.sample_masked(kernel, &logits, &mask, &[], &generated, at);
                    assert!(is_set(masked));
                    let biased = biased.sample(kernel, &logits, &[], &generated, at);
                    assert_eq!(masked, biased, "{tokens} {temperature} {at}");
                }
            }
        }
    }
}

#[test]
fn nothing_outside_a_mask_is_drawn_even_if_nothing_in_it_is_possible() {
    let logits = [5.0, f32::NAN, f32::NEG_INFINITY, 6.0];
    for temperature in [0.0, 1.0] {
        let sampling = Sampling {
            temperature,
            logit_bias: vec![(2, f32::NEG_INFINITY)],
            ..Sampling::default()
        };
        let sampler = Sampler::new(&sampling, 1, 0);
        let drawn = sampler.sample_masked(Kernel::best(), &logits, &[0b0110], &[], &[], 0);
        assert_eq!(drawn, 1);
    }
}
