//! Storage types that candle computes without SIMD, turned into one that it computes with it.
//!
//! Blocks of Q4_1, Q5_0 and Q5_1 hold 32 whole numbers of 4 or 5 bits and a scale, which Q8_0 holds
//! just as well, to the bit; the offset that two of them add to every number is kept beside it. That
//! costs memory (a half to nearly double the file's bytes) and makes them several times as fast.
//! Layouts: ggml's `ggml-common.h`.

use std::borrow::Cow;

use candle_core::quantized::GgmlDType;
use half::f16;

/// Numbers in a block of each of these types.
pub(super) const BLOCK: usize = 32;

/// What a tensor became.
pub(super) struct Wide<'a> {
    pub(super) dtype: GgmlDType,
    pub(super) bytes: Cow<'a, [u8]>,
    /// What is added to all weights of a block, for each block.
    pub(super) offsets: Option<Vec<f32>>,
}

/// Turns the types named above into Q8_0; leaves others as they are.
pub(super) fn widen(dtype: GgmlDType, bytes: &[u8]) -> Wide<'_> {
    // The middle of the numbers' range becomes zero. Where an offset is added anyway, that keeps
    // the rounding of what the weights meet from being multiplied by more than the weights.
    let (has_offset, has_high_bits, zero) = match dtype {
        GgmlDType::Q4_1 => (true, false, 8),
        GgmlDType::Q5_0 => (false, true, 16),
        GgmlDType::Q5_1 => (true, true, 16),
        _ => {
            return Wide {
                dtype,
                bytes: bytes.into(),
                offsets: None,
            };
        }
    };
    let blocks = bytes.len() / dtype.type_size();
    let mut wide = Vec::with_capacity(blocks * GgmlDType::Q8_0.type_size());
    let mut offsets = Vec::with_capacity(if has_offset { blocks } else { 0 });
    for block in bytes.chunks_exact(dtype.type_size()) {
        let (scale, rest) = block.split_at(2);
        let (offset, rest) = rest.split_at(if has_offset { 2 } else { 0 });
        let (high, low) = rest.split_at(if has_high_bits { 4 } else { 0 });
        let high = high
            .iter()
            .rev()
            .fold(0_u32, |all, &byte| all << 8 | u32::from(byte));
        wide.extend_from_slice(scale);
        let nibbles = low
            .iter()
            .map(|byte| byte & 15)
            .chain(low.iter().map(|byte| byte >> 4));
        wide.extend(nibbles.enumerate().map(|(i, nibble)| {
            let bit = (high >> i & 1) as u8;
            (nibble | bit << 4).wrapping_sub(zero)
        }));
        if has_offset {
            offsets.push(half(offset) + f32::from(zero) * half(scale));
        }
    }
    Wide {
        dtype: GgmlDType::Q8_0,
        bytes: wide.into(),
        offsets: has_offset.then_some(offsets),
    }
}

fn half(bytes: &[u8]) -> f32 {
    bytes
        .first_chunk()
        .map_or(0.0, |&bytes| f16::from_le_bytes(bytes).to_f32())
}
