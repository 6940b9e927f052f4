//! Many short byte strings in one allocation, and a way to find them by content. A vocabulary of
//! a quarter of a million tokens costs a few megabytes in this form.

use std::hash::{BuildHasher, RandomState};

/// Byte strings, numbered from 0 in the order in which they came.
#[derive(Default)]
pub(super) struct Arena {
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl Arena {
    /// Adds a string; false when the arena is full (4 GiB).
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let Ok(end) = u32::try_from(self.data.len() + bytes.len()) else {
            return false;
        };
        self.data.extend_from_slice(bytes);
        self.ends.push(end);
        true
    }

    pub(super) fn get(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)?;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        Some(&self.data[start as usize..end as usize])
    }
}

const FREE: u32 = u32::MAX;

/// Finds strings of an [`Arena`]: a hash table with open addressing that stores numbers only. The
/// hash is keyed at random, so that no file can be made to collide.
pub(super) struct Index {
    slots: Vec<u32>,
    hasher: RandomState,
}

impl Index {
    /// Room for `capacity` strings.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            slots: vec![FREE; (capacity * 2).next_power_of_two().max(2)],
            hasher: RandomState::new(),
        }
    }

    /// Takes up a string of the arena; false if an equal one is there already.
    pub(super) fn insert(&mut self, arena: &Arena, id: u32) -> bool {
        let key = arena.get(id).expect("the string was pushed before");
        match self.probe(arena, key) {
            Ok(_) => false,
            Err(slot) => {
                self.slots[slot] = id;
                true
            }
        }
    }

    pub(super) fn find(&self, arena: &Arena, key: &[u8]) -> Option<u32> {
        self.probe(arena, key).ok()
    }

    /// The number of an equal string, or else the slot for it. Ends because at least half of the
    /// slots are free.
    fn probe(&self, arena: &Arena, key: &[u8]) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(key) as usize & mask;
        loop {
            let id = self.slots[slot];
            if id == FREE {
                return Err(slot);
            }
            if arena.get(id) == Some(key) {
                return Ok(id);
            }
            slot = (slot + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        let mut arena = Arena::default();
        let words: Vec<String> = (0..1_000).map(|n| format!("w{}", n * 7)).collect();
        let mut index = Index::with_capacity(words.len());
        for (id, word) in (0..).zip(&words) {
            assert!(arena.push(word.as_bytes()));
            assert!(index.insert(&arena, id));
            assert!(!index.insert(&arena, id), "the second time it is there");
        }
        for (id, word) in (0..).zip(&words) {
            assert_eq!(index.find(&arena, word.as_bytes()), Some(id));
            assert_eq!(arena.get(id), Some(word.as_bytes()));
        }
        assert_eq!(index.find(&arena, b"w1"), None);
        assert_eq!(index.find(&arena, b""), None);
        assert_eq!(arena.get(1_000), None);
    }
}
