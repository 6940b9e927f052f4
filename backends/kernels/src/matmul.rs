//! Products of packed matrices with rows of input.
//!
//! For each panel, numbers are taken out of their planes block by block and multiplied with as many
//! rows of input as registers allow; a panel that meets many rows is first expanded to bytes, once
//! for all of them. Either way an output is one lane's running sum over the blocks, in order, as
//! [`crate::definition::product`] says.

#[cfg(any(test, target_arch = "x86_64"))]
mod tiled;

use crate::format::{Format, Quantized, with_format};
use crate::input::{BLOCK, Input, QuantBlock};
use crate::kernel::{Kernel, Task};
use crate::lanes::{LANES, Lanes};
use crate::lines::Lines;
use crate::matrix::{Layout, Matrix};
use crate::pool::{Pool, Shared};
use std::marker::PhantomData;
use std::ops::Range;

/// Rows of input from which on a panel is expanded.
const EXPAND_FROM: usize = 24;
/// Bytes of weights that a thread takes at a time, at least, if there is enough for all.
const PIECE_BYTES: usize = 16 << 10;
/// Bytes ahead of the reader that are fetched into the cache.
const PREFETCH: usize = 2 << 10;

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
        let size = PIECE_BYTES.div_ceil(matrix.panel_bytes()).min(fair).max(1);
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

/// Where the blocks of a panel come from.
trait Panel {
    type Source<'a, Q: Quantized>: Source
    where
        Self: 'a;
    fn panel<Q: Quantized>(&self, index: usize) -> Self::Source<'_, Q>;
}

/// Panels as they lie in their matrix.
struct PackedPanels<'a>(&'a Matrix);

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

struct Fill<'a, Q> {
    from: Packed<'a, Q>,
    to: &'a mut Expanded,
}

impl<Q: Quantized> Task for Fill<'_, Q> {
    type Out = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        self.to.fill::<L, Q>(&self.from);
    }
}

struct Floats<'a>(&'a Panels<'a>);

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

/// 32 columns of sixteen rows, ready to be multiplied.
struct Weights<L: Lanes> {
    /// Four columns each.
    numbers: [L::B; 8],
    /// Of each half; the same where halves have none of their own.
    scales: [L::F; 2],
    offsets: [L::F; 2],
}

/// Where blocks come from.
trait Source {
    fn block<L: Lanes, Q: Quantized>(&self, index: usize) -> Weights<L>;
}

/// Adds one block's share to a running sum.
#[inline(always)]
fn fold<L: Lanes, Q: Quantized>(mut sum: L::F, weights: &Weights<L>, x: &QuantBlock) -> L::F {
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
    for t in first..first + count {
        let [a, b, c, d] = fours[t];
        let x = i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]);
        dot = if Q::BITS == 8 {
            L::dot8(dot, weights.numbers[t], x)
        } else {
            L::dot(dot, weights.numbers[t], x)
        };
    }
    L::to_float(dot)
}

/// A panel as it lies in its matrix.
struct Packed<'a, Q> {
    panel: &'a [u8],
    format: PhantomData<Q>,
}

impl<'a, Q: Quantized> Packed<'a, Q> {
    #[inline(always)]
    fn new(panel: &'a [u8]) -> Self {
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
struct Expanded {
    lines: Lines,
    block_bytes: usize,
}

impl Expanded {
    fn zeros<Q: Quantized>(blocks: usize) -> Self {
        let scales = if Q::HALVES { 2 } else { 1 } * if Q::OFFSET { 2 } else { 1 };
        let block_bytes = 64 * (8 + scales);
        Self {
            lines: Lines::zeros(blocks * block_bytes),
            block_bytes,
        }
    }

    #[inline(always)]
    fn fill<L: Lanes, Q: Quantized>(&mut self, panel: &Packed<'_, Q>) {
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

/// Asks for the next `len` bytes from `from`, wherever that is.
#[inline(always)]
fn prefetch(from: *const u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..len.div_ceil(64) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address has no effect but on the cache.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(64 * line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, len);
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

/// Sixteen numbers as they lie in a panel.
#[inline(always)]
fn from_bytes<T: Copy>(bytes: &[u8]) -> [T; LANES] {
    assert!(bytes.len() == size_of::<[T; LANES]>());
    // SAFETY: as many bytes as read, at any alignment; `T` is an integer or a float, of which any
    // bits are a value, and machines are little-endian.
    unsafe { bytes.as_ptr().cast::<[T; LANES]>().read_unaligned() }
}
