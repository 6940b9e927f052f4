//! Lines of JSON. A whole ledger is one of `ledger`, then its `checkpoint`s, its `account`s and its `transfer`s, in
//! this order.

use serde::{Deserialize, Serialize};

use super::Numbered;
use crate::{
    Account, AccountFlags, AccountId, AccountKind, MicroVda, Posted, Transfer, TransferFlags,
    TransferId,
};

/// A line that says something impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the line's {0} cannot be read")]
pub struct BadLine(&'static str);

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first: whose it is.
    Ledger {
        /// Of this form: 1.
        version: u32,
        /// The log's name in its checkpoints.
        origin: String,
        /// Who signs them: 64 hexadecimal digits.
        node: String,
        /// SHA-256 of the tariff that holds.
        tariff: String,
    },
    /// A signed checkpoint.
    Checkpoint {
        /// A note (C2SP).
        note: String,
    },
    /// An account as it stood when the file was written.
    Account(AccountLine),
    /// A transfer.
    Transfer(TransferLine),
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLine {
    /// 32 hexadecimal digits, as all ids.
    pub id: String,
    /// What it is for.
    pub kind: String,
    /// Whose it is.
    pub subject: String,
    /// In which ledger.
    pub ledger: u32,
    /// See [`AccountFlags`].
    pub flags: u16,
    /// In micro-VDA, as all amounts.
    pub debits_pending: MicroVda,
    /// The same.
    pub debits_posted: MicroVda,
    /// The same.
    pub credits_pending: MicroVda,
    /// The same.
    pub credits_posted: MicroVda,
}

/// A transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferLine {
    /// Counts from 0.
    pub index: u64,
    /// Its id.
    pub id: String,
    /// From where.
    pub debit: String,
    /// To where.
    pub credit: String,
    /// How much.
    pub amount: MicroVda,
    /// What it posts or voids; zeros if nothing.
    pub pending: String,
    /// As TigerBeetle names it.
    pub user_data_128: String,
    /// The same.
    pub user_data_64: u64,
    /// The same.
    pub user_data_32: u32,
    /// Seconds.
    pub timeout_s: u32,
    /// In which ledger.
    pub ledger: u32,
    /// Why.
    pub code: u16,
    /// How.
    pub flags: u16,
    /// Nanoseconds since 1970.
    pub at_ns: i64,
}

impl Line {
    /// As it stands in a file, with its end.
    pub fn text(&self) -> String {
        let text = serde_json::to_string(self).expect("lines hold nothing that is not JSON");
        text + "\n"
    }
}

impl From<&Account> for AccountLine {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id.to_string(),
            kind: account.kind.name().to_owned(),
            subject: account.subject.clone(),
            ledger: account.ledger,
            flags: account.flags.0,
            debits_pending: account.debits_pending,
            debits_posted: account.debits_posted,
            credits_pending: account.credits_pending,
            credits_posted: account.credits_posted,
        }
    }
}

impl TryFrom<&AccountLine> for Account {
    type Error = BadLine;

    fn try_from(line: &AccountLine) -> Result<Self, BadLine> {
        let sums = [
            line.debits_pending,
            line.debits_posted,
            line.credits_pending,
            line.credits_posted,
        ];
        if sums.iter().any(|sum| *sum > MicroVda::MAX) {
            return Err(BadLine("sums"));
        }
        Ok(Self {
            id: AccountId(number(&line.id, "id")?),
            kind: AccountKind::of_name(&line.kind).ok_or(BadLine("kind"))?,
            subject: line.subject.clone(),
            ledger: line.ledger,
            flags: AccountFlags(line.flags),
            debits_pending: line.debits_pending,
            debits_posted: line.debits_posted,
            credits_pending: line.credits_pending,
            credits_posted: line.credits_posted,
        })
    }
}

impl From<&Numbered> for TransferLine {
    fn from(numbered: &Numbered) -> Self {
        let transfer = &numbered.posted.transfer;
        Self {
            index: numbered.index,
            id: transfer.id.to_string(),
            debit: transfer.debit.to_string(),
            credit: transfer.credit.to_string(),
            amount: transfer.amount,
            pending: transfer.pending.to_string(),
            user_data_128: format!("{:032x}", transfer.user_data_128),
            user_data_64: transfer.user_data_64,
            user_data_32: transfer.user_data_32,
            timeout_s: transfer.timeout_s,
            ledger: transfer.ledger,
            code: transfer.code,
            flags: transfer.flags.0,
            at_ns: numbered.posted.at_ns,
        }
    }
}

impl TryFrom<&TransferLine> for Numbered {
    type Error = BadLine;

    fn try_from(line: &TransferLine) -> Result<Self, BadLine> {
        if line.amount > MicroVda::MAX {
            return Err(BadLine("amount"));
        }
        let transfer = Transfer {
            id: TransferId(number(&line.id, "id")?),
            debit: AccountId(number(&line.debit, "debit")?),
            credit: AccountId(number(&line.credit, "credit")?),
            amount: line.amount,
            pending: TransferId(number(&line.pending, "pending")?),
            user_data_128: number(&line.user_data_128, "user_data_128")?,
            user_data_64: line.user_data_64,
            user_data_32: line.user_data_32,
            timeout_s: line.timeout_s,
            ledger: line.ledger,
            code: line.code,
            flags: TransferFlags(line.flags),
        };
        Ok(Self {
            index: line.index,
            posted: Posted {
                transfer,
                at_ns: line.at_ns,
            },
        })
    }
}

/// 32 hexadecimal digits.
fn number(text: &str, what: &'static str) -> Result<u128, BadLine> {
    let is_hex = text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit());
    let number = is_hex
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten();
    number.ok_or(BadLine(what))
}
