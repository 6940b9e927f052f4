//! Shares the attention of a step out over the threads.

use kwaainet_kernels::{Compute, Head, Query, attend};

use super::{Part, Row};

/// Rows of one sequence whose queries are taken together.
const ROWS: usize = 16;
/// Pieces of work for each thread, if there are so many, so that none waits long for another.
const PIECES: usize = 4;

/// What all queries of a layer have in common.
pub(super) struct View {
    pub(super) layer: usize,
    /// Query heads.
    pub(super) heads: usize,
    /// Positions that are seen, if not all.
    pub(super) window: Option<usize>,
    pub(super) soft_cap: Option<f32>,
}

/// Queries that see the same keys and values.
struct Piece<'a> {
    part: usize,
    kv_head: usize,
    queries: Vec<Query<'a>>,
}

/// Every head of every row by itself; `q` and `out` hold rows of all heads.
pub(super) fn attend_all(
    compute: &Compute,
    view: &View,
    rows: &[Row],
    parts: &[Part<'_>],
    q: &[f32],
    out: &mut [f32],
) {
    let Some(first) = parts.first() else {
        return;
    };
    let shape = *first.kv.maker().shape();
    let group = view.heads / shape.kv_heads;
    // A few rows give too few pieces for all threads unless each head is one.
    let together = if rows.len() * shape.kv_heads < PIECES * compute.pool.threads() {
        1
    } else {
        group
    };
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let mut outs = out.chunks_exact_mut(shape.head_dim);
    let mut start = 0;
    while start < rows.len() {
        let part = rows[start].part;
        let same = rows[start..].iter().take_while(|row| row.part == part);
        let block = &rows[start..start + same.count().min(ROWS)];
        let base = pieces.len();
        pieces.extend((0..view.heads / together).map(|piece| Piece {
            part,
            kv_head: piece * together / group,
            queries: Vec::with_capacity(block.len() * together),
        }));
        for (offset, row) in block.iter().enumerate() {
            let end = row.position + 1;
            let positions = end.saturating_sub(view.window.unwrap_or(end))..end;
            for (head, out) in outs.by_ref().take(view.heads).enumerate() {
                let at = ((start + offset) * view.heads + head) * shape.head_dim;
                pieces[base + head / together].queries.push(Query {
                    vector: &q[at..at + shape.head_dim],
                    positions: positions.clone(),
                    out,
                });
            }
        }
        start += block.len();
    }
    compute.pool.each(&mut pieces, 1, |_, piece| {
        let head = Head {
            pages: parts[piece.part].kv.pages(),
            shape: &shape,
            layer: view.layer,
            kv_head: piece.kv_head,
            soft_cap: view.soft_cap,
        };
        attend(compute.kernel, &head, &mut piece.queries);
    });
}
