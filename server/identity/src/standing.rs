//! What is known of an account, and which tier that makes. What a tier unlocks is in [`kwaainet_core::Assurance`].

use kwaainet_core::Assurance;

/// What is known of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The owner let him in, with one of his keys.
    pub admitted: bool,
    /// He has a passkey.
    pub passkey: bool,
    /// He has, or is, an account on a chain.
    pub on_chain: bool,
    /// He has shown a credential of an issuer whom the owner accepts, which is good now.
    pub verified: bool,
    /// He has said which key comes after his own.
    pub next_key: bool,
    /// He has said who may put another key in the place of a lost one.
    pub recovery: bool,
}

impl Standing {
    /// The highest tier whose demands, and those of all below it, are fulfilled.
    pub fn assurance(&self) -> Assurance {
        let reached = Assurance::EVERY
            .into_iter()
            .take_while(|tier| self.lacks(*tier).is_none());
        reached.last().unwrap_or(Assurance::Anonymous)
    }

    /// What a tier demands that is not there.
    pub fn lacks(&self, tier: Assurance) -> Option<&'static str> {
        let demand = |met: bool, what| (!met).then_some(what);
        match tier {
            Assurance::Anonymous => None,
            Assurance::Pseudonymous => demand(
                self.admitted || self.passkey,
                "sign in once with one of the owner's API keys, or register a passkey",
            ),
            Assurance::Linked => demand(self.on_chain, "link an account on a chain"),
            Assurance::Verified => demand(
                self.verified,
                "present a credential of an issuer that this node accepts",
            ),
            Assurance::Sovereign => demand(
                self.next_key && self.recovery,
                "name the hash of the next key, and who may recover the account",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All 64 of them.
    fn all() -> impl Iterator<Item = Standing> {
        (0..64_u8).map(|bits| {
            let bit = |at: u8| bits >> at & 1 == 1;
            Standing {
                admitted: bit(0),
                passkey: bit(1),
                on_chain: bit(2),
                verified: bit(3),
                next_key: bit(4),
                recovery: bit(5),
            }
        })
    }

    #[test]
    fn no_tier_is_reached_without_those_below_it() {
        for standing in all() {
            let reached = standing.assurance();
            for tier in Assurance::EVERY {
                if tier <= reached {
                    assert_eq!(standing.lacks(tier), None, "{standing:?}");
                }
            }
            let next = Assurance::EVERY.into_iter().find(|tier| *tier > reached);
            assert!(next.is_none_or(|next| standing.lacks(next).is_some()));
        }
        let chain = Standing {
            on_chain: true,
            verified: true,
            ..Standing::default()
        };
        assert_eq!(chain.assurance(), Assurance::Anonymous);
    }
}
