//! Who knows whom through whom: this node's words about its members, others' words about it, and what it learns of
//! nodes from those that its owner trusts. Pure: what was said is told to it, with the time.
//!
//! A word counts only from a member that the owner himself let in or joined: one hop, as for requests. It makes
//! nobody more trusted than whoever gave it, and never the owner's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kwaainet_core::{NodeId, Tier};
use kwaainet_identity::NodeKey;

use crate::{Introduced, Introduction, Member, PeerAddress};

/// For how long a word is good,
const LASTS_MS: u64 = 7 * DAY_MS;
/// and with how much left it is given anew.
const RENEWED_MS: u64 = LASTS_MS / 2;
/// Nobody's word is good for longer: clocks differ.
const LASTS_MAX_MS: u64 = LASTS_MS + DAY_MS;
const DAY_MS: u64 = 86_400_000;
/// Members that this node introduces.
const GIVEN_MAX: usize = 1024;
/// Nodes that are learned of, of all introducers and of one.
const LEARNED_MAX: usize = 2048;
const LEARNED_OF_ONE_MAX: usize = 1024;
/// Introducers of one node, and of this one, that are remembered.
const WORDS_MAX: usize = 4;
/// Of whom a node that finds no room here is told: the nearest ones, whom it will call, and some of the others.
const NEAREST: usize = 10;
const OTHERS: usize = 9;

/// This node's word about a member, for that one and the others.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// Counts up with each change of any.
    pub(crate) serial: u64,
    pub(crate) introduced: Introduced,
}

/// All words. One that is off neither gives nor takes any.
pub(crate) struct Introductions {
    here: NodeId,
    key: Option<NodeKey>,
    /// Whom the owner himself trusts.
    direct: BTreeMap<NodeId, Tier>,
    /// Whom he does not want.
    removed: BTreeSet<NodeId>,
    given: BTreeMap<NodeId, Given>,
    /// About this node, by whom.
    own: BTreeMap<NodeId, Introduction>,
    /// About others, by whom.
    learned: BTreeMap<NodeId, BTreeMap<NodeId, Introduced>>,
    /// Words of others that they took back, to be handed on: who gave them may be away.
    withdrawn: BTreeMap<(NodeId, NodeId), Given>,
    serial: u64,
    /// Not yet written down.
    unwritten: Vec<Introduced>,
}

impl Introductions {
    /// None yet; without a key it is off.
    pub(crate) fn new(here: NodeId, key: Option<NodeKey>) -> Self {
        Self {
            here,
            key,
            direct: BTreeMap::new(),
            removed: BTreeSet::new(),
            given: BTreeMap::new(),
            own: BTreeMap::new(),
            learned: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            serial: 0,
            unwritten: Vec::new(),
        }
    }

    /// What was kept from an earlier run.
    pub(crate) fn restore(&mut self, kept: Vec<Introduced>, now_ms: u64) {
        if self.key.is_none() {
            return;
        }
        for introduced in kept.into_iter().filter(|kept| kept.word.holds(now_ms)) {
            let word = &introduced.word;
            if word.by == self.here {
                self.give(introduced);
            } else if word.node == self.here {
                self.own.insert(word.by, word.clone());
            } else if self.learned.len() < LEARNED_MAX {
                if word.tier.is_none() {
                    self.hand_on(introduced.clone());
                }
                let words = self.learned.entry(word.node).or_default();
                words.insert(word.by, introduced);
            }
        }
    }

    /// The owner's members and whom he removed, as the book has them. Gives a word about each that has none or
    /// another one, and takes those back that are no members any more. Returns whether any is new.
    pub(crate) fn book_read(
        &mut self,
        members: &[Member],
        removed: Vec<NodeId>,
        now_ms: u64,
    ) -> bool {
        self.direct = members.iter().map(|m| (m.node, m.tier)).collect();
        self.removed = removed.into_iter().collect();
        let before = self.serial;
        let known = members.iter().filter(|member| is_introduced(member));
        for member in known.take(GIVEN_MAX) {
            self.renew(member, now_ms);
        }
        let gone = self.given.values().map(|given| &given.introduced.word);
        let gone = gone.filter(|word| word.tier.is_some());
        let gone: Vec<_> = gone
            .filter(|word| !self.direct.contains_key(&word.node))
            .cloned()
            .collect();
        for word in gone {
            // As long as somebody might still have the earlier word.
            self.say(
                word.node,
                word.until_ms,
                None,
                PeerAddress::default(),
                now_ms,
            );
        }
        self.given
            .retain(|_, given| given.introduced.word.holds(now_ms));
        self.serial != before
    }

    fn renew(&mut self, member: &Member, now_ms: u64) {
        if let Some(given) = self.given.get_mut(&member.node) {
            let word = &given.introduced.word;
            if word.tier == Some(member.tier) && word.until_ms > now_ms + RENEWED_MS {
                if given.introduced.address != member.address {
                    given.introduced.address = member.address.clone();
                    self.serial += 1;
                    given.serial = self.serial;
                }
                return;
            }
        }
        let until_ms = now_ms + LASTS_MS;
        let address = member.address.clone();
        self.say(member.node, until_ms, Some(member.tier), address, now_ms);
    }

    fn say(
        &mut self,
        node: NodeId,
        until_ms: u64,
        tier: Option<Tier>,
        address: PeerAddress,
        now_ms: u64,
    ) {
        let Some(key) = &self.key else { return };
        let before = self.given.get(&node);
        let before = before.map_or(0, |given| given.introduced.word.number);
        // Whatever the clock says.
        let number = now_ms.max(before + 1);
        let word = Introduction::issue(key, node, number, until_ms, tier);
        let introduced = Introduced { word, address };
        self.unwritten.push(introduced.clone());
        self.give(introduced);
    }

    fn give(&mut self, introduced: Introduced) {
        self.serial += 1;
        let serial = self.serial;
        let node = introduced.word.node;
        self.given.insert(node, Given { serial, introduced });
    }

    /// Somebody's word, from wherever it came. Returns whether it may change who is a member.
    pub(crate) fn heard(&mut self, introduced: Introduced, now_ms: u64) -> bool {
        let word = &introduced.word;
        let is_good = self.key.is_some()
            && self.direct.contains_key(&word.by)
            && word.by != word.node
            && word.holds(now_ms)
            && word.until_ms <= now_ms + LASTS_MAX_MS;
        if !is_good {
            return false;
        }
        if word.node == self.here {
            self.keep_own(introduced);
            return false;
        }
        let is_known = self.learned.contains_key(&word.node);
        // A word that was taken back is kept too, so that the earlier one does not count later.
        if !is_known && !self.has_room(word.by) {
            return false;
        }
        let withdrawn = word.tier.is_none().then(|| introduced.clone());
        let words = self.learned.entry(word.node).or_default();
        let is_full = words.len() >= WORDS_MAX;
        match words.get_mut(&word.by) {
            Some(before) if before.word.number > word.number => return false,
            Some(before) if before.word.number == word.number => {
                let is_new = !introduced.address.is_empty() && before.address != introduced.address;
                if is_new {
                    *before = introduced;
                    self.unwritten.push(before.clone());
                }
                return is_new;
            }
            None if is_full => return false,
            _ => {}
        }
        self.unwritten.push(introduced.clone());
        words.insert(word.by, introduced);
        if let Some(withdrawn) = withdrawn {
            self.hand_on(withdrawn);
        }
        true
    }

    fn has_room(&self, by: NodeId) -> bool {
        let of_one = self
            .learned
            .values()
            .filter(|words| words.contains_key(&by));
        self.learned.len() < LEARNED_MAX && of_one.count() < LEARNED_OF_ONE_MAX
    }

    fn keep_own(&mut self, introduced: Introduced) {
        let word = introduced.word.clone();
        let before = self.own.get(&word.by).map(|before| before.number);
        let is_new = before.map_or(self.own.len() < WORDS_MAX, |before| word.number > before);
        if is_new {
            self.unwritten.push(introduced);
            self.own.insert(word.by, word);
        }
    }

    /// A node that was learned of is somewhere else now.
    pub(crate) fn located(&mut self, node: NodeId, address: &PeerAddress) {
        for introduced in self
            .learned
            .get_mut(&node)
            .into_iter()
            .flat_map(BTreeMap::values_mut)
        {
            if introduced.address != *address {
                introduced.address = address.clone();
                self.unwritten.push(introduced.clone());
            }
        }
    }

    /// Those that are members by others' words alone.
    pub(crate) fn learned(&mut self, now_ms: u64) -> Vec<Member> {
        self.withdrawn
            .retain(|_, given| given.introduced.word.holds(now_ms));
        self.learned.retain(|_, words| {
            words.retain(|_, introduced| introduced.word.holds(now_ms));
            !words.is_empty()
        });
        let strangers = self
            .learned
            .iter()
            .filter(|(node, _)| !self.direct.contains_key(node) && !self.removed.contains(node));
        strangers
            .filter_map(|(node, words)| self.member(*node, words))
            .collect()
    }

    fn member(&self, node: NodeId, words: &BTreeMap<NodeId, Introduced>) -> Option<Member> {
        let worth = |introduced: &Introduced| {
            let tier = introduced.word.tier?;
            let by = self.direct.get(&introduced.word.by)?;
            Some(tier.max(*by).max(Tier::T1)).filter(|_| tier < Tier::T3 && *by < Tier::T3)
        };
        let trusted = words
            .iter()
            .filter_map(|(by, said)| Some((worth(said)?, *by, said)));
        let (tier, by, said) = trusted.min_by_key(|(tier, by, _)| (*tier, *by))?;
        Some(Member {
            node,
            tier,
            address: said.address.clone(),
            invitation: None,
            introduced_by: Some(by),
        })
    }

    /// What this node shows others of it who may not know it yet.
    pub(crate) fn shown(&self, now_ms: u64) -> Vec<Vec<u8>> {
        let held = self
            .own
            .values()
            .filter(|word| word.holds(now_ms) && word.tier.is_some());
        held.map(|word| word.as_bytes().to_vec()).collect()
    }

    /// Counts up whenever there is something else to be told.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    fn hand_on(&mut self, introduced: Introduced) {
        self.serial += 1;
        let of = (introduced.word.by, introduced.word.node);
        let serial = self.serial;
        self.withdrawn.insert(of, Given { serial, introduced });
    }

    /// This node's words and those of others that were taken back, the oldest first.
    pub(crate) fn given(&self) -> Arc<Vec<Given>> {
        let given = self.given.values().chain(self.withdrawn.values());
        let mut given: Vec<Given> = given.cloned().collect();
        given.sort_by_key(|given| given.serial);
        Arc::new(given)
    }

    /// Of whom a member is told that finds no room here: of itself, and of some that it may call instead.
    pub(crate) fn instead(&self, to: NodeId) -> Vec<Introduced> {
        let said = |given: &Given| given.introduced.clone();
        let own = self.given.get(&to).map(said);
        let others = self.given.values().filter(|given| {
            let word = &given.introduced.word;
            word.node != to && word.tier.is_some()
        });
        let mut others: Vec<Introduced> = others.map(said).collect();
        others.sort_by_cached_key(|other| distance(other.word.node, to));
        let far = others.split_off(others.len().min(NEAREST));
        let step = far.len().div_ceil(OTHERS).max(1);
        let far = far.into_iter().step_by(step);
        own.into_iter().chain(others).chain(far).collect()
    }

    /// Words that others took back and that still hold, the newest first.
    pub(crate) fn withdrawn(&self) -> impl Iterator<Item = &Introduction> {
        let given = self.given.values().map(|given| &given.introduced);
        let learned = self.learned.values().flat_map(BTreeMap::values);
        let words = given.chain(learned).map(|introduced| &introduced.word);
        words.filter(|word| word.tier.is_none())
    }

    /// What is to be written down.
    pub(crate) fn unwritten(&mut self) -> Vec<Introduced> {
        std::mem::take(&mut self.unwritten)
    }
}

/// Whether this node gives its word about a member: one with whom it has spoken, and not just anybody.
fn is_introduced(member: &Member) -> bool {
    member.invitation.is_none() && member.tier < Tier::T3
}

/// How far apart two ids are.
pub(crate) fn distance(a: NodeId, b: NodeId) -> [u8; 32] {
    std::array::from_fn(|at| a.0[at] ^ b.0[at])
}

#[cfg(test)]
mod tests;
