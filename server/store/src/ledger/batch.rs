//! One batch: reads what the rules have to know of it, and writes what they changed. A few statements for the whole
//! batch, whatever its size.

use std::collections::{HashMap, HashSet};

use kwaainet_rewards::{
    Account, AccountId, Books, Changes, Known, PendingState, Posted, Resolution, TransferId, Wanted,
};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use super::rows;
use crate::StoreError;
use crate::log::{self, Log, ROWS_MAX};

/// Pending transfers whose time is over that are ended beside one batch.
const EXPIRED_MAX: i64 = 1_000;

/// The part of the ledger that was wanted, and what has been pending for too long, which is ended here.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    mut wanted: Wanted,
    now_ns: i64,
) -> Result<Books, StoreError> {
    let last_ns = last_ns(connection).await?;
    wanted
        .transfers
        .extend(due(connection, now_ns.max(last_ns)).await?);
    let transfers = ids(&wanted.transfers);
    let found = select(
        connection,
        "ledger_transfers",
        rows::TRANSFER,
        "id",
        &transfers,
    )
    .await?;
    let mut transfers = HashMap::new();
    for row in &found {
        let posted = rows::transfer(row)?.posted;
        let transfer = &posted.transfer;
        wanted.accounts.extend([transfer.debit, transfer.credit]);
        transfers.insert(transfer.id, posted);
    }
    let accounts: HashSet<u128> = wanted.accounts.iter().map(|id| id.0).collect();
    let accounts: Vec<u128> = accounts.into_iter().collect();
    let found = select(
        connection,
        "ledger_accounts",
        rows::ACCOUNT,
        "id",
        &accounts,
    )
    .await?;
    let accounts: Result<HashMap<AccountId, Account>, StoreError> = found
        .iter()
        .map(|row| rows::account(row).map(|account| (account.id, account)))
        .collect();
    let known: Vec<u128> = transfers.keys().map(|id: &TransferId| id.0).collect();
    let found = select(
        connection,
        "ledger_pending",
        "transfer, state",
        "transfer",
        &known,
    )
    .await?;
    let mut pending = HashMap::new();
    for row in &found {
        pending.insert(TransferId(rows::id(row, "transfer")?), rows::state(row)?);
    }
    let unknown = wanted
        .transfers
        .iter()
        .filter(|id| !transfers.contains_key(id));
    let unknown: Vec<u128> = unknown.map(|id| id.0).collect();
    let found = select(connection, "ledger_failed", "id", "id", &unknown).await?;
    let failed: Result<HashSet<TransferId>, StoreError> = found
        .iter()
        .map(|row| rows::id(row, "id").map(TransferId))
        .collect();
    let mut books = Books::new(Known {
        accounts: accounts?,
        transfers,
        pending,
        failed: failed?,
        last_ns,
    });
    books.expire(now_ns);
    Ok(books)
}

fn ids(of: &HashSet<TransferId>) -> Vec<u128> {
    of.iter().map(|id| id.0).collect()
}

async fn last_ns(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT at_ns FROM ledger_transfers ORDER BY seq DESC LIMIT 1")
        .fetch_optional(connection)
        .await?;
    let last = row.map(|row| row.try_get("at_ns")).transpose()?;
    Ok(last.unwrap_or(0))
}

async fn due(
    connection: &mut SqliteConnection,
    now_ns: i64,
) -> Result<Vec<TransferId>, StoreError> {
    let rows = sqlx::query(
        "SELECT transfer FROM ledger_pending
         WHERE state = 0 AND expires_at_ns IS NOT NULL AND expires_at_ns <= ?
         ORDER BY expires_at_ns LIMIT ?",
    )
    .bind(now_ns)
    .bind(EXPIRED_MAX)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| rows::id(row, "transfer").map(TransferId))
        .collect()
}

/// The rows of a table with these ids.
async fn select(
    connection: &mut SqliteConnection,
    table: &str,
    columns: &str,
    key: &str,
    ids: &[u128],
) -> Result<Vec<SqliteRow>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_MAX) {
        let head = format!("SELECT {columns} FROM {table} WHERE {key} IN (");
        let mut query = QueryBuilder::new(head);
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(rows::bytes(*id));
        }
        list.push_unseparated(")");
        found.extend(query.build().fetch_all(&mut *connection).await?);
    }
    Ok(found)
}

/// Writes what has changed, and says what that is.
pub(super) async fn save(
    connection: &mut SqliteConnection,
    books: Books,
) -> Result<Changes, StoreError> {
    let changes = books.changes();
    save_accounts(connection, &changes.accounts).await?;
    if !changes.posted.is_empty() {
        let mut frontier = log::frontier(connection, Log::Ledger).await?;
        save_transfers(connection, frontier.size(), &changes.posted).await?;
        let leaves = changes.posted.iter().map(Posted::leaf_hash);
        log::append(connection, Log::Ledger, &mut frontier, leaves).await?;
    }
    save_pending(connection, &changes).await?;
    for failed in changes.failed.chunks(ROWS_MAX) {
        let mut insert = QueryBuilder::new("INSERT INTO ledger_failed (id) ");
        insert.push_values(failed, |mut row, id| {
            row.push_bind(rows::bytes(id.0));
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(changes)
}

async fn save_accounts(
    connection: &mut SqliteConnection,
    accounts: &[Account],
) -> Result<(), StoreError> {
    for accounts in accounts.chunks(ROWS_MAX) {
        let head = format!("INSERT INTO ledger_accounts ({}) ", rows::ACCOUNT);
        let mut insert = QueryBuilder::new(head);
        insert.push_values(accounts, |mut row, account| {
            row.push_bind(rows::bytes(account.id.0))
                .push_bind(account.kind.name())
                .push_bind(account.subject.clone())
                .push_bind(account.ledger)
                .push_bind(account.flags.0)
                // Sums are at most `MicroVda::MAX`, which is the largest number here.
                .push_bind(account.debits_pending.0 as i64)
                .push_bind(account.debits_posted.0 as i64)
                .push_bind(account.credits_pending.0 as i64)
                .push_bind(account.credits_posted.0 as i64);
        });
        insert.push(
            " ON CONFLICT (id) DO UPDATE SET
                 debits_pending = excluded.debits_pending, debits_posted = excluded.debits_posted,
                 credits_pending = excluded.credits_pending, credits_posted = excluded.credits_posted",
        );
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn save_transfers(
    connection: &mut SqliteConnection,
    size: u64,
    posted: &[Posted],
) -> Result<(), StoreError> {
    let numbered: Vec<(i64, &Posted)> = (size as i64 + 1..).zip(posted).collect();
    for posted in numbered.chunks(ROWS_MAX) {
        let head = format!("INSERT INTO ledger_transfers ({}) ", rows::TRANSFER);
        let mut insert = QueryBuilder::new(head);
        insert.push_values(posted, |mut row, (seq, posted)| {
            let transfer = &posted.transfer;
            row.push_bind(*seq)
                .push_bind(rows::bytes(transfer.id.0))
                .push_bind(rows::bytes(transfer.debit.0))
                .push_bind(rows::bytes(transfer.credit.0))
                .push_bind(transfer.amount.0 as i64)
                .push_bind(rows::bytes(transfer.pending.0))
                .push_bind(rows::bytes(transfer.user_data_128))
                .push_bind(transfer.user_data_64 as i64)
                .push_bind(transfer.user_data_32)
                .push_bind(transfer.timeout_s)
                .push_bind(transfer.ledger)
                .push_bind(transfer.code)
                .push_bind(transfer.flags.0)
                .push_bind(posted.at_ns);
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn save_pending(
    connection: &mut SqliteConnection,
    changes: &Changes,
) -> Result<(), StoreError> {
    let ends: HashMap<TransferId, Option<i64>> = changes
        .posted
        .iter()
        .map(|posted| (posted.transfer.id, posted.expires_at_ns()))
        .collect();
    for pending in changes.pending.chunks(ROWS_MAX) {
        let mut insert =
            QueryBuilder::new("INSERT INTO ledger_pending (transfer, state, expires_at_ns) ");
        insert.push_values(pending, |mut row, resolution| {
            row.push_bind(rows::bytes(resolution.transfer.0))
                .push_bind(number(resolution.state))
                .push_bind(ends.get(&resolution.transfer).copied().flatten());
        });
        insert.build().execute(&mut *connection).await?;
    }
    for Resolution { transfer, state } in &changes.resolved {
        sqlx::query("UPDATE ledger_pending SET state = ? WHERE transfer = ?")
            .bind(number(*state))
            .bind(rows::bytes(transfer.0))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// A state as it is stored.
pub(super) fn number(state: PendingState) -> i64 {
    match state {
        PendingState::Pending => 0,
        PendingState::Posted => 1,
        PendingState::Voided => 2,
        PendingState::Expired => 3,
    }
}
