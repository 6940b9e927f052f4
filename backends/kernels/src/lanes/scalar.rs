//! The lanes of any machine, one after the other.

use super::{LANES, Lanes};

/// No instruction set in particular; tests also take it with weights that have 128 added.
#[derive(Clone, Copy)]
pub(crate) struct Plain<const BIASED: bool>;

/// The definition's lanes.
pub(crate) type Scalar = Plain<false>;

#[inline(always)]
fn each<T: Copy, U: Copy + Default>(a: [T; LANES], f: impl Fn(T) -> U) -> [U; LANES] {
    let mut out = [U::default(); LANES];
    for lane in 0..LANES {
        out[lane] = f(a[lane]);
    }
    out
}

#[inline(always)]
fn both(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for lane in 0..LANES {
        out[lane] = f(a[lane], b[lane]);
    }
    out
}

#[inline(always)]
fn pairs(a: [u8; 64], f: impl Fn(u16) -> u16) -> [u8; 64] {
    let mut out = [0; 64];
    for i in 0..32 {
        let pair = f(u16::from_le_bytes([a[2 * i], a[2 * i + 1]])).to_le_bytes();
        (out[2 * i], out[2 * i + 1]) = (pair[0], pair[1]);
    }
    out
}

impl<const BIASED: bool> Lanes for Plain<BIASED> {
    type F = [f32; LANES];
    type I = [i32; LANES];
    type B = [u8; 64];

    const BIASED: bool = BIASED;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(x: f32) -> Self::F {
        [x; LANES]
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self::F {
        *from
    }
    #[inline(always)]
    fn store(x: Self::F, to: &mut [f32; LANES]) {
        *to = x;
    }
    #[inline(always)]
    fn load_f16(from: &[u16; LANES]) -> Self::F {
        each(*from, f16_to_f32)
    }
    #[inline(always)]
    fn store_f16(x: Self::F, to: &mut [u16; LANES]) {
        *to = each(x, f32_to_f16);
    }
    #[inline(always)]
    fn load_bf16(from: &[u16; LANES]) -> Self::F {
        each(*from, bf16_to_f32)
    }
    #[inline(always)]
    fn load_i8(from: &[i8; LANES]) -> Self::F {
        each(*from, f32::from)
    }
    #[inline(always)]
    fn load_u8(from: &[u8; LANES]) -> Self::F {
        each(*from, f32::from)
    }

    #[inline(always)]
    fn add(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn max(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, f32::max)
    }
    #[inline(always)]
    fn min(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, f32::min)
    }
    #[inline(always)]
    fn abs(a: Self::F) -> Self::F {
        each(a, f32::abs)
    }
    #[inline(always)]
    fn keep_from(x: Self::F, key: Self::F, limit: Self::F) -> Self::F {
        let mut out = [0.0; LANES];
        for lane in 0..LANES {
            if key[lane] >= limit[lane] {
                out[lane] = x[lane];
            }
        }
        out
    }
    #[inline(always)]
    fn max_across(a: Self::F) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn sum_across(mut a: Self::F) -> f32 {
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                a[lane] += a[lane + half];
            }
        }
        a[0]
    }

    #[inline(always)]
    fn to_float(a: Self::I) -> Self::F {
        each(a, |a| a as f32)
    }
    #[inline(always)]
    fn round(a: Self::F) -> Self::I {
        each(a, |a| a.round_ties_even() as i32)
    }
    #[inline(always)]
    fn power_of_two(a: Self::I) -> Self::F {
        each(a, |a| f32::from_bits(((a + 127) << 23) as u32))
    }
    #[inline(always)]
    fn splat_int(x: i32) -> Self::I {
        [x; LANES]
    }
    #[cfg(any(test, target_arch = "x86_64"))]
    #[inline(always)]
    fn load_int(from: &[i32; LANES]) -> Self::I {
        *from
    }
    #[inline(always)]
    fn shift_left(a: Self::I, bits: u32) -> Self::I {
        each(a, |a| a << bits)
    }
    #[inline(always)]
    fn store_i8(a: Self::I, to: &mut [i8; LANES]) {
        *to = each(a, |a| a as i8);
    }

    #[inline(always)]
    fn load_bytes(from: &[u8; 64]) -> Self::B {
        *from
    }
    #[inline(always)]
    fn store_bytes(a: Self::B, to: &mut [u8; 64]) {
        *to = a;
    }
    #[inline(always)]
    fn and(a: Self::B, mask: u8) -> Self::B {
        a.map(|a| a & mask)
    }
    #[inline(always)]
    fn or(a: Self::B, b: Self::B) -> Self::B {
        let mut out = a;
        for i in 0..64 {
            out[i] |= b[i];
        }
        out
    }
    #[inline(always)]
    fn sub_bytes(a: Self::B, x: u8) -> Self::B {
        a.map(|a| a.wrapping_sub(x))
    }
    #[inline(always)]
    fn bytes_right(a: Self::B, bits: u32) -> Self::B {
        pairs(a, |pair| pair >> bits)
    }
    #[inline(always)]
    fn bytes_left(a: Self::B, bits: u32) -> Self::B {
        pairs(a, |pair| pair << bits)
    }

    #[inline(always)]
    fn dot(sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        // Below 128 a byte is the same with and without a sign.
        Self::dot8(sum, weights, x)
    }
    #[inline(always)]
    fn dot8(mut sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        let x = x.to_le_bytes();
        for (lane, sum) in sum.iter_mut().enumerate() {
            for (byte, x) in x.iter().enumerate() {
                let weight = weights[4 * lane + byte];
                let weight = if BIASED {
                    i32::from(weight)
                } else {
                    i32::from(weight as i8)
                };
                *sum += weight * i32::from(*x as i8);
            }
        }
        sum
    }
}

/// Any finite half exactly; infinities and NaN stay what they are.
#[inline(always)]
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let rest = u32::from(half & 0x7FFF);
    let magnitude = if rest >= 0x7C00 {
        f32::from_bits(0x7F80_0000 | (rest & 0x3FF) << 13)
    } else {
        // The exponent is off by 127 - 15; the product puts it right, for subnormals too.
        f32::from_bits(rest << 13) * f32::from_bits((127 + 112) << 23)
    };
    f32::from_bits(magnitude.to_bits() | sign)
}

/// Rounds to nearest, ties to even; what is too large becomes infinite.
#[inline(always)]
pub(crate) fn f32_to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7FFF_FFFF;
    let half = if magnitude > 0x7F80_0000 {
        0x7E00
    } else if magnitude >= 0x4780_0000 {
        0x7C00
    } else if magnitude < 0x3880_0000 {
        // Below 2^-14: the addition rounds to a multiple of 2^-24, the smallest half.
        let shifted = f32::from_bits(magnitude) + 0.5;
        (shifted.to_bits() - 0.5_f32.to_bits()) as u16
    } else {
        let rebased = magnitude - (112 << 23);
        ((rebased + 0xFFF + (rebased >> 13 & 1)) >> 13) as u16
    };
    half | sign
}

#[inline(always)]
pub(crate) fn bf16_to_f32(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}
