//! The Merkle tree of logs that only grow: RFC 9162, section 2.1, with SHA-256.
//!
//! Owns the arithmetic: hashes, which subtrees a leaf completes, which of them a proof is made of, and how a proof is
//! checked. Keeps nothing: whoever has the log stores the hashes of complete subtrees as [`Frontier::append`] tells
//! them, each once and for good, and any proof for any size is put together from those.

mod checkpoint;
mod proof;

use sha2::{Digest, Sha256};

pub use checkpoint::Checkpoint;
pub use proof::{BadProof, ProofPlan, root_from_inclusion, verify_consistency, verify_inclusion};

/// SHA-256 of a leaf or of a subtree.
pub type Hash = [u8; 32];

/// Of a leaf: its bytes after a zero byte.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(leaf)
        .finalize()
        .into()
}

/// Of a node: both its children after a byte of value one.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The root of a tree without leaves.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// A complete subtree: the `2^level` leaves from `index * 2^level` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subtree {
    /// 0 for a leaf.
    pub level: u8,
    /// Counts the subtrees of the level from the left.
    pub index: u64,
}

impl Subtree {
    /// Those that leaves `begin..end` are made of, largest first. `begin` has to be where a subtree of that size may
    /// begin, which holds for all ranges that occur in proofs.
    fn cover(begin: u64, end: u64) -> Vec<Self> {
        let mut at = begin;
        let mut parts = Vec::new();
        while at < end {
            let level = (end - at).ilog2() as u8;
            parts.push(Self {
                level,
                index: at >> level,
            });
            at += 1 << level;
        }
        parts
    }
}

/// The root of neighbouring subtrees of falling size: from the right, each is hashed into the one before.
fn fold(parts: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    parts.rev().reduce(|right, left| node_hash(&left, &right))
}

/// The right edge of a tree: all that is needed to go on and to know the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The complete subtrees that the leaves are made of, largest first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Which subtrees have to be known to go on from so many leaves.
    pub fn needs(size: u64) -> Vec<Subtree> {
        Subtree::cover(0, size)
    }

    /// Goes on from so many leaves with the hashes of what [`Frontier::needs`] names, in that order; `None` if they
    /// are not as many.
    pub fn restore(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub fn root(&self) -> Hash {
        fold(self.peaks.iter().copied()).unwrap_or_else(empty_root)
    }

    /// Adds a leaf by its hash and tells every subtree that it completes: itself first, then upwards.
    pub fn append(&mut self, leaf: Hash, mut completed: impl FnMut(Subtree, Hash)) {
        let mut subtree = Subtree {
            level: 0,
            index: self.size,
        };
        let mut hash = leaf;
        completed(subtree, hash);
        while subtree.index % 2 == 1 {
            let left = self
                .peaks
                .pop()
                .expect("a subtree that is a right child has a left one");
            hash = node_hash(&left, &hash);
            subtree = Subtree {
                level: subtree.level + 1,
                index: subtree.index / 2,
            };
            completed(subtree, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }
}

#[cfg(test)]
mod tests;
