//! Attention of queries over the pages of one sequence.
//!
//! A score is one lane's running sum over the components of a key, in order; weights are summed in
//! sixteen lanes by position modulo sixteen, which are added by a tree; an output is one lane's running
//! sum over the positions, in order. Pages of eight-bit numbers ([`q8`]) take 32 components, or the
//! positions of a page, in one exact step each; those of half floats ([`f16`]) one by one. So nothing
//! depends on which queries are taken together, on how a prompt was cut, or on where a sequence ends.

mod f16;
mod q8;

use std::cell::RefCell;
use std::ops::Range;

use crate::kernel::{Kernel, Task};
use crate::lanes::{LANES, Lanes};
use crate::ops::{capped, exp};
use crate::page::{KvFormat, PAGE, Page, PageShape};
use f16::Halves;
use q8::{Fine, Tiles};

thread_local! {
    /// What one tile needs, kept to be used again.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    /// A row for each query.
    scores: Vec<f32>,
    /// What meets the numbers, where pages are of eight-bit ones: of queries, then of weights.
    blocks: Vec<Fine>,
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
    scratch: &'a mut Scratch,
}

/// What depends on how pages hold keys and values.
trait Form {
    /// The scores of all positions of `pages`, a row for each query, those outside of what a query sees
    /// included.
    fn score<L: Lanes, const N: usize>(
        head: &Head<'_>,
        pages: &[Page],
        queries: &[Query<'_>],
        scratch: &mut Scratch,
    );

    /// The outputs, from weights that are zero outside of what a query sees.
    fn weigh<L: Lanes, const N: usize>(
        view: &Weighted<'_, N>,
        queries: &mut [Query<'_>],
        blocks: &mut Vec<Fine>,
    );
}

/// Weights of some queries, on their way to the values.
struct Weighted<'a, const N: usize> {
    head: &'a Head<'a>,
    /// A row of `width` for each query, from the first position of the first page that is seen.
    weights: &'a [f32],
    width: usize,
    /// What all of them see together.
    positions: Range<usize>,
    sums: &'a [f32; N],
}

impl Task for Attend<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.head.shape.format {
            KvFormat::F16 => self.run_as::<L, Halves>(),
            KvFormat::Q8 => self.run_as::<L, Tiles>(),
        }
    }
}

impl Attend<'_, '_> {
    #[inline(always)]
    fn run_as<L: Lanes, F: Form>(mut self) {
        let mut queries = std::mem::take(&mut self.queries);
        while !queries.is_empty() {
            let take = match queries.len() {
                1 => 1,
                2 | 3 => 2,
                _ if L::WIDE => 4,
                _ => 2,
            };
            let (tile, rest) = queries.split_at_mut(take);
            match take {
                1 => self.tile::<L, F, 1>(tile),
                2 => self.tile::<L, F, 2>(tile),
                _ => self.tile::<L, F, 4>(tile),
            }
            queries = rest;
        }
    }

    /// `N` queries.
    #[inline(always)]
    fn tile<L: Lanes, F: Form, const N: usize>(&mut self, queries: &mut [Query<'_>]) {
        let starts = queries.iter().map(|query| query.positions.start);
        let ends = queries.iter().map(|query| query.positions.end);
        let seen = starts.min().unwrap_or(0)..ends.max().unwrap_or(0);
        let pages = seen.start / PAGE..seen.end.div_ceil(PAGE);
        let (head, start, width) = (self.head, pages.start * PAGE, pages.len() * PAGE);
        let scores = &mut self.scratch.scores;
        scores.resize(scores.len().max(N * width), 0.0);
        F::score::<L, N>(head, &head.pages[pages], queries, self.scratch);
        let scores = &mut self.scratch.scores[..N * width];
        let mut sums = [1.0; N];
        for (index, query) in queries.iter().enumerate() {
            let seen = query.positions.start - start..query.positions.end - start;
            let row = &mut scores[index * width..][..width];
            sums[index] = soften::<L>(row, seen, head.soft_cap);
        }
        let view = Weighted {
            head,
            weights: scores,
            width,
            positions: seen,
            sums: &sums,
        };
        F::weigh::<L, N>(&view, queries, &mut self.scratch.blocks);
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

/// Writes sixteen components of an output from `at` on, or what there is of them.
#[inline(always)]
fn finish<L: Lanes>(query: &mut Query<'_>, at: usize, out: L::F, sum: f32) {
    let mut lanes = [0.0; LANES];
    L::store(L::div(out, L::splat(sum)), &mut lanes);
    let to = query.out.iter_mut().skip(at);
    for (to, lane) in to.zip(lanes) {
        *to = lane;
    }
}
