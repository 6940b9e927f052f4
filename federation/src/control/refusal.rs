//! Why a node does not talk to this one, in words for whoever looks at the peers, and back from those words.

use super::wire::Reason;

/// A peer's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// For no reason that this version knows.
    Unknown,
    /// This node is no member there.
    Stranger,
    /// The ticket is not valid, used up, expired or revoked.
    Invitation,
    /// No version of the protocol is spoken by both.
    Protocol,
    /// A later start of this node was seen: its clock went back, or two nodes have its key.
    Outdated,
    /// There is a stream between the two already.
    Duplicate,
    /// There is no room for one more peer.
    Full,
    /// The ticket cannot be checked now.
    Later,
}

impl Refusal {
    const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Stranger,
        Self::Invitation,
        Self::Protocol,
        Self::Outdated,
        Self::Duplicate,
        Self::Full,
        Self::Later,
    ];

    /// As [`PeerView::reason`](crate::PeerView::reason) has it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unknown => "the node refuses this one",
            Self::Stranger => "the node does not know this one; it has to be invited there",
            Self::Invitation => "the node does not accept the invitation",
            Self::Protocol => "the node speaks another version of the protocol",
            Self::Outdated => "the node has seen a later start of this one",
            Self::Duplicate => "the node is already being talked to",
            Self::Full => "the node has no room for one more peer",
            Self::Later => "the node cannot check the invitation now",
        }
    }

    /// The refusal that these words tell of, if they do.
    pub fn of_words(words: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|refusal| refusal.words() == words)
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unknown => Self::Unknown,
            Reason::Stranger => Self::Stranger,
            Reason::Invitation => Self::Invitation,
            Reason::Protocol => Self::Protocol,
            Reason::Outdated => Self::Outdated,
            Reason::Duplicate => Self::Duplicate,
            Reason::Full => Self::Full,
            Reason::Later => Self::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_found_by_its_words() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::of_words(refusal.words()), Some(refusal));
        }
        assert_eq!(Refusal::of_words("it is gone"), None);
    }
}
