//! Products of packed matrices with rows of input.
//!
//! For each panel, numbers are taken out of their planes block by block and multiplied with as many
//! rows of input as registers allow; a panel that meets many rows is first expanded to bytes, once
//! for all of them. Either way an output is one lane's running sum over the blocks, in order, as
//! [`crate::definition::product`] says.

mod floats;
#[cfg(any(test, target_arch = "x86_64"))]
mod tiled;
mod weights;

use std::marker::PhantomData;
use std::ops::Range;

use crate::format::{Quantized, with_format};
use crate::input::{BLOCK, Input};
use crate::kernel::{Kernel, Task};
use crate::lanes::{LANES, Lanes};
use crate::matrix::Matrix;
use crate::pool::{Pool, Shared};
use floats::Floats;
use weights::{Expanded, Fill, Packed, PackedPanels, Panel, Source, fold};

/// Rows of input from which on a panel is expanded.
const EXPAND_FROM: usize = 24;
/// Bytes of weights that a thread takes at a time for one row of input, if there is enough for all.
const PIECE_BYTES: usize = 64 << 10;
/// More rows take fewer bytes, down to this share.
const ROWS_COUNTED: usize = 8;

/// A kernel and the threads that it runs on.
pub struct Compute {
    /// The instructions.
    pub kernel: Kernel,
    /// The threads.
    pub pool: Pool,
}

/// One matrix and where its product goes.
pub struct Product<'a> {
    /// Its columns are as many as the input's.
    pub matrix: &'a Matrix,
    /// As many rows as the input has, each as long as the matrix has rows.
    pub out: &'a mut [f32],
}

/// Panels of one matrix that one thread computes.
struct Piece {
    product: usize,
    first: usize,
    panels: usize,
}

/// Applies several matrices to one input.
///
/// # Panics
/// When shapes do not go together.
pub fn multiply(compute: &Compute, input: &Input, products: &mut [Product<'_>]) {
    let threads = compute.pool.threads();
    let mut pieces = Vec::new();
    for (index, product) in products.iter().enumerate() {
        let matrix = product.matrix;
        assert!(
            matrix.cols() == input.cols() && product.out.len() == input.rows() * matrix.rows(),
            "a product of {} x {} with {} rows",
            matrix.rows(),
            matrix.cols(),
            input.rows()
        );
        let fair = matrix.panels().div_ceil(4 * threads);
        let work = matrix.panel_bytes() * input.rows().clamp(1, ROWS_COUNTED);
        let size = PIECE_BYTES.div_ceil(work).min(fair).max(1);
        pieces.extend((0..matrix.panels()).step_by(size).map(|first| Piece {
            product: index,
            first,
            panels: size.min(matrix.panels() - first),
        }));
    }
    let products: Vec<_> = products
        .iter_mut()
        .map(|product| (product.matrix, Shared::new(product.out)))
        .collect();
    let job = |index: usize, _| {
        let piece = &pieces[index];
        let (matrix, out) = &products[piece.product];
        let panels = Panels {
            matrix,
            first: piece.first,
            panels: piece.panels,
            input,
            out,
        };
        panels.run(compute.kernel);
    };
    compute.pool.run(pieces.len(), job);
}

/// Some panels of one format that meet some rows of input.
struct Tile<'a, Q, S, const ROWS: usize> {
    all: &'a Panels<'a>,
    panels: Range<usize>,
    row: usize,
    source: &'a S,
    format: PhantomData<Q>,
}

impl<'a, Q, S, const ROWS: usize> Tile<'a, Q, S, ROWS> {
    fn new(all: &'a Panels<'a>, panels: &Range<usize>, row: usize, source: &'a S) -> Self {
        Self {
            all,
            panels: panels.clone(),
            row,
            source,
            format: PhantomData,
        }
    }
}

impl<Q: Quantized, S: Panel, const ROWS: usize> Task for Tile<'_, Q, S, ROWS> {
    /// How many rows were done.
    type Out = usize;

    #[inline(always)]
    fn run<L: Lanes>(self) -> usize {
        for panel in self.panels {
            let source = self.source.panel::<Q>(panel);
            self.all.tile::<L, Q, ROWS>(panel, self.row, &source);
        }
        ROWS
    }
}

struct Panels<'a> {
    matrix: &'a Matrix,
    first: usize,
    panels: usize,
    input: &'a Input,
    out: &'a Shared<'a, f32>,
}

impl Panels<'_> {
    /// Each tile is a task of its own, so that the compiler sees small functions.
    fn run(&self, kernel: Kernel) {
        with_format!(
            self.matrix.format(),
            Q => self.quantized::<Q>(kernel),
            kernel.run(Floats(self))
        );
    }

    fn quantized<Q: Quantized>(&self, kernel: Kernel) {
        let all = self.first..self.first + self.panels;
        #[cfg(any(test, target_arch = "x86_64"))]
        let done = tiled::multiply::<Q>(kernel, self);
        #[cfg(not(any(test, target_arch = "x86_64")))]
        let done = 0;
        if self.input.rows() - done < EXPAND_FROM {
            self.in_tiles::<Q, PackedPanels>(kernel, all, done, &PackedPanels(self.matrix));
            return;
        }
        let mut expanded = Expanded::zeros::<Q>(self.matrix.cols() / BLOCK);
        for index in all {
            kernel.run(Fill::<Q> {
                from: Packed::new(self.matrix.panel(index)),
                to: &mut expanded,
            });
            self.in_tiles::<Q, Expanded>(kernel, index..index + 1, done, &expanded);
        }
    }

    /// All rows of input from `row` on, in tiles as large as possible.
    fn in_tiles<Q: Quantized, S: Panel>(
        &self,
        kernel: Kernel,
        panels: Range<usize>,
        mut row: usize,
        source: &S,
    ) {
        let rows = self.input.rows();
        while row < rows {
            row += match rows - row {
                8.. if kernel.is_wide() => {
                    kernel.run(Tile::<Q, S, 8>::new(self, &panels, row, source))
                }
                4.. => kernel.run(Tile::<Q, S, 4>::new(self, &panels, row, source)),
                2.. => kernel.run(Tile::<Q, S, 2>::new(self, &panels, row, source)),
                _ => kernel.run(Tile::<Q, S, 1>::new(self, &panels, row, source)),
            };
        }
    }

    #[inline(always)]
    fn tile<L: Lanes, Q: Quantized, const ROWS: usize>(
        &self,
        panel: usize,
        row: usize,
        source: &impl Source,
    ) {
        let blocks = self.input.cols() / BLOCK;
        let inputs = &self.input.blocks()[row * blocks..][..ROWS * blocks];
        let mut sums = [L::splat(0.0); ROWS];
        for block in 0..blocks {
            let weights = source.block::<L, Q>(block);
            for (row, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `inputs` holds `ROWS` rows of `blocks` blocks.
                let x = unsafe { inputs.get_unchecked(row * blocks + block) };
                *sum = fold::<L, Q>(*sum, &weights, x);
            }
        }
        for (offset, sum) in sums.into_iter().enumerate() {
            self.store::<L>(panel, row + offset, sum);
        }
    }

    #[inline(always)]
    fn store<L: Lanes>(&self, panel: usize, row: usize, sum: L::F) {
        let (rows, first) = (self.matrix.rows(), panel * LANES);
        let len = LANES.min(rows - first);
        // SAFETY: each panel is one thread's, so nobody else writes to its part of any row.
        let out = unsafe { self.out.slice(row * rows + first, len) };
        if let Ok(out) = <&mut [f32; LANES]>::try_from(&mut *out) {
            L::store(sum, out);
        } else {
            let mut lanes = [0.0; LANES];
            L::store(sum, &mut lanes);
            out.copy_from_slice(&lanes[..len]);
        }
    }
}
