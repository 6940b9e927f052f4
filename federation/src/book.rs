//! Who belongs to the federation, as it is kept over restarts.

use std::fmt;

use kwaainet_core::{BoxFuture, NodeId, Tier};

use crate::{Introduction, PeerAddress};

/// A node that this one talks to.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub node: NodeId,
    /// How far it is trusted.
    pub tier: Tier,
    /// Where it was last.
    pub address: PeerAddress,
    /// The signed invitation that this node shows it until it was let in.
    pub invitation: Option<Vec<u8>>,
    /// By whom this node knows of it; `None` if the owner himself let it in or joined it.
    pub introduced_by: Option<NodeId>,
}

impl fmt::Debug for Member {
    /// Without the invitation, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("node", &self.node)
            .field("tier", &self.tier)
            .field("address", &self.address)
            .field("shows_invitation", &self.invitation.is_some())
            .field("introduced_by", &self.introduced_by)
            .finish()
    }
}

/// A node's word about another, and where that one was last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduced {
    /// The word.
    pub word: Introduction,
    /// Nothing, where it is not known.
    pub address: PeerAddress,
}

/// Why an invitation does not let anybody in. One sentence for whoever shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedeemError {
    /// It is none of this node's, or a changed one.
    #[error("the invitation is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the invitation has expired")]
    Expired,
    /// It was taken back.
    #[error("the invitation was revoked")]
    Revoked,
    /// Others have used it up.
    #[error("the invitation was used by somebody else")]
    Used,
    /// It could not be looked up.
    #[error("invitations cannot be checked now")]
    Unavailable,
}

/// The members and invitations of this node. Whoever is not in it is refused.
pub trait MemberBook: Send + Sync + 'static {
    /// All members that the owner let in or joined. Asked every second, so that what another process wrote
    /// (`kwaainet join`, a revocation) counts soon.
    ///
    /// The error is for the log.
    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, String>>;

    /// Nodes whose membership the owner ended: no introduction lets them in again. Asked with the members.
    ///
    /// The error is for the log.
    fn removed(&self) -> BoxFuture<'_, Result<Vec<NodeId>, String>>;

    /// All words that were kept: this node's own and others'. Asked once.
    ///
    /// The error is for the log.
    fn introductions(&self) -> BoxFuture<'_, Result<Vec<Introduced>, String>>;

    /// Keeps words, each in the place of an earlier one of the same node about the same node, and drops what has
    /// expired. The error is for the log.
    fn introduced(&self, words: Vec<Introduced>) -> BoxFuture<'_, Result<(), String>>;

    /// Makes a member of the node that shows an invitation of this one: the signed bytes. A node that already
    /// used it is let in again.
    fn redeem(
        &self,
        invitation: Vec<u8>,
        node: NodeId,
    ) -> BoxFuture<'_, Result<Member, RedeemError>>;

    /// Keeps where a member is, and that it has let this node in. The error is for the log.
    fn met(&self, node: NodeId, address: PeerAddress) -> BoxFuture<'_, Result<(), String>>;
}
