//! The keys and values of one sequence, in pages of a fixed size.
//!
//! A page holds [`PAGE`] positions of every layer, so that memory is counted in one unit and a
//! sequence never has to be moved when it grows. Whoever lets it grow counts the pages.

use std::ops::Range;

/// Positions in a page.
pub(crate) const PAGE: usize = 32;

/// What one position needs, the same for all sequences of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KvShape {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

impl KvShape {
    /// Bytes of a page.
    pub(crate) fn page_bytes(&self) -> u64 {
        (self.page_floats() * size_of::<f32>()) as u64
    }

    fn page_floats(&self) -> usize {
        2 * self.layers * self.kv_heads * self.head_dim * PAGE
    }
}

/// Pages that so many positions take.
pub(crate) fn pages_for(positions: usize) -> usize {
    positions.div_ceil(PAGE)
}

/// One sequence's keys and values.
pub(crate) struct KvCache {
    shape: KvShape,
    pages: Vec<Box<[f32]>>,
    len: usize,
}

/// Which of the two.
#[derive(Clone, Copy)]
pub(super) enum Half {
    Key = 0,
    Value = 1,
}

impl KvCache {
    /// An empty one, without memory.
    pub(crate) fn new(shape: KvShape) -> Self {
        Self {
            shape,
            pages: Vec::new(),
            len: 0,
        }
    }

    /// Positions that are complete in every layer.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Pages held.
    pub(crate) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Takes memory for so many positions.
    pub(crate) fn reserve(&mut self, positions: usize) {
        while self.pages.len() < pages_for(positions) {
            let page = vec![0.0; self.shape.page_floats()];
            self.pages.push(page.into_boxed_slice());
        }
    }

    /// Gives all memory back.
    pub(crate) fn clear(&mut self) {
        self.pages = Vec::new();
        self.len = 0;
    }

    /// A copy of the first `len` positions.
    ///
    /// # Panics
    /// When there are not so many.
    pub(crate) fn prefix(&self, len: usize) -> Self {
        assert!(len <= self.len, "only complete positions are copied");
        Self {
            shape: self.shape,
            pages: self.pages[..pages_for(len)].to_vec(),
            len,
        }
    }

    /// Writes one position of one layer; `key` and `value` hold all heads.
    pub(super) fn write(&mut self, layer: usize, position: usize, key: &[f32], value: &[f32]) {
        let dim = self.shape.head_dim;
        for (half, data) in [(Half::Key, key), (Half::Value, value)] {
            for (head, data) in data.chunks_exact(dim).enumerate() {
                let range = self.range(layer, half, head, position % PAGE, 1);
                self.pages[position / PAGE][range].copy_from_slice(data);
            }
        }
    }

    /// All layers of `count` more positions are written.
    pub(super) fn advance(&mut self, count: usize) {
        self.len += count;
    }

    /// The vectors of one head at these positions, in order, in one slice for each page.
    pub(super) fn vectors(
        &self,
        layer: usize,
        half: Half,
        head: usize,
        positions: Range<usize>,
    ) -> impl Iterator<Item = &[f32]> {
        let pages = positions.start / PAGE..pages_for(positions.end);
        pages.map(move |page| {
            let first = positions.start.max(page * PAGE) - page * PAGE;
            let last = positions.end.min((page + 1) * PAGE) - page * PAGE;
            &self.pages[page][self.range(layer, half, head, first, last - first)]
        })
    }

    fn range(
        &self,
        layer: usize,
        half: Half,
        head: usize,
        slot: usize,
        count: usize,
    ) -> Range<usize> {
        let row = (layer * 2 + half as usize) * self.shape.kv_heads + head;
        let start = (row * PAGE + slot) * self.shape.head_dim;
        start..start + count * self.shape.head_dim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: KvShape = KvShape {
        layers: 2,
        kv_heads: 2,
        head_dim: 2,
    };

    fn filled(len: usize) -> KvCache {
        let mut kv = KvCache::new(SHAPE);
        kv.reserve(len);
        for position in 0..len {
            for layer in 0..2 {
                let p = (position * 10 + layer) as f32;
                kv.write(layer, position, &[p, 0.1, p, 0.2], &[-p, 0.1, -p, 0.2]);
            }
        }
        kv.advance(len);
        kv
    }

    fn firsts(kv: &KvCache, layer: usize, half: Half, positions: Range<usize>) -> Vec<f32> {
        let slices = kv.vectors(layer, half, 1, positions);
        slices.flat_map(|s| s.chunks(2).map(|v| v[0])).collect()
    }

    #[test]
    fn what_was_written_is_read_across_pages() {
        let kv = filled(PAGE * 2 + 3);
        assert_eq!(kv.pages(), 3);
        let range = PAGE - 2..PAGE * 2 + 3;
        let expected: Vec<f32> = range.clone().map(|p| (p * 10 + 1) as f32).collect();
        assert_eq!(firsts(&kv, 1, Half::Key, range.clone()), expected);
        let negated: Vec<f32> = expected.iter().map(|p| -p).collect();
        assert_eq!(firsts(&kv, 1, Half::Value, range), negated);
    }

    #[test]
    fn a_prefix_holds_only_its_own_pages() {
        let kv = filled(PAGE + 1);
        let prefix = kv.prefix(PAGE);
        assert_eq!((prefix.len(), prefix.pages()), (PAGE, 1));
        let range = 0..PAGE;
        assert_eq!(
            firsts(&prefix, 0, Half::Key, range.clone()),
            firsts(&kv, 0, Half::Key, range)
        );
    }
}
