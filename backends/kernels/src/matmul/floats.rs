//! Products of weights that are not quantized.

use super::Panels;
use super::weights::from_bytes;
use crate::format::Format;
use crate::kernel::Task;
use crate::lanes::{LANES, Lanes};

pub(super) struct Floats<'a>(pub(super) &'a Panels<'a>);

impl Task for Floats<'_> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.0.matrix.format() {
            Format::F16 => self.0.floats::<L, Half>(),
            Format::Bf16 => self.0.floats::<L, BrainHalf>(),
            _ => self.0.floats::<L, Single>(),
        }
    }
}

impl Panels<'_> {
    /// Weights that are not quantized, in the same tiles.
    #[inline(always)]
    fn floats<L: Lanes, W: Float>(&self) {
        for panel in self.first..self.first + self.panels {
            let mut row = 0;
            while self.input.rows() - row >= 4 {
                self.float_tile::<L, W, 4>(panel, row);
                row += 4;
            }
            while row < self.input.rows() {
                self.float_tile::<L, W, 1>(panel, row);
                row += 1;
            }
        }
    }

    #[inline(always)]
    fn float_tile<L: Lanes, W: Float, const ROWS: usize>(&self, panel: usize, row: usize) {
        let cols = self.input.cols();
        let inputs = &self.input.floats()[row * cols..][..ROWS * cols];
        let weights = self.matrix.panel(panel).chunks_exact(W::LINE);
        let mut sums = [L::splat(0.0); ROWS];
        for (col, weights) in weights.enumerate() {
            let weights = W::load::<L>(weights);
            for (row, sum) in sums.iter_mut().enumerate() {
                let x = L::splat(inputs[row * cols + col]);
                *sum = L::add(*sum, L::mul(weights, x));
            }
        }
        for (offset, sum) in sums.into_iter().enumerate() {
            self.store::<L>(panel, row + offset, sum);
        }
    }
}

/// A format of weights that are not quantized.
trait Float {
    /// Bytes of sixteen of them.
    const LINE: usize;
    /// `bytes` holds as many.
    fn load<L: Lanes>(bytes: &[u8]) -> L::F;
}

struct Half;
struct BrainHalf;
struct Single;

impl Float for Half {
    const LINE: usize = 2 * LANES;
    #[inline(always)]
    fn load<L: Lanes>(bytes: &[u8]) -> L::F {
        L::load_f16(&from_bytes(bytes))
    }
}

impl Float for BrainHalf {
    const LINE: usize = 2 * LANES;
    #[inline(always)]
    fn load<L: Lanes>(bytes: &[u8]) -> L::F {
        L::load_bf16(&from_bytes(bytes))
    }
}

impl Float for Single {
    const LINE: usize = 4 * LANES;
    #[inline(always)]
    fn load<L: Lanes>(bytes: &[u8]) -> L::F {
        L::load(&from_bytes(bytes))
    }
}
