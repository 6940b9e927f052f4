//! How many pages of keys and values there may be, and the cache, which has what is left of them.

use kwaainet_decoder::KvCache;
use kwaainet_kernels::{PAGE, PageShape, Pages};

use super::prefix::{PrefixCache, common};
use super::sequence::Sequence;

/// A budget for one decoder's pages of all sequences and of the cache together; one that several hold
/// counts once. Whatever a sequence needs, the cache gives.
pub(super) struct Memory {
    maker: Pages,
    pages_max: usize,
    cache: PrefixCache,
    kv_of: KvOf,
}

/// Where a sequence has its pages.
type KvOf = fn(&Sequence) -> Option<&KvCache>;

impl Memory {
    /// So many pages.
    pub(super) fn new(shape: PageShape, pages_max: usize, kv_of: KvOf) -> Self {
        Self {
            maker: Pages::new(shape),
            pages_max,
            cache: PrefixCache::default(),
            kv_of,
        }
    }

    pub(super) fn pages_max(&self) -> usize {
        self.pages_max
    }

    /// Positions that one sequence can have when it is alone.
    pub(super) fn positions(&self) -> usize {
        self.pages_max * PAGE
    }

    pub(super) fn maker(&self) -> &Pages {
        &self.maker
    }

    /// Pages that the cache holds, also those that sequences hold too.
    pub(super) fn cached_pages(&self) -> usize {
        self.cache.len()
    }

    /// Pages that nobody has, or only the cache.
    pub(super) fn free_pages(&self) -> usize {
        let held = self.maker.live() - self.cache.held_alone().min(self.maker.live());
        self.pages_max.saturating_sub(held)
    }

    /// Takes pages from the cache until there is room for as many as are lacking; says whether there
    /// is. Where all of the cache would not be enough, it stays as it is.
    pub(super) fn make_room(&mut self, lacking: impl Fn() -> usize) -> bool {
        let wanted = self.maker.live() + lacking();
        if wanted <= self.pages_max {
            return true;
        }
        // One page may be lacking only because the cache shares it.
        if wanted > self.pages_max + self.cache.held_alone() + 1 {
            return false;
        }
        while self.maker.live() + lacking() > self.pages_max {
            if !self.cache.evict() {
                return false;
            }
        }
        true
    }

    /// Keeps what a sequence has computed for those that begin alike.
    pub(super) fn keep(&mut self, sequence: &Sequence) {
        if let Some(kv) = (self.kv_of)(sequence) {
            let tokens = &sequence.tokens[..kv.len()];
            self.cache.insert(&sequence.job.owner, tokens, kv.pages());
        }
    }

    /// What is known of a sequence's tokens, from the cache or from a sequence of the same owner that
    /// is being computed; not the tokens that are computed for their logits, as the last one is.
    pub(super) fn known(&mut self, sequence: &Sequence, active: &[Sequence]) -> KvCache {
        let wanted = sequence.knowable();
        let (pages, len) = self.cache.longest(&sequence.job.owner, wanted);
        let closest = active
            .iter()
            .filter(|other| other.job.owner == sequence.job.owner)
            .filter_map(|other| Some((other, (self.kv_of)(other)?)))
            .map(|(other, kv)| (common(&other.tokens, wanted).min(kv.len()), kv))
            .max_by_key(|(same, _)| *same);
        match closest {
            Some((same, kv)) if same > len => kv.prefix(same),
            _ => KvCache::from_pages(&self.maker, pages, len),
        }
    }
}
