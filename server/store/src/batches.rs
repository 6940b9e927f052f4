//! Batches and the answers to their lines. Every answer is written before it counts, and only once, so
//! that a batch can be gone on with after any crash.

use std::collections::HashSet;

use kwaainet_core::{KeyId, PrincipalId, Usage};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::files::{self, FileRecord, unsigned};
use crate::page::List;
use crate::{Listed, Page, Store, StoreError};

/// One batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// Names it to clients.
    pub id: String,
    /// Whose it is.
    pub principal: PrincipalId,
    /// The key that it was made with, if any; the batch goes on as long as the key is good.
    pub key: Option<KeyId>,
    /// Where its lines go.
    pub endpoint: String,
    /// The file with the lines.
    pub input_file: String,
    /// A JSON object, as its owner gave it.
    pub metadata: Option<String>,
    /// How long its output is kept, in seconds; without one, until it is deleted.
    pub output_expires_s: Option<u32>,
    /// How far it is.
    pub status: BatchStatus,
    /// Lines in all, and of them those with a good and a bad answer.
    pub counts: BatchCounts,
    /// Tokens over all good answers.
    pub usage: Usage,
    /// A JSON list of what was wrong with it, if it failed.
    pub errors: Option<String>,
    /// The good answers, once there is such a file.
    pub output_file: Option<String>,
    /// The bad answers, once there is such a file.
    pub error_file: Option<String>,
    /// Milliseconds since 1970, as all times here.
    pub created_at_ms: i64,
    /// When what is not done is given up.
    pub expires_at_ms: i64,
    /// When its first line ran.
    pub in_progress_at_ms: Option<i64>,
    /// When all lines were done.
    pub finalizing_at_ms: Option<i64>,
    /// When its owner called it off.
    pub cancelling_at_ms: Option<i64>,
    /// When it was over, whichever way.
    pub ended_at_ms: Option<i64>,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchStatus {
    /// Its file is being checked.
    Validating,
    /// Its lines run.
    InProgress,
    /// Its files are being written.
    Finalizing,
    /// It was called off, and what is done is being written.
    Cancelling,
    /// Over: every line has its answer.
    Completed,
    /// Over: it could not run.
    Failed,
    /// Over: its time was up before every line had its answer.
    Expired,
    /// Over: it was called off.
    Cancelled,
}

impl BatchStatus {
    const ALL: [Self; 8] = [
        Self::Validating,
        Self::InProgress,
        Self::Finalizing,
        Self::Cancelling,
        Self::Completed,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
    ];

    /// OpenAI's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Lines of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// In the input.
    pub total: u64,
    /// With a good answer.
    pub completed: u64,
    /// With a bad one.
    pub failed: u64,
}

/// The answer to one line.
#[derive(Clone, Debug)]
pub struct BatchLine {
    /// Which line of the input, from 1.
    pub line: u32,
    /// Whether the request succeeded.
    pub good: bool,
    /// A line of JSON.
    pub output: String,
    /// Tokens that it took.
    pub usage: Usage,
}

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

/// How a batch ends.
#[derive(Clone, Debug)]
pub struct BatchEnd {
    /// One of those that are over.
    pub status: BatchStatus,
    /// When.
    pub now_ms: i64,
    /// The file with the good answers, if there are any.
    pub output: Option<FileRecord>,
    /// The file with the bad ones.
    pub error: Option<FileRecord>,
    /// A JSON list of what was wrong with the batch.
    pub errors: Option<String>,
}

fn record(row: &SqliteRow) -> Result<BatchRecord, StoreError> {
    let status: String = row.try_get("status")?;
    let status = BatchStatus::ALL.into_iter().find(|s| s.as_str() == status);
    let key: Option<String> = row.try_get("key")?;
    let tokens = |column| row.try_get::<u32, _>(column);
    Ok(BatchRecord {
        id: row.try_get("id")?,
        principal: PrincipalId::new(row.try_get::<String, _>("principal")?),
        key: key.map(KeyId::new),
        endpoint: row.try_get("endpoint")?,
        input_file: row.try_get("input_file")?,
        metadata: row.try_get("metadata")?,
        output_expires_s: row.try_get("output_expires_s")?,
        status: status.ok_or(StoreError::Malformed("batch status"))?,
        counts: BatchCounts {
            total: unsigned(row, "total")?,
            completed: unsigned(row, "completed")?,
            failed: unsigned(row, "failed")?,
        },
        usage: Usage {
            prompt_tokens: tokens("input_tokens")?,
            cached_tokens: tokens("cached_tokens")?,
            completion_tokens: tokens("output_tokens")?,
        },
        errors: row.try_get("errors")?,
        output_file: row.try_get("output_file")?,
        error_file: row.try_get("error_file")?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
        in_progress_at_ms: row.try_get("in_progress_at_ms")?,
        finalizing_at_ms: row.try_get("finalizing_at_ms")?,
        cancelling_at_ms: row.try_get("cancelling_at_ms")?,
        ended_at_ms: row.try_get("ended_at_ms")?,
    })
}

#[cfg(test)]
mod tests;
