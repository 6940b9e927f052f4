//! aarch64 with NEON: a vector is four registers.
//!
//! Dot products come from dotprod and i8mm where the machine has them. Rust 1.95 has no stable
//! intrinsics for those two, so they are written as assembly here.

use core::arch::aarch64::*;
use core::arch::asm;
use core::marker::PhantomData;

use super::{LANES, Lanes};

/// NEON with one way to sum products.
#[derive(Clone, Copy)]
pub(crate) struct Neon<D>(PhantomData<D>);

/// How a lane's four products are summed.
pub(crate) trait Dots: Copy + Send + Sync + 'static {
    /// As [`Lanes::BIASED`].
    const BIASED: bool;
    /// Both signed; two products fit an i16.
    fn signed(sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t;
    /// Weights of eight bits: with 128 added if `BIASED`, else signed.
    #[inline(always)]
    fn eight_bits(sum: int32x4_t, weights: uint8x16_t, x: int8x16_t) -> int32x4_t {
        Self::signed(sum, simd!(vreinterpretq_s8_u8(weights)), x)
    }
}

/// By widening multiplies, on any aarch64.
#[derive(Clone, Copy)]
pub(crate) struct Widening;

/// By FEAT_DotProd.
#[derive(Clone, Copy)]
pub(crate) struct DotProd;

/// By FEAT_I8MM too, whose weights need no sign.
#[derive(Clone, Copy)]
pub(crate) struct I8mm;

/// An expression of intrinsics.
macro_rules! simd {
    ($value:expr) => {
        // SAFETY: `Kernel::run` lets these lanes run only where the CPU has the instructions, and the
        // pointers come from references to as many bytes as are read or written.
        unsafe { $value }
    };
}
use simd;

impl Dots for Widening {
    const BIASED: bool = false;
    #[inline(always)]
    fn signed(sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
        simd!({
            let low = vmull_s8(vget_low_s8(weights), vget_low_s8(x));
            let pairs = vpaddq_s16(low, vmull_high_s8(weights, x));
            vpadalq_s16(sum, pairs)
        })
    }
}

impl Dots for DotProd {
    const BIASED: bool = false;
    #[inline(always)]
    fn signed(sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
        simd!(sdot(sum, weights, x))
    }
}

impl Dots for I8mm {
    const BIASED: bool = true;
    #[inline(always)]
    fn signed(sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
        simd!(sdot(sum, weights, x))
    }
    #[inline(always)]
    fn eight_bits(sum: int32x4_t, weights: uint8x16_t, x: int8x16_t) -> int32x4_t {
        simd!(usdot(sum, weights, x))
    }
}

/// Adds to each lane four products of signed bytes.
///
/// # Safety
/// The CPU has FEAT_DotProd.
#[target_feature(enable = "dotprod")]
#[inline]
unsafe fn sdot(mut sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: it reads and writes these registers and nothing else.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {weights:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The same for weights without sign.
///
/// # Safety
/// The CPU has FEAT_I8MM.
#[target_feature(enable = "i8mm")]
#[inline]
unsafe fn usdot(mut sum: int32x4_t, weights: uint8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: it reads and writes these registers and nothing else.
    unsafe {
        asm!(
            "usdot {sum:v}.4s, {weights:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

#[inline(always)]
fn each<T: Copy, U>(a: [T; 4], f: impl Fn(T) -> U) -> [U; 4] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn both<T: Copy, S: Copy, U>(a: [T; 4], b: [S; 4], f: impl Fn(T, S) -> U) -> [U; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

/// Where each register's part of an array begins.
#[inline(always)]
fn parts<T, const N: usize>(of: &[T; N]) -> [*const T; 4] {
    [0, 1, 2, 3].map(|i| of[i * (N / 4)..].as_ptr())
}

/// The same, to be written.
#[inline(always)]
fn parts_mut<T, const N: usize>(of: &mut [T; N]) -> [*mut T; 4] {
    [0, 1, 2, 3].map(|i| of[i * (N / 4)..].as_mut_ptr())
}

impl<D: Dots> Lanes for Neon<D> {
    type F = [float32x4_t; 4];
    type I = [int32x4_t; 4];
    type B = [uint8x16_t; 4];

    const BIASED: bool = D::BIASED;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(x: f32) -> Self::F {
        simd!([vdupq_n_f32(x); 4])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self::F {
        each(parts(from), |from| simd!(vld1q_f32(from)))
    }
    #[inline(always)]
    fn store(x: Self::F, to: &mut [f32; LANES]) {
        both(x, parts_mut(to), |x, to| simd!(vst1q_f32(to, x)));
    }
    #[inline(always)]
    fn load_f16(from: &[u16; LANES]) -> Self::F {
        // Rust code always runs with IEEE's half precision, not with Arm's alternative.
        each(parts(from), |from| {
            simd!(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))))
        })
    }
    #[inline(always)]
    fn store_f16(x: Self::F, to: &mut [u16; LANES]) {
        both(x, parts_mut(to), |x, to| {
            simd!(vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(x))))
        });
    }
    #[inline(always)]
    fn load_bf16(from: &[u16; LANES]) -> Self::F {
        each(parts(from), |from| {
            simd!(vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from))))
        })
    }
    #[inline(always)]
    fn load_i8(from: &[i8; LANES]) -> Self::F {
        simd!({
            let bytes = vld1q_s8(from.as_ptr());
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            Self::to_float([
                vmovl_s16(vget_low_s16(low)),
                vmovl_high_s16(low),
                vmovl_s16(vget_low_s16(high)),
                vmovl_high_s16(high),
            ])
        })
    }
    #[inline(always)]
    fn load_u8(from: &[u8; LANES]) -> Self::F {
        simd!({
            let bytes = vld1q_u8(from.as_ptr());
            let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
            let words = [
                vmovl_u16(vget_low_u16(low)),
                vmovl_high_u16(low),
                vmovl_u16(vget_low_u16(high)),
                vmovl_high_u16(high),
            ];
            each(words, |words| vcvtq_f32_u32(words))
        })
    }

    #[inline(always)]
    fn add(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(vaddq_f32(a, b)))
    }
    #[inline(always)]
    fn sub(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(vsubq_f32(a, b)))
    }
    #[inline(always)]
    fn mul(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(vmulq_f32(a, b)))
    }
    #[inline(always)]
    fn div(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(vdivq_f32(a, b)))
    }
    #[inline(always)]
    fn max(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(vmaxq_f32(a, b)))
    }
    #[inline(always)]
    fn min(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(vminq_f32(a, b)))
    }
    #[inline(always)]
    fn abs(a: Self::F) -> Self::F {
        each(a, |a| simd!(vabsq_f32(a)))
    }
    #[inline(always)]
    fn keep_from(x: Self::F, key: Self::F, limit: Self::F) -> Self::F {
        let mask = both(key, limit, |key, limit| simd!(vcgeq_f32(key, limit)));
        both(x, mask, |x, mask| {
            simd!(vreinterpretq_f32_u32(vandq_u32(
                vreinterpretq_u32_f32(x),
                mask
            )))
        })
    }
    #[inline(always)]
    fn max_across(a: Self::F) -> f32 {
        simd!(vmaxvq_f32(vmaxq_f32(
            vmaxq_f32(a[0], a[1]),
            vmaxq_f32(a[2], a[3])
        )))
    }
    #[inline(always)]
    fn sum_across(a: Self::F) -> f32 {
        simd!({
            let a = vaddq_f32(vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3]));
            let a = vadd_f32(vget_low_f32(a), vget_high_f32(a));
            vget_lane_f32::<0>(a) + vget_lane_f32::<1>(a)
        })
    }

    #[inline(always)]
    fn to_float(a: Self::I) -> Self::F {
        each(a, |a| simd!(vcvtq_f32_s32(a)))
    }
    #[inline(always)]
    fn round(a: Self::F) -> Self::I {
        each(a, |a| simd!(vcvtnq_s32_f32(a)))
    }
    #[inline(always)]
    fn power_of_two(a: Self::I) -> Self::F {
        each(a, |a| {
            simd!(vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(
                a,
                vdupq_n_s32(127)
            ))))
        })
    }
    #[inline(always)]
    fn splat_int(x: i32) -> Self::I {
        simd!([vdupq_n_s32(x); 4])
    }
    #[cfg(any(test, target_arch = "x86_64"))]
    #[inline(always)]
    fn load_int(from: &[i32; LANES]) -> Self::I {
        each(parts(from), |from| simd!(vld1q_s32(from)))
    }
    #[inline(always)]
    fn shift_left(a: Self::I, bits: u32) -> Self::I {
        each(a, |a| simd!(vshlq_s32(a, vdupq_n_s32(bits as i32))))
    }
    #[inline(always)]
    fn store_i8(a: Self::I, to: &mut [i8; LANES]) {
        simd!({
            let low = vmovn_high_s32(vmovn_s32(a[0]), a[1]);
            let high = vmovn_high_s32(vmovn_s32(a[2]), a[3]);
            vst1q_s8(to.as_mut_ptr(), vmovn_high_s16(vmovn_s16(low), high));
        })
    }

    #[inline(always)]
    fn load_bytes(from: &[u8; 64]) -> Self::B {
        each(parts(from), |from| simd!(vld1q_u8(from)))
    }
    #[inline(always)]
    fn store_bytes(a: Self::B, to: &mut [u8; 64]) {
        both(a, parts_mut(to), |a, to| simd!(vst1q_u8(to, a)));
    }
    #[inline(always)]
    fn and(a: Self::B, mask: u8) -> Self::B {
        each(a, |a| simd!(vandq_u8(a, vdupq_n_u8(mask))))
    }
    #[inline(always)]
    fn or(a: Self::B, b: Self::B) -> Self::B {
        both(a, b, |a, b| simd!(vorrq_u8(a, b)))
    }
    #[inline(always)]
    fn sub_bytes(a: Self::B, x: u8) -> Self::B {
        each(a, |a| simd!(vsubq_u8(a, vdupq_n_u8(x))))
    }
    #[inline(always)]
    fn bytes_right(a: Self::B, bits: u32) -> Self::B {
        // Each byte by itself: nothing crosses over that would have to be masked off.
        each(a, |a| simd!(vshlq_u8(a, vdupq_n_s8(-(bits as i8)))))
    }
    #[inline(always)]
    fn bytes_left(a: Self::B, bits: u32) -> Self::B {
        each(a, |a| simd!(vshlq_u8(a, vdupq_n_s8(bits as i8))))
    }

    #[inline(always)]
    fn dot(sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        let x = splat_bytes(x);
        both(sum, weights, |sum, weights| {
            D::signed(sum, simd!(vreinterpretq_s8_u8(weights)), x)
        })
    }
    #[inline(always)]
    fn dot8(sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        let x = splat_bytes(x);
        both(sum, weights, |sum, weights| D::eight_bits(sum, weights, x))
    }
}

#[inline(always)]
fn splat_bytes(x: i32) -> int8x16_t {
    simd!(vreinterpretq_s8_s32(vdupq_n_s32(x)))
}
