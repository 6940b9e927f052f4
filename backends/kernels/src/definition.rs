//! What is computed: class `kwaai-canonical/1`, in plain scalar code, and `kwaai-canonical/1+kv-q8`, which
//! differs only in how [`attend`] keeps keys and values.
//!
//! Nothing here is fast, and nothing here knows of lanes, panels, tiles or threads. Every kernel equals
//! it bit for bit, which the tests of this crate show for all formats and odd shapes. A change here is
//! a new class.
//!
//! All arithmetic is IEEE 754 single precision, rounded to nearest, ties to even, each operation by
//! itself; a product and a sum are never fused.

use crate::format::{Format, Group, Quantized, with_format};
use crate::input::{BLOCK, SMALLEST};
use crate::lanes::scalar::{bf16_to_f32, f16_to_f32, f32_to_f16};
use crate::ops;
use crate::page::{KvFormat, PAGE};

/// An input's block of 32, or what is left of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized8 {
    /// From -127 to 127.
    pub numbers: Vec<i8>,
    /// What a number is multiplied by.
    pub scale: f32,
}

/// Quantizes a block: the scale is the largest magnitude over 127; a number is the component times
/// 127 over the largest magnitude, rounded to nearest, ties to even. Below 1e-30 a block is zero.
pub fn quantize(block: &[f32]) -> Quantized8 {
    let largest = largest(block);
    if largest < SMALLEST {
        return Quantized8 {
            numbers: vec![0; block.len()],
            scale: 0.0,
        };
    }
    let inverse = 127.0 / largest;
    let number = |x: &f32| (x * inverse).round_ties_even() as i8;
    Quantized8 {
        numbers: block.iter().map(number).collect(),
        scale: largest / 127.0,
    }
}

/// One component of a product: a row of weights as GGUF stores it, with one row of input.
///
/// Weights of a quantized format meet the quantized input. For each block, or half block where those
/// have scales of their own, in order: the whole numbers' products are summed exactly; the sum times
/// (weight scale times input scale) is added to the running sum; where there is an offset, offset
/// times (sum of the input's numbers times input scale) is added next. Other weights meet the input as
/// it is, one column after the other.
///
/// # Panics
/// When `row` and `input` are not equally long.
pub fn product(format: Format, row: &[u8], input: &[f32]) -> f32 {
    assert_eq!(
        row.len(),
        input.len() / format.group() * format.group_bytes()
    );
    with_format!(format, Q => quantized_product::<Q>(row, input), {
        let weights = row.chunks_exact(format.group_bytes());
        weights.zip(input).fold(0.0, |sum, (weight, x)| {
            let half = || u16::from_le_bytes([weight[0], weight[1]]);
            sum + x * match format {
                Format::F16 => f16_to_f32(half()),
                Format::Bf16 => bf16_to_f32(half()),
                _ => f32::from_le_bytes([weight[0], weight[1], weight[2], weight[3]]),
            }
        })
    })
}

fn quantized_product<Q: Quantized>(row: &[u8], input: &[f32]) -> f32 {
    let zero = Q::ZERO.map_or(0, |power| 1 << power);
    let mut input = input.chunks_exact(BLOCK).map(quantize);
    let mut sum = 0.0;
    for group in row.chunks_exact(Q::FORMAT.group_bytes()) {
        let group = Group::read::<Q>(group);
        for (block, x) in group.blocks[..Q::BLOCKS].iter().zip(&mut input) {
            let parts = if Q::HALVES { 2 } else { 1 };
            for part in 0..parts {
                let range = part * BLOCK / parts..(part + 1) * BLOCK / parts;
                let numbers = block.numbers[range.clone()]
                    .iter()
                    .map(|&n| i32::from(n) - zero);
                let xs = x.numbers[range].iter().map(|&x| i32::from(x));
                let dot: i32 = numbers.zip(xs.clone()).map(|(n, x)| n * x).sum();
                let scale = f16_to_f32(group.scale) * f32::from(block.scales[part]);
                sum += dot as f32 * (scale * x.scale);
                if Q::OFFSET {
                    let offset = f16_to_f32(group.offset) * f32::from(block.offsets[part]);
                    sum += offset * (xs.sum::<i32>() as f32 * x.scale);
                }
            }
        }
    }
    sum
}

/// A sum in sixteen lanes: element i goes to lane i modulo 16, in order; then lane i is added to
/// i + 8, to i + 4, to i + 2, to i + 1.
pub fn sum(elements: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0.0; 16];
    for (i, x) in elements.enumerate() {
        lanes[i % 16] += x;
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// `x * (1 / sqrt(sum(x²) / n + eps)) * weight`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let squares = sum(x.iter().map(|x| x * x));
    let scale = 1.0 / (squares / x.len() as f32 + eps).sqrt();
    x.iter()
        .zip(weight)
        .map(|(x, weight)| x * scale * weight)
        .collect()
}

/// e to the power of x: `n` is x over ln 2, rounded; `r` is x less n times ln 2, taken away in two
/// parts; then Taylor's series of r to the seventh power by Horner's rule, times 2 to the power of n.
/// Zero below -87, as for 88 above that.
pub fn exp(x: f32) -> f32 {
    if x < ops::EXP_LOWEST {
        return 0.0;
    }
    let x = x.min(ops::EXP_HIGHEST);
    let n = (x * ops::LOG2_E).round_ties_even();
    let r = x - n * ops::LN_2_HIGH - n * ops::LN_2_LOW;
    let [first, rest @ ..] = ops::EXP_TERMS;
    let sum = rest.iter().fold(first, |sum, term| sum * r + term);
    sum * f32::from_bits(((n as i32 + 127) << 23) as u32)
}

/// What a token weighs in a draw, of which the best one has 2^40: e to the power of
/// `(logit - best) * inverse`, times 2^40, rounded to nearest, ties to even. `best` is the largest
/// logit and `inverse` one over the temperature. Infinity counts as the largest finite number;
/// not-a-number weighs nothing. Weights are whole, so their sums are exact.
pub fn weight(logit: f32, best: f32, inverse: f32) -> u64 {
    if logit.is_nan() {
        return 0;
    }
    let power = (logit.min(f32::MAX) - best) * inverse;
    (exp(power) * ops::FULL_WEIGHT).round_ties_even() as u64
}

/// The hyperbolic tangent: `1 - 2 / (1 + exp(2x))`.
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(x + x))
}

/// `x / (1 + exp(-x))`.
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(0.0 - x))
}

/// `x / (1 + exp(-2u))` with `u = sqrt(2 / pi) * x * (1 + 0.044715 x²)`.
pub fn gelu(x: f32) -> f32 {
    let twice_u = 2.0 * 0.797_884_6 * x * (1.0 + 0.044_715 * (x * x));
    x / (1.0 + exp(0.0 - twice_u))
}

/// Turns pairs of components by position (Su et al. 2021) and scales all: `(x, y)` becomes
/// `((x cos - y sin) scale, (x sin + y cos) scale)`. Pairs are neighbours, or component i with i plus
/// the number of angles; what lies beyond the pairs is only scaled.
pub fn rotate(x: &[f32], cos: &[f32], sin: &[f32], neighbours: bool, scale: f32) -> Vec<f32> {
    let pairs = cos.len();
    let mut out: Vec<f32> = x.iter().map(|x| x * scale).collect();
    for pair in 0..pairs {
        let (i, j) = if neighbours {
            (2 * pair, 2 * pair + 1)
        } else {
            (pair, pair + pairs)
        };
        out[i] = (x[i] * cos[pair] - x[j] * sin[pair]) * scale;
        out[j] = (x[i] * sin[pair] + x[j] * cos[pair]) * scale;
    }
    out
}

/// Attention of one query, already scaled, over keys and values, which are kept as `kv` says, bounded to
/// what half floats hold. A score is bent below `soft_cap` if there is one. A weight is e to the power of
/// the score less the largest; weights are summed in sixteen lanes by their positions, the first of
/// which is `start`. Each component of the output is divided by that sum.
pub fn attend(
    kv: KvFormat,
    query: &[f32],
    keys: &[Vec<f32>],
    values: &[Vec<f32>],
    start: usize,
    soft_cap: Option<f32>,
) -> Vec<f32> {
    let score = |key: &Vec<f32>| {
        let score = match kv {
            KvFormat::F16 => half_score(query, key),
            KvFormat::Q8 => block_score(query, key),
        };
        soft_cap.map_or(score, |cap| cap * tanh(score / cap))
    };
    let scores: Vec<f32> = keys.iter().map(score).collect();
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f32> = scores.iter().map(|score| exp(score - largest)).collect();
    let total = sum(std::iter::repeat_n(0.0, start % 16).chain(weights.iter().copied()));
    let out = match kv {
        KvFormat::F16 => half_values(&weights, values),
        KvFormat::Q8 => block_values(&weights, values, start),
    };
    out.into_iter().map(|x| x / total).collect()
}

fn bounded(x: f32) -> f32 {
    x.clamp(-65_504.0, 65_504.0)
}

fn half(x: f32) -> f32 {
    f16_to_f32(f32_to_f16(bounded(x)))
}

/// Keys in half floats: a sum over components in order.
fn half_score(query: &[f32], key: &[f32]) -> f32 {
    let pairs = query.iter().zip(key);
    pairs.fold(0.0, |sum, (q, k)| sum + q * half(*k))
}

/// Values in half floats: sums over positions in order.
fn half_values(weights: &[f32], values: &[Vec<f32>]) -> Vec<f32> {
    let component = |at| {
        let pairs = weights.iter().zip(values);
        pairs.fold(0.0, |sum, (weight, value)| sum + weight * half(value[at]))
    };
    (0..values[0].len()).map(component).collect()
}

/// Keys in eight bits: each block is quantized as an input is, the query's blocks finely. For each block
/// in order, the sum of the numbers' products, which is exact, as f32, times (key's scale times query's
/// scale), is added to the score.
fn block_score(query: &[f32], key: &[f32]) -> f32 {
    let blocks = query.chunks(BLOCK).zip(key.chunks(BLOCK));
    blocks.fold(0.0, |sum, (query, key)| {
        let (query, query_scale) = quantize_finely(query);
        let key = quantize_bounded(key);
        let pairs = query.iter().zip(&key.numbers);
        let dot: i32 = pairs.map(|(q, k)| q * i32::from(*k)).sum();
        sum + dot as f32 * (key.scale * query_scale)
    })
}

/// Values in eight bits: each block is quantized as an input is. What a block of values is multiplied
/// by, weight times scale, is quantized finely for the positions of a page together, of those that are
/// seen. For each page in order, the sum of the numbers' products, which is exact, as f32, times the
/// page's scale, is added to the output.
fn block_values(weights: &[f32], values: &[Vec<f32>], start: usize) -> Vec<f32> {
    let mut out = vec![0.0; values[0].len()];
    for (index, out) in out.chunks_mut(BLOCK).enumerate() {
        let mut begin = 0;
        while begin < weights.len() {
            let left = PAGE - (start + begin) % PAGE;
            let page = begin..weights.len().min(begin + left);
            let blocks = values[page.clone()].iter().map(|value| {
                let block = value.chunks(BLOCK).nth(index).unwrap_or_default();
                quantize_bounded(block)
            });
            let blocks: Vec<Quantized8> = blocks.collect();
            let pairs = weights[page.clone()].iter().zip(&blocks);
            let scaled: Vec<f32> = pairs.map(|(weight, block)| weight * block.scale).collect();
            let (numbers, scale) = quantize_finely(&scaled);
            for (component, out) in out.iter_mut().enumerate() {
                let pairs = numbers.iter().zip(&blocks);
                let dot: i32 = pairs
                    .map(|(n, v)| n * i32::from(v.numbers[component]))
                    .sum();
                *out += dot as f32 * scale;
            }
            begin = page.end;
        }
    }
    out
}

fn quantize_bounded(block: &[f32]) -> Quantized8 {
    let block: Vec<f32> = block.iter().copied().map(bounded).collect();
    quantize(&block)
}

/// Quantizes a block to thirteen bits and a sign: with e the whole part of the largest magnitude's binary
/// logarithm, a number is the component times 2^(12 - e), rounded to nearest, ties to even, and the scale
/// is 2^(e - 12). Below 1e-30 a block is zero.
fn quantize_finely(block: &[f32]) -> (Vec<i32>, f32) {
    let largest = largest(block);
    if largest < SMALLEST {
        return (vec![0; block.len()], 0.0);
    }
    let exponent = largest.to_bits() >> 23;
    let scale = f32::from_bits((exponent - 12) << 23);
    let number = |x: &f32| (x / scale).round_ties_even() as i32;
    (block.iter().map(number).collect(), scale)
}

fn largest(block: &[f32]) -> f32 {
    block
        .iter()
        .fold(0.0_f32, |largest, x| largest.max(x.abs()))
}
