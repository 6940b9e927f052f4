//! Reads what changed, in the order in which it did.

use sqlx::sqlite::SqliteRow;
use tokio::sync::watch;

use super::reading::{document, parts};
use super::{DatabaseRecord, DocumentRow, DocumentStore};
use crate::StoreError;

impl DocumentStore {
    /// Documents whose last change is after `since`, and not after `until`; the oldest change first.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn changes(
        &self,
        db: &DatabaseRecord,
        since: i64,
        until: i64,
        limit: u64,
        with_bodies: bool,
    ) -> Result<Vec<DocumentRow>, StoreError> {
        let rows = self.select(db, (since, until), limit, with_bodies, "ASC");
        rows.await
    }

    /// The same from the newest change on.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn changes_backwards(
        &self,
        db: &DatabaseRecord,
        since: i64,
        until: i64,
        limit: u64,
        with_bodies: bool,
    ) -> Result<Vec<DocumentRow>, StoreError> {
        let rows = self.select(db, (since, until), limit, with_bodies, "DESC");
        rows.await
    }

    /// How many documents changed after this.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn pending(&self, db: i64, since: i64) -> Result<u64, StoreError> {
        let count = "SELECT COUNT(*) FROM documents WHERE db = ? AND seq > ?";
        let count: i64 = sqlx::query_scalar(count)
            .bind(db)
            .bind(since)
            .fetch_one(&self.readers)
            .await?;
        Ok(count.max(0) as u64)
    }

    /// Hears of each change from now on. Whoever subscribes first and then reads misses none.
    pub fn feed(&self, db: i64) -> watch::Receiver<i64> {
        self.feeds.subscribe(db)
    }

    async fn select(
        &self,
        db: &DatabaseRecord,
        (since, until): (i64, i64),
        limit: u64,
        with_bodies: bool,
        order: &str,
    ) -> Result<Vec<DocumentRow>, StoreError> {
        let (columns, join) = parts(with_bodies);
        let rows: Vec<SqliteRow> = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {columns} FROM documents AS d {join}
             WHERE d.db = ? AND d.seq > ? AND d.seq <= ? ORDER BY d.seq {order} LIMIT ?"
        )))
        .bind(db.key)
        .bind(since)
        .bind(until)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| document(row, db)).collect()
    }
}
