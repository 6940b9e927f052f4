//! Who is a member, and who of many members comes first.

use std::collections::BTreeSet;
use std::time::Duration;

use kwaainet_core::{NodeId, Tier};

use super::{Keeper, LEFT_OUT, MEMBERS_MAX};
use crate::control::introductions::distance;
use crate::control::peer::Peer;
use crate::{Member, PeerState};

impl Keeper {
    pub(super) fn read(&mut self, members: Vec<Member>, removed: Vec<NodeId>, asked: Duration) {
        let mut members: Vec<Member> = members
            .into_iter()
            .filter(|member| member.node != self.here)
            .take(MEMBERS_MAX)
            .collect();
        let now_ms = self.unix_ms();
        if self.introductions.book_read(&members, removed, now_ms) {
            self.given.send_replace(self.introductions.given());
        }
        self.write_words();
        members.extend(self.introductions.learned(now_ms));
        let mut before: BTreeSet<NodeId> = self.peers.keys().copied().collect();
        for member in members.into_iter().take(MEMBERS_MAX) {
            before.remove(&member.node);
            self.know(member).joined = None;
        }
        for node in before {
            // It may have joined after the book was asked.
            if self.peers[&node].joined.is_none_or(|joined| joined < asked) {
                self.forget(node);
            }
        }
        self.count_members();
        self.call(self.now());
    }

    pub(super) fn know(&mut self, member: Member) -> &mut Peer {
        let node = member.node;
        let peer = self.peers.entry(node).or_insert_with(|| {
            self.around.transport.learn(node, &member.address);
            self.urgent = true;
            Peer::new(member.clone())
        });
        if peer.booked != member {
            if peer.booked.address != member.address {
                self.around.transport.learn(node, &member.address);
            }
            peer.calls.reset();
            peer.booked = member.clone();
            peer.member = member;
            self.urgent = true;
        }
        peer
    }

    pub(super) fn know_if_there_is_room(&mut self, member: Member) {
        if self.peers.len() < MEMBERS_MAX || self.peers.contains_key(&member.node) {
            self.know(member);
        }
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        if let Some(mut peer) = self.peers.remove(&node) {
            if let Some(live) = peer.lost("it is no member any more") {
                live.close.cancel();
            }
            self.around.transport.drop_peer(node);
            self.urgent = true;
            tracing::info!(peer = %node.short(), "federation: no member any more");
        }
    }

    /// After every change of who is a member, or of which tier.
    pub(super) fn count_members(&mut self) {
        let tiers = self.peers.values().map(|p| (p.node(), p.member.tier));
        self.around.tiers.set(tiers);
        let mut order: Vec<NodeId> = self.peers.keys().copied().collect();
        order.sort_by_cached_key(|node| self.rank(*node));
        for (at, node) in order.iter().enumerate() {
            let Some(peer) = self.peers.get_mut(node) else {
                continue;
            };
            peer.is_left_out = at >= self.around.streams_max;
            if peer.is_left_out && peer.state() == PeerState::Connecting {
                peer.lost(LEFT_OUT);
            }
        }
        self.order = order;
    }

    /// See [`STREAMS_MAX`](crate::STREAMS_MAX); the first is the smallest.
    pub(super) fn rank(&self, node: NodeId) -> (Option<Tier>, [u8; 32]) {
        let tier = self.peers.get(&node).map(|peer| peer.member.tier);
        (tier, distance(node, self.here))
    }
}
