//! Whether the receipts of one server for one asker fit together, in whatever order and with whatever gaps they
//! are seen.

use std::collections::BTreeMap;

use super::{ChainPlace, SignedReceipt};

/// What was seen, by chain and number: each receipt's hash and that of the one before it.
#[derive(Default)]
pub(super) struct Chains(BTreeMap<(u64, u64), Seen>);

struct Seen {
    hash: [u8; 32],
    previous: [u8; 32],
}

impl Chains {
    /// Adds a receipt; `false` if it is there already. The error says how it contradicts another.
    pub(super) fn add(&mut self, receipt: &SignedReceipt) -> Result<bool, &'static str> {
        let ChainPlace {
            chain,
            number,
            previous,
        } = receipt.place;
        let hash = receipt.hash();
        if let Some(known) = self.0.get(&(chain, number)) {
            return match known.hash == hash {
                true => Ok(false),
                false => Err("the server signed another one with the same number"),
            };
        }
        let before = self.0.get(&(chain, number - 1));
        if before.is_some_and(|before| before.hash != previous) {
            return Err("it does not follow the one before it in its chain");
        }
        let after = self.0.get(&(chain, number.saturating_add(1)));
        if after.is_some_and(|after| after.previous != hash) {
            return Err("the one after it in its chain does not follow it");
        }
        self.0.insert((chain, number), Seen { hash, previous });
        Ok(true)
    }

    /// Forgets the earliest until there are so many.
    pub(super) fn trim(&mut self, count: usize) {
        while self.0.len() > count {
            self.0.pop_first();
        }
    }
}
