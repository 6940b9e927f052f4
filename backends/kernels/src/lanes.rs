//! Sixteen lanes: the vocabulary that every kernel is written in, once.
//!
//! Each instruction set implements it; each operation gives the same bits in all of them. An
//! implementation may only run on a machine that has its instructions, which [`crate::Kernel::run`]
//! sees to; nobody else names these types.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) mod simd128;
#[cfg(test)]
mod tests;

/// Lanes of a vector.
pub(crate) const LANES: usize = 16;

/// Sixteen lanes of f32, of i32, or of four bytes each.
pub(crate) trait Lanes: Copy + Send + Sync + 'static {
    /// Sixteen f32.
    type F: Copy;
    /// Sixteen i32.
    type I: Copy;
    /// Sixteen times four bytes.
    type B: Copy;

    /// Whether [`Lanes::dot8`] takes its weights with 128 added and leaves that to the caller to
    /// take away again.
    const BIASED: bool;
    /// Whether there are registers for larger tiles.
    const WIDE: bool;

    fn splat(x: f32) -> Self::F;
    fn load(from: &[f32; LANES]) -> Self::F;
    fn store(x: Self::F, to: &mut [f32; LANES]);
    /// IEEE 754 half precision, every finite value exact.
    fn load_f16(from: &[u16; LANES]) -> Self::F;
    /// Rounds to nearest, ties to even.
    fn store_f16(x: Self::F, to: &mut [u16; LANES]);
    fn load_bf16(from: &[u16; LANES]) -> Self::F;
    fn load_i8(from: &[i8; LANES]) -> Self::F;
    fn load_u8(from: &[u8; LANES]) -> Self::F;

    fn add(a: Self::F, b: Self::F) -> Self::F;
    fn sub(a: Self::F, b: Self::F) -> Self::F;
    fn mul(a: Self::F, b: Self::F) -> Self::F;
    fn div(a: Self::F, b: Self::F) -> Self::F;
    /// The larger of each; for numbers that are not NaN.
    fn max(a: Self::F, b: Self::F) -> Self::F;
    /// The smaller of each; for numbers that are not NaN.
    fn min(a: Self::F, b: Self::F) -> Self::F;
    fn abs(a: Self::F) -> Self::F;
    /// `x` where `key >= limit`, zero elsewhere.
    fn keep_from(x: Self::F, key: Self::F, limit: Self::F) -> Self::F;
    /// The largest lane.
    fn max_across(a: Self::F) -> f32;
    /// The sum by the fixed tree: lane i with i + 8, then with i + 4, i + 2, i + 1.
    fn sum_across(a: Self::F) -> f32;

    fn to_float(a: Self::I) -> Self::F;
    /// Rounds to nearest, ties to even; for values within i32.
    fn round(a: Self::F) -> Self::I;
    /// Two to the power of each; from -126 to 127.
    fn power_of_two(a: Self::I) -> Self::F;
    fn splat_int(x: i32) -> Self::I;
    /// Only tiles have whole numbers in memory.
    #[cfg(any(test, target_arch = "x86_64"))]
    fn load_int(from: &[i32; LANES]) -> Self::I;
    fn shift_left(a: Self::I, bits: u32) -> Self::I;
    /// Lanes from -128 to 127 as bytes.
    fn store_i8(a: Self::I, to: &mut [i8; LANES]);

    fn load_bytes(from: &[u8; 64]) -> Self::B;
    fn store_bytes(a: Self::B, to: &mut [u8; 64]);
    /// The bits of each byte that `mask` has.
    fn and(a: Self::B, mask: u8) -> Self::B;
    fn or(a: Self::B, b: Self::B) -> Self::B;
    /// Takes `x` from each byte, modulo 256.
    fn sub_bytes(a: Self::B, x: u8) -> Self::B;
    /// Moves bits within pairs of bytes; the caller masks off what crosses over.
    fn bytes_right(a: Self::B, bits: u32) -> Self::B;
    /// Likewise to the left.
    fn bytes_left(a: Self::B, bits: u32) -> Self::B;

    /// `sum` plus the products of a lane's four bytes with the four bytes of `x`. Weights are
    /// from 0 to 127 and `x` from -127 to 127.
    fn dot(sum: Self::I, weights: Self::B, x: i32) -> Self::I;
    /// The same for weights of eight bits: with 128 added if [`Lanes::BIASED`], else signed.
    fn dot8(sum: Self::I, weights: Self::B, x: i32) -> Self::I;
}
