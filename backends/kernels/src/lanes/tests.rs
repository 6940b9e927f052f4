//! Each operation of each instruction set gives the bits of the scalar one.

use std::fmt::Debug;

use super::scalar::Scalar;
use super::{LANES, Lanes};
use crate::Kernel;
use crate::kernel::Task;

/// Calls a function of lanes with all arguments given, for the kernels to be compared.
struct Each<'a, A, F>(&'a [A], F);

/// One operation on stored lanes.
trait Operation<A> {
    type Out: PartialEq + Debug;
    fn run<L: Lanes>(&self, argument: &A) -> Self::Out;
}

impl<A, F: Operation<A>> Task for Each<'_, A, F> {
    type Out = Vec<F::Out>;
    #[inline(always)]
    fn run<L: Lanes>(self) -> Self::Out {
        self.0
            .iter()
            .map(|argument| self.1.run::<L>(argument))
            .collect()
    }
}

fn check<A: Debug, F: Operation<A> + Copy>(arguments: &[A], operation: F) {
    let expected = Each(arguments, operation).run::<Scalar>();
    for kernel in Kernel::all() {
        let got = kernel.run(Each(arguments, operation));
        for ((argument, expected), got) in arguments.iter().zip(&expected).zip(&got) {
            assert_eq!(got, expected, "{kernel:?} of {argument:?}");
        }
    }
}

fn bits<L: Lanes>(x: L::F) -> [u32; LANES] {
    let mut out = [0.0; LANES];
    L::store(x, &mut out);
    out.map(f32::to_bits)
}

/// Floats of all sizes that are not NaN, and the neighbourhood of every half float.
fn floats() -> Vec<[f32; LANES]> {
    let mut all: Vec<f32> = (0..=u16::MAX)
        .flat_map(|half| {
            let x = super::scalar::f16_to_f32(half).to_bits();
            // Itself, what lies just beside it, halfway to the next one, and just beside that.
            [0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF].map(|more| f32::from_bits(x.wrapping_add(more)))
        })
        .chain((0..1 << 16).map(|i: u32| f32::from_bits(i.wrapping_mul(0x9E37_79B9))))
        // Below the smallest half float.
        .chain((0..1 << 10).map(|i| f32::from_bits(0x3300_0000 - (1 << 19) + (i << 10))))
        .filter(|x| !x.is_nan())
        .collect();
    all.resize(all.len().next_multiple_of(LANES), 0.0);
    all.as_chunks().0.to_vec()
}

#[derive(Clone, Copy)]
struct ToHalves;
impl Operation<[f32; LANES]> for ToHalves {
    type Out = [u16; LANES];
    #[inline(always)]
    fn run<L: Lanes>(&self, x: &[f32; LANES]) -> Self::Out {
        let mut out = [0; LANES];
        L::store_f16(L::load(x), &mut out);
        out
    }
}

#[derive(Clone, Copy)]
struct FromHalves;
impl Operation<[u16; LANES]> for FromHalves {
    type Out = [[u32; LANES]; 2];
    #[inline(always)]
    fn run<L: Lanes>(&self, x: &[u16; LANES]) -> Self::Out {
        [bits::<L>(L::load_f16(x)), bits::<L>(L::load_bf16(x))]
    }
}

#[test]
fn half_floats_are_converted_as_by_the_scalar_code() {
    check(&floats(), ToHalves);
    // Neither infinite nor NaN in half precision, which is neither in bfloat16.
    let finite: Vec<u16> = (0..=u16::MAX)
        .filter(|half| half & 0x7C00 != 0x7C00)
        .collect();
    check(finite.as_chunks().0, FromHalves);
}

#[derive(Clone, Copy)]
struct Singles;
impl Operation<([f32; LANES], [f32; LANES])> for Singles {
    type Out = [[u32; LANES]; 9];
    #[inline(always)]
    fn run<L: Lanes>(&self, (x, y): &([f32; LANES], [f32; LANES])) -> Self::Out {
        let (a, b) = (L::load(x), L::load(y));
        let across = L::splat(L::max_across(a));
        [
            bits::<L>(L::add(a, b)),
            bits::<L>(L::sub(a, b)),
            bits::<L>(L::mul(a, b)),
            bits::<L>(L::div(a, b)),
            bits::<L>(L::max(L::abs(a), L::abs(b))),
            bits::<L>(L::min(a, b)),
            bits::<L>(L::keep_from(a, b, across)),
            bits::<L>(L::splat(L::sum_across(a))),
            bits::<L>(L::to_float(L::load_int(&y.map(|y| y.to_bits() as i32)))),
        ]
    }
}

#[derive(Clone, Copy)]
struct Rounding;
impl Operation<[f32; LANES]> for Rounding {
    type Out = ([i8; LANES], [[u32; LANES]; 2]);
    #[inline(always)]
    fn run<L: Lanes>(&self, x: &[f32; LANES]) -> Self::Out {
        let rounded = L::round(L::load(x));
        let mut bytes = [0; LANES];
        L::store_i8(rounded, &mut bytes);
        let power = bits::<L>(L::power_of_two(rounded));
        (bytes, [bits::<L>(L::to_float(rounded)), power])
    }
}

#[test]
fn arithmetic_is_that_of_the_scalar_code() {
    let usual: Vec<f32> = (0..1 << 14)
        .map(|i: u32| i.wrapping_mul(0x9E37_79B9))
        // From 2^-31 to 2: no result is infinite or NaN.
        .map(|bits| f32::from_bits(bits & 0x9FFF_FFFF | 0x3000_0000))
        .collect();
    let (lanes, _) = usual.as_chunks::<LANES>();
    let pairs: Vec<_> = lanes.windows(2).map(|pair| (pair[0], pair[1])).collect();
    check(&pairs, Singles);
    let quarters: Vec<f32> = (-504..512).map(|i| i as f32 / 4.0).collect();
    check(quarters.as_chunks().0, Rounding);
}

#[derive(Clone, Copy)]
struct Bytes;
impl Operation<[u8; 64]> for Bytes {
    type Out = (Vec<[u8; 64]>, [[u32; LANES]; 2]);
    #[inline(always)]
    fn run<L: Lanes>(&self, x: &[u8; 64]) -> Self::Out {
        let a = L::load_bytes(x);
        let stored = |a| {
            let mut out = [0; 64];
            L::store_bytes(a, &mut out);
            out
        };
        let moved = (0..8).flat_map(|by| {
            let right = L::and(L::bytes_right(a, by), 0xFF >> by);
            [right, L::and(L::bytes_left(a, by), 0xFF << by)]
        });
        let all = [L::or(a, L::sub_bytes(a, 0x11)), L::sub_bytes(a, 0x81)];
        let stored = moved.chain(all).map(stored).collect();
        let sixteen: &[u8; LANES] = x.first_chunk().expect("64 are more than 16");
        let signed = sixteen.map(|byte| byte as i8);
        (
            stored,
            [
                bits::<L>(L::load_u8(sixteen)),
                bits::<L>(L::load_i8(&signed)),
            ],
        )
    }
}

#[derive(Clone, Copy)]
struct Dots;
impl Operation<([u8; 64], [i8; 4])> for Dots {
    type Out = [[u32; LANES]; 2];
    #[inline(always)]
    fn run<L: Lanes>(&self, (weights, bytes): &([u8; 64], [i8; 4])) -> Self::Out {
        let x = i32::from_le_bytes(bytes.map(|x| x as u8));
        let weights = L::load_bytes(weights);
        let sum = L::shift_left(L::splat_int(-25), 3);
        let seven = L::dot(sum, L::and(weights, 0x7F), x);
        let eight = if L::BIASED {
            let too_much = 128 * bytes.iter().map(|&x| i32::from(x)).sum::<i32>();
            L::dot8(L::splat_int(-too_much), L::sub_bytes(weights, 0x80), x)
        } else {
            L::dot8(L::splat_int(0), weights, x)
        };
        [seven, eight].map(|dot| bits::<L>(L::to_float(dot)))
    }
}

#[test]
fn bytes_and_dot_products_are_those_of_the_scalar_code() {
    let any: Vec<[u8; 64]> = (0..64_u32)
        .map(|i| {
            std::array::from_fn(|at| {
                (i * 64 + at as u32).wrapping_mul(0x9E37_79B9).to_be_bytes()[0]
            })
        })
        .chain([[0; 64], [0x7F; 64], [0x80; 64], [0xFF; 64]])
        .collect();
    check(&any, Bytes);
    let inputs = [
        [127; 4],
        [-127; 4],
        [0, 1, -1, 2],
        [127, -127, 127, -127],
        [5, -99, 64, -3],
    ];
    let cases: Vec<_> = any
        .iter()
        .flat_map(|&weights| inputs.map(|x| (weights, x)))
        .collect();
    check(&cases, Dots);
}
