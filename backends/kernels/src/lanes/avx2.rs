//! x86-64 with AVX2, FMA's generation of it (F16C is needed too), and with AVX-VNNI where there is:
//! a vector is two registers.

use core::arch::x86_64::*;

use super::avx512::{max_256, sum_256};
use super::{LANES, Lanes};

/// AVX2, or AVX2 with AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>;

/// An expression of intrinsics.
macro_rules! simd {
    ($value:expr) => {
        // SAFETY: `Kernel::run` lets these lanes run only where the CPU has the instructions, and the
        // pointers come from references to as many bytes as are read or written.
        unsafe { $value }
    };
}

#[inline(always)]
fn each<T: Copy, U>(a: [T; 2], f: impl Fn(T) -> U) -> [U; 2] {
    [f(a[0]), f(a[1])]
}

#[inline(always)]
fn both<T: Copy, U>(a: [T; 2], b: [T; 2], f: impl Fn(T, T) -> U) -> [U; 2] {
    [f(a[0], b[0]), f(a[1], b[1])]
}

/// Eight elements of a half.
#[inline(always)]
fn half<T>(of: &[T; LANES], index: usize) -> *const T {
    of[8 * index..].as_ptr()
}

impl<const VNNI: bool> Lanes for Avx2<VNNI> {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    type B = [__m256i; 2];

    const BIASED: bool = VNNI;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(x: f32) -> Self::F {
        simd!([_mm256_set1_ps(x); 2])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self::F {
        simd!([
            half(from, 0).cast::<__m256>().read_unaligned(),
            half(from, 1).cast::<__m256>().read_unaligned()
        ])
    }
    #[inline(always)]
    fn store(x: Self::F, to: &mut [f32; LANES]) {
        simd!({
            to.as_mut_ptr().cast::<__m256>().write_unaligned(x[0]);
            to[8..].as_mut_ptr().cast::<__m256>().write_unaligned(x[1]);
        })
    }
    #[inline(always)]
    fn load_f16(from: &[u16; LANES]) -> Self::F {
        each([0, 1], |i| {
            simd!(_mm256_cvtph_ps(
                half(from, i).cast::<__m128i>().read_unaligned()
            ))
        })
    }
    #[inline(always)]
    fn store_f16(x: Self::F, to: &mut [u16; LANES]) {
        simd!({
            let to = to.as_mut_ptr().cast::<__m128i>();
            _mm_storeu_si128(to, _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x[0]));
            _mm_storeu_si128(
                to.add(1),
                _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x[1]),
            );
        })
    }
    #[inline(always)]
    fn load_bf16(from: &[u16; LANES]) -> Self::F {
        each([0, 1], |i| {
            simd!({
                let wide = _mm256_cvtepu16_epi32(half(from, i).cast::<__m128i>().read_unaligned());
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            })
        })
    }
    #[inline(always)]
    fn load_i8(from: &[i8; LANES]) -> Self::F {
        each([0, 1], |i| {
            simd!(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(
                half(from, i).cast()
            ))))
        })
    }
    #[inline(always)]
    fn load_u8(from: &[u8; LANES]) -> Self::F {
        each([0, 1], |i| {
            simd!(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(
                half(from, i).cast()
            ))))
        })
    }

    #[inline(always)]
    fn add(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(_mm256_add_ps(a, b)))
    }
    #[inline(always)]
    fn sub(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(_mm256_sub_ps(a, b)))
    }
    #[inline(always)]
    fn mul(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(_mm256_mul_ps(a, b)))
    }
    #[inline(always)]
    fn div(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(_mm256_div_ps(a, b)))
    }
    #[inline(always)]
    fn max(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(_mm256_max_ps(a, b)))
    }
    #[inline(always)]
    fn min(a: Self::F, b: Self::F) -> Self::F {
        both(a, b, |a, b| simd!(_mm256_min_ps(a, b)))
    }
    #[inline(always)]
    fn abs(a: Self::F) -> Self::F {
        each(a, |a| simd!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a)))
    }
    #[inline(always)]
    fn keep_from(x: Self::F, key: Self::F, limit: Self::F) -> Self::F {
        let mask = both(key, limit, |key, limit| {
            simd!(_mm256_cmp_ps::<_CMP_GE_OQ>(key, limit))
        });
        both(x, mask, |x, mask| simd!(_mm256_and_ps(x, mask)))
    }
    #[inline(always)]
    fn max_across(a: Self::F) -> f32 {
        max_256(simd!(_mm256_max_ps(a[0], a[1])))
    }
    #[inline(always)]
    fn sum_across(a: Self::F) -> f32 {
        sum_256(simd!(_mm256_add_ps(a[0], a[1])))
    }

    #[inline(always)]
    fn to_float(a: Self::I) -> Self::F {
        each(a, |a| simd!(_mm256_cvtepi32_ps(a)))
    }
    #[inline(always)]
    fn round(a: Self::F) -> Self::I {
        // Rust code always runs with the default rounding: to nearest, ties to even.
        each(a, |a| simd!(_mm256_cvtps_epi32(a)))
    }
    #[inline(always)]
    fn power_of_two(a: Self::I) -> Self::F {
        each(a, |a| {
            simd!(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(
                _mm256_add_epi32(a, _mm256_set1_epi32(127))
            )))
        })
    }
    #[inline(always)]
    fn splat_int(x: i32) -> Self::I {
        simd!([_mm256_set1_epi32(x); 2])
    }
    #[inline(always)]
    fn load_int(from: &[i32; LANES]) -> Self::I {
        each([0, 1], |i| simd!(_mm256_loadu_si256(half(from, i).cast())))
    }
    #[inline(always)]
    fn shift_left(a: Self::I, bits: u32) -> Self::I {
        each(a, |a| {
            simd!(_mm256_sll_epi32(a, _mm_cvtsi32_si128(bits as i32)))
        })
    }
    #[inline(always)]
    fn store_i8(a: Self::I, to: &mut [i8; LANES]) {
        simd!({
            // Both packs work within 128 bits; the permutation in between puts the quarters in order.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a[0], a[1]));
            let (low, high) = (
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_packs_epi16(low, high));
        })
    }

    #[inline(always)]
    fn load_bytes(from: &[u8; 64]) -> Self::B {
        simd!([
            from.as_ptr().cast::<__m256i>().read_unaligned(),
            from[32..].as_ptr().cast::<__m256i>().read_unaligned()
        ])
    }
    #[inline(always)]
    fn store_bytes(a: Self::B, to: &mut [u8; 64]) {
        simd!({
            to.as_mut_ptr().cast::<__m256i>().write_unaligned(a[0]);
            to[32..]
                .as_mut_ptr()
                .cast::<__m256i>()
                .write_unaligned(a[1]);
        })
    }
    #[inline(always)]
    fn and(a: Self::B, mask: u8) -> Self::B {
        each(a, |a| {
            simd!(_mm256_and_si256(a, _mm256_set1_epi8(mask as i8)))
        })
    }
    #[inline(always)]
    fn or(a: Self::B, b: Self::B) -> Self::B {
        both(a, b, |a, b| simd!(_mm256_or_si256(a, b)))
    }
    #[inline(always)]
    fn sub_bytes(a: Self::B, x: u8) -> Self::B {
        each(a, |a| simd!(_mm256_sub_epi8(a, _mm256_set1_epi8(x as i8))))
    }
    #[inline(always)]
    fn bytes_right(a: Self::B, bits: u32) -> Self::B {
        each(a, |a| {
            simd!(_mm256_srl_epi16(a, _mm_cvtsi32_si128(bits as i32)))
        })
    }
    #[inline(always)]
    fn bytes_left(a: Self::B, bits: u32) -> Self::B {
        each(a, |a| {
            simd!(_mm256_sll_epi16(a, _mm_cvtsi32_si128(bits as i32)))
        })
    }

    #[inline(always)]
    fn dot(sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        both(sum, weights, |sum, weights| {
            simd!({
                let x = _mm256_set1_epi32(x);
                if VNNI {
                    _mm256_dpbusd_avx_epi32(sum, weights, x)
                } else {
                    // Two products of at most 127 * 127 stay within an i16.
                    add_pairs(sum, _mm256_maddubs_epi16(weights, x))
                }
            })
        })
    }
    #[inline(always)]
    fn dot8(sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        if VNNI {
            return Self::dot(sum, weights, x);
        }
        both(sum, weights, |sum, weights| {
            simd!({
                // The weights' signs go over to x. Two products of at most 128 * 127 stay within
                // an i16.
                let x = _mm256_sign_epi8(_mm256_set1_epi32(x), weights);
                add_pairs(sum, _mm256_maddubs_epi16(_mm256_abs_epi8(weights), x))
            })
        })
    }
}

#[inline(always)]
fn add_pairs(sum: __m256i, pairs: __m256i) -> __m256i {
    simd!(_mm256_add_epi32(
        sum,
        _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
    ))
}
