//! Weight matrices, packed for the kernels: sixteen rows make a panel in which a lane is a row.
//!
//! Within a panel, groups follow one another (32 or 256 columns of all sixteen rows). A group begins
//! with its rows' half floats; each of its blocks holds small scales where the format has them, then
//! the numbers, as planes of bits: lines of 64 bytes in which byte `4 * row + i` belongs to columns
//! `4 * t + i` for several `t`, so that one shift and one mask give the next four columns of all
//! sixteen rows. It takes as many bytes as the file, but for the padding of the last panel and the
//! small scales of the K formats, which get a byte each (up to 4 % more; 19 % for Q2_K).

use crate::format::{Block, Format, Group, Quantized, with_format};
use crate::input::BLOCK;
use crate::lanes::LANES;
use crate::lanes::scalar::{bf16_to_f32, f16_to_f32};
use crate::lines::Lines;
use crate::pool::Pool;
use std::sync::{Mutex, PoisonError};

/// Packed bytes that a thread makes at a time.
const PIECE_BYTES: usize = 1 << 20;

/// `rows x cols` weights.
pub struct Matrix {
    format: Format,
    rows: usize,
    cols: usize,
    panel_bytes: usize,
    data: Lines,
}

/// A matrix cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError<E> {
    /// No such matrix can be.
    #[error("there is no matrix of {rows} x {cols} weights in {format:?}")]
    Shape {
        /// As asked for.
        rows: usize,
        /// As asked for.
        cols: usize,
        /// As asked for.
        format: Format,
    },
    /// The weights could not be read.
    #[error(transparent)]
    Read(E),
}

impl Matrix {
    /// Packs weights as GGUF stores them, row after row. `read` fills a buffer with the bytes from an
    /// offset on; it is called from several threads, for some rows at a time.
    ///
    /// # Errors
    /// When there is no such shape, and when `read` fails.
    pub fn pack<E: Send>(
        format: Format,
        (rows, cols): (usize, usize),
        pool: &Pool,
        read: impl Fn(&mut [u8], usize) -> Result<(), E> + Sync,
    ) -> Result<Self, PackError<E>> {
        let row_bytes = cols / format.group() * format.group_bytes();
        let panels = rows.div_ceil(LANES);
        let panel_bytes = panel_bytes(format, cols);
        let can_be = rows > 0
            && cols > 0
            && cols.is_multiple_of(format.group())
            && rows
                .checked_mul(row_bytes)
                .is_some_and(|bytes| bytes <= isize::MAX as usize / 4)
            && panels
                .checked_mul(panel_bytes)
                .is_some_and(|bytes| bytes <= isize::MAX as usize / 4);
        if !can_be {
            return Err(PackError::Shape { rows, cols, format });
        }
        let together = PIECE_BYTES.div_ceil(panel_bytes);
        let mut data = Lines::zeros(panels * panel_bytes);
        let mut pieces: Vec<&mut [u8]> = data
            .bytes_mut()
            .chunks_mut(together * panel_bytes)
            .collect();
        let failure = Mutex::new(None);
        pool.each(&mut pieces, 1, |index, piece| {
            let first = index * together * LANES;
            let count = (together * LANES).min(rows - first);
            let mut bytes = vec![0; count * row_bytes];
            if let Err(error) = read(&mut bytes, first * row_bytes) {
                failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(error);
                return;
            }
            let panels = bytes.chunks(LANES * row_bytes);
            for (rows, panel) in panels.zip(piece.chunks_exact_mut(panel_bytes)) {
                pack_panel(format, rows, row_bytes, panel);
            }
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(PackError::Read(error));
        }
        Ok(Self {
            format,
            rows,
            cols,
            panel_bytes,
            data,
        })
    }

    /// Rows, that is, components of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, that is, components of an input.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn panels(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    pub(crate) fn panel_bytes(&self) -> usize {
        self.panel_bytes
    }

    pub(crate) fn panel(&self, index: usize) -> &[u8] {
        &self.data.bytes()[index * self.panel_bytes..][..self.panel_bytes]
    }

    /// Writes one row's weights to `out`.
    ///
    /// # Panics
    /// When there is no such row, or `out` is not as long as a row.
    pub fn row(&self, index: usize, out: &mut [f32]) {
        assert!(
            index < self.rows && out.len() == self.cols,
            "a row of this matrix"
        );
        let (panel, lane) = (self.panel(index / LANES), index % LANES);
        with_format!(
            self.format,
            Q => quantized_row::<Q>(panel, lane, out),
            float_row(self.format, panel, lane, out)
        );
    }
}

/// Bytes of a panel.
pub(crate) fn panel_bytes(format: Format, cols: usize) -> usize {
    with_format!(
        format,
        Q => (cols / format.group()).saturating_mul(Layout::of::<Q>().group),
        cols.saturating_mul(LANES * format.group_bytes())
    )
}

/// Where things lie within a group of a quantized panel, in bytes.
pub(crate) struct Layout {
    /// Of the group.
    pub(crate) group: usize,
    /// Where the first block begins; before it are the half floats.
    pub(crate) blocks: usize,
    /// Of each block.
    pub(crate) block: usize,
    /// Where a block's small offsets begin; before them are its small scales.
    pub(crate) offsets: usize,
    /// Where a block's planes begin.
    pub(crate) planes: usize,
}

impl Layout {
    pub(crate) const fn of<Q: Quantized>() -> Self {
        let halves = if Q::OFFSET { 2 } else { 1 };
        let small = if Q::BLOCKS == 1 {
            0
        } else if Q::HALVES {
            2 * LANES
        } else {
            LANES
        };
        let planes = small * halves;
        let block = planes + 64 * Q::BITS as usize;
        let blocks = 2 * LANES * halves;
        Self {
            group: blocks + Q::BLOCKS * block,
            blocks,
            block,
            offsets: small,
            planes,
        }
    }
}

fn pack_panel(format: Format, rows: &[u8], row_bytes: usize, to: &mut [u8]) {
    for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
        with_format!(format, Q => pack_row::<Q>(row, lane, to), {
            let size = format.group_bytes();
            for (col, weight) in row.chunks_exact(size).enumerate() {
                to[(col * LANES + lane) * size..][..size].copy_from_slice(weight);
            }
        });
    }
}

fn pack_row<Q: Quantized>(row: &[u8], lane: usize, to: &mut [u8]) {
    if Q::BLOCKS == 1 {
        pack_simple_row::<Q>(row, lane, to);
        return;
    }
    let layout = const { Layout::of::<Q>() };
    let groups = row.chunks_exact(Q::FORMAT.group_bytes());
    for (bytes, to) in groups.zip(to.chunks_exact_mut(layout.group)) {
        let group = Group::read::<Q>(bytes);
        to[2 * lane..][..2].copy_from_slice(&group.scale.to_le_bytes());
        if Q::OFFSET {
            to[2 * (LANES + lane)..][..2].copy_from_slice(&group.offset.to_le_bytes());
        }
        let blocks = to[layout.blocks..].chunks_exact_mut(layout.block);
        for (block, to) in group.blocks.iter().zip(blocks) {
            for half in 0..layout.offsets / LANES {
                to[half * LANES + lane] = block.scales[half] as u8;
                if Q::OFFSET {
                    to[layout.offsets + half * LANES + lane] = block.offsets[half];
                }
            }
            pack_numbers::<Q>(block, lane, &mut to[layout.planes..]);
        }
    }
}

/// The formats with groups of one block store four neighbours' nibbles as the planes do, so that whole
/// words are copied.
fn pack_simple_row<Q: Quantized>(row: &[u8], lane: usize, to: &mut [u8]) {
    let layout = const { Layout::of::<Q>() };
    let halves = if Q::OFFSET { 2 } else { 1 };
    let high = if Q::BITS == 5 { 4 } else { 0 };
    let groups = row.chunks_exact(Q::FORMAT.group_bytes());
    for (from, to) in groups.zip(to.chunks_exact_mut(layout.group)) {
        let (floats, numbers) = from.split_at(2 * halves);
        for (half, float) in floats.chunks_exact(2).enumerate() {
            to[2 * (half * LANES + lane)..][..2].copy_from_slice(float);
        }
        let (high, low) = numbers.split_at(high);
        let (planes, _) = to[layout.planes + layout.blocks..].as_chunks_mut::<64>();
        let (words, _) = low.as_chunks::<4>();
        for (word, plane) in words.iter().zip(&mut *planes) {
            let word = if Q::BITS == 8 {
                word.map(|byte| byte ^ 0x80)
            } else {
                *word
            };
            plane[4 * lane..][..4].copy_from_slice(&word);
        }
        if let Ok(high) = high.try_into() {
            let high = u32::from_le_bytes(high);
            for i in 0..4 {
                planes[4][4 * lane + i] = every_fourth_bit(high >> i);
            }
        }
    }
}

/// Bits 0, 4, 8, ... side by side.
fn every_fourth_bit(bits: u32) -> u8 {
    let x = bits & 0x1111_1111;
    let x = (x | x >> 3) & 0x0303_0303;
    let x = (x | x >> 6) & 0x000F_000F;
    (x | x >> 12) as u8
}

/// Puts the numbers of one row into the planes of a block.
fn pack_numbers<Q: Quantized>(block: &Block, lane: usize, planes: &mut [u8]) {
    let (planes, _) = planes.as_chunks_mut::<64>();
    let n = |t: usize, i: usize| block.numbers[4 * t + i];
    for i in 0..4 {
        let at = 4 * lane + i;
        if Q::BITS == 8 {
            for (t, plane) in planes.iter_mut().enumerate() {
                plane[at] = n(t, i);
            }
        }
        if matches!(Q::BITS, 4..=6) {
            for (t, plane) in planes[..4].iter_mut().enumerate() {
                plane[at] = n(t, i) & 15 | n(t + 4, i) << 4;
            }
        }
        if matches!(Q::BITS, 2 | 3 | 6) {
            let (first, shift) = if Q::BITS == 6 { (4, 4) } else { (0, 0) };
            for plane in 0..2 {
                let two = |j: usize| (n(4 * plane + j, i) >> shift & 3) << (2 * j);
                planes[first + plane][at] = two(0) | two(1) | two(2) | two(3);
            }
        }
        if matches!(Q::BITS, 3 | 5) {
            let (plane, shift) = if Q::BITS == 5 { (4, 4) } else { (2, 2) };
            planes[plane][at] = (0..8).fold(0, |all, t| all | (n(t, i) >> shift & 1) << t);
        }
    }
}

/// One number of a block's planes.
fn number<Q: Quantized>(planes: &[u8], lane: usize, col: usize) -> u8 {
    let (t, at) = (col / 4, 4 * lane + col % 4);
    let nibble = |first: usize| planes[64 * (first + t % 4) + at] >> (4 * (t / 4)) & 15;
    let two = |first: usize| planes[64 * (first + t / 4) + at] >> (2 * (t % 4)) & 3;
    let bit = |plane: usize| planes[64 * plane + at] >> t & 1;
    match Q::BITS {
        2 => two(0),
        3 => two(0) | bit(2) << 2,
        4 => nibble(0),
        5 => nibble(0) | bit(4) << 4,
        6 => nibble(0) | two(4) << 4,
        _ => planes[64 * t + at],
    }
}

fn quantized_row<Q: Quantized>(panel: &[u8], lane: usize, out: &mut [f32]) {
    let layout = const { Layout::of::<Q>() };
    let zero = Q::ZERO.map_or(0.0, |power| (1 << power) as f32);
    let groups = panel.chunks_exact(layout.group);
    for (group, out) in groups.zip(out.chunks_exact_mut(Q::BLOCKS * BLOCK)) {
        let half = |at: usize| f16_to_f32(u16::from_le_bytes([group[at], group[at + 1]]));
        let scale = half(2 * lane);
        let offset = if Q::OFFSET {
            half(2 * (LANES + lane))
        } else {
            0.0
        };
        let blocks = group[layout.blocks..].chunks_exact(layout.block);
        for (block, out) in blocks.zip(out.chunks_exact_mut(BLOCK)) {
            for (col, out) in out.iter_mut().enumerate() {
                let (mut scale, mut offset) = (scale, offset);
                if Q::BLOCKS > 1 {
                    let at = if Q::HALVES {
                        col / 16 * LANES + lane
                    } else {
                        lane
                    };
                    scale *= f32::from(block[at] as i8);
                    offset *= if Q::OFFSET {
                        f32::from(block[layout.offsets + at])
                    } else {
                        0.0
                    };
                }
                let number = number::<Q>(&block[layout.planes..], lane, col);
                *out = scale * (f32::from(number) - zero) + offset;
            }
        }
    }
}

fn float_row(format: Format, panel: &[u8], lane: usize, out: &mut [f32]) {
    for (out, col) in out
        .iter_mut()
        .zip(panel.chunks_exact(LANES * format.group_bytes()))
    {
        let at = lane * format.group_bytes();
        *out = match format {
            Format::F32 => f32::from_le_bytes([col[at], col[at + 1], col[at + 2], col[at + 3]]),
            Format::F16 => f16_to_f32(u16::from_le_bytes([col[at], col[at + 1]])),
            _ => bf16_to_f32(u16::from_le_bytes([col[at], col[at + 1]])),
        };
    }
}
