//! What was erased must not come back by a replication. An id is remembered by its digest, with the generations that
//! it ever had: a document of that id made anew begins above them, here and wherever it is replicated to.

use crate::Rev;

/// Edits of one document that another copy may have made unseen.
const STEP: u64 = 1_024;

/// The digest of an id, by another name in each database.
pub fn erased_digest(database: &str, id: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in ["kwaainet erased id 1", database, id] {
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The generation below which nothing of this id is taken again, given those that it has. Copies that differ in a few
/// edits come to the same.
pub fn erased_floor<'a>(revs: impl Iterator<Item = &'a Rev>) -> u64 {
    let highest = revs.map(Rev::generation).max().unwrap_or(0);
    (highest / STEP + 1) * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_differ_a_little_agree() {
        let floor = |text: &str| {
            let rev: Rev = text.parse().expect("a revision");
            erased_floor([rev].iter())
        };
        assert_eq!(erased_floor([].iter()), 1_024);
        assert_eq!((floor("1-a"), floor("900-b")), (1_024, 1_024));
        assert_eq!((floor("1024-a"), floor("1500-b")), (2_048, 2_048));
    }

    #[test]
    fn digests_tell_ids_and_databases_apart() {
        let digest = erased_digest("one", "a");
        assert_eq!(digest.len(), 64);
        assert_eq!(digest, erased_digest("one", "a"));
        assert_ne!(digest, erased_digest("two", "a"));
        assert_ne!(digest, erased_digest("one", "b"));
    }
}
