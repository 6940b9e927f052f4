//! How fast this machine reads memory, which bounds a step with few tokens. Measured with the same
//! threads that compute; the caller has the clock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Pool;

/// What a thread reads at a time, in bytes.
const PIECE: usize = 1 << 20;

/// A buffer that is there to be read.
pub struct Reading(Vec<u64>);

impl Reading {
    /// A buffer of so many bytes. It tells of memory only where it is far larger than all caches, and of
    /// nothing if it has never been written: untouched pages are all one.
    pub fn new(bytes: usize) -> Self {
        Self((1..=(bytes / size_of::<u64>()) as u64).collect())
    }

    /// Of the buffer.
    pub fn bytes(&self) -> usize {
        self.0.len() * size_of::<u64>()
    }

    /// Reads all of it once by all threads; gives the sum, so that nothing of the work can be left out.
    pub fn sum(&self, pool: &Pool) -> u64 {
        let pieces: Vec<&[u64]> = self.0.chunks(PIECE / size_of::<u64>()).collect();
        let sum = AtomicU64::new(0);
        pool.run(pieces.len(), |piece, _| {
            let part = pieces[piece].iter().copied();
            sum.fetch_add(part.fold(0, u64::wrapping_add), Ordering::Relaxed);
        });
        sum.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_exactly_once_by_any_number_of_threads() {
        let reading = Reading::new(3 * PIECE + 24);
        let words = (reading.bytes() / 8) as u64;
        for threads in 1..=3 {
            let pool = Pool::new(threads).expect("threads");
            assert_eq!(reading.sum(&pool), words * (words + 1) / 2);
        }
    }
}
