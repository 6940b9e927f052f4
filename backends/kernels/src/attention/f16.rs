//! Attention over pages of half floats, component after component and position after position.

use super::{FEW, Fine, Form, Head, Query, Scratch, Weighted, finish};
use crate::lanes::{LANES, Lanes};
use crate::lines::prefetch;
use crate::page::f16::value_dim;
use crate::page::{PAGE, Page};

/// Pages of half floats. Few queries take more positions or components at a time, to keep as many
/// sums going.
pub(super) struct Halves;

impl Form for Halves {
    #[inline(always)]
    fn score<L: Lanes, const N: usize>(
        head: &Head<'_>,
        pages: &[Page],
        queries: &[Query<'_>],
        scratch: &mut Scratch,
    ) {
        let scores = &mut scratch.scores;
        match N {
            1 => score_all::<L, N, 2>(head, pages, queries, scores),
            2 if L::WIDE => score_all::<L, N, 2>(head, pages, queries, scores),
            _ => score_all::<L, N, 1>(head, pages, queries, scores),
        }
    }

    #[inline(always)]
    fn weigh<L: Lanes, const N: usize>(
        view: &Weighted<'_, N>,
        queries: &mut [Query<'_>],
        _: &mut Vec<Fine>,
    ) {
        let dim = value_dim(view.head.shape);
        let most = match N {
            1 => 4,
            2 if L::WIDE => 4,
            _ => 2,
        };
        let mut at = 0;
        while at < dim {
            at += match (dim - at) / LANES {
                4.. if most == 4 => view.weigh::<L, 4>(queries, at),
                2.. => view.weigh::<L, 2>(queries, at),
                _ => view.weigh::<L, 1>(queries, at),
            };
        }
    }
}

/// The scores of all pages, `PAGES` at a time.
#[inline(always)]
fn score_all<L: Lanes, const N: usize, const PAGES: usize>(
    head: &Head<'_>,
    pages: &[Page],
    queries: &[Query<'_>],
    scores: &mut [f32],
) {
    let width = pages.len() * PAGE;
    let (several, rest) = pages.as_chunks::<PAGES>();
    for (index, pages) in several.iter().enumerate() {
        if N <= FEW {
            let next = several.get(index + 1).into_iter().flatten();
            next.for_each(|page| fetch(page.halves(head.shape, head.layer, head.kv_head).0));
        }
        let at = index * PAGES * PAGE;
        score::<L, N, PAGES>(head, queries, pages, &mut scores[at..], width);
    }
    for (index, page) in rest.iter().enumerate() {
        let at = (several.len() * PAGES + index) * PAGE;
        let page = std::array::from_ref(page);
        score::<L, N, 1>(head, queries, page, &mut scores[at..], width);
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
        let (all, _) = page.halves(head.shape, head.layer, head.kv_head);
        *keys = all.as_chunks().0;
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

impl<const N: usize> Weighted<'_, N> {
    /// `PARTS` vectors of components of the outputs from `at` on; says how many components that is. A
    /// weight of zero adds nothing, to the bit.
    #[inline(always)]
    fn weigh<L: Lanes, const PARTS: usize>(&self, queries: &mut [Query<'_>], at: usize) -> usize {
        let (head, padded) = (self.head, value_dim(self.head.shape));
        let mut outs = [[L::splat(0.0); PARTS]; N];
        let positions = &self.positions;
        let start = positions.start / PAGE * PAGE;
        for index in positions.start / PAGE..positions.end.div_ceil(PAGE) {
            let (_, values) = head.pages[index].halves(head.shape, head.layer, head.kv_head);
            if let (true, Some(page)) = (N <= FEW, head.pages.get(index + 1)) {
                fetch(page.halves(head.shape, head.layer, head.kv_head).1);
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
                finish::<L>(query, at + part * LANES, out, *sum);
            }
        }
        PARTS * LANES
    }
}
