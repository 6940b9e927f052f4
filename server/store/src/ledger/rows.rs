//! Rows of the ledger's tables as what they mean.

use kwaainet_rewards::{
    Account, AccountFlags, AccountId, AccountKind, MicroVda, Numbered, PendingState, Posted,
    Transfer, TransferFlags, TransferId,
};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::StoreError;

pub(super) const ACCOUNT: &str = "id, kind, subject, ledger, flags, debits_pending, debits_posted, \
    credits_pending, credits_posted";
pub(super) const TRANSFER: &str = "seq, id, debit, credit, amount, pending, user_data_128, user_data_64, \
    user_data_32, timeout_s, ledger, code, flags, at_ns";

pub(super) fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    let kind: String = row.try_get("kind")?;
    Ok(Account {
        id: AccountId(id(row, "id")?),
        kind: AccountKind::of_name(&kind).ok_or(StoreError::Malformed("account"))?,
        subject: row.try_get("subject")?,
        ledger: row.try_get("ledger")?,
        flags: AccountFlags(row.try_get("flags")?),
        debits_pending: amount(row, "debits_pending")?,
        debits_posted: amount(row, "debits_posted")?,
        credits_pending: amount(row, "credits_pending")?,
        credits_posted: amount(row, "credits_posted")?,
    })
}

pub(super) fn transfer(row: &SqliteRow) -> Result<Numbered, StoreError> {
    let seq: i64 = row.try_get("seq")?;
    let user_data_64: i64 = row.try_get("user_data_64")?;
    let transfer = Transfer {
        id: TransferId(id(row, "id")?),
        debit: AccountId(id(row, "debit")?),
        credit: AccountId(id(row, "credit")?),
        amount: amount(row, "amount")?,
        pending: TransferId(id(row, "pending")?),
        user_data_128: id(row, "user_data_128")?,
        user_data_64: user_data_64 as u64,
        user_data_32: row.try_get("user_data_32")?,
        timeout_s: row.try_get("timeout_s")?,
        ledger: row.try_get("ledger")?,
        code: row.try_get("code")?,
        flags: TransferFlags(row.try_get("flags")?),
    };
    Ok(Numbered {
        // The first has the sequence number 1 and the index 0.
        index: u64::try_from(seq - 1).map_err(|_| StoreError::Malformed("transfer"))?,
        posted: Posted {
            transfer,
            at_ns: row.try_get("at_ns")?,
        },
    })
}

pub(super) fn amount(row: &SqliteRow, column: &str) -> Result<MicroVda, StoreError> {
    let amount: i64 = row.try_get(column)?;
    let amount = u64::try_from(amount).map_err(|_| StoreError::Malformed("amount"))?;
    Ok(MicroVda(amount))
}

pub(super) fn id(row: &SqliteRow, column: &str) -> Result<u128, StoreError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    let bytes = bytes.try_into().map_err(|_| StoreError::Malformed("id"))?;
    Ok(u128::from_be_bytes(bytes))
}

/// 128 bits as they are stored.
pub(super) fn bytes(id: u128) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

pub(super) fn state(row: &SqliteRow) -> Result<PendingState, StoreError> {
    match row.try_get::<i64, _>("state")? {
        0 => Ok(PendingState::Pending),
        1 => Ok(PendingState::Posted),
        2 => Ok(PendingState::Voided),
        3 => Ok(PendingState::Expired),
        _ => Err(StoreError::Malformed("pending transfer")),
    }
}
