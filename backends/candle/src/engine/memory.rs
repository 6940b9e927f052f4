//! How many pages of keys and values there may be.

use kwaainet_kernels::{PAGE, PageShape, Pages};

/// A budget; the pages themselves belong to the sequences.
pub(super) struct Memory {
    maker: Pages,
    pages_max: usize,
}

impl Memory {
    /// As many pages as fit in so many bytes, and at least one.
    pub(super) fn new(shape: PageShape, bytes: u64) -> Self {
        let pages = (bytes / shape.page_bytes()).clamp(1, 1 << 32);
        Self {
            maker: Pages::new(shape),
            pages_max: pages as usize,
        }
    }

    /// Positions that one sequence can have when it is alone.
    pub(super) fn positions(&self) -> usize {
        self.pages_max * PAGE
    }

    pub(super) fn maker(&self) -> &Pages {
        &self.maker
    }

    /// Whether a sequence of so many positions fits beside `used` pages.
    pub(super) fn fits(&self, positions: usize, used: usize) -> bool {
        used + positions.div_ceil(PAGE) <= self.pages_max
    }

    /// Whether so many pages are too many.
    pub(super) fn exceeded(&self, pages: usize) -> bool {
        pages > self.pages_max
    }
}
