//! Keys and values of sequences that are over, for those that begin alike.
//!
//! A tree for each owner: an edge is a page and the tokens in it, so a path from the root is a
//! prefix. Complete pages may be followed by others; a page that is partly filled ends its path.
//! Owners share nothing: what one of them asked would show another by how fast an answer begins.
//! The least recently used leaf goes first. It holds pages by reference, never copies or computes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use kwaainet_core::PrincipalId;
use kwaainet_kernels::{PAGE, Page};

/// By its tokens, so that a child's closest relatives are its neighbours. None of them begins with
/// all tokens of another one.
type Children = BTreeMap<Arc<[u32]>, NodeId>;
type NodeId = u64;

/// All owners' trees.
#[derive(Default)]
pub(super) struct PrefixCache {
    roots: HashMap<PrincipalId, Children>,
    nodes: HashMap<NodeId, Node>,
    /// Nodes without children, by last use.
    leaves: BTreeSet<(u64, NodeId)>,
    /// Counts nodes and uses.
    ticks: u64,
}

struct Node {
    parent: Parent,
    tokens: Arc<[u32]>,
    page: Page,
    children: Children,
    last_use: u64,
}

#[derive(Clone)]
enum Parent {
    Root(PrincipalId),
    Node(NodeId),
}

impl PrefixCache {
    /// Pages that it holds.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Pages that nobody else holds: so much memory comes free without it.
    pub(super) fn held_alone(&self) -> usize {
        let pages = self.nodes.values().map(|node| &node.page);
        pages.filter(|page| !page.is_shared()).count()
    }

    /// The pages of the longest prefix of `tokens` that is known, and its length. Only the last page
    /// may hold other positions beyond it.
    pub(super) fn longest(&mut self, owner: &PrincipalId, tokens: &[u32]) -> (Vec<Page>, usize) {
        let now = self.tick();
        let (mut pages, mut len) = (Vec::new(), 0);
        let mut at = Parent::Root(owner.clone());
        for chunk in tokens.chunks(PAGE) {
            let Some((id, same)) = self.children(&at).and_then(|c| closest(c, chunk)) else {
                break;
            };
            pages.push(self.used(id, now).page.clone());
            len += same;
            if same < chunk.len() {
                break;
            }
            at = Parent::Node(id);
        }
        (pages, len)
    }

    /// Keeps the positions of `tokens`, which lie in `pages`. What is known already stays as it is.
    pub(super) fn insert(&mut self, owner: &PrincipalId, tokens: &[u32], pages: &[Page]) {
        let now = self.tick();
        let mut at = Parent::Root(owner.clone());
        for (chunk, page) in tokens.chunks(PAGE).zip(pages) {
            let id = match self.children(&at).and_then(|c| closest(c, chunk)) {
                Some((id, same)) if same == chunk.len() => {
                    self.used(id, now);
                    id
                }
                Some((id, same)) if same == self.nodes[&id].tokens.len() => {
                    // The same page, when it was less full.
                    self.remove(id);
                    self.add(&at, chunk, page, now)
                }
                _ => self.add(&at, chunk, page, now),
            };
            at = Parent::Node(id);
        }
    }

    /// Lets go of the page that nobody has asked for the longest; says whether there was one.
    pub(super) fn evict(&mut self) -> bool {
        let oldest = self.leaves.first().copied();
        if let Some((_, id)) = oldest {
            self.remove(id);
        }
        oldest.is_some()
    }

    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    fn children(&self, parent: &Parent) -> Option<&Children> {
        match parent {
            Parent::Root(owner) => self.roots.get(owner),
            Parent::Node(id) => self.nodes.get(id).map(|node| &node.children),
        }
    }

    fn used(&mut self, id: NodeId, now: u64) -> &Node {
        let node = self.nodes.get_mut(&id).expect("the tree names what it has");
        if self.leaves.remove(&(node.last_use, id)) {
            self.leaves.insert((now, id));
        }
        node.last_use = now;
        node
    }

    fn add(&mut self, parent: &Parent, tokens: &[u32], page: &Page, now: u64) -> NodeId {
        let id = self.tick();
        let tokens: Arc<[u32]> = tokens.into();
        let siblings = match parent {
            Parent::Root(owner) => self.roots.entry(owner.clone()).or_default(),
            Parent::Node(parent) => {
                let node = self.nodes.get_mut(parent).expect("a parent stays");
                self.leaves.remove(&(node.last_use, *parent));
                &mut node.children
            }
        };
        siblings.insert(Arc::clone(&tokens), id);
        let node = Node {
            parent: parent.clone(),
            tokens,
            page: page.clone(),
            children: Children::new(),
            last_use: now,
        };
        self.nodes.insert(id, node);
        self.leaves.insert((now, id));
        id
    }

    /// Takes a leaf away.
    fn remove(&mut self, id: NodeId) {
        let Some(node) = self.nodes.remove(&id) else {
            return;
        };
        self.leaves.remove(&(node.last_use, id));
        match node.parent {
            Parent::Root(owner) => {
                if let Some(children) = self.roots.get_mut(&owner) {
                    children.remove(&node.tokens);
                    if children.is_empty() {
                        self.roots.remove(&owner);
                    }
                }
            }
            Parent::Node(parent) => {
                if let Some(above) = self.nodes.get_mut(&parent) {
                    above.children.remove(&node.tokens);
                    if above.children.is_empty() {
                        self.leaves.insert((above.last_use, parent));
                    }
                }
            }
        }
    }
}

/// The child that has the most first tokens in common with `tokens`, and how many; at least one.
fn closest(children: &Children, tokens: &[u32]) -> Option<(NodeId, usize)> {
    let from = (Bound::Included(tokens), Bound::Unbounded);
    let until = (Bound::Unbounded, Bound::Excluded(tokens));
    let after = children.range::<[u32], _>(from).next();
    let before = children.range::<[u32], _>(until).next_back();
    [after, before]
        .into_iter()
        .flatten()
        .map(|(key, id)| (*id, common(key, tokens)))
        .filter(|(_, same)| *same > 0)
        .max_by_key(|(_, same)| *same)
}

/// How many first tokens two lists have in common.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;
    use kwaainet_kernels::{KvFormat, PageShape, Pages};

    const SHAPE: PageShape = PageShape {
        layers: 1,
        kv_heads: 1,
        head_dim: 16,
        format: KvFormat::F16,
    };

    fn ann() -> PrincipalId {
        PrincipalId::new("ann")
    }

    /// Pages for so many tokens.
    fn pages(maker: &Pages, tokens: &[u32]) -> Vec<Page> {
        tokens.chunks(PAGE).map(|_| maker.page()).collect()
    }

    fn keep(cache: &mut PrefixCache, maker: &Pages, tokens: &[u32]) {
        cache.insert(&ann(), tokens, &pages(maker, tokens));
    }

    fn count(from: u32, len: u32) -> Vec<u32> {
        (from..from + len).collect()
    }

    #[test]
    fn the_longest_prefix_is_found_to_the_token() {
        let maker = Pages::new(SHAPE);
        let mut cache = PrefixCache::default();
        keep(&mut cache, &maker, &count(0, 70));
        let mut other = count(0, 40);
        other.extend(count(900, 60));
        keep(&mut cache, &maker, &other);
        assert_eq!(cache.len(), 6, "the first page is in both");
        assert_eq!(maker.live(), 6, "and only once in memory");

        let mut found = |tokens: &[u32]| {
            let (pages, len) = cache.longest(&ann(), tokens);
            assert_eq!(pages.len(), len.div_ceil(PAGE));
            len
        };
        assert_eq!(found(&count(0, 100)), 70);
        assert_eq!(found(&count(0, 69)), 69);
        assert_eq!(found(&count(0, 5)), 5);
        assert_eq!(found(&other), 100);
        assert_eq!(found(&other[..45]), 45);
        let mut third = count(0, 50);
        third.push(7);
        assert_eq!(found(&third), 50);
        assert_eq!(found(&count(1, 10)), 0);
        assert_eq!(found(&[]), 0);
    }

    #[test]
    fn a_fuller_page_takes_the_place_of_a_less_full_one() {
        let maker = Pages::new(SHAPE);
        let mut cache = PrefixCache::default();
        for len in [40, 50, 64, 90, 33, 64] {
            keep(&mut cache, &maker, &count(0, len));
        }
        assert_eq!((cache.len(), maker.live()), (3, 3));
        assert_eq!(cache.longest(&ann(), &count(0, 200)).1, 90);
    }

    #[test]
    fn owners_find_nothing_of_each_other() {
        let maker = Pages::new(SHAPE);
        let mut cache = PrefixCache::default();
        keep(&mut cache, &maker, &count(0, 40));
        let bob = PrincipalId::new("bob");
        assert_eq!(cache.longest(&bob, &count(0, 40)).1, 0);
        cache.insert(&bob, &count(0, 10), &pages(&maker, &[0]));
        assert_eq!(cache.longest(&bob, &count(0, 40)).1, 10);
        while cache.evict() {}
        assert_eq!((cache.len(), maker.live(), cache.roots.len()), (0, 0, 0));
    }

    #[test]
    fn the_least_recently_used_leaf_goes_first() {
        let maker = Pages::new(SHAPE);
        let mut cache = PrefixCache::default();
        keep(&mut cache, &maker, &count(0, 64));
        keep(&mut cache, &maker, &count(500, 64));
        assert_eq!(cache.longest(&ann(), &count(0, 64)).1, 64);
        // A page in use is let go like any other, and its holder keeps it.
        let held = cache.longest(&ann(), &count(0, 64)).0;
        assert_eq!(cache.held_alone(), 2);
        let left = |cache: &mut PrefixCache| {
            assert!(cache.evict());
            let now = cache.ticks;
            let lens = [0, 500].map(|from| {
                let mut at = Parent::Root(ann());
                let mut len = 0;
                for chunk in count(from, 64).chunks(PAGE) {
                    let Some((id, same)) = cache.children(&at).and_then(|c| closest(c, chunk))
                    else {
                        break;
                    };
                    len += same;
                    at = Parent::Node(id);
                }
                len
            });
            assert_eq!(cache.ticks, now);
            lens
        };
        assert_eq!(left(&mut cache), [64, 32]);
        assert_eq!(left(&mut cache), [64, 0]);
        assert_eq!(left(&mut cache), [32, 0]);
        assert_eq!(left(&mut cache), [0, 0]);
        assert!(!cache.evict());
        assert_eq!(maker.live(), held.len());
    }

    #[test]
    fn it_agrees_with_a_list_of_everything() {
        let maker = Pages::new(SHAPE);
        let mut cache = PrefixCache::default();
        let mut noise = Noise(5);
        let mut all: Vec<Vec<u32>> = Vec::new();
        for _ in 0..300 {
            // Few tokens, so that many begin alike.
            let mut tokens = match all.len() {
                0 => Vec::new(),
                len => all[noise.next() as usize % len].clone(),
            };
            tokens.truncate(noise.next() as usize % 120);
            tokens.extend((0..noise.next() % 40).map(|_| (noise.next() % 2) as u32));
            let expected = all.iter().map(|old| common(old, &tokens)).max();
            assert_eq!(cache.longest(&ann(), &tokens).1, expected.unwrap_or(0));
            keep(&mut cache, &maker, &tokens);
            all.push(tokens);
            assert_eq!(cache.len(), maker.live());
        }
        let mut pages = cache.len();
        while cache.evict() {
            pages -= 1;
            assert_eq!((cache.len(), maker.live()), (pages, pages));
        }
        assert_eq!(pages, 0);
    }
}
