//! How many pages of keys and values there may be.

use crate::graph::{KvShape, PAGE, pages_for};

/// A budget; the pages themselves belong to the sequences.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    shape: KvShape,
    pages_max: usize,
}

impl Memory {
    /// As many pages as fit in so many bytes, and at least one.
    pub(super) fn new(shape: KvShape, bytes: u64) -> Self {
        let pages = (bytes / shape.page_bytes()).clamp(1, 1 << 32);
        Self {
            shape,
            pages_max: pages as usize,
        }
    }

    /// Positions that one sequence can have when it is alone.
    pub(super) fn positions(&self) -> usize {
        self.pages_max * PAGE
    }

    pub(super) fn shape(&self) -> KvShape {
        self.shape
    }

    /// Whether a sequence of so many positions fits beside `used` pages.
    pub(super) fn fits(&self, positions: usize, used: usize) -> bool {
        used + pages_for(positions) <= self.pages_max
    }

    /// Whether so many pages are too many.
    pub(super) fn exceeded(&self, pages: usize) -> bool {
        pages > self.pages_max
    }
}
