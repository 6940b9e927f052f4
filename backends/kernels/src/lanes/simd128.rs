//! wasm32 with simd128: a vector is four registers.
//!
//! Built only where the whole program may use simd128, since WebAssembly has no way to ask at run time.
//! There is no conversion of half floats, so they are converted by whole numbers, as in `scalar.rs`.

use core::arch::wasm32::*;

use super::{LANES, Lanes};

/// WebAssembly's fixed-width SIMD.
#[derive(Clone, Copy)]
pub(crate) struct Simd128;

#[inline(always)]
fn each<T: Copy, U>(a: [T; 4], f: impl Fn(T) -> U) -> [U; 4] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn both(a: [v128; 4], b: [v128; 4], f: impl Fn(v128, v128) -> v128) -> [v128; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

/// Types of which any bits make a number.
trait Number: Copy {}
impl Number for f32 {}
impl Number for u8 {}
impl Number for i8 {}
impl Number for i32 {}
impl Number for u16 {}

/// `REGISTERS` registers in a row.
#[inline(always)]
fn load<T: Number, const N: usize, const REGISTERS: usize>(from: &[T; N]) -> [v128; REGISTERS] {
    const { assert!(size_of::<[T; N]>() == 16 * REGISTERS) };
    // SAFETY: so many bytes are there, and a load needs no alignment.
    std::array::from_fn(|i| unsafe { v128_load(from.as_ptr().cast::<v128>().add(i)) })
}

#[inline(always)]
fn store<T: Number, const N: usize, const REGISTERS: usize>(x: [v128; REGISTERS], to: &mut [T; N]) {
    const { assert!(size_of::<[T; N]>() == 16 * REGISTERS) };
    for (i, x) in x.into_iter().enumerate() {
        // SAFETY: so many bytes are there, of which any are a `T`; a store needs no alignment.
        unsafe { v128_store(to.as_mut_ptr().cast::<v128>().add(i), x) };
    }
}

#[inline(always)]
fn load_words(from: &[u16; LANES]) -> [v128; 4] {
    let [low, high] = load(from);
    [
        u32x4_extend_low_u16x8(low),
        u32x4_extend_high_u16x8(low),
        u32x4_extend_low_u16x8(high),
        u32x4_extend_high_u16x8(high),
    ]
}

impl Lanes for Simd128 {
    type F = [v128; 4];
    type I = [v128; 4];
    type B = [v128; 4];

    const BIASED: bool = false;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(x: f32) -> Self::F {
        [f32x4_splat(x); 4]
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self::F {
        load(from)
    }
    #[inline(always)]
    fn store(x: Self::F, to: &mut [f32; LANES]) {
        store(x, to);
    }
    #[inline(always)]
    fn load_f16(from: &[u16; LANES]) -> Self::F {
        each(load_words(from), f16_to_f32)
    }
    #[inline(always)]
    fn store_f16(x: Self::F, to: &mut [u16; LANES]) {
        let [a, b, c, d] = each(x, f32_to_f16);
        store([u16x8_narrow_i32x4(a, b), u16x8_narrow_i32x4(c, d)], to);
    }
    #[inline(always)]
    fn load_bf16(from: &[u16; LANES]) -> Self::F {
        each(load_words(from), |x| i32x4_shl(x, 16))
    }
    #[inline(always)]
    fn load_i8(from: &[i8; LANES]) -> Self::F {
        let [bytes] = load(from);
        let (low, high) = (
            i16x8_extend_low_i8x16(bytes),
            i16x8_extend_high_i8x16(bytes),
        );
        Self::to_float([
            i32x4_extend_low_i16x8(low),
            i32x4_extend_high_i16x8(low),
            i32x4_extend_low_i16x8(high),
            i32x4_extend_high_i16x8(high),
        ])
    }
    #[inline(always)]
    fn load_u8(from: &[u8; LANES]) -> Self::F {
        let [bytes] = load(from);
        let (low, high) = (
            u16x8_extend_low_u8x16(bytes),
            u16x8_extend_high_u8x16(bytes),
        );
        Self::to_float([
            u32x4_extend_low_u16x8(low),
            u32x4_extend_high_u16x8(low),
            u32x4_extend_low_u16x8(high),
            u32x4_extend_high_u16x8(high),
        ])
    }

    #[inline(always)]
    fn add(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| f32x4_add(a, b))
    }
    #[inline(always)]
    fn sub(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| f32x4_sub(a, b))
    }
    #[inline(always)]
    fn mul(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| f32x4_mul(a, b))
    }
    #[inline(always)]
    fn div(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| f32x4_div(a, b))
    }
    #[inline(always)]
    fn max(a: Self::F, b: Self::F) -> Self::F {
        // The kind that is one instruction on most machines; they differ for NaN and zero's sign.
        both(a, b, |a, b| f32x4_pmax(a, b))
    }
    #[inline(always)]
    fn min(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| f32x4_pmin(a, b))
    }
    #[inline(always)]
    fn abs(a: Self::F) -> Self::F {
        each(a, |a| f32x4_abs(a))
    }
    #[inline(always)]
    fn keep_from(x: Self::F, key: Self::F, limit: Self::F) -> Self::F {
        let mask = both(key, limit, |key, limit| f32x4_ge(key, limit));
        both(x, mask, |x, mask| v128_and(x, mask))
    }
    #[inline(always)]
    fn max_across(a: Self::F) -> f32 {
        let a = f32x4_pmax(f32x4_pmax(a[0], a[1]), f32x4_pmax(a[2], a[3]));
        let a = f32x4_pmax(a, i32x4_shuffle::<2, 3, 2, 3>(a, a));
        f32x4_extract_lane::<0>(a).max(f32x4_extract_lane::<1>(a))
    }
    #[inline(always)]
    fn sum_across(a: Self::F) -> f32 {
        let a = f32x4_add(f32x4_add(a[0], a[2]), f32x4_add(a[1], a[3]));
        let a = f32x4_add(a, i32x4_shuffle::<2, 3, 2, 3>(a, a));
        f32x4_extract_lane::<0>(a) + f32x4_extract_lane::<1>(a)
    }

    #[inline(always)]
    fn to_float(a: Self::I) -> Self::F {
        each(a, |a| f32x4_convert_i32x4(a))
    }
    #[inline(always)]
    fn round(a: Self::F) -> Self::I {
        // Nearest means ties to even here.
        each(a, |a| i32x4_trunc_sat_f32x4(f32x4_nearest(a)))
    }
    #[inline(always)]
    fn power_of_two(a: Self::I) -> Self::F {
        each(a, |a| i32x4_shl(i32x4_add(a, i32x4_splat(127)), 23))
    }
    #[inline(always)]
    fn splat_int(x: i32) -> Self::I {
        [i32x4_splat(x); 4]
    }
    #[cfg(any(test, target_arch = "x86_64"))]
    #[inline(always)]
    fn load_int(from: &[i32; LANES]) -> Self::I {
        load(from)
    }
    #[inline(always)]
    fn shift_left(a: Self::I, bits: u32) -> Self::I {
        each(a, |a| i32x4_shl(a, bits))
    }
    #[inline(always)]
    fn store_i8(a: Self::I, to: &mut [i8; LANES]) {
        let low = i16x8_narrow_i32x4(a[0], a[1]);
        let high = i16x8_narrow_i32x4(a[2], a[3]);
        store([i8x16_narrow_i16x8(low, high)], to);
    }

    #[inline(always)]
    fn load_bytes(from: &[u8; 64]) -> Self::B {
        load(from)
    }
    #[inline(always)]
    fn store_bytes(a: Self::B, to: &mut [u8; 64]) {
        store(a, to);
    }
    #[inline(always)]
    fn and(a: Self::B, mask: u8) -> Self::B {
        each(a, |a| v128_and(a, u8x16_splat(mask)))
    }
    #[inline(always)]
    fn or(a: Self::B, b: Self::B) -> Self::B {
        both(a, b, |a, b| v128_or(a, b))
    }
    #[inline(always)]
    fn sub_bytes(a: Self::B, x: u8) -> Self::B {
        each(a, |a| u8x16_sub(a, u8x16_splat(x)))
    }
    #[inline(always)]
    fn bytes_right(a: Self::B, bits: u32) -> Self::B {
        // Engines shift pairs in one instruction, bytes in several.
        each(a, |a| u16x8_shr(a, bits))
    }
    #[inline(always)]
    fn bytes_left(a: Self::B, bits: u32) -> Self::B {
        each(a, |a| i16x8_shl(a, bits))
    }

    #[inline(always)]
    fn dot(sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        // Without a sign, one mask makes words of the even bytes.
        let even = |weights| v128_and(weights, u16x8_splat(0xFF));
        dot(sum, weights, x, even)
    }
    #[inline(always)]
    fn dot8(sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        dot(sum, weights, x, even_bytes)
    }
}

/// Products of even bytes and of odd bytes, so that each pair of words is of one lane.
#[inline(always)]
fn dot(sum: [v128; 4], weights: [v128; 4], x: i32, even: impl Fn(v128) -> v128) -> [v128; 4] {
    let x = i32x4_splat(x);
    let (x_even, x_odd) = (even_bytes(x), i16x8_shr(x, 8));
    both(sum, weights, |sum, weights| {
        let even = i32x4_dot_i16x8(even(weights), x_even);
        let odd = i32x4_dot_i16x8(i16x8_shr(weights, 8), x_odd);
        i32x4_add(sum, i32x4_add(even, odd))
    })
}

/// The first of each two bytes, with its sign.
#[inline(always)]
fn even_bytes(a: v128) -> v128 {
    i16x8_shr(i16x8_shl(a, 8), 8)
}

/// As [`super::scalar::f16_to_f32`].
#[inline(always)]
fn f16_to_f32(half: v128) -> v128 {
    let sign = i32x4_shl(v128_and(half, i32x4_splat(0x8000)), 16);
    let rest = v128_and(half, i32x4_splat(0x7FFF));
    let shifted = i32x4_shl(rest, 13);
    let finite = f32x4_mul(shifted, f32x4_splat(f32::from_bits((127 + 112) << 23)));
    let special = v128_or(shifted, i32x4_splat(0x7F80_0000));
    let is_special = i32x4_ge(rest, i32x4_splat(0x7C00));
    v128_or(sign, v128_bitselect(special, finite, is_special))
}

/// As [`super::scalar::f32_to_f16`], for numbers that are not NaN.
#[inline(always)]
fn f32_to_f16(x: v128) -> v128 {
    let sign = u32x4_shr(v128_and(x, i32x4_splat(i32::MIN)), 16);
    let magnitude = v128_and(x, i32x4_splat(i32::MAX));
    let half = f32x4_splat(0.5);
    let small = i32x4_sub(f32x4_add(magnitude, half), half);
    let rebased = i32x4_sub(magnitude, i32x4_splat(112 << 23));
    let is_odd = v128_and(u32x4_shr(rebased, 13), i32x4_splat(1));
    let rounded = i32x4_add(i32x4_add(rebased, i32x4_splat(0xFFF)), is_odd);
    let usual = u32x4_shr(rounded, 13);
    let is_small = i32x4_lt(magnitude, i32x4_splat(0x3880_0000));
    let is_large = i32x4_ge(magnitude, i32x4_splat(0x4780_0000));
    let finite = v128_bitselect(small, usual, is_small);
    v128_or(sign, v128_bitselect(i32x4_splat(0x7C00), finite, is_large))
}
