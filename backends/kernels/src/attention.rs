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
use crate::lines::prefetch;
use crate::ops::{capped, exp};
use crate::page::{PAGE, Page, PageShape};

thread_local! {
    /// Scores of one tile, kept to be used again.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// So few queries are done with a page before the next one has come from memory by itself, since pages
/// lie apart.
const FEW: usize = 2;

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
        while !queries.is_empty() {
            // Few queries take more positions or components at a time, to keep as many sums going.
            let take = match queries.len() {
                1 => 1,
                2 | 3 => 2,
                _ if L::WIDE => 4,
                _ => 2,
            };
            let (tile, rest) = queries.split_at_mut(take);
            match take {
                1 => self.tile::<L, 1, 2, 4>(tile),
                2 if L::WIDE => self.tile::<L, 2, 2, 4>(tile),
                2 => self.tile::<L, 2, 1, 2>(tile),
                _ => self.tile::<L, 4, 1, 2>(tile),
            }
            queries = rest;
        }
    }
}

impl Attend<'_, '_> {
    /// `N` queries, `PAGES` pages of keys at a time, and `PARTS` vectors of values.
    #[inline(always)]
    fn tile<L: Lanes, const N: usize, const PAGES: usize, const PARTS: usize>(
        &mut self,
        queries: &mut [Query<'_>],
    ) {
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
        let pages = &head.pages[pages];
        let (several, rest) = pages.as_chunks::<PAGES>();
        for (index, pages) in several.iter().enumerate() {
            let at = index * PAGES * PAGE;
            if N <= FEW {
                let next = several.get(index + 1).into_iter().flatten();
                next.for_each(|page| fetch(page.head(head.shape, head.layer, head.kv_head).0));
            }
            score::<L, N, PAGES>(head, queries, pages, &mut scores[at..], width);
        }
        for (index, page) in rest.iter().enumerate() {
            let at = (several.len() * PAGES + index) * PAGE;
            score::<L, N, 1>(
                head,
                queries,
                std::array::from_ref(page),
                &mut scores[at..],
                width,
            );
        }
        let mut sums = [1.0; N];
        for (index, query) in queries.iter().enumerate() {
            let seen = query.positions.start - start..query.positions.end - start;
            let row = &mut scores[index * width..][..width];
            sums[index] = soften::<L>(row, seen, head.soft_cap);
        }
        let values = first..end;
        let mut at = 0;
        while at < head.shape.value_dim() {
            let view = Weighted {
                head,
                weights: scores,
                width,
                positions: values.clone(),
                sums: &sums,
            };
            at += match (head.shape.value_dim() - at) / LANES {
                parts if parts >= PARTS => view.weigh::<L, PARTS>(queries, at),
                2.. => view.weigh::<L, 2>(queries, at),
                _ => view.weigh::<L, 1>(queries, at),
            };
        }
    }
}

/// The scores of some pages' positions, those outside of what a query sees included.
#[inline(always)]
fn score<L: Lanes, const N: usize, const PAGES: usize>(
    head: &Head<'_>,
    queries: &[Query<'_>],
    pages: &[Page; PAGES],
    scores: &mut [f32],
    width: usize,
) {
    let dim = head.shape.head_dim;
    let mut keys: [&[[u16; PAGE]]; PAGES] = [&[]; PAGES];
    for (keys, page) in keys.iter_mut().zip(pages) {
        *keys = page
            .head(head.shape, head.layer, head.kv_head)
            .0
            .as_chunks()
            .0;
    }
    let mut vectors: [&[f32]; N] = [&[]; N];
    for (vector, query) in vectors.iter_mut().zip(queries) {
        *vector = query.vector;
    }
    let fits = keys.iter().all(|keys| keys.len() == dim) && vectors.iter().all(|v| v.len() == dim);
    assert!(fits, "as many components as a head has");
    let mut sums = [[[L::splat(0.0); 2]; PAGES]; N];
    for component in 0..dim {
        let mut row = [[L::splat(0.0); 2]; PAGES];
        for (row, keys) in row.iter_mut().zip(&keys) {
            // SAFETY: there are `dim` rows of keys.
            let (halves, _) = unsafe { keys.get_unchecked(component) }.as_chunks::<LANES>();
            *row = [L::load_f16(&halves[0]), L::load_f16(&halves[1])];
        }
        for (vector, sums) in vectors.iter().zip(&mut sums) {
            // SAFETY: a query has `dim` components.
            let x = L::splat(unsafe { *vector.get_unchecked(component) });
            for (sums, row) in sums.iter_mut().zip(&row) {
                sums[0] = L::add(sums[0], L::mul(row[0], x));
                sums[1] = L::add(sums[1], L::mul(row[1], x));
            }
        }
    }
    for (n, sums) in sums.into_iter().enumerate() {
        let (to, _) = scores[n * width..][..PAGES * PAGE].as_chunks_mut::<LANES>();
        let (to, _) = to.as_chunks_mut::<2>();
        for (sums, to) in sums.into_iter().zip(to) {
            L::store(sums[0], &mut to[0]);
            L::store(sums[1], &mut to[1]);
        }
    }
}

#[inline(always)]
fn fetch(halves: &[u16]) {
    prefetch(halves.as_ptr().cast(), size_of_val(halves));
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

/// Weights of some queries, on their way to the values.
struct Weighted<'a, const N: usize> {
    head: &'a Head<'a>,
    /// A row of `width` for each query.
    weights: &'a [f32],
    width: usize,
    positions: Range<usize>,
    sums: &'a [f32; N],
}

impl<const N: usize> Weighted<'_, N> {
    /// `PARTS` vectors of components of the outputs from `at` on; says how many components that is. A
    /// weight of zero adds nothing, to the bit.
    #[inline(always)]
    fn weigh<L: Lanes, const PARTS: usize>(&self, queries: &mut [Query<'_>], at: usize) -> usize {
        let (dim, padded) = (self.head.shape.head_dim, self.head.shape.value_dim());
        let mut outs = [[L::splat(0.0); PARTS]; N];
        let positions = &self.positions;
        let start = positions.start / PAGE * PAGE;
        for index in positions.start / PAGE..positions.end.div_ceil(PAGE) {
            let page = &self.head.pages[index];
            let (_, values) = page.head(self.head.shape, self.head.layer, self.head.kv_head);
            if let (true, Some(page)) = (N <= FEW, self.head.pages.get(index + 1)) {
                fetch(
                    page.head(self.head.shape, self.head.layer, self.head.kv_head)
                        .1,
                );
            }
            let slots = positions.start.max(index * PAGE)..positions.end.min((index + 1) * PAGE);
            assert!(
                values.len() >= PAGE * padded
                    && at + PARTS * LANES <= padded
                    && slots.end - start <= self.width
                    && self.weights.len() >= N * self.width,
                "within the page and the weights"
            );
            for position in slots {
                // SAFETY: a page holds `PAGE` rows of `padded` values, and as many as are read from
                // `at` on are within one.
                let row = unsafe { values.as_ptr().add(position % PAGE * padded + at) };
                let mut values = [L::splat(0.0); PARTS];
                for (part, values) in values.iter_mut().enumerate() {
                    // SAFETY: see above.
                    *values = L::load_f16(unsafe { &*row.add(part * LANES).cast() });
                }
                for (n, out) in outs.iter_mut().enumerate() {
                    // SAFETY: there are `N` rows of `width` weights.
                    let weight = unsafe {
                        *self
                            .weights
                            .get_unchecked(n * self.width + position - start)
                    };
                    let weight = L::splat(weight);
                    for (out, value) in out.iter_mut().zip(&values) {
                        *out = L::add(*out, L::mul(*value, weight));
                    }
                }
            }
        }
        for ((query, out), sum) in queries.iter_mut().zip(outs).zip(self.sums) {
            for (part, out) in out.into_iter().enumerate() {
                let first = at + part * LANES;
                let mut lanes = [0.0; LANES];
                L::store(L::div(out, L::splat(*sum)), &mut lanes);
                let len = LANES.min(dim - first.min(dim));
                query.out[first..first + len].copy_from_slice(&lanes[..len]);
            }
        }
        PARTS * LANES
    }
}
