//! A transfer: one amount from one account to another, for ever.

use std::fmt;

use kwaainet_core::merkle::{Hash, leaf_hash};
use sha2::{Digest, Sha256};

use crate::{AccountId, MicroVda};

/// Names a transfer: 128 bits, chosen by whoever makes it, so that he may send it again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(pub u128);

impl TransferId {
    /// None.
    pub const NONE: Self = Self(0);

    /// The one that follows from these parts: the same again whenever the same is to be done.
    pub fn derived(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new().chain_update(b"kwaainet transfer 1\0");
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let (half, _) = digest.split_first_chunk().expect("32 are more than 16");
        Self(u128::from_be_bytes(*half))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a transfer is meant; bits as TigerBeetle numbers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferFlags(pub u16);

impl TransferFlags {
    /// It and the next one happen both or not at all.
    pub const LINKED: Self = Self(1 << 0);
    /// It only reserves.
    pub const PENDING: Self = Self(1 << 1);
    /// It moves what another one reserved.
    pub const POST: Self = Self(1 << 2);
    /// It gives back what another one reserved.
    pub const VOID: Self = Self(1 << 3);

    const KNOWN: u16 = 0b1111;

    /// Whether the flag is set.
    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    /// With this flag too.
    #[must_use]
    pub fn and(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }

    /// Whether it has a flag that is not known here.
    pub(crate) fn is_unknown(self) -> bool {
        self.0 & !Self::KNOWN != 0
    }

    /// Whether it ends another transfer.
    pub fn resolves(self) -> bool {
        self.has(Self::POST) || self.has(Self::VOID)
    }
}

/// A transfer as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its name.
    pub id: TransferId,
    /// From where.
    pub debit: AccountId,
    /// To where.
    pub credit: AccountId,
    /// How much.
    pub amount: MicroVda,
    /// Which transfer it posts or voids.
    pub pending: TransferId,
    /// For whoever made it: here, which receipt it is for.
    pub user_data_128: u128,
    /// The same.
    pub user_data_64: u64,
    /// The same.
    pub user_data_32: u32,
    /// Seconds until a pending one is void by itself; 0 for never.
    pub timeout_s: u32,
    /// In which ledger.
    pub ledger: u32,
    /// Why; see [`TransferKind`](crate::TransferKind).
    pub code: u16,
    /// How.
    pub flags: TransferFlags,
}

/// A transfer that is in the ledger, with everything that was left out filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// What it is.
    pub transfer: Transfer,
    /// When: nanoseconds since 1970, later than every transfer before.
    pub at_ns: i64,
}

impl Posted {
    /// Its bytes in the Merkle tree: a version byte of 1 and every field in order, numbers with the most significant
    /// byte first.
    pub fn leaf(&self) -> Vec<u8> {
        let transfer = &self.transfer;
        let mut bytes = Vec::with_capacity(125);
        bytes.push(1);
        bytes.extend(transfer.id.0.to_be_bytes());
        bytes.extend(transfer.debit.0.to_be_bytes());
        bytes.extend(transfer.credit.0.to_be_bytes());
        bytes.extend(transfer.amount.0.to_be_bytes());
        bytes.extend(transfer.pending.0.to_be_bytes());
        bytes.extend(transfer.user_data_128.to_be_bytes());
        bytes.extend(transfer.user_data_64.to_be_bytes());
        bytes.extend(transfer.user_data_32.to_be_bytes());
        bytes.extend(transfer.timeout_s.to_be_bytes());
        bytes.extend(transfer.ledger.to_be_bytes());
        bytes.extend(transfer.code.to_be_bytes());
        bytes.extend(transfer.flags.0.to_be_bytes());
        bytes.extend(self.at_ns.to_be_bytes());
        bytes
    }

    /// Of its leaf.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.leaf())
    }

    /// Until when it is pending; `None` if it waits for ever or is not pending.
    pub fn expires_at_ns(&self) -> Option<i64> {
        let timeout = i64::from(self.transfer.timeout_s);
        (timeout > 0).then(|| {
            self.at_ns
                .saturating_add(timeout.saturating_mul(1_000_000_000))
        })
    }
}
