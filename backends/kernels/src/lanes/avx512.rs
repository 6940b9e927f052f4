//! x86-64 with AVX-512 F, BW, DQ, VL and VNNI: a vector is one register.

use core::arch::x86_64::*;

use super::{LANES, Lanes};

/// AVX-512 with VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// An expression of intrinsics.
macro_rules! simd {
    ($value:expr) => {
        // SAFETY: `Kernel::run` lets these lanes run only where the CPU has the instructions, and the
        // pointers come from references to as many bytes as are read or written.
        unsafe { $value }
    };
}

impl Lanes for Avx512 {
    type F = __m512;
    type I = __m512i;
    type B = __m512i;

    const BIASED: bool = true;
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(x: f32) -> Self::F {
        simd!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self::F {
        simd!(from.as_ptr().cast::<__m512>().read_unaligned())
    }
    #[inline(always)]
    fn store(x: Self::F, to: &mut [f32; LANES]) {
        simd!(to.as_mut_ptr().cast::<__m512>().write_unaligned(x))
    }
    #[inline(always)]
    fn load_f16(from: &[u16; LANES]) -> Self::F {
        simd!(_mm512_cvtph_ps(
            from.as_ptr().cast::<__m256i>().read_unaligned()
        ))
    }
    #[inline(always)]
    fn store_f16(x: Self::F, to: &mut [u16; LANES]) {
        simd!(_mm256_storeu_si256(
            to.as_mut_ptr().cast(),
            _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x)
        ))
    }
    #[inline(always)]
    fn load_bf16(from: &[u16; LANES]) -> Self::F {
        simd!({
            let wide = _mm512_cvtepu16_epi32(from.as_ptr().cast::<__m256i>().read_unaligned());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        })
    }
    #[inline(always)]
    fn load_i8(from: &[i8; LANES]) -> Self::F {
        simd!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(
            from.as_ptr().cast::<__m128i>().read_unaligned()
        )))
    }
    #[inline(always)]
    fn load_u8(from: &[u8; LANES]) -> Self::F {
        simd!(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(
            from.as_ptr().cast::<__m128i>().read_unaligned()
        )))
    }

    #[inline(always)]
    fn add(a: Self::F, b: Self::F) -> Self::F {
        simd!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(a: Self::F, b: Self::F) -> Self::F {
        simd!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(a: Self::F, b: Self::F) -> Self::F {
        simd!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(a: Self::F, b: Self::F) -> Self::F {
        simd!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn max(a: Self::F, b: Self::F) -> Self::F {
        simd!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(a: Self::F, b: Self::F) -> Self::F {
        simd!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn abs(a: Self::F) -> Self::F {
        simd!(_mm512_abs_ps(a))
    }
    #[inline(always)]
    fn keep_from(x: Self::F, key: Self::F, limit: Self::F) -> Self::F {
        simd!(_mm512_maskz_mov_ps(
            _mm512_cmp_ps_mask::<_CMP_GE_OQ>(key, limit),
            x
        ))
    }
    #[inline(always)]
    fn max_across(a: Self::F) -> f32 {
        simd!(max_256(_mm256_max_ps(low(a), high(a))))
    }
    #[inline(always)]
    fn sum_across(a: Self::F) -> f32 {
        simd!(sum_256(_mm256_add_ps(low(a), high(a))))
    }

    #[inline(always)]
    fn to_float(a: Self::I) -> Self::F {
        simd!(_mm512_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn round(a: Self::F) -> Self::I {
        simd!(_mm512_cvt_roundps_epi32::<
            { _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC },
        >(a))
    }
    #[inline(always)]
    fn power_of_two(a: Self::I) -> Self::F {
        simd!(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(
            _mm512_add_epi32(a, _mm512_set1_epi32(127))
        )))
    }
    #[inline(always)]
    fn splat_int(x: i32) -> Self::I {
        simd!(_mm512_set1_epi32(x))
    }
    #[inline(always)]
    fn load_int(from: &[i32; LANES]) -> Self::I {
        simd!(from.as_ptr().cast::<__m512i>().read_unaligned())
    }
    #[inline(always)]
    fn shift_left(a: Self::I, bits: u32) -> Self::I {
        simd!(_mm512_sll_epi32(a, _mm_cvtsi32_si128(bits as i32)))
    }
    #[inline(always)]
    fn store_i8(a: Self::I, to: &mut [i8; LANES]) {
        simd!(_mm_storeu_si128(
            to.as_mut_ptr().cast(),
            _mm512_cvtepi32_epi8(a)
        ))
    }

    #[inline(always)]
    fn load_bytes(from: &[u8; 64]) -> Self::B {
        simd!(from.as_ptr().cast::<__m512i>().read_unaligned())
    }
    #[inline(always)]
    fn store_bytes(a: Self::B, to: &mut [u8; 64]) {
        simd!(to.as_mut_ptr().cast::<__m512i>().write_unaligned(a))
    }
    #[inline(always)]
    fn and(a: Self::B, mask: u8) -> Self::B {
        simd!(_mm512_and_si512(a, _mm512_set1_epi8(mask as i8)))
    }
    #[inline(always)]
    fn or(a: Self::B, b: Self::B) -> Self::B {
        simd!(_mm512_or_si512(a, b))
    }
    #[inline(always)]
    fn sub_bytes(a: Self::B, x: u8) -> Self::B {
        simd!(_mm512_sub_epi8(a, _mm512_set1_epi8(x as i8)))
    }
    #[inline(always)]
    fn bytes_right(a: Self::B, bits: u32) -> Self::B {
        simd!(_mm512_srl_epi16(a, _mm_cvtsi32_si128(bits as i32)))
    }
    #[inline(always)]
    fn bytes_left(a: Self::B, bits: u32) -> Self::B {
        simd!(_mm512_sll_epi16(a, _mm_cvtsi32_si128(bits as i32)))
    }

    #[inline(always)]
    fn dot(sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        simd!(_mm512_dpbusd_epi32(sum, weights, _mm512_set1_epi32(x)))
    }
    #[inline(always)]
    fn dot8(sum: Self::I, weights: Self::B, x: i32) -> Self::I {
        Self::dot(sum, weights, x)
    }
}

#[inline(always)]
fn low(a: __m512) -> __m256 {
    simd!(_mm512_castps512_ps256(a))
}

#[inline(always)]
fn high(a: __m512) -> __m256 {
    simd!(_mm512_extractf32x8_ps::<1>(a))
}

/// The rest of the tree of [`Lanes::sum_across`].
#[inline(always)]
pub(super) fn sum_256(a: __m256) -> f32 {
    simd!({
        let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps::<1>(a, a)))
    })
}

/// The largest of eight lanes.
#[inline(always)]
pub(super) fn max_256(a: __m256) -> f32 {
    simd!({
        let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps::<1>(a, a)))
    })
}
