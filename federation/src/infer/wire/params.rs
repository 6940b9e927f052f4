//! How text is generated. Every value is within the range that the HTTP doors allow, checked again: a peer is
//! not a door.

use std::ops::RangeInclusive;

use kwaainet_core::{GenerateParams, Priority, Sampling};

use super::asks;
use super::{Bad, at_most, grammar, list, names, needed, one_of};

const CHOICES_MAX: u32 = 128;
const STOPS_MAX: usize = 64;
const STOP_BYTES_MAX: usize = 1_024;
const LOGPROBS_MAX: u32 = 20;
const BIASES_MAX: usize = 1 << 16;

const PRIORITIES: [Priority; 2] = [Priority::Interactive, Priority::Batch];

fn priority_number(priority: Priority) -> u32 {
    match priority {
        Priority::Interactive => 1,
        Priority::Batch => 2,
    }
}

pub(crate) fn write(params: GenerateParams) -> asks::Params {
    asks::Params {
        n: u32::from(params.n),
        max_tokens: params.max_tokens,
        max_tokens_param: params.max_tokens_param.to_owned(),
        stop: list::write_texts(params.stop),
        logprobs: params.logprobs.map(u32::from),
        sampling: Some(write_sampling(params.sampling)),
        grammar: params.grammar.map(grammar::write),
        echo: params.echo,
        priority: priority_number(params.priority),
    }
}

pub(crate) fn read(params: asks::Params) -> Result<GenerateParams, Bad> {
    let n = within(params.n, 1..=CHOICES_MAX, "n")?;
    let max_tokens_param = names::find(&params.max_tokens_param, &[]).unwrap_or("max_tokens");
    let least = if params.echo { 0 } else { 1 };
    let max_tokens = params
        .max_tokens
        .map(|tokens| within(tokens, least..=u32::MAX, max_tokens_param));
    let stop = list::read_texts(&params.stop, STOPS_MAX, "stop")?;
    for text in &stop {
        within(text.len(), 1..=STOP_BYTES_MAX, "stop")?;
    }
    let logprobs = params
        .logprobs
        .map(|top| within(top, 0..=LOGPROBS_MAX, "logprobs"));
    Ok(GenerateParams {
        n: n as u16,
        max_tokens: max_tokens.transpose()?,
        max_tokens_param,
        stop,
        logprobs: logprobs.transpose()?.map(|top| top as u8),
        sampling: read_sampling(needed(params.sampling, "sampling")?)?,
        grammar: params.grammar.map(grammar::read).transpose()?,
        echo: params.echo,
        priority: one_of(&PRIORITIES, priority_number, params.priority, "priority")?,
    })
}

fn write_sampling(sampling: Sampling) -> asks::Sampling {
    let (biased, biases) = sampling
        .logit_bias
        .into_iter()
        .map(|(id, bias)| (id, bias.to_bits()))
        .unzip();
    asks::Sampling {
        temperature: sampling.temperature.to_bits(),
        top_p: sampling.top_p.to_bits(),
        top_k: sampling.top_k,
        min_p: sampling.min_p.to_bits(),
        frequency_penalty: sampling.frequency_penalty.to_bits(),
        presence_penalty: sampling.presence_penalty.to_bits(),
        repetition_penalty: sampling.repetition_penalty.to_bits(),
        biased,
        biases,
        seed: sampling.seed,
    }
}

fn read_sampling(sampling: asks::Sampling) -> Result<Sampling, Bad> {
    at_most(sampling.biased.len(), BIASES_MAX, "logit_bias")?;
    if sampling.biased.len() != sampling.biases.len() {
        return Err(Bad::new("logit_bias", "not every token id has a bias"));
    }
    let float = |bits, range, param| within(f32::from_bits(bits), range, param);
    let biases = sampling.biases.into_iter();
    let biases = biases.map(|bits| float(bits, -100.0..=100.0, "logit_bias"));
    let biases = biases.collect::<Result<Vec<_>, _>>()?;
    Ok(Sampling {
        temperature: float(sampling.temperature, 0.0..=2.0, "temperature")?,
        top_p: float(sampling.top_p, 0.0..=1.0, "top_p")?,
        top_k: sampling.top_k,
        min_p: float(sampling.min_p, 0.0..=1.0, "min_p")?,
        frequency_penalty: float(sampling.frequency_penalty, -2.0..=2.0, "frequency_penalty")?,
        presence_penalty: float(sampling.presence_penalty, -2.0..=2.0, "presence_penalty")?,
        repetition_penalty: float(
            sampling.repetition_penalty,
            f32::MIN_POSITIVE..=10.0,
            "repetition_penalty",
        )?,
        logit_bias: sampling.biased.into_iter().zip(biases).collect(),
        seed: sampling.seed,
    })
}

/// A number within its range, in which no NaN is.
fn within<T: PartialOrd + std::fmt::Display>(
    value: T,
    range: RangeInclusive<T>,
    param: &'static str,
) -> Result<T, Bad> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (min, max) = range.into_inner();
    let reason = format!("'{param}' is {value}, and has to be from {min} to {max}");
    Err(Bad::new(param, reason))
}
