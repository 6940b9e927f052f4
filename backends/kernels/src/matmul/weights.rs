//! Blocks of weights on their way from a panel to a product.
//!
//! Two sources: a panel as it lies in its matrix, whose numbers are taken out of their planes, and a
//! panel that was expanded to bytes for many rows of input.

use std::marker::PhantomData;

use crate::format::Quantized;
use crate::input::QuantBlock;
use crate::kernel::Task;
use crate::lanes::{LANES, Lanes};
use crate::lines::{Lines, prefetch};
use crate::matrix::{Layout, Matrix};

/// Bytes ahead of the reader that are fetched into the cache.
const PREFETCH: usize = 8 << 10;

/// Where the blocks of a panel come from.
pub(super) trait Panel {
    type Source<'a, Q: Quantized>: Source
    where
        Self: 'a;
    fn panel<Q: Quantized>(&self, index: usize) -> Self::Source<'_, Q>;
}

/// Panels as they lie in their matrix.
pub(super) struct PackedPanels<'a>(pub(super) &'a Matrix);

impl Panel for PackedPanels<'_> {
    type Source<'a, Q: Quantized>
        = Packed<'a, Q>
    where
        Self: 'a;
    #[inline(always)]
    fn panel<Q: Quantized>(&self, index: usize) -> Packed<'_, Q> {
        Packed::new(self.0.panel(index))
    }
}

impl Panel for Expanded {
    type Source<'a, Q: Quantized> = &'a Self;
    #[inline(always)]
    fn panel<Q: Quantized>(&self, _: usize) -> &Self {
        self
    }
}

pub(super) struct Fill<'a, Q> {
    pub(super) from: Packed<'a, Q>,
    pub(super) to: &'a mut Expanded,
}

impl<Q: Quantized> Task for Fill<'_, Q> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        self.to.fill::<L, Q>(&self.from);
    }
}

/// 32 columns of sixteen rows, ready to be multiplied.
pub(super) struct Weights<L: Lanes> {
    /// Four columns each.
    pub(super) numbers: [L::B; 8],
    /// Of each half; the same where halves have none of their own.
    pub(super) scales: [L::F; 2],
    pub(super) offsets: [L::F; 2],
}

/// Where blocks come from.
pub(super) trait Source {
    fn block<L: Lanes, Q: Quantized>(&self, index: usize) -> Weights<L>;
}

/// Adds one block's share to a running sum.
#[inline(always)]
pub(super) fn fold<L: Lanes, Q: Quantized>(
    mut sum: L::F,
    weights: &Weights<L>,
    x: &QuantBlock,
) -> L::F {
    let scale = L::splat(x.scale);
    if Q::HALVES {
        for half in 0..2 {
            let dot = dot::<L, Q>(weights, x, x.minus_half_sums[half], 4 * half, 4);
            sum = L::add(sum, L::mul(dot, L::mul(weights.scales[half], scale)));
            if Q::OFFSET {
                let share = L::mul(weights.offsets[half], L::splat(x.half_sums[half]));
                sum = L::add(sum, share);
            }
        }
    } else {
        let dot = dot::<L, Q>(weights, x, x.minus_sum, 0, 8);
        sum = L::add(sum, L::mul(dot, L::mul(weights.scales[0], scale)));
        if Q::OFFSET {
            sum = L::add(sum, L::mul(weights.offsets[0], L::splat(x.sum)));
        }
    }
    sum
}

/// The products of `count` times four columns, summed.
#[inline(always)]
fn dot<L: Lanes, Q: Quantized>(
    weights: &Weights<L>,
    x: &QuantBlock,
    minus_sum: i32,
    first: usize,
    count: usize,
) -> L::F {
    let mut dot = match Q::ZERO {
        // Multiplied as numbers from zero up; what that adds is taken away beforehand.
        Some(power) if Q::BITS < 8 || L::BIASED => L::shift_left(L::splat_int(minus_sum), power),
        _ => L::splat_int(0),
    };
    let (fours, _) = x.numbers.as_chunks::<4>();
    let groups = weights.numbers[first..first + count]
        .iter()
        .zip(&fours[first..]);
    for (numbers, &[a, b, c, d]) in groups {
        let x = i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]);
        dot = if Q::BITS == 8 {
            L::dot8(dot, *numbers, x)
        } else {
            L::dot(dot, *numbers, x)
        };
    }
    L::to_float(dot)
}

/// A panel as it lies in its matrix.
pub(super) struct Packed<'a, Q> {
    panel: &'a [u8],
    format: PhantomData<Q>,
}

impl<'a, Q: Quantized> Packed<'a, Q> {
    #[inline(always)]
    pub(super) fn new(panel: &'a [u8]) -> Self {
        Self {
            panel,
            format: PhantomData,
        }
    }
}

impl<P: Quantized> Source for Packed<'_, P> {
    #[inline(always)]
    fn block<L: Lanes, Q: Quantized>(&self, index: usize) -> Weights<L> {
        let layout = const { Layout::of::<Q>() };
        let group = index / Q::BLOCKS * layout.group;
        let block = group + layout.blocks + index % Q::BLOCKS * layout.block;
        assert!(
            block + layout.block <= self.panel.len(),
            "a block of the panel"
        );
        prefetch(
            self.panel.as_ptr().wrapping_add(block + PREFETCH),
            layout.block,
        );
        let scale = L::load_f16(&self.halves(group));
        let offset = if Q::OFFSET {
            L::load_f16(&self.halves(group + 2 * LANES))
        } else {
            L::splat(0.0)
        };
        let (mut scales, mut offsets) = ([scale; 2], [offset; 2]);
        if Q::BLOCKS > 1 {
            for half in 0..if Q::HALVES { 2 } else { 1 } {
                let from = block + half * LANES;
                // SAFETY: sixteen bytes of small scales begin there, within the block.
                let small = unsafe { &*self.panel.as_ptr().add(from).cast::<[i8; LANES]>() };
                scales[half] = L::mul(scale, L::load_i8(small));
                if Q::OFFSET {
                    let from = from + layout.offsets;
                    // SAFETY: sixteen bytes of small offsets begin there, within the block.
                    let small = unsafe { &*self.panel.as_ptr().add(from).cast::<[u8; LANES]>() };
                    offsets[half] = L::mul(offset, L::load_u8(small));
                }
            }
        }
        let planes = &self.panel[block + layout.planes..block + layout.block];
        let (planes, _) = planes.as_chunks::<64>();
        Weights {
            numbers: [
                number::<L, Q>(planes, 0),
                number::<L, Q>(planes, 1),
                number::<L, Q>(planes, 2),
                number::<L, Q>(planes, 3),
                number::<L, Q>(planes, 4),
                number::<L, Q>(planes, 5),
                number::<L, Q>(planes, 6),
                number::<L, Q>(planes, 7),
            ],
            scales,
            offsets,
        }
    }
}

impl<Q> Packed<'_, Q> {
    /// Sixteen half floats.
    #[inline(always)]
    fn halves(&self, from: usize) -> [u16; LANES] {
        from_bytes(&self.panel[from..from + 2 * LANES])
    }
}

/// Takes the numbers of four columns out of their planes.
#[inline(always)]
fn number<L: Lanes, Q: Quantized>(planes: &[[u8; 64]], t: usize) -> L::B {
    match Q::BITS {
        2 => bits::<L>(&planes[t / 4], 2, 2 * (t % 4) as u32, 0),
        3 => L::or(
            bits::<L>(&planes[t / 4], 2, 2 * (t % 4) as u32, 0),
            bits::<L>(&planes[2], 1, t as u32, 2),
        ),
        4 => bits::<L>(&planes[t % 4], 4, 4 * (t / 4) as u32, 0),
        5 => L::or(
            bits::<L>(&planes[t % 4], 4, 4 * (t / 4) as u32, 0),
            bits::<L>(&planes[4], 1, t as u32, 4),
        ),
        6 => L::or(
            bits::<L>(&planes[t % 4], 4, 4 * (t / 4) as u32, 0),
            bits::<L>(&planes[4 + t / 4], 2, 2 * (t % 4) as u32, 4),
        ),
        _ if L::BIASED => L::load_bytes(&planes[t]),
        _ => L::sub_bytes(L::load_bytes(&planes[t]), 0x80),
    }
}

/// Some bits of each byte, moved from one place to another.
#[inline(always)]
fn bits<L: Lanes>(line: &[u8; 64], count: u32, from: u32, to: u32) -> L::B {
    let line = L::load_bytes(line);
    let moved = if from > to {
        L::bytes_right(line, from - to)
    } else if from < to {
        L::bytes_left(line, to - from)
    } else {
        line
    };
    L::and(moved, ((1 << count) - 1) << to)
}

/// A panel with a byte for each number and its scales in f32.
pub(super) struct Expanded {
    pub(super) lines: Lines,
    pub(super) block_bytes: usize,
}

impl Expanded {
    pub(super) fn zeros<Q: Quantized>(blocks: usize) -> Self {
        let scales = if Q::HALVES { 2 } else { 1 } * if Q::OFFSET { 2 } else { 1 };
        let block_bytes = 64 * (8 + scales);
        Self {
            lines: Lines::zeros(blocks * block_bytes),
            block_bytes,
        }
    }

    #[inline(always)]
    pub(super) fn fill<L: Lanes, Q: Quantized>(&mut self, panel: &Packed<'_, Q>) {
        let blocks = self.lines.bytes_mut().chunks_exact_mut(self.block_bytes);
        for (index, to) in blocks.enumerate() {
            let weights = panel.block::<L, Q>(index);
            let (lines, _) = to.as_chunks_mut::<64>();
            let (numbers, floats) = lines.split_at_mut(8);
            for (number, line) in weights.numbers.into_iter().zip(numbers) {
                L::store_bytes(number, line);
            }
            let halves = if Q::HALVES { 2 } else { 1 };
            let scales = weights.scales.into_iter().take(halves);
            let offsets = weights.offsets.into_iter().take(halves);
            for (scale, line) in scales.chain(offsets).zip(floats) {
                // SAFETY: sixteen f32 are as many bytes as a line, which is aligned for them.
                L::store(scale, unsafe {
                    &mut *line.as_mut_ptr().cast::<[f32; LANES]>()
                });
            }
        }
    }
}

impl Source for &Expanded {
    #[inline(always)]
    fn block<L: Lanes, Q: Quantized>(&self, index: usize) -> Weights<L> {
        let first = index * self.block_bytes;
        let lines = &self.lines.bytes()[first..first + self.block_bytes];
        let (lines, _) = lines.as_chunks::<64>();
        let halves = if Q::HALVES { 2 } else { 1 };
        let zero = L::splat(0.0);
        Weights {
            numbers: [
                L::load_bytes(&lines[0]),
                L::load_bytes(&lines[1]),
                L::load_bytes(&lines[2]),
                L::load_bytes(&lines[3]),
                L::load_bytes(&lines[4]),
                L::load_bytes(&lines[5]),
                L::load_bytes(&lines[6]),
                L::load_bytes(&lines[7]),
            ],
            scales: [floats::<L>(&lines[8]), floats::<L>(&lines[7 + halves])],
            offsets: if Q::OFFSET {
                [
                    floats::<L>(&lines[8 + halves]),
                    floats::<L>(&lines[7 + 2 * halves]),
                ]
            } else {
                [zero; 2]
            },
        }
    }
}

/// A line as sixteen f32.
#[inline(always)]
fn floats<L: Lanes>(line: &[u8; 64]) -> L::F {
    // SAFETY: as many bytes as sixteen f32, in memory of whole lines, which are aligned for them.
    L::load(unsafe { &*line.as_ptr().cast::<[f32; LANES]>() })
}

/// Sixteen numbers as they lie in a panel.
#[inline(always)]
pub(super) fn from_bytes<T: Copy>(bytes: &[u8]) -> [T; LANES] {
    assert!(bytes.len() == size_of::<[T; LANES]>());
    // SAFETY: as many bytes as read, at any alignment; `T` is an integer or a float, of which any
    // bits are a value, and machines are little-endian.
    unsafe { bytes.as_ptr().cast::<[T; LANES]>().read_unaligned() }
}
