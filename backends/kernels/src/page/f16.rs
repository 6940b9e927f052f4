//! Keys and values in half floats. Keys lie transposed, so that a lane is a position; values lie as
//! they come, so that a lane is a component.

use super::{LARGEST, PAGE, PageShape, Position};
use crate::kernel::Task;
use crate::lanes::{LANES, Lanes};

/// Sixteen half floats at a time, so that no vector crosses a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Halves([u16; LANES]);

/// Bytes of one head's keys and values.
pub(super) fn head_bytes(shape: &PageShape) -> usize {
    head_halves(shape) * size_of::<u16>()
}

fn head_halves(shape: &PageShape) -> usize {
    PAGE * (shape.head_dim + value_dim(shape))
}

/// Values are padded to whole vectors.
pub(crate) fn value_dim(shape: &PageShape) -> usize {
    shape.head_dim.next_multiple_of(LANES)
}

/// A page's content.
pub(super) fn zeros(shape: &PageShape) -> Box<[Halves]> {
    let count = (shape.heads() * head_halves(shape)).div_ceil(LANES);
    vec![Halves([0; LANES]); count].into_boxed_slice()
}

/// The keys and the values of a head.
pub(super) fn head<'a>(
    halves: &'a [Halves],
    shape: &PageShape,
    index: usize,
) -> (&'a [u16], &'a [u16]) {
    let len = head_halves(shape);
    let both = &flattened(halves)[index * len..][..len];
    both.split_at(PAGE * shape.head_dim)
}

fn flattened(halves: &[Halves]) -> &[u16] {
    // SAFETY: `Halves` is sixteen u16 without padding.
    unsafe { std::slice::from_raw_parts(halves.as_ptr().cast(), halves.len() * LANES) }
}

fn flattened_mut(halves: &mut [Halves]) -> &mut [u16] {
    // SAFETY: as above; any u16 is a valid one.
    unsafe { std::slice::from_raw_parts_mut(halves.as_mut_ptr().cast(), halves.len() * LANES) }
}

pub(super) struct Write<'a> {
    pub(super) halves: &'a mut [Halves],
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
        let (dim, padded) = (shape.head_dim, value_dim(shape));
        let all = flattened_mut(self.halves);
        let heads = keys.chunks_exact(dim).zip(values.chunks_exact(dim));
        for (head, (key, value)) in heads.enumerate() {
            let both = &mut all[shape.head(layer, head) * head_halves(shape)..];
            let (keys, values) = both.split_at_mut(PAGE * dim);
            let mut halves = [0; LANES];
            for (part, rows) in key.chunks(LANES).zip(keys.chunks_mut(LANES * PAGE)) {
                to_halves::<L>(part, &mut halves);
                for (half, row) in halves.iter().zip(rows.chunks_exact_mut(PAGE)) {
                    row[slot] = *half;
                }
            }
            let values = &mut values[slot * padded..][..padded];
            for (part, to) in value.chunks(LANES).zip(values.as_chunks_mut().0) {
                to_halves::<L>(part, to);
            }
        }
    }
}

#[inline(always)]
fn to_halves<L: Lanes>(part: &[f32], to: &mut [u16; LANES]) {
    let mut lanes = [0.0; LANES];
    lanes[..part.len()].copy_from_slice(part);
    let x = L::max(L::load(&lanes), L::splat(-LARGEST));
    L::store_f16(L::min(x, L::splat(LARGEST)), to);
}
