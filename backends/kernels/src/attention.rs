//! Attention of queries over the pages of one sequence.
//!
//! A score is one lane's running sum over the components of a key, in order; weights are summed in
//! sixteen lanes by position modulo sixteen, which are added by a tree; an output is one lane's running
//! sum over the positions, in order. So nothing depends on which queries are taken together, on how a
//! prompt was cut, or on where a page ends.

use std::cell::RefCell;
use std::ops::Range;

use crate::kernel::{Kernel, Task};
use crate::lanes::{LANES, Lanes};
use crate::ops::{capped, exp};
use crate::page::{PAGE, Page, PageShape};

thread_local! {
    /// Scores of one tile, kept to be used again.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// One query head at one position.
pub struct Query<'a> {
    /// As many components as a head has, multiplied by the model's scale.
    pub vector: &'a [f32],
    /// The positions that it sees; not empty.
    pub positions: Range<usize>,
    /// As many components as a head has.
    pub out: &'a mut [f32],
}

/// One head of one layer.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Of one sequence, from its first position on.
    pub pages: &'a [Page],
    /// Of the pages.
    pub shape: &'a PageShape,
    /// Which layer.
    pub layer: usize,
    /// Which head of keys and values.
    pub kv_head: usize,
    /// Bends scores softly below this bound.
    pub soft_cap: Option<f32>,
}

/// For each query, `out = softmax(query . keys) . values`.
///
/// # Panics
/// When a query sees nothing, or something beyond the pages, or has another size than the head.
pub fn attend(kernel: Kernel, head: &Head<'_>, queries: &mut [Query<'_>]) {
    let dim = head.shape.head_dim;
    for query in &*queries {
        assert!(
            query.vector.len() == dim
                && query.out.len() == dim
                && !query.positions.is_empty()
                && query.positions.end <= head.pages.len() * PAGE,
            "a query of this head"
        );
    }
    SCRATCH.with_borrow_mut(|scratch| {
        kernel.run(Attend {
            head,
            queries,
            scratch,
        });
    });
}

struct Attend<'a, 'q> {
    head: &'a Head<'a>,
    queries: &'a mut [Query<'q>],
    scratch: &'a mut Vec<f32>,
}

impl Task for Attend<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let mut queries = std::mem::take(&mut self.queries);
        let largest = if L::WIDE { 4 } else { 2 };
        while !queries.is_empty() {
            let take = match queries.len() {
                1 => 1,
                2 | 3 => 2,
                _ => largest,
            };
            let (tile, rest) = queries.split_at_mut(take);
            match take {
                1 => self.tile::<L, 1>(tile),
                2 => self.tile::<L, 2>(tile),
                _ => self.tile::<L, 4>(tile),
            }
            queries = rest;
        }
    }
}

impl Attend<'_, '_> {
    #[inline(always)]
    fn tile<L: Lanes, const N: usize>(&mut self, queries: &mut [Query<'_>]) {
        let first = queries
            .iter()
            .map(|query| query.positions.start)
            .min()
            .unwrap_or(0);
        let end = queries
            .iter()
            .map(|query| query.positions.end)
            .max()
            .unwrap_or(0);
        let pages = first / PAGE..end.div_ceil(PAGE);
        let width = pages.len() * PAGE;
        self.scratch.resize(self.scratch.len().max(N * width), 0.0);
        let (head, start) = (self.head, pages.start * PAGE);
        let scores = &mut self.scratch[..N * width];
        for (index, page) in head.pages[pages.clone()].iter().enumerate() {
            let (keys, _) = page.head(head.shape, head.layer, head.kv_head);
            score::<L, N>(queries, keys, scores, width, index * PAGE);
        }
        let mut sums = [1.0; N];
        for (index, query) in queries.iter().enumerate() {
            let seen = query.positions.start - start..query.positions.end - start;
            let row = &mut scores[index * width..][..width];
            sums[index] = soften::<L>(row, seen, head.soft_cap);
        }
        let values = first..end;
        for part in 0..head.shape.value_dim().div_ceil(2 * LANES) {
            weigh::<L, N>(head, queries, scores, width, values.clone(), part, &sums);
        }
    }
}

/// The scores of one page's positions, those outside of what a query sees included.
#[inline(always)]
fn score<L: Lanes, const N: usize>(
    queries: &[Query<'_>],
    keys: &[u16],
    scores: &mut [f32],
    width: usize,
    at: usize,
) {
    let mut sums = [[L::splat(0.0); 2]; N];
    let vectors: [&[f32]; N] = std::array::from_fn(|n| queries[n].vector);
    let (rows, _) = keys.as_chunks::<PAGE>();
    for (component, row) in rows.iter().enumerate() {
        let (row, _) = row.as_chunks::<LANES>();
        let keys = [L::load_f16(&row[0]), L::load_f16(&row[1])];
        for (vector, sums) in vectors.iter().zip(&mut sums) {
            // SAFETY: a query has as many components as there are rows of keys.
            let x = L::splat(unsafe { *vector.get_unchecked(component) });
            sums[0] = L::add(sums[0], L::mul(keys[0], x));
            sums[1] = L::add(sums[1], L::mul(keys[1], x));
        }
    }
    for (n, sums) in sums.into_iter().enumerate() {
        let (to, _) = scores[n * width + at..][..PAGE].as_chunks_mut::<LANES>();
        L::store(sums[0], &mut to[0]);
        L::store(sums[1], &mut to[1]);
    }
}

/// Turns scores into weights, zero outside of what is seen; gives their sum.
#[inline(always)]
fn soften<L: Lanes>(scores: &mut [f32], seen: Range<usize>, cap: Option<f32>) -> f32 {
    let (first, last) = (seen.start / LANES, seen.end.div_ceil(LANES));
    let hide = |scores: &mut [f32], with: f32| {
        scores[first * LANES..seen.start].fill(with);
        scores[seen.end..last * LANES].fill(with);
    };
    if let Some(cap) = cap {
        let (lanes, _) = scores.as_chunks_mut::<LANES>();
        for x in &mut lanes[first..last] {
            L::store(capped::<L>(L::load(x), cap), x);
        }
    }
    hide(scores, f32::MIN);
    let mut largest = L::splat(f32::MIN);
    {
        let (lanes, _) = scores.as_chunks::<LANES>();
        for x in &lanes[first..last] {
            largest = L::max(largest, L::load(x));
        }
    }
    let largest = L::splat(L::max_across(largest));
    let (lanes, _) = scores.as_chunks_mut::<LANES>();
    for x in &mut lanes[first..last] {
        L::store(exp::<L>(L::sub(L::load(x), largest)), x);
    }
    scores[..first * LANES].fill(0.0);
    scores[last * LANES..].fill(0.0);
    hide(scores, 0.0);
    let mut sum = L::splat(0.0);
    let (lanes, _) = scores.as_chunks::<LANES>();
    for x in &lanes[first..last] {
        sum = L::add(sum, L::load(x));
    }
    L::sum_across(sum)
}

/// Two vectors of components of the outputs. A weight of zero adds nothing, to the bit.
#[inline(always)]
fn weigh<L: Lanes, const N: usize>(
    head: &Head<'_>,
    queries: &mut [Query<'_>],
    weights: &[f32],
    width: usize,
    positions: Range<usize>,
    part: usize,
    sums: &[f32; N],
) {
    let (dim, padded) = (head.shape.head_dim, head.shape.value_dim());
    let at = part * 2 * LANES;
    // Where an odd number of vectors ends, the last one is computed twice.
    let second = if at + LANES < padded { LANES } else { 0 };
    let mut outs = [[L::splat(0.0); 2]; N];
    let start = positions.start / PAGE * PAGE;
    for index in positions.start / PAGE..positions.end.div_ceil(PAGE) {
        let (_, values) = head.pages[index].head(head.shape, head.layer, head.kv_head);
        let slots = positions.start.max(index * PAGE)..positions.end.min((index + 1) * PAGE);
        assert!(values.len() >= PAGE * padded && (slots.end - start) <= width);
        for position in slots {
            // SAFETY: a page holds `PAGE` rows of `padded` values, and `at + second` is within one.
            let row = unsafe { values.as_ptr().add(position % PAGE * padded + at) };
            // SAFETY: sixteen values begin at each.
            let values = unsafe {
                [
                    L::load_f16(&*row.cast()),
                    L::load_f16(&*row.add(second).cast()),
                ]
            };
            for (n, out) in outs.iter_mut().enumerate() {
                // SAFETY: there are `N` rows of `width` weights.
                let weight = unsafe { *weights.get_unchecked(n * width + position - start) };
                let weight = L::splat(weight);
                out[0] = L::add(out[0], L::mul(values[0], weight));
                out[1] = L::add(out[1], L::mul(values[1], weight));
            }
        }
    }
    for ((query, out), sum) in queries.iter_mut().zip(outs).zip(sums) {
        for (vector, out) in out.into_iter().enumerate() {
            let first = at + vector * LANES;
            if first >= dim {
                continue;
            }
            let mut lanes = [0.0; LANES];
            L::store(L::div(out, L::splat(*sum)), &mut lanes);
            let len = LANES.min(dim - first);
            query.out[first..first + len].copy_from_slice(&lanes[..len]);
        }
    }
}
