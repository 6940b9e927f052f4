//! Proofs: what they are made of, and how they are checked (RFC 9162, sections 2.1.3 and 2.1.4).

use super::{Hash, Subtree, fold, node_hash};

/// Why a proof is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// It asks for what the tree has not.
    #[error("there is no such place in a tree of that size")]
    NoSuchPlace,
    /// It has more or fewer hashes than one for these places.
    #[error("the proof has the wrong length")]
    Length,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The hashes of a proof before they are known: each is the root of neighbouring complete subtrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofPlan(Vec<Vec<Subtree>>);

impl ProofPlan {
    /// That the leaf with this index, counting from 0, is in the tree of so many leaves: `PATH` of section 2.1.3.1.
    ///
    /// # Errors
    /// [`BadProof::NoSuchPlace`] when it is not.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, BadProof> {
        if index >= size {
            return Err(BadProof::NoSuchPlace);
        }
        let (mut begin, mut end, mut ranges) = (0, size, Vec::new());
        while end - begin > 1 {
            let middle = begin + split(end - begin);
            if index < middle {
                ranges.push((middle, end));
                end = middle;
            } else {
                ranges.push((begin, middle));
                begin = middle;
            }
        }
        Ok(Self::of(ranges))
    }

    /// That the tree of `first` leaves is the beginning of the tree of `second`: `PROOF` of section 2.1.4.1. Empty if
    /// they are the same.
    ///
    /// # Errors
    /// [`BadProof::NoSuchPlace`] when `first` is 0, of which nothing can be proved, or larger than `second`.
    pub fn consistency(first: u64, second: u64) -> Result<Self, BadProof> {
        if first == 0 || first > second {
            return Err(BadProof::NoSuchPlace);
        }
        let (mut begin, mut end, mut ranges) = (0, second, Vec::new());
        while end != first {
            let middle = begin + split(end - begin);
            if first <= middle {
                ranges.push((middle, end));
                end = middle;
            } else {
                ranges.push((begin, middle));
                begin = middle;
            }
        }
        // Whoever checks knows the whole first tree already.
        if begin > 0 {
            ranges.push((begin, end));
        }
        Ok(Self::of(ranges))
    }

    /// The root of the tree of so many leaves, as a proof of one hash. Of none there is no plan.
    pub fn root(size: u64) -> Option<Self> {
        (size > 0).then(|| Self(vec![Subtree::cover(0, size)]))
    }

    /// From the root's side to the leaf's, as they are found; proofs are told the other way.
    fn of(ranges: Vec<(u64, u64)>) -> Self {
        let covers = ranges.into_iter().rev();
        Self(
            covers
                .map(|(begin, end)| Subtree::cover(begin, end))
                .collect(),
        )
    }

    /// The subtrees whose hashes have to be known.
    pub fn needs(&self) -> impl Iterator<Item = Subtree> {
        self.0.iter().flatten().copied()
    }

    /// The proof, once they are; `None` if one is not.
    pub fn assemble(&self, known: impl Fn(Subtree) -> Option<Hash>) -> Option<Vec<Hash>> {
        let hash = |parts: &Vec<Subtree>| {
            let parts: Option<Vec<Hash>> = parts.iter().map(|part| known(*part)).collect();
            fold(parts?.into_iter())
        };
        self.0.iter().map(hash).collect()
    }
}

/// The largest power of two below `size`, where a tree of more than one leaf is split.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The root that an inclusion proof leads to (section 2.1.3.2).
///
/// # Errors
/// When it is none for this place.
pub fn root_from_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
) -> Result<Hash, BadProof> {
    if index >= size {
        return Err(BadProof::NoSuchPlace);
    }
    let (mut node, mut last, mut root) = (index, size - 1, *leaf);
    for part in proof {
        if last == 0 {
            return Err(BadProof::Length);
        }
        if node % 2 == 1 || node == last {
            root = node_hash(part, &root);
            // A node without a right neighbour stands for its parents until one of them has a left neighbour.
            while node % 2 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            root = node_hash(&root, part);
        }
        node >>= 1;
        last >>= 1;
    }
    match last {
        0 => Ok(root),
        _ => Err(BadProof::Length),
    }
}

/// Checks that a leaf, given by its hash, is in the tree with this root.
///
/// # Errors
/// When the proof does not show that.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), BadProof> {
    match root_from_inclusion(leaf, index, size, proof)? == *root {
        true => Ok(()),
        false => Err(BadProof::Root),
    }
}

/// Checks that a tree, given by its size and root, is the beginning of another (section 2.1.4.2).
///
/// # Errors
/// When the proof does not show that.
pub fn verify_consistency(
    (first, first_root): (u64, &Hash),
    (second, second_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), BadProof> {
    if first == 0 || first > second {
        return Err(BadProof::NoSuchPlace);
    }
    if first == second {
        return match (proof, first_root == second_root) {
            ([], true) => Ok(()),
            ([], false) => Err(BadProof::Root),
            _ => Err(BadProof::Length),
        };
    }
    let mut parts = proof.iter();
    let (mut node, mut last) = (first - 1, second - 1);
    while node % 2 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // A complete first tree is itself where the proof begins.
    let begin = match first.is_power_of_two() {
        true => first_root,
        false => parts.next().ok_or(BadProof::Length)?,
    };
    let (mut old, mut new) = (*begin, *begin);
    for part in parts {
        if last == 0 {
            return Err(BadProof::Length);
        }
        if node % 2 == 1 || node == last {
            old = node_hash(part, &old);
            new = node_hash(part, &new);
            while node % 2 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, part);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(BadProof::Length);
    }
    match (old == *first_root, new == *second_root) {
        (true, true) => Ok(()),
        _ => Err(BadProof::Root),
    }
}
