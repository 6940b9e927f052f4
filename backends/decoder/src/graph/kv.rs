//! The keys and values of one sequence, in pages that sequences may share.
//!
//! A sequence grows page by page and never has to be moved. Two that begin alike hold the same pages;
//! a page that is shared is copied before it is written, so that what anybody reads never changes.

use kwaainet_kernels::{Kernel, PAGE, Page, Pages};

/// One sequence's keys and values.
pub struct KvCache {
    maker: Pages,
    pages: Vec<Page>,
    len: usize,
}

impl KvCache {
    /// An empty one, without memory.
    pub fn new(maker: &Pages) -> Self {
        Self {
            maker: maker.clone(),
            pages: Vec::new(),
            len: 0,
        }
    }

    /// One that begins with positions that others hold.
    ///
    /// # Panics
    /// When the pages do not hold exactly so many positions, but for what is left of the last one.
    pub fn from_pages(maker: &Pages, pages: Vec<Page>, len: usize) -> Self {
        assert!(pages.len() == len.div_ceil(PAGE), "as many pages as needed");
        Self {
            maker: maker.clone(),
            pages,
            len,
        }
    }

    /// Positions that are complete in every layer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pages held, of which the last ones may still be empty.
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// Pages that [`Self::reserve`] would make, for so many positions in all.
    pub fn lacking(&self, positions: usize) -> usize {
        let more = positions.div_ceil(PAGE).saturating_sub(self.pages.len());
        more + usize::from(positions > self.len && self.last_is_shared())
    }

    /// Takes memory for so many positions, of its own from the first one that is to be written.
    pub fn reserve(&mut self, positions: usize) {
        if positions > self.len && self.last_is_shared() {
            let at = self.len / PAGE;
            self.pages[at] = self.maker.copy(&self.pages[at]);
        }
        while self.pages.len() < positions.div_ceil(PAGE) {
            self.pages.push(self.maker.page());
        }
    }

    /// Forgets the positions from `len` on, and gives back the pages that only they needed.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.pages.truncate(self.len.div_ceil(PAGE));
    }

    /// Another one with the first `len` positions, which both hold from then on.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn prefix(&self, len: usize) -> Self {
        assert!(len <= self.len, "only complete positions are shared");
        Self::from_pages(&self.maker, self.pages[..len.div_ceil(PAGE)].to_vec(), len)
    }

    /// Writes one position of one layer; `key` and `value` hold all heads.
    pub(super) fn write(
        &mut self,
        kernel: Kernel,
        layer: usize,
        position: usize,
        key: &[f32],
        value: &[f32],
    ) {
        let page = &mut self.pages[position / PAGE];
        let shape = self.maker.shape();
        page.write(kernel, shape, layer, position % PAGE, key, value);
    }

    /// All layers of `count` more positions are written.
    pub(super) fn advance(&mut self, count: usize) {
        self.len += count;
    }

    pub(super) fn maker(&self) -> &Pages {
        &self.maker
    }

    /// Whether the page of the next position exists and is somebody else's too.
    fn last_is_shared(&self) -> bool {
        self.pages.get(self.len / PAGE).is_some_and(Page::is_shared)
    }
}
