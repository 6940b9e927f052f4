//! The chart of accounts: which there are, and what moves between them.

use crate::{Account, AccountFlags, AccountId, MicroVda};

/// The one ledger: VDA.
pub const LEDGER: u32 = 1;

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// The epoch of a time in milliseconds since 1970: days.
pub fn epoch_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(DAY_MS)
}

/// When an epoch begins: milliseconds since 1970.
pub fn epoch_begins_ms(epoch: i64) -> i64 {
    epoch.saturating_mul(DAY_MS)
}

/// What an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountKind {
    /// Where new VDA come from; what it owes is what was ever made.
    Issuance,
    /// What may be given away in one epoch. The subject is the epoch.
    Budget,
    /// What consumers have set aside until both sides agree.
    Escrow,
    /// What a provider earned.
    Provider,
    /// What a consumer may spend.
    Consumer,
    /// On the way from a budget to those who earned a bonus.
    Bonus,
    /// Less than one micro-VDA for each meter: what consumers paid and no provider got yet.
    Rounding,
    /// What a consumer owes outside of these books, or has paid there. The subject is the consumer.
    Settlement,
}

impl AccountKind {
    /// All, in the order of their codes.
    pub const EVERY: [Self; 8] = [
        Self::Issuance,
        Self::Budget,
        Self::Escrow,
        Self::Provider,
        Self::Consumer,
        Self::Bonus,
        Self::Rounding,
        Self::Settlement,
    ];

    /// As stored and told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issuance => "issuance",
            Self::Budget => "budget",
            Self::Escrow => "escrow",
            Self::Provider => "provider",
            Self::Consumer => "consumer",
            Self::Bonus => "bonus",
            Self::Rounding => "rounding",
            Self::Settlement => "settlement",
        }
    }

    /// The kind with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|kind| kind.name() == name)
    }

    /// Everybody but the two sources can spend only what he has.
    fn flags(self) -> AccountFlags {
        match self {
            Self::Issuance | Self::Settlement => AccountFlags::default(),
            _ => AccountFlags::NO_DEBT,
        }
    }
}

impl Account {
    /// A new one of this kind for this subject.
    pub fn new(kind: AccountKind, subject: &str) -> Self {
        Self {
            id: AccountId::of(kind, subject),
            kind,
            subject: subject.to_owned(),
            ledger: LEDGER,
            flags: kind.flags(),
            debits_pending: MicroVda::ZERO,
            debits_posted: MicroVda::ZERO,
            credits_pending: MicroVda::ZERO,
            credits_posted: MicroVda::ZERO,
        }
    }
}

/// Why something was moved: a transfer's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum TransferKind {
    /// Compute: a consumer to a provider.
    Compute = 1,
    /// Stored bytes.
    Storage = 2,
    /// An identity that was verified.
    Verification = 3,
    /// An identity that was verified on several chains.
    MultiChain = 4,
    /// What is less than a micro-VDA.
    Rounding = 5,
    /// Work that a consumer owes outside of these books.
    Credit = 6,
    /// An epoch's budget.
    Issue = 7,
    /// A budget's part that is given as a bonus.
    Allot = 8,
    /// The bonus for renewable power.
    Bonus = 9,
    /// Set aside until both sides agree.
    Hold = 10,
    /// Given to who earned it, once they do.
    Release = 11,
}

impl TransferKind {
    const EVERY: [Self; 11] = [
        Self::Compute,
        Self::Storage,
        Self::Verification,
        Self::MultiChain,
        Self::Rounding,
        Self::Credit,
        Self::Issue,
        Self::Allot,
        Self::Bonus,
        Self::Hold,
        Self::Release,
    ];

    /// As a transfer's code.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// What a code says; `other` for one that these books do not use.
    pub fn name(code: u16) -> &'static str {
        let found = Self::EVERY.into_iter().find(|kind| kind.code() == code);
        match found {
            None => "other",
            Some(Self::Compute) => "compute",
            Some(Self::Storage) => "storage",
            Some(Self::Verification) => "verification",
            Some(Self::MultiChain) => "multi_chain_verification",
            Some(Self::Rounding) => "rounding",
            Some(Self::Credit) => "credit",
            Some(Self::Issue) => "issue",
            Some(Self::Allot) => "allot",
            Some(Self::Bonus) => "bonus",
            Some(Self::Hold) => "hold",
            Some(Self::Release) => "release",
        }
    }
}
