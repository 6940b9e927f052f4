//! News for and of those with whom no stream is kept.

use std::time::Duration;

use kwaainet_core::NodeId;

use super::Keeper;
use crate::Introduced;
use crate::PeerAddress;
use crate::control::gossip::{News, Say, Statement};
use crate::control::hearsay::Hearsay;
use crate::control::herald::lasts;
use crate::control::wire::{Card, FrameKind, Leaving, Lost, Report, Said};

/// Between two looks whether there are news.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two times that contacts are named, and how many.
const CONTACTS_EVERY: Duration = Duration::from_secs(5);
const CONTACTS_MAX: usize = 8;
/// Addresses of this node that all are told.
const ADDRESSES_MAX: usize = 4;
/// Words that were taken back and are handed on.
const WITHDRAWN_MAX: usize = 4;
/// Losses that are taken from one node's news.
const LOST_MAX: usize = 8;
/// Before a loss is told to all, so that not everybody does.
const LOSS_WAIT_MS: u64 = 400;

impl Keeper {
    /// Whether there are members with whom no stream is kept, for want of room here or there.
    fn gossips(&self) -> bool {
        self.peers.len() > self.around.streams_max || self.peers.values().any(|peer| peer.is_full)
    }

    /// Says what is new, and through whom to say it.
    pub(super) fn herald(&mut self, now: Duration) {
        if now < self.looks || !self.gossips() {
            return;
        }
        self.looks = now + LOOK_EVERY;
        if now >= self.names_contacts {
            self.names_contacts = now + CONTACTS_EVERY;
            let contacts = self.contacts();
            self.say(Say::Contacts(contacts));
        }
        let draining = self.around.drain.is_cancelled();
        let report = self.report();
        if self
            .herald
            .is_time(&report, draining, self.peers.len(), now)
        {
            let leaving = draining.then_some(Leaving { gone: false });
            self.say_news(report, leaving, now);
        }
    }

    /// That this node is gone.
    pub(super) fn farewell(&mut self) {
        if self.gossips() {
            let now = self.now();
            self.say_news(Report::default(), Some(Leaving { gone: true }), now);
        }
    }

    fn report(&self) -> Report {
        match &self.around.reports.borrow().kind {
            Some(FrameKind::Report(report)) => report.clone(),
            _ => Report::default(),
        }
    }

    /// Some members, near and far, that are not known to be gone.
    fn contacts(&mut self) -> Vec<NodeId> {
        let hopeful = |node: &NodeId| {
            let peer = &self.peers[node];
            peer.live.is_some() || peer.is_left_out
        };
        let mut contacts: Vec<NodeId> = self.order.iter().copied().filter(hopeful).collect();
        let some = contacts.len().min(CONTACTS_MAX);
        for at in 0..some {
            let left = (contacts.len() - at) as u64;
            let other = at + self.random.below(left) as usize;
            contacts.swap(at, other);
        }
        contacts.truncate(some);
        contacts
    }

    fn say_news(&mut self, mut report: Report, leaving: Option<Leaving>, now: Duration) {
        // Those that need no loading first, since there may be no room for all.
        report.models.sort_by_key(|model| !model.loaded);
        let address = self.around.transport.address();
        let address = PeerAddress {
            direct: address.direct.into_iter().take(ADDRESSES_MAX).collect(),
            ..address
        };
        let said = Said {
            card: Some(Card::of(&self.around.about, self.incarnation, &address)),
            report: Some(report),
            leaving,
            lost: self.herald.losses(now),
        };
        self.news += 1;
        let now_ms = self.unix_ms();
        let statement = Statement {
            incarnation: self.incarnation,
            number: self.news,
            said_at_ms: now_ms,
            lasts: lasts(self.peers.len()),
        };
        let mut withdrawn: Vec<_> = self.introductions.withdrawn().collect();
        withdrawn.sort_by_key(|word| std::cmp::Reverse(word.number));
        let withdrawn = withdrawn.iter().take(WITHDRAWN_MAX);
        let withdrawn = withdrawn.map(|word| word.as_bytes().to_vec());
        let own = self.introductions.shown(now_ms).into_iter().take(2);
        let words: Vec<Vec<u8>> = own.chain(withdrawn).collect();
        let news = News::write(&self.around.key, statement, said, &words);
        self.say(Say::News(news));
    }

    fn say(&self, say: Say) {
        // What is not said now is said next time.
        let _ = self.around.gossip.try_send(say);
    }

    /// Others handed on what a node said.
    pub(super) fn news(&mut self, mut news: News) {
        let now = self.now();
        let words = std::mem::take(&mut news.words);
        self.hear_words(words.into_iter().map(|word| Introduced {
            word,
            address: PeerAddress::default(),
        }));
        let (node, lost) = (news.node, std::mem::take(&mut news.said.lost));
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        let Some(hearsay) = Hearsay::read(news, peer.hearsay.as_ref(), now) else {
            return;
        };
        let before = peer.state();
        let address = hearsay.described.address.clone();
        if peer.live.is_none() && !address.is_empty() && peer.member.address != address {
            self.around.transport.learn(node, &address);
            peer.member.address = address.clone();
            if peer.member.introduced_by.is_some() {
                self.introductions.located(node, &address);
                self.write_words();
            }
        }
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        peer.hearsay = Some(hearsay);
        self.urgent |= peer.state() != before;
        self.distant_changed |= peer.live.is_none();
        for lost in lost.iter().take(LOST_MAX) {
            self.lost_by_others(lost, now);
        }
    }

    fn lost_by_others(&mut self, lost: &Lost, now: Duration) {
        let Some(node) = lost.node() else { return };
        self.herald.heard_lost(node, lost.incarnation);
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        if peer.live.is_some() {
            return self.doubted(lost, now);
        }
        let before = peer.state();
        if let Some(hearsay) = &mut peer.hearsay {
            hearsay.rumoured_lost(lost.incarnation);
        }
        self.urgent |= peer.state() != before;
    }

    /// This node lost another one: all should know, soon.
    pub(super) fn tell_of_loss(&mut self, lost: Lost, now: Duration) {
        let wait = Duration::from_millis(self.random.below(LOSS_WAIT_MS));
        self.herald.lost(lost, wait, now);
    }
}
