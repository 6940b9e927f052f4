//! Keys and values in numbers of eight bits: for each position, blocks of 32 components with a scale,
//! quantized as inputs are.

use super::{LARGEST, PAGE, PageShape, Position};
use crate::input::{BLOCK, QuantBlock, quantize};
use crate::kernel::Task;
use crate::lanes::{LANES, Lanes};

/// One block of a head's keys, or of its values, at every position of a page, as
/// [`Lanes::dot8`] takes it: four neighbours of what is summed over lie together. Keys are summed over
/// components, and a lane is a position; values are summed over positions, and a lane is a component.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Tile {
    /// Four neighbours each, of the first sixteen lanes and of the others.
    pub(crate) numbers: [[[u8; 4 * LANES]; 2]; BLOCK / 4],
    /// Of each position.
    pub(crate) scales: [[f32; LANES]; 2],
}

impl Tile {
    const ZERO: Self = Self {
        numbers: [[[0; 4 * LANES]; 2]; BLOCK / 4],
        scales: [[0.0; LANES]; 2],
    };

    fn set(&mut self, neighbour: usize, lane: usize, number: i8) {
        let vector = &mut self.numbers[neighbour / 4][lane / LANES];
        vector[lane % LANES * 4 + neighbour % 4] = number as u8;
    }
}

/// Bytes of one head's keys and values.
pub(super) fn head_bytes(shape: &PageShape) -> usize {
    2 * blocks(shape) * size_of::<Tile>()
}

/// Blocks of one head's keys, or of its values.
fn blocks(shape: &PageShape) -> usize {
    shape.head_dim.div_ceil(BLOCK)
}

/// A page's content.
pub(super) fn zeros(shape: &PageShape) -> Box<[Tile]> {
    vec![Tile::ZERO; shape.heads() * 2 * blocks(shape)].into_boxed_slice()
}

/// The keys and the values of a head.
pub(super) fn head<'a>(
    tiles: &'a [Tile],
    shape: &PageShape,
    index: usize,
) -> (&'a [Tile], &'a [Tile]) {
    let len = blocks(shape);
    tiles[2 * index * len..][..2 * len].split_at(len)
}

pub(super) struct Write<'a> {
    pub(super) tiles: &'a mut [Tile],
    pub(super) position: Position<'a>,
}

impl Task for Write<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Position {
            shape,
            layer,
            slot,
            keys,
            values,
        } = self.position;
        let (dim, blocks) = (shape.head_dim, blocks(shape));
        let heads = keys.chunks_exact(dim).zip(values.chunks_exact(dim));
        let first = 2 * blocks * shape.head(layer, 0);
        let tiles = self.tiles[first..].chunks_exact_mut(2 * blocks);
        for ((key, value), tiles) in heads.zip(tiles) {
            let (keys, values) = tiles.split_at_mut(blocks);
            for (part, tile) in key.chunks(BLOCK).zip(keys) {
                let block = quantized::<L>(part);
                for (component, number) in block.numbers.into_iter().enumerate() {
                    tile.set(component, slot, number);
                }
                tile.scales[slot / LANES][slot % LANES] = block.scale;
            }
            for (part, tile) in value.chunks(BLOCK).zip(values) {
                let block = quantized::<L>(part);
                for (component, number) in block.numbers.into_iter().enumerate() {
                    tile.set(slot, component, number);
                }
                tile.scales[slot / LANES][slot % LANES] = block.scale;
            }
        }
    }
}

#[inline(always)]
fn quantized<L: Lanes>(part: &[f32]) -> QuantBlock {
    let mut x = [0.0; BLOCK];
    x[..part.len()].copy_from_slice(part);
    for lanes in x.as_chunks_mut::<LANES>().0 {
        let least = L::max(L::load(lanes), L::splat(-LARGEST));
        L::store(L::min(least, L::splat(LARGEST)), lanes);
    }
    let mut block = QuantBlock::default();
    quantize::<L>(&x, &mut block);
    block
}

const _: () = assert!(PAGE == BLOCK && PAGE == 2 * LANES);
