//! Proof that somebody has a blob: a slice of it that he could not foresee, with the hashes that lead from it
//! to the blob's BLAKE3 (BLAKE3, section 2.1; as Bao's slices). It proves possession, not that there is more
//! than one copy.

use std::io::{self, Read, Seek, SeekFrom};

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use blake3::{Hash, Hasher};

/// Bytes of a slice: 16 of BLAKE3's chunks.
pub const SLICE_BYTES: u64 = 16 << 10;
/// More levels than any blob has.
const LEVELS_MAX: usize = 64;
const PIECE: usize = 256 << 10;

/// A slice of a blob and what leads from it to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Where the slice begins.
    pub offset: u64,
    /// The slice.
    pub slice: Vec<u8>,
    /// The chaining values beside the path, from the root down.
    pub siblings: Vec<[u8; 32]>,
}

/// Proves that a blob of this length is here, by the slice in which `offset` lies. Reads all of it.
///
/// # Errors
/// When it cannot be read.
pub fn prove(blob: &mut (impl Read + Seek), length: u64, offset: u64) -> io::Result<Proof> {
    let offset = offset.min(length.saturating_sub(1));
    let (mut start, mut len) = (0, length);
    let mut siblings = Vec::new();
    while len > SLICE_BYTES {
        let left = left_subtree_len(len);
        if offset < start + left {
            siblings.push(chaining_value(blob, start + left, len - left)?);
            len = left;
        } else {
            siblings.push(chaining_value(blob, start, left)?);
            (start, len) = (start + left, len - left);
        }
    }
    let mut slice = vec![0; len as usize];
    blob.seek(SeekFrom::Start(start))?;
    blob.read_exact(&mut slice)?;
    Ok(Proof {
        offset: start,
        slice,
        siblings,
    })
}

/// Whether a proof shows the slice of this blob in which `offset` lies.
pub fn verify(hash: &Hash, length: u64, offset: u64, proof: &Proof) -> bool {
    let offset = offset.min(length.saturating_sub(1));
    let (mut start, mut len) = (0, length);
    // Whether the path goes left at each level, from the root down.
    let mut turns = Vec::new();
    while len > SLICE_BYTES && turns.len() < LEVELS_MAX {
        let left = left_subtree_len(len);
        let goes_left = offset < start + left;
        turns.push(goes_left);
        if goes_left {
            len = left;
        } else {
            (start, len) = (start + left, len - left);
        }
    }
    let is_sound = proof.offset == start
        && proof.slice.len() as u64 == len
        && proof.siblings.len() == turns.len();
    if !is_sound {
        return false;
    }
    if turns.is_empty() {
        return blake3::hash(&proof.slice) == *hash;
    }
    let mut value = Hasher::new()
        .set_input_offset(start)
        .update(&proof.slice)
        .finalize_non_root();
    let levels = turns.iter().zip(&proof.siblings).enumerate().rev();
    for (level, (goes_left, sibling)) in levels {
        let (left, right) = if *goes_left {
            (&value, sibling)
        } else {
            (sibling, &value)
        };
        if level == 0 {
            return merge_subtrees_root(left, right, Mode::Hash) == *hash;
        }
        value = merge_subtrees_non_root(left, right, Mode::Hash);
    }
    false
}

/// That of a subtree: `len` bytes from `start` on.
fn chaining_value(
    blob: &mut (impl Read + Seek),
    start: u64,
    len: u64,
) -> io::Result<ChainingValue> {
    blob.seek(SeekFrom::Start(start))?;
    let mut hasher = Hasher::new();
    hasher.set_input_offset(start);
    let mut piece = vec![0; PIECE];
    let mut left = len;
    while left > 0 {
        let now = left.min(PIECE as u64) as usize;
        blob.read_exact(&mut piece[..now])?;
        hasher.update(&piece[..now]);
        left -= now as u64;
    }
    Ok(hasher.finalize_non_root())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn blob(length: u64) -> Vec<u8> {
        (0..length).map(|n| (n % 253) as u8).collect()
    }

    #[test]
    fn a_slice_leads_to_the_hash_and_nothing_else_does() {
        for length in [0, 1, 1_024, 16_384, 16_385, 100_000, 1 << 20, (1 << 20) + 7] {
            let blob = blob(length);
            let hash = blake3::hash(&blob);
            for offset in [0, 1, length / 3, length / 2, length.saturating_sub(1)] {
                let proof = prove(&mut Cursor::new(&blob), length, offset).expect("it is read");
                assert!(verify(&hash, length, offset, &proof), "{length} {offset}");
                let at = proof.offset as usize;
                assert_eq!(proof.slice, blob[at..at + proof.slice.len()]);
                if length == 0 {
                    continue;
                }
                let mut forged = proof.clone();
                forged.slice[0] ^= 1;
                assert!(!verify(&hash, length, offset, &forged), "another slice");
                if proof.siblings.is_empty() {
                    continue;
                }
                let mut forged = proof.clone();
                forged.siblings[0][0] ^= 1;
                assert!(!verify(&hash, length, offset, &forged), "another path");
                let far = if proof.offset == 0 { length - 1 } else { 0 };
                assert!(!verify(&hash, length, far, &proof), "another place");
            }
        }
    }
}
