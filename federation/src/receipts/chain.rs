//! Whether the receipts of one server for one asker fit together, in whatever order and with whatever gaps they
//! are seen.

use std::collections::BTreeMap;

use super::SignedReceipt;

/// What was seen: the links of the chains, and all that was said about each stream.
#[derive(Default)]
pub(super) struct Chains {
    /// By chain and number.
    links: BTreeMap<(u64, u64), Link>,
    /// By chain, stream and revision.
    said: BTreeMap<(u64, u64, u64), Said>,
}

struct Link {
    hash: [u8; 32],
    previous: [u8; 32],
}

struct Said {
    hash: [u8; 32],
    is_last: bool,
}

impl Chains {
    /// Adds a receipt; `false` if it is there already. The error says how it contradicts another.
    pub(super) fn add(&mut self, receipt: &SignedReceipt) -> Result<bool, &'static str> {
        let (place, hash) = (receipt.place, receipt.hash());
        let key = (place.chain, place.stream, place.revision);
        if let Some(known) = self.said.get(&key) {
            return match known.hash == hash {
                true => Ok(false),
                false => Err("the server signed another one with the same stream and revision"),
            };
        }
        let of_stream = (place.chain, place.stream, 0)..=(place.chain, place.stream, u64::MAX);
        let mut others = self.said.range(of_stream);
        let is_last = place.link().is_some();
        // Whichever of two is the last word, it has the higher revision.
        let contradicts = |(other, said): (&(u64, u64, u64), &Said)| match said.is_last {
            true => is_last || other.2 < key.2,
            false => is_last && key.2 < other.2,
        };
        if others.any(contradicts) {
            return Err("the server signed another end of the same stream");
        }
        if let Some((number, previous)) = place.link() {
            self.link(place.chain, number, Link { hash, previous })?;
        }
        self.said.insert(key, Said { hash, is_last });
        Ok(true)
    }

    fn link(&mut self, chain: u64, number: u64, link: Link) -> Result<(), &'static str> {
        if self.links.contains_key(&(chain, number)) {
            return Err("the server signed another one with the same number");
        }
        let before = self.links.get(&(chain, number - 1));
        if before.is_some_and(|before| before.hash != link.previous) {
            return Err("it does not follow the one before it in its chain");
        }
        let after = self.links.get(&(chain, number.saturating_add(1)));
        if after.is_some_and(|after| after.previous != link.hash) {
            return Err("the one after it in its chain does not follow it");
        }
        self.links.insert((chain, number), link);
        Ok(())
    }

    /// Forgets the earliest until there are so many.
    pub(super) fn trim(&mut self, count: usize) {
        while self.links.len() > count {
            self.links.pop_first();
        }
        while self.said.len() > count {
            self.said.pop_first();
        }
    }
}
