//! A peer as this node sees it now.

use std::sync::Arc;

use kwaainet_core::{ModelFacts, NodeId, PeerFacts};
use serde::Serialize;

/// What is known of one peer. Made by the control plane, read by everybody else; never changed in place.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerView {
    /// Which.
    pub node: NodeId,
    /// Whether it can be given work.
    pub state: PeerState,
    /// Why it cannot, in a few words.
    pub reason: Option<String>,
    /// For routing.
    pub facts: PeerFacts,
    /// What it serves itself; a peer never offers what it would have to ask others for.
    pub models: Arc<[ModelFacts]>,
    /// Counts up with each start of the node.
    pub incarnation: u64,
    /// The version that it says it runs.
    pub version: String,
    /// By whose word it is a member, if not by the owner's.
    pub introduced_by: Option<NodeId>,
}

/// One of many, which are in the order of their ids.
pub(crate) fn view_of(views: &[PeerView], node: NodeId) -> Option<&PeerView> {
    let at = views.binary_search_by_key(&node, |view| view.node);
    at.ok().map(|at| &views[at])
}

/// How a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// Being called.
    Connecting,
    /// Answers.
    Alive,
    /// There is no stream with it, for want of room: known by what others hand on. It is called when work would go
    /// there.
    Distant,
    /// Late, and maybe gone.
    Suspect,
    /// Answers, and its engine makes no progress with the work that it has.
    Wedged,
    /// Finishes what it has and takes no more.
    Draining,
    /// Gone.
    Down,
}

impl PeerState {
    /// Whether it answers, so that it can be given work at once.
    pub fn is_routable(self) -> bool {
        self == Self::Alive
    }

    /// Whether it may be asked to take work: it answers, or it is worth a call.
    pub fn is_askable(self) -> bool {
        matches!(self, Self::Alive | Self::Distant)
    }
}
