use super::*;

/// A source of numbers for the tests: the sampler's own generator, under a seed of its own.
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 += 1;
        philox::uniform(0xC0FF_EE00, self.0, 0)
    }

    fn below(&mut self, n: u32) -> u32 {
        (self.uniform() * f64::from(n)) as u32
    }

    /// Roughly bell-shaped, with ties.
    fn logits(&mut self, count: usize) -> Vec<f32> {
        let mut sum = || (0..6).map(|_| self.uniform() - 0.5).sum::<f64>() * 6.0;
        (0..count)
            .map(|_| ((sum() * 64.0).round() / 64.0) as f32)
            .collect()
    }
}

/// The definition, by sorting everything.
fn by_the_book(logits: &[f32], sampling: &Sampling, uniform: f64) -> u32 {
    let mut ranked: Vec<(u32, f64)> = (0..).zip(logits.iter().map(|l| f64::from(*l))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let best = ranked[0].1;
    for (_, weight) in &mut ranked {
        *weight = libm::exp((*weight - best) / f64::from(sampling.temperature));
    }
    if sampling.top_k > 0 {
        ranked.truncate(sampling.top_k as usize);
    }
    let mass = |ranked: &[(u32, f64)]| ranked.iter().map(|(_, weight)| weight).sum::<f64>();
    let wanted = mass(&ranked) * f64::from(sampling.top_p);
    let mut sum = 0.0;
    let reaching = ranked.iter().position(|(_, weight)| {
        sum += weight;
        sum >= wanted
    });
    ranked.truncate(reaching.map_or(ranked.len(), |last| last + 1));
    ranked.retain(|(_, weight)| *weight >= f64::from(sampling.min_p));
    let target = uniform * mass(&ranked);
    let mut sum = 0.0;
    let drawn = ranked.iter().find(|(_, weight)| {
        sum += weight;
        sum > target
    });
    drawn.or(ranked.last()).expect("the best token is kept").0
}

#[test]
fn draws_are_those_of_the_definition() {
    let mut numbers = Numbers(0);
    for round in 0..600 {
        let count = [1, 2, 7, 300, 5_000][round % 5];
        let logits = numbers.logits(count);
        let pick = |numbers: &mut Numbers, values: &[f32]| {
            values[numbers.below(values.len() as u32) as usize]
        };
        let sampling = Sampling {
            temperature: pick(&mut numbers, &[0.1, 0.7, 1.0, 2.0, 50.0]),
            top_k: pick(&mut numbers, &[0.0, 0.0, 1.0, 40.0, 400.0, 9_999.0]) as u32,
            top_p: pick(&mut numbers, &[1.0, 1.0, 0.95, 0.5, 0.01, 0.0]),
            min_p: pick(&mut numbers, &[0.0, 0.0, 0.05, 0.5, 1.0]),
            ..Sampling::default()
        };
        let uniform = numbers.uniform();
        let drawn = draw(&logits, &sampling, uniform);
        assert_eq!(
            drawn,
            by_the_book(&logits, &sampling, uniform),
            "{count}: {sampling:?}"
        );
    }
}

#[test]
fn tokens_come_as_often_as_they_are_probable() {
    let probabilities = [0.5_f64, 0.25, 0.15, 0.1];
    let logits: Vec<f32> = probabilities.iter().map(|p| libm::log(*p) as f32).collect();
    let mut sampler = Sampler::new(&Sampling::default(), 42, 0);
    let mut seen = [0_u32; 4];
    let draws = 20_000;
    for position in 0..draws {
        seen[sampler.sample(&logits, &[], &[], position) as usize] += 1;
    }
    for (seen, probability) in seen.iter().zip(probabilities) {
        let expected = probability * draws as f64;
        let deviation = (f64::from(*seen) - expected).abs();
        assert!(
            deviation < 4.0 * expected.sqrt(),
            "{seen} instead of {expected}"
        );
    }
}

#[test]
fn a_draw_depends_on_its_place_and_not_on_history() {
    let mut numbers = Numbers(1);
    let logits = numbers.logits(1_000);
    let draws = |seed, choice, positions: &mut dyn Iterator<Item = u64>| -> Vec<u32> {
        let mut sampler = Sampler::new(&Sampling::default(), seed, choice);
        positions
            .map(|position| sampler.sample(&logits, &[], &[], position))
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
    Sampler::new(&sampling, 0, 0).sample(logits, prompt, generated, 0)
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
        let mut sampler = Sampler::new(&sampling, 3, 0);
        let drawn: Vec<u32> = (0..200)
            .map(|at| sampler.sample(&logits, &[], &[], at))
            .collect();
        assert!(drawn.iter().all(|id| [1, 3].contains(id)));
    }
    for uniform in [0.0, 0.5, 1.0 - f64::EPSILON] {
        let sampling = Sampling::default();
        assert_eq!(
            draw(&[f32::NAN; 3], &sampling, uniform),
            0,
            "none is possible"
        );
        assert_eq!(draw(&[0.0, f32::INFINITY], &sampling, uniform), 1);
        assert!(draw(&[0.0; 9], &sampling, uniform) < 9);
    }
}

#[test]
fn log_probabilities_are_those_of_the_raw_logits() {
    let logits = [0.0, libm::logf(2.0), libm::logf(5.0), f32::NAN];
    let (chosen, top) = log_probs(&logits, 1, 2);
    let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
    assert!(close(chosen, libm::logf(0.25)));
    assert_eq!((top[0].0, top[1].0), (2, 1));
    assert!(close(top[0].1, libm::logf(0.625)));
    assert_eq!(log_probs(&logits, 3, 0), (f32::NEG_INFINITY, Vec::new()));
    assert_eq!(
        log_probs(&logits, 0, 20).1.len(),
        4,
        "no more than there are"
    );
    let total: f32 = log_probs(&logits, 0, 4)
        .1
        .iter()
        .map(|(_, l)| libm::expf(*l))
        .sum();
    assert!(close(total, 1.0));
}
