//! Products by matrix tiles, sixteen rows of input at a time.
//!
//! Tiles compute what the lanes' dot products are, for sixteen rows of input with the sixteen rows of
//! a panel at once; scaling and adding up stay with the lanes, in the same order. Weights become signed
//! bytes from which their format's zero is taken already, so that nothing is left to correct.

use std::marker::PhantomData;

use super::Panels;
use super::weights::{Expanded, Packed, Source};
use crate::format::Quantized;
use crate::input::{BLOCK, QuantBlock};
use crate::kernel::{Kernel, TiledTask};
use crate::lanes::Lanes;
use crate::tiles::{LINE, ROWS, Shapes, Sums, Tiles};

/// Multiplies as many rows of input as the kernel's tiles can take; says how many.
pub(super) fn multiply<Q: Quantized>(kernel: Kernel, panels: &Panels<'_>) -> usize {
    let rows = panels.input.rows() / ROWS * ROWS;
    let format = PhantomData::<Q>;
    let tiled = Tiled {
        panels,
        rows,
        format,
    };
    if rows > 0 && kernel.run_tiled(tiled) {
        rows
    } else {
        0
    }
}

/// Panels with the first rows of their input, a multiple of [`ROWS`].
struct Tiled<'a, Q> {
    panels: &'a Panels<'a>,
    rows: usize,
    format: PhantomData<Q>,
}

impl<Q: Quantized> TiledTask for Tiled<'_, Q> {
    #[inline(always)]
    unsafe fn run<L: Lanes, T: Tiles>(self) {
        let panels = self.panels;
        let shapes = const { Shapes::of_depth(BLOCK / parts::<Q>()) };
        // SAFETY: the machine has these tiles, as the caller promises, and a piece runs on one thread
        // from its beginning to its end.
        let mut tiles = unsafe { T::configure(&shapes) };
        let mut weights = Expanded::zeros::<Q>(panels.input.cols() / BLOCK);
        for panel in panels.first..panels.first + panels.panels {
            weights.fill::<L, Q>(&Packed::new(panels.matrix.panel(panel)));
            weights.make_signed::<L, Q>();
            for row in (0..self.rows).step_by(ROWS) {
                self.sixteen_rows::<L, T>(&mut tiles, panel, row, &weights);
            }
        }
    }
}

impl<Q: Quantized> Tiled<'_, Q> {
    #[inline(always)]
    fn sixteen_rows<L: Lanes, T: Tiles>(
        &self,
        tiles: &mut T,
        panel: usize,
        row: usize,
        weights: &Expanded,
    ) {
        let blocks = self.panels.input.cols() / BLOCK;
        let inputs = &self.panels.input.blocks()[row * blocks..][..ROWS * blocks];
        let operands = Operands { inputs, weights };
        let mut dots = [Sums::default(); 2];
        let mut sums = [L::splat(0.0); ROWS];
        let steps = blocks * parts::<Q>();
        // Two steps at a time, so that the second one's tiles are at work during the first one's fold.
        for step in (0..steps - steps % 2).step_by(2) {
            operands.multiply::<Q, T, 0, 2, 3>(tiles, step, &mut dots[0]);
            operands.multiply::<Q, T, 1, 4, 5>(tiles, step + 1, &mut dots[1]);
            operands.fold::<L, Q>(step, &dots[0], &mut sums);
            operands.fold::<L, Q>(step + 1, &dots[1], &mut sums);
        }
        if steps % 2 == 1 {
            operands.multiply::<Q, T, 0, 2, 3>(tiles, steps - 1, &mut dots[0]);
            operands.fold::<L, Q>(steps - 1, &dots[0], &mut sums);
        }
        for (offset, sum) in sums.into_iter().enumerate() {
            self.panels.store::<L>(panel, row + offset, sum);
        }
    }
}

/// Parts of a block with a scale of their own. A step is one part of one block.
const fn parts<Q: Quantized>() -> usize {
    if Q::HALVES { 2 } else { 1 }
}

/// Sixteen rows of input and a panel.
struct Operands<'a> {
    inputs: &'a [QuantBlock],
    weights: &'a Expanded,
}

impl Operands<'_> {
    /// The dot products of one step.
    #[inline(always)]
    fn multiply<Q: Quantized, T: Tiles, const SUMS: u8, const A: u8, const B: u8>(
        &self,
        tiles: &mut T,
        step: usize,
        dots: &mut Sums,
    ) {
        let (block, part) = (step / parts::<Q>(), step % parts::<Q>());
        // Their numbers come first in blocks.
        let numbers = self.inputs[block..].as_ptr().cast::<i8>();
        let lines = &self.weights.lines(block)[part * 8 * LINE / parts::<Q>()..];
        tiles.zero::<SUMS>();
        // SAFETY: a block is a line that begins with its numbers, and each row has as many lines as
        // there are blocks; a block's eight lines of weights, or four of them, follow one another.
        unsafe {
            let numbers = numbers.add(part * BLOCK / parts::<Q>());
            tiles.load::<A>(numbers, self.blocks() * size_of::<QuantBlock>());
            tiles.load::<B>(lines.as_ptr().cast(), LINE);
        }
        tiles.multiply::<SUMS, A, B>();
        tiles.store::<SUMS>(dots);
    }

    /// Adds one step's share to the running sums.
    #[inline(always)]
    fn fold<L: Lanes, Q: Quantized>(&self, step: usize, dots: &Sums, sums: &mut [L::F; ROWS]) {
        let (block, part) = (step / parts::<Q>(), step % parts::<Q>());
        let weights = Source::block::<L, Q>(&self.weights, block);
        let (scale, offset) = (weights.scales[part], weights.offsets[part]);
        for (row, (sum, dots)) in sums.iter_mut().zip(&dots.0).enumerate() {
            // SAFETY: there are `ROWS` rows of as many blocks.
            let x = unsafe { self.inputs.get_unchecked(row * self.blocks() + block) };
            let dot = L::to_float(L::load_int(dots));
            *sum = L::add(*sum, L::mul(dot, L::mul(scale, L::splat(x.scale))));
            if Q::OFFSET {
                let x_sum = if Q::HALVES { x.half_sums[part] } else { x.sum };
                *sum = L::add(*sum, L::mul(offset, L::splat(x_sum)));
            }
        }
    }

    #[inline(always)]
    fn blocks(&self) -> usize {
        self.inputs.len() / ROWS
    }
}

impl Expanded {
    /// Makes the numbers signed and takes their format's zero from them.
    #[inline(always)]
    fn make_signed<L: Lanes, Q: Quantized>(&mut self) {
        let Some(power) = Q::ZERO else {
            return;
        };
        if Q::BITS == 8 && !L::BIASED {
            // They are already.
            return;
        }
        for block in self.lines.bytes_mut().chunks_exact_mut(self.block_bytes) {
            let (lines, _) = block.as_chunks_mut::<LINE>();
            for line in &mut lines[..8] {
                L::store_bytes(L::sub_bytes(L::load_bytes(line), 1 << power), line);
            }
        }
    }

    /// A block's lines of numbers.
    #[inline(always)]
    fn lines(&self, block: usize) -> &[u8] {
        &self.lines.bytes()[block * self.block_bytes..][..8 * LINE]
    }
}
