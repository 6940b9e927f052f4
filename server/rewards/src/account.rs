//! An account: four sums that only transfers change.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{AccountKind, MicroVda};

/// Names an account: 128 bits, derived from whose it is and what for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u128);

impl AccountId {
    /// None: in a transfer that posts or voids another, "the same as there".
    pub const NONE: Self = Self(0);

    /// The one account of this kind for this subject.
    pub fn of(kind: AccountKind, subject: &str) -> Self {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(b"kwaainet account 1\0")
            .chain_update(kind.name())
            .chain_update(b"\0")
            .chain_update(subject)
            .finalize()
            .into();
        let (half, _) = digest.split_first_chunk().expect("32 are more than 16");
        Self(u128::from_be_bytes(*half))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What holds of an account for ever; bits as TigerBeetle numbers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountFlags(pub u16);

impl AccountFlags {
    /// It cannot spend what it has not: `debits_must_not_exceed_credits`.
    pub const NO_DEBT: Self = Self(1 << 1);
    /// `credits_must_not_exceed_debits`.
    pub const NO_CREDIT: Self = Self(1 << 2);

    /// Whether the flag is set.
    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }
}

/// An account as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub id: AccountId,
    /// What it is for.
    pub kind: AccountKind,
    /// Whose it is; empty for one of the node's own, and for one whose owner was erased.
    pub subject: String,
    /// Transfers are within one ledger.
    pub ledger: u32,
    /// What holds of it.
    pub flags: AccountFlags,
    /// Reserved to leave.
    pub debits_pending: MicroVda,
    /// Left.
    pub debits_posted: MicroVda,
    /// Announced to come.
    pub credits_pending: MicroVda,
    /// Came.
    pub credits_posted: MicroVda,
}

impl Account {
    /// What it holds now: credits less debits, of what is posted. In micro-VDA.
    pub fn balance(&self) -> i64 {
        self.credits_posted.less(self.debits_posted)
    }

    /// What may still be spent from it.
    pub fn available(&self) -> MicroVda {
        let spent = self.debits_posted.plus(self.debits_pending);
        let left = spent.and_then(|spent| self.credits_posted.minus(spent));
        left.unwrap_or(MicroVda::ZERO)
    }
}
