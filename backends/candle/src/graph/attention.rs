//! Attention of one query head over the positions it may see.
//!
//! Heads that share keys read the same memory; nothing is repeated. Positions are taken in order and
//! sums never depend on where a page or a chunk of a prompt ends.

use std::ops::Range;

use super::kv::{Half, KvCache};
use super::ops::dot;

/// What a query head looks at.
pub(super) struct View<'a> {
    pub(super) kv: &'a KvCache,
    pub(super) layer: usize,
    pub(super) kv_head: usize,
    pub(super) positions: Range<usize>,
}

/// `out = softmax(scale * query . keys) . values`, all of one head's size.
pub(super) fn attend(query: &[f32], scale: f32, view: &View<'_>, out: &mut [f32]) {
    let dim = query.len();
    let mut weights = Vec::with_capacity(view.positions.len());
    for keys in vectors(view, Half::Key) {
        weights.extend(keys.chunks_exact(dim).map(|key| dot(query, key) * scale));
    }
    let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for weight in &mut weights {
        *weight = libm::expf(*weight - largest);
        sum += *weight;
    }
    out.fill(0.0);
    let mut weights = weights.iter();
    for values in vectors(view, Half::Value) {
        for (value, weight) in values.chunks_exact(dim).zip(&mut weights) {
            for (out, value) in out.iter_mut().zip(value) {
                *out += weight * value;
            }
        }
    }
    for out in out {
        *out /= sum;
    }
}

fn vectors<'a>(view: &View<'a>, half: Half) -> impl Iterator<Item = &'a [f32]> {
    view.kv
        .vectors(view.layer, half, view.kv_head, view.positions.clone())
}
