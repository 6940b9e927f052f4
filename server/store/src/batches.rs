//! Batches and the answers to their lines. Every answer is written before it counts, and only once, so
//! that a batch can be gone on with after any crash.

mod record;

use std::collections::HashSet;

use kwaainet_core::PrincipalId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

pub use record::{BatchCounts, BatchEnd, BatchLine, BatchRecord, BatchStatus};

use record::record;

use crate::files::{self, FileRecord, unsigned};
use crate::page::List;
use crate::{Listed, Page, Store, StoreError};

const COLUMNS: &str = "id, principal, key, endpoint, input_file, metadata, output_expires_s, status,
    total, completed, failed, input_tokens, cached_tokens, output_tokens, errors, output_file, error_file,
    created_at_ms, expires_at_ms, in_progress_at_ms, finalizing_at_ms, cancelling_at_ms, ended_at_ms";
const UNDER_WAY: &str = "status IN ('validating', 'in_progress', 'finalizing', 'cancelling')";

impl Store {
    /// Stores a new batch; `false`, and nothing is stored, when its principal has `under_way_max` under
    /// way or `kept_max` in all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_batch(
        &self,
        batch: &BatchRecord,
        under_way_max: u64,
        kept_max: u64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT COUNT(*) AS kept, COUNT(*) FILTER (WHERE {UNDER_WAY}) AS under_way FROM batches
             WHERE principal = ?"
        )))
        .bind(batch.principal.as_str())
        .fetch_one(&mut *transaction)
        .await?;
        if unsigned(&row, "under_way")? >= under_way_max || unsigned(&row, "kept")? >= kept_max {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO batches (id, principal, key, endpoint, input_file, metadata,
                 output_expires_s, status, created_at_ms, expires_at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&batch.id)
        .bind(batch.principal.as_str())
        .bind(batch.key.as_ref().map(|key| key.as_str()))
        .bind(&batch.endpoint)
        .bind(&batch.input_file)
        .bind(batch.metadata.as_deref())
        .bind(batch.output_expires_s)
        .bind(batch.status.as_str())
        .bind(batch.created_at_ms)
        .bind(batch.expires_at_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The principal's batch with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn batch(
        &self,
        principal: &PrincipalId,
        id: &str,
    ) -> Result<Option<BatchRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM batches WHERE id = ? AND principal = ?"
        )))
        .bind(id)
        .bind(principal.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(record).transpose()
    }

    /// A page of the principal's batches; `None` when the page begins at a batch that is not his.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn batches(
        &self,
        principal: &PrincipalId,
        page: &Page,
    ) -> Result<Option<Listed<BatchRecord>>, StoreError> {
        let list = List {
            columns: COLUMNS,
            table: "batches",
            id: "id",
            wanted: vec![("principal", principal.as_str())],
        };
        self.list(&list, page, record).await
    }

    /// The oldest batch under way of each principal, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_batches(&self, limit: u32) -> Result<Vec<BatchRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM batches WHERE seq IN (
                 SELECT MIN(seq) FROM batches WHERE {UNDER_WAY} GROUP BY principal)
             ORDER BY seq LIMIT ?"
        )))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }

    /// A batch was found sound and has so many lines.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn batch_begins(&self, id: &str, total: u32, now_ms: i64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE batches SET status = 'in_progress', total = ?, in_progress_at_ms = ?
             WHERE id = ? AND status = 'validating'",
        )
        .bind(total)
        .bind(now_ms)
        .bind(id)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Every line of a batch has its answer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn batch_finalizes(&self, id: &str, now_ms: i64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE batches SET status = 'finalizing', finalizing_at_ms = ?
             WHERE id = ? AND status = 'in_progress'",
        )
        .bind(now_ms)
        .bind(id)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Calls a batch off; `false` if the principal has no such batch or it is not to be stopped any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_batch(
        &self,
        principal: &PrincipalId,
        id: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE batches SET status = 'cancelling', cancelling_at_ms = ?
             WHERE id = ? AND principal = ? AND status IN ('validating', 'in_progress')",
        )
        .bind(now_ms)
        .bind(id)
        .bind(principal.as_str())
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes answers and counts them, in one transaction. An answer to a line that has one already is
    /// dropped, and so is one to a batch that is over.
    ///
    /// # Errors
    /// When the database fails; then nothing was written.
    pub async fn record_lines(&self, batch: &str, lines: &[BatchLine]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin().await?;
        for line in lines {
            let done = sqlx::query(
                "INSERT INTO batch_lines (batch, line, good, output)
                 SELECT id, ?, ?, ? FROM batches
                 WHERE id = ? AND status IN ('in_progress', 'cancelling')
                 ON CONFLICT (batch, line) DO NOTHING",
            )
            .bind(line.line)
            .bind(line.good)
            .bind(&line.output)
            .bind(batch)
            .execute(&mut *transaction)
            .await?;
            if done.rows_affected() == 0 {
                continue;
            }
            sqlx::query(
                "UPDATE batches SET completed = completed + ?, failed = failed + ?,
                     input_tokens = input_tokens + ?, cached_tokens = cached_tokens + ?,
                     output_tokens = output_tokens + ?
                 WHERE id = ?",
            )
            .bind(line.good)
            .bind(!line.good)
            .bind(line.usage.prompt_tokens)
            .bind(line.usage.cached_tokens)
            .bind(line.usage.completion_tokens)
            .bind(batch)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The lines of a batch that have their answers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lines_done(&self, batch: &str) -> Result<HashSet<u32>, StoreError> {
        let rows = sqlx::query("SELECT line FROM batch_lines WHERE batch = ?")
            .bind(batch)
            .fetch_all(&self.readers)
            .await?;
        let lines = rows.iter().map(|row| row.try_get("line"));
        Ok(lines.collect::<Result<_, _>>()?)
    }

    /// Bytes of the answers that a batch under way has so far.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn line_bytes(&self, batch: &str) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT COALESCE(SUM(LENGTH(CAST(output AS BLOB))), 0) AS bytes FROM batch_lines
             WHERE batch = ?",
        )
        .bind(batch)
        .fetch_one(&self.readers)
        .await?;
        unsigned(&row, "bytes")
    }

    /// The good or the bad answers after a line, in order, with their lines.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn line_outputs(
        &self,
        batch: &str,
        good: bool,
        after: u32,
        limit: u32,
    ) -> Result<Vec<(u32, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT line, output FROM batch_lines
             WHERE batch = ? AND good = ? AND line > ? ORDER BY line LIMIT ?",
        )
        .bind(batch)
        .bind(good)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &SqliteRow| Ok((row.try_get("line")?, row.try_get("output")?));
        rows.iter().map(read).collect()
    }

    /// Ends a batch: its files' rows, its status and the end of its lines are one transaction. `false`,
    /// and nothing is changed, if it is over already.
    ///
    /// # Errors
    /// When the database fails; then nothing was written.
    pub async fn end_batch(&self, id: &str, end: &BatchEnd) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let file = |file: &Option<FileRecord>| file.as_ref().map(|file| file.id.clone());
        let done = sqlx::query(sqlx::AssertSqlSafe(format!(
            "UPDATE batches SET status = ?, ended_at_ms = ?, output_file = ?, error_file = ?,
                 errors = ?
             WHERE id = ? AND {UNDER_WAY}"
        )))
        .bind(end.status.as_str())
        .bind(end.now_ms)
        .bind(file(&end.output))
        .bind(file(&end.error))
        .bind(end.errors.as_deref())
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for file in [&end.output, &end.error].into_iter().flatten() {
            files::insert(file, &mut transaction).await?;
        }
        sqlx::query("DELETE FROM batch_lines WHERE batch = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Forgets batches that were over before a time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_old_batches(&self, before_ms: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM batches WHERE ended_at_ms < ?")
            .bind(before_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
