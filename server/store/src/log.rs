//! The Merkle trees of the logs: their subtrees, their heads, and proofs out of them.

use std::collections::HashMap;

use kwaainet_core::merkle::{Frontier, Hash, ProofPlan, Subtree};
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row};

use crate::{Store, StoreError};

/// Rows of one statement.
pub(crate) const ROWS_MAX: usize = 500;
/// Signed checkpoints that are kept of each log.
const CHECKPOINTS_MAX: i64 = 4_096;

/// Which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Log {
    /// Transfers.
    Ledger = 1,
    /// Who touched what.
    Audit = 2,
}

impl Log {
    fn entries(self) -> &'static str {
        match self {
            Self::Ledger => "ledger_transfers",
            Self::Audit => "audit_entries",
        }
    }
}

/// A log as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// How many entries.
    pub size: u64,
    /// Over all of them.
    pub root: Hash,
}

impl Store {
    /// How long a log is, and its root.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_head(&self, log: Log) -> Result<LogHead, StoreError> {
        let mut snapshot = self.readers.begin().await?;
        let frontier = frontier(&mut snapshot, log).await?;
        Ok(LogHead {
            size: frontier.size(),
            root: frontier.root(),
        })
    }

    /// The hashes of a proof; `None` if the log is not as long as the plan says.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prove(&self, log: Log, plan: &ProofPlan) -> Result<Option<Vec<Hash>>, StoreError> {
        let mut snapshot = self.readers.begin().await?;
        let known = nodes(&mut snapshot, log, plan.needs().collect()).await?;
        Ok(plan.assemble(|subtree| known.get(&subtree).copied()))
    }

    /// Keeps a checkpoint that was signed; one of the same size that is there already stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_checkpoint(
        &self,
        log: Log,
        size: u64,
        note: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin().await?;
        sqlx::query(
            "INSERT INTO log_checkpoints (log, size, note, signed_at_ms) VALUES (?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )
        .bind(log as i64)
        .bind(size as i64)
        .bind(note)
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM log_checkpoints WHERE log = ?1 AND size <= (
                 SELECT size FROM log_checkpoints WHERE log = ?1 ORDER BY size DESC LIMIT 1 OFFSET ?2)",
        )
        .bind(log as i64)
        .bind(CHECKPOINTS_MAX)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The checkpoint of this size, if one was signed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn checkpoint(&self, log: Log, size: u64) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT note FROM log_checkpoints WHERE log = ? AND size = ?")
            .bind(log as i64)
            .bind(size as i64)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| row.try_get("note")).transpose()?)
    }
}

/// All checkpoints of a log that are kept, shortest first.
pub(crate) async fn checkpoints(
    connection: &mut SqliteConnection,
    log: Log,
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("SELECT note FROM log_checkpoints WHERE log = ? ORDER BY size")
        .bind(log as i64)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok(row.try_get("note")?)).collect()
}

/// The right edge of a log.
pub(crate) async fn frontier(
    connection: &mut SqliteConnection,
    log: Log,
) -> Result<Frontier, StoreError> {
    let entries = log.entries();
    let sql = format!("SELECT COALESCE(MAX(seq), 0) AS size FROM {entries}");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .fetch_one(&mut *connection)
        .await?;
    let size: i64 = row.try_get("size")?;
    let size = u64::try_from(size).map_err(|_| StoreError::Malformed("log"))?;
    let needs = Frontier::needs(size);
    let known = nodes(connection, log, needs.clone()).await?;
    let peaks: Option<Vec<Hash>> = needs.iter().map(|need| known.get(need).copied()).collect();
    let frontier = peaks.and_then(|peaks| Frontier::restore(size, peaks));
    frontier.ok_or(StoreError::Malformed("log"))
}

/// The hashes of those of these subtrees that are complete.
async fn nodes(
    connection: &mut SqliteConnection,
    log: Log,
    subtrees: Vec<Subtree>,
) -> Result<HashMap<Subtree, Hash>, StoreError> {
    let mut known = HashMap::with_capacity(subtrees.len());
    for subtree in subtrees {
        let row =
            sqlx::query("SELECT hash FROM log_nodes WHERE log = ? AND level = ? AND position = ?")
                .bind(log as i64)
                .bind(subtree.level)
                .bind(subtree.index as i64)
                .fetch_optional(&mut *connection)
                .await?;
        let Some(row) = row else { continue };
        let hash: Vec<u8> = row.try_get("hash")?;
        let hash = hash.try_into().map_err(|_| StoreError::Malformed("log"))?;
        known.insert(subtree, hash);
    }
    Ok(known)
}

/// Adds leaves to a log, within the transaction that adds its entries.
pub(crate) async fn append(
    connection: &mut SqliteConnection,
    log: Log,
    frontier: &mut Frontier,
    leaves: impl Iterator<Item = Hash>,
) -> Result<(), StoreError> {
    let mut new = Vec::new();
    for leaf in leaves {
        frontier.append(leaf, |subtree, hash| new.push((subtree, hash)));
    }
    for rows in new.chunks(ROWS_MAX) {
        let mut insert = QueryBuilder::new("INSERT INTO log_nodes (log, level, position, hash) ");
        insert.push_values(rows, |mut row, (subtree, hash)| {
            row.push_bind(log as i64)
                .push_bind(i64::from(subtree.level))
                .push_bind(subtree.index as i64)
                .push_bind(hash.to_vec());
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}
