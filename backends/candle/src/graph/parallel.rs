//! Spreads independent pieces of a buffer over the threads of the pool that the step runs in.
//!
//! Each piece is computed by one thread alone, so results do not depend on how many there are.

use candle_core::utils::barrier_pool;
use rayon::prelude::*;

/// Below so many components a piece is not worth another thread's attention.
const WORTH_SHARING: usize = 512;

/// How many threads the arithmetic uses: as many as candle would.
pub(crate) fn threads() -> usize {
    barrier_pool().n_workers() + 1
}

/// Calls `each` with every piece of `size` components and its number.
pub(super) fn pieces(buffer: &mut [f32], size: usize, each: impl Fn(usize, &mut [f32]) + Sync) {
    let together = WORTH_SHARING.div_ceil(size);
    buffer
        .par_chunks_mut(size)
        .with_min_len(together)
        .enumerate()
        .for_each(|(index, piece)| each(index, piece));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_visited_once() {
        let mut buffer = vec![0.0; 10_001];
        pieces(&mut buffer, 10, |index, piece| {
            for value in piece {
                *value += index as f32 + 1.0;
            }
        });
        for (i, value) in buffer.iter().enumerate() {
            assert_eq!(*value, (i / 10) as f32 + 1.0);
        }
    }
}
