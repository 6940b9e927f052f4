//! Members in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kwaainet_core::{BoxFuture, NodeId, Tier};
use kwaainet_federation::{Introduced, Member, MemberBook, PeerAddress, RedeemError};

/// The members and invitations of one node. An invitation is any bytes, and is good for one node.
#[derive(Debug, Default)]
pub struct MemoryBook(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    members: BTreeMap<NodeId, Member>,
    invitations: BTreeMap<Vec<u8>, Option<NodeId>>,
    met: BTreeSet<NodeId>,
    removed: BTreeSet<NodeId>,
    /// By whom, and about whom.
    introductions: BTreeMap<(NodeId, NodeId), Introduced>,
}

impl MemoryBook {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a member down.
    pub fn add(&self, member: Member) {
        let mut pages = self.pages();
        pages.removed.remove(&member.node);
        pages.members.insert(member.node, member);
    }

    /// Strikes a member out.
    pub fn remove(&self, node: NodeId) {
        let mut pages = self.pages();
        pages.members.remove(&node);
        pages.removed.insert(node);
    }

    /// The words that are kept.
    pub fn words(&self) -> Vec<Introduced> {
        self.pages().introductions.values().cloned().collect()
    }

    /// Makes an invitation.
    pub fn invite(&self, invitation: &[u8]) {
        self.pages().invitations.insert(invitation.to_vec(), None);
    }

    /// Who has let this node in, or come in here.
    pub fn met_nodes(&self) -> Vec<NodeId> {
        self.pages().met.iter().copied().collect()
    }

    /// Where a member is, as it stands here.
    pub fn address_of(&self, node: NodeId) -> Option<PeerAddress> {
        let pages = self.pages();
        pages
            .members
            .get(&node)
            .map(|member| member.address.clone())
    }

    fn redeem_now(&self, invitation: &[u8], node: NodeId) -> Result<Member, RedeemError> {
        let mut pages = self.pages();
        let by = pages.invitations.get_mut(invitation);
        let by = by.ok_or(RedeemError::Invalid)?;
        if by.is_some_and(|by| by != node) {
            return Err(RedeemError::Used);
        }
        *by = Some(node);
        let member = Member {
            node,
            tier: Tier::T1,
            address: PeerAddress::default(),
            invitation: None,
            introduced_by: None,
        };
        pages.members.insert(node, member.clone());
        Ok(member)
    }
}

impl MemberBook for MemoryBook {
    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, String>> {
        Box::pin(ready(Ok(self.pages().members.values().cloned().collect())))
    }

    fn removed(&self) -> BoxFuture<'_, Result<Vec<NodeId>, String>> {
        Box::pin(ready(Ok(self.pages().removed.iter().copied().collect())))
    }

    fn introductions(&self) -> BoxFuture<'_, Result<Vec<Introduced>, String>> {
        Box::pin(ready(Ok(self.words())))
    }

    fn introduced(&self, words: Vec<Introduced>) -> BoxFuture<'_, Result<(), String>> {
        let mut pages = self.pages();
        for introduced in words {
            let of = (introduced.word.by, introduced.word.node);
            pages.introductions.insert(of, introduced);
        }
        Box::pin(ready(Ok(())))
    }

    fn redeem(
        &self,
        invitation: Vec<u8>,
        node: NodeId,
    ) -> BoxFuture<'_, Result<Member, RedeemError>> {
        Box::pin(ready(self.redeem_now(&invitation, node)))
    }

    fn met(&self, node: NodeId, address: PeerAddress) -> BoxFuture<'_, Result<(), String>> {
        let mut pages = self.pages();
        pages.met.insert(node);
        if let Some(member) = pages.members.get_mut(&node) {
            member.address = address;
            member.invitation = None;
        }
        Box::pin(ready(Ok(())))
    }
}
