//! What is told of the ledger: balances, transfers, statements, and the whole of it as it was at one moment.

use kwaainet_rewards::{
    Account, AccountId, MicroVda, Numbered, PendingState, TransferFlags, TransferId,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, Transaction};

use super::{batch, rows};
use crate::log::{self, Log, LogHead};
use crate::{Store, StoreError};

/// A span of time: nanoseconds since 1970, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub from_ns: i64,
    /// The first one after it.
    pub to_ns: i64,
}

/// What of one kind was moved to and from an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// Which kind of transfer.
    pub code: u16,
    /// How many there were.
    pub transfers: u64,
    /// What they took.
    pub debits: MicroVda,
    /// What they brought.
    pub credits: MicroVda,
}

/// What an account held when a period began and when it was over: credits less debits, in micro-VDA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminus {
    /// At its beginning.
    pub opening: i64,
    /// At its end.
    pub closing: i64,
}

impl Store {
    /// The accounts of a subject, or all; at most so many, after this one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ledger_accounts(
        &self,
        subject: Option<&str>,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        let columns = rows::ACCOUNT;
        let found = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {columns} FROM ledger_accounts
             WHERE (?1 IS NULL OR subject = ?1) AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3"
        )))
        .bind(subject)
        .bind(after.map(|id| rows::bytes(id.0)))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        found.iter().map(rows::account).collect()
    }

    /// The accounts with these ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ledger_accounts_by_id(
        &self,
        ids: &[AccountId],
    ) -> Result<Vec<Account>, StoreError> {
        let mut accounts = Vec::with_capacity(ids.len());
        for ids in ids.chunks(log::ROWS_MAX) {
            let head = format!(
                "SELECT {} FROM ledger_accounts WHERE id IN (",
                rows::ACCOUNT
            );
            let mut query = QueryBuilder::new(head);
            among(&mut query, ids);
            query.push(")");
            for row in query.build().fetch_all(&self.readers).await? {
                accounts.push(rows::account(&row)?);
            }
        }
        Ok(accounts)
    }

    /// Transfers from or to these accounts, or all, oldest first: those from this index on. With a state, those only that
    /// reserve something of which this has become by now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ledger_transfers(
        &self,
        accounts: Option<&[AccountId]>,
        state: Option<PendingState>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<Numbered>, StoreError> {
        let head = format!(
            "SELECT {} FROM ledger_transfers WHERE seq > ",
            rows::TRANSFER
        );
        let mut query = QueryBuilder::new(head);
        query.push_bind(i64::try_from(from).unwrap_or(i64::MAX));
        if let Some(accounts) = accounts {
            query.push(" AND (debit IN (");
            among(&mut query, accounts);
            query.push(") OR credit IN (");
            among(&mut query, accounts);
            query.push("))");
        }
        if let Some(state) = state {
            query.push(" AND id IN (SELECT transfer FROM ledger_pending WHERE state = ");
            query.push_bind(batch::number(state)).push(")");
        }
        query.push(" ORDER BY seq LIMIT ").push_bind(limit);
        let found = query.build().fetch_all(&self.readers).await?;
        found.iter().map(rows::transfer).collect()
    }

    /// A transfer by its id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ledger_transfer(&self, id: TransferId) -> Result<Option<Numbered>, StoreError> {
        let columns = rows::TRANSFER;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {columns} FROM ledger_transfers WHERE id = ?"
        )))
        .bind(rows::bytes(id.0))
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(rows::transfer).transpose()
    }

    /// What was moved to and from an account in a period, by kind, and what it held before and after.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn statement(
        &self,
        account: AccountId,
        period: Period,
    ) -> Result<(Terminus, Vec<StatementLine>), StoreError> {
        let mut snapshot = self.readers.begin().await?;
        let mut terminus = Terminus::default();
        for (end_ns, balance) in [
            (period.from_ns, &mut terminus.opening),
            (period.to_ns, &mut terminus.closing),
        ] {
            for line in sums(&mut snapshot, account, i64::MIN, end_ns).await? {
                *balance += line.credits.less(line.debits);
            }
        }
        let lines = sums(&mut snapshot, account, period.from_ns, period.to_ns).await?;
        Ok((terminus, lines))
    }

    /// The whole ledger as it is now, while others go on writing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ledger_snapshot(&self) -> Result<LedgerSnapshot, StoreError> {
        Ok(LedgerSnapshot {
            snapshot: self.readers.begin().await?,
        })
    }
}

/// Sums up what was posted to and from an account between two times, by kind.
async fn sums(
    snapshot: &mut Transaction<'static, Sqlite>,
    account: AccountId,
    from_ns: i64,
    to_ns: i64,
) -> Result<Vec<StatementLine>, StoreError> {
    let not_moved = TransferFlags::PENDING.and(TransferFlags::VOID);
    let rows = sqlx::query(
        "SELECT code, COUNT(*) AS transfers,
                SUM(CASE WHEN debit = ?1 THEN amount ELSE 0 END) AS debits,
                SUM(CASE WHEN credit = ?1 THEN amount ELSE 0 END) AS credits
         FROM ledger_transfers
         WHERE (debit = ?1 OR credit = ?1) AND at_ns >= ?2 AND at_ns < ?3 AND flags & ?4 = 0
         GROUP BY code ORDER BY code",
    )
    .bind(rows::bytes(account.0))
    .bind(from_ns)
    .bind(to_ns)
    .bind(not_moved.0)
    .fetch_all(&mut **snapshot)
    .await?;
    rows.iter().map(line).collect()
}

fn line(row: &SqliteRow) -> Result<StatementLine, StoreError> {
    let transfers: i64 = row.try_get("transfers")?;
    Ok(StatementLine {
        code: row.try_get("code")?,
        transfers: transfers.max(0) as u64,
        debits: rows::amount(row, "debits")?,
        credits: rows::amount(row, "credits")?,
    })
}

fn among(query: &mut QueryBuilder<Sqlite>, ids: &[AccountId]) {
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(rows::bytes(id.0));
    }
}

/// The ledger at one moment.
#[derive(Debug)]
pub struct LedgerSnapshot {
    snapshot: Transaction<'static, Sqlite>,
}

impl LedgerSnapshot {
    /// How long it is, and its root.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn head(&mut self) -> Result<LogHead, StoreError> {
        let frontier = log::frontier(&mut self.snapshot, Log::Ledger).await?;
        Ok(LogHead {
            size: frontier.size(),
            root: frontier.root(),
        })
    }

    /// All checkpoints that are kept, shortest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn checkpoints(&mut self) -> Result<Vec<String>, StoreError> {
        log::checkpoints(&mut self.snapshot, Log::Ledger).await
    }

    /// The next accounts after this one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accounts(
        &mut self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        let columns = rows::ACCOUNT;
        let found = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {columns} FROM ledger_accounts WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2"
        )))
        .bind(after.map(|id| rows::bytes(id.0)))
        .bind(limit)
        .fetch_all(&mut *self.snapshot)
        .await?;
        found.iter().map(rows::account).collect()
    }

    /// The next transfers, from this index on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn transfers(&mut self, from: u64, limit: u32) -> Result<Vec<Numbered>, StoreError> {
        let columns = rows::TRANSFER;
        let found = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {columns} FROM ledger_transfers WHERE seq > ? ORDER BY seq LIMIT ?"
        )))
        .bind(from as i64)
        .bind(limit)
        .fetch_all(&mut *self.snapshot)
        .await?;
        found.iter().map(rows::transfer).collect()
    }
}
