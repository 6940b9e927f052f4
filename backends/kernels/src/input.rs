//! What matrices are applied to: rows of f32, also quantized to 8 bits in blocks of 32.
//!
//! A block's scale is its largest magnitude divided by 127; numbers are rounded to nearest, ties to
//! even. That is done once for all matrices that take the same input.

use crate::kernel::{Kernel, Task};
use crate::lanes::{LANES, Lanes};

/// Neighbours that are quantized together.
pub const BLOCK: usize = 32;

/// Below this a block counts as zero, so that 127 divided by it is finite.
pub(crate) const SMALLEST: f32 = 1e-30;

/// A block with all that products need of it, one cache line.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct QuantBlock {
    pub(crate) numbers: [i8; BLOCK],
    pub(crate) scale: f32,
    /// The sum of the numbers, negated: of all, of the first half, of the second half.
    pub(crate) minus_sum: i32,
    pub(crate) minus_half_sums: [i32; 2],
    /// The sums times the scale: what an offset of the weights is multiplied by.
    pub(crate) sum: f32,
    pub(crate) half_sums: [f32; 2],
    pub(crate) _unused: u32,
}

/// Rows of input, made ready.
#[derive(Default)]
pub struct Input {
    rows: usize,
    cols: usize,
    blocks: Vec<QuantBlock>,
    floats: Vec<f32>,
}

impl Input {
    /// Makes room for `rows` rows of `cols` components.
    pub fn resize(&mut self, rows: usize, cols: usize) {
        (self.rows, self.cols) = (rows, cols);
        let blocks = rows * cols.div_ceil(BLOCK);
        self.blocks.resize(blocks, QuantBlock::default());
        self.floats.resize(rows * cols, 0.0);
    }

    /// Takes rows of `cols` components.
    ///
    /// # Panics
    /// When `x` is not whole rows.
    pub fn set(&mut self, kernel: Kernel, x: &[f32], cols: usize) {
        assert!(x.len().is_multiple_of(cols), "whole rows of {cols}");
        self.resize(x.len() / cols, cols);
        for (mut row, x) in self.rows_mut().into_iter().zip(x.chunks_exact(cols)) {
            row.fill(kernel, |row| row.copy_from_slice(x));
        }
    }

    /// The rows, to be set one by one.
    pub fn rows_mut(&mut self) -> Vec<InputRow<'_>> {
        let blocks = self
            .blocks
            .chunks_exact_mut(self.cols.div_ceil(BLOCK).max(1));
        let floats = self.floats.chunks_exact_mut(self.cols.max(1));
        let rows = blocks.zip(floats);
        rows.map(|(blocks, floats)| InputRow { blocks, floats })
            .collect()
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Components of a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All blocks, row after row.
    pub(crate) fn blocks(&self) -> &[QuantBlock] {
        &self.blocks
    }

    /// All rows as they were given.
    pub(crate) fn floats(&self) -> &[f32] {
        &self.floats
    }
}

/// One row of an [`Input`].
pub struct InputRow<'a> {
    blocks: &'a mut [QuantBlock],
    floats: &'a mut [f32],
}

impl InputRow<'_> {
    /// Takes what the row is to hold from `write`, which is given the row with its last content.
    pub fn fill(&mut self, kernel: Kernel, write: impl FnOnce(&mut [f32])) {
        write(self.floats);
        kernel.run(Quantize {
            x: self.floats,
            blocks: self.blocks,
        });
    }
}

struct Quantize<'a> {
    x: &'a [f32],
    blocks: &'a mut [QuantBlock],
}

impl Task for Quantize<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (whole, rest) = self.x.as_chunks::<BLOCK>();
        for (x, block) in whole.iter().zip(&mut *self.blocks) {
            quantize::<L>(x, block);
        }
        if let (false, Some(block)) = (rest.is_empty(), self.blocks.last_mut()) {
            let mut x = [0.0; BLOCK];
            x[..rest.len()].copy_from_slice(rest);
            quantize::<L>(&x, block);
        }
    }
}

#[inline(always)]
pub(crate) fn quantize<L: Lanes>(x: &[f32; BLOCK], block: &mut QuantBlock) {
    let ([first, second], _) = x.as_chunks::<LANES>() else {
        return;
    };
    let halves = [L::load(first), L::load(second)];
    let largest = L::max_across(L::max(L::abs(halves[0]), L::abs(halves[1])));
    if largest < SMALLEST {
        *block = QuantBlock::default();
        return;
    }
    let inverse = L::splat(127.0 / largest);
    let (numbers, _) = block.numbers.as_chunks_mut::<LANES>();
    for (half, numbers) in halves.into_iter().zip(numbers) {
        L::store_i8(L::round(L::mul(half, inverse)), numbers);
    }
    let sum = |numbers: &[i8]| numbers.iter().map(|&n| i32::from(n)).sum::<i32>();
    let sums = [sum(&block.numbers[..16]), sum(&block.numbers[16..])];
    block.scale = largest / 127.0;
    block.minus_sum = -(sums[0] + sums[1]);
    block.minus_half_sums = [-sums[0], -sums[1]];
    block.sum = (sums[0] + sums[1]) as f32 * block.scale;
    block.half_sums = [sums[0] as f32 * block.scale, sums[1] as f32 * block.scale];
}
