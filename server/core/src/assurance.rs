//! How much is known of an account, in five tiers, and what each unlocks. The one table; [`Principal`] applies it.
//!
//! [`Principal`]: crate::Principal

use std::fmt;

use crate::{Scope, Scopes};

/// How much is known of an account. Each tier includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assurance {
    /// 0: somebody with a key that he may have made a moment ago.
    Anonymous,
    /// 1: somebody whom the owner let in, or who comes back with a passkey.
    Pseudonymous,
    /// 2: with an account on a chain.
    Linked,
    /// 3: with a credential of an issuer whom the owner accepts.
    Verified,
    /// 4: with keys of his own that are prepared to be replaced and to be recovered.
    Sovereign,
}

/// What a tier unlocks. The owner's own limits hold beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlocks {
    scopes: &'static [Scope],
    /// Jobs under way at once; none for what everybody may.
    pub jobs_max: Option<usize>,
    /// Whether it may make capabilities for others.
    pub delegates: bool,
}

impl Unlocks {
    /// What it may do, where the owner allows it.
    pub fn scopes(&self) -> Scopes {
        self.scopes.iter().copied().collect()
    }
}

/// In the order of the tiers.
const UNLOCKS: [Unlocks; 5] = [
    Unlocks {
        scopes: &[Scope::Inference, Scope::Identity, Scope::Carbon],
        jobs_max: Some(1),
        delegates: false,
    },
    Unlocks {
        scopes: &OWN,
        jobs_max: Some(4),
        delegates: false,
    },
    Unlocks {
        scopes: &OWN,
        jobs_max: Some(16),
        delegates: true,
    },
    Unlocks {
        scopes: &OWN,
        jobs_max: None,
        delegates: true,
    },
    Unlocks {
        scopes: &EVERYTHING,
        jobs_max: None,
        delegates: true,
    },
];

/// Whatever is about one's own things only.
const OWN: [Scope; 6] = [
    Scope::Inference,
    Scope::Identity,
    Scope::Storage,
    Scope::Carbon,
    Scope::Rewards,
    Scope::Audit,
];
/// What touches the machine too.
const EVERYTHING: [Scope; 8] = [
    Scope::Inference,
    Scope::Metrics,
    Scope::Models,
    Scope::Identity,
    Scope::Storage,
    Scope::Carbon,
    Scope::Rewards,
    Scope::Audit,
];

impl Assurance {
    /// All of them, lowest first.
    pub const EVERY: [Self; 5] = [
        Self::Anonymous,
        Self::Pseudonymous,
        Self::Linked,
        Self::Verified,
        Self::Sovereign,
    ];

    /// 0 to 4.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// What it unlocks.
    pub fn unlocks(self) -> &'static Unlocks {
        &UNLOCKS[usize::from(self.number())]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Pseudonymous => "pseudonymous",
            Self::Linked => "linked",
            Self::Verified => "verified",
            Self::Sovereign => "sovereign",
        }
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number that is no tier.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no tier: there are 0 to 4")]
pub struct BadAssurance(i64);

impl TryFrom<i64> for Assurance {
    type Error = BadAssurance;

    fn try_from(number: i64) -> Result<Self, BadAssurance> {
        let index = usize::try_from(number).ok();
        let found = index.and_then(|index| Self::EVERY.get(index));
        found.copied().ok_or(BadAssurance(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tier_unlocks_what_the_one_before_it_does() {
        for pair in Assurance::EVERY.windows(2) {
            let (lower, higher) = (pair[0].unlocks(), pair[1].unlocks());
            assert_eq!(lower.scopes() & higher.scopes(), lower.scopes());
            let jobs = |unlocks: &Unlocks| unlocks.jobs_max.unwrap_or(usize::MAX);
            assert!(jobs(lower) <= jobs(higher));
            assert!(higher.delegates || !lower.delegates);
            assert!(pair[0] < pair[1]);
        }
        assert_eq!(Assurance::Sovereign.unlocks().scopes().iter().count(), 8);
    }

    #[test]
    fn a_number_is_a_tier_or_nothing() {
        for tier in Assurance::EVERY {
            assert_eq!(Assurance::try_from(i64::from(tier.number())), Ok(tier));
        }
        for bad in [-1, 5, i64::MAX, i64::MIN] {
            assert_eq!(Assurance::try_from(bad), Err(BadAssurance(bad)));
        }
    }
}
