//! What the database has of a principal beside its logs: told, and erased. What has to stay for the accounts stays
//! without his name.

mod identity;
mod peers;

use kwaainet_core::{PrincipalId, random_id};
use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use crate::{Store, StoreError};

pub use identity::IdentityItem;
pub(crate) use identity::forgotten;
pub use peers::PeerItem;

/// In the place of a principal who was erased.
pub const ERASED: &str = "erased";
/// How often erasing waits for readers who still see what was there.
const SCRUBS_MAX: u32 = 50;
const SCRUB_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// A response or a conversation with all its words.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptWhole {
    /// Its id.
    pub id: String,
    /// `response` or `conversation`.
    pub kind: String,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// The wire object, as JSON.
    pub body: String,
    /// Its items, as JSON.
    pub items: Vec<String>,
}

/// Without its words.
impl std::fmt::Debug for KeptWhole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeptWhole({})", self.id)
    }
}

/// A receipt, as far as it is about a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptOf {
    /// The job.
    pub job: String,
    /// For which model.
    pub model: String,
    /// Which work.
    pub work: String,
    /// How it ended.
    pub outcome: String,
    /// Tokens of the prompt and of the answer.
    pub tokens: (i64, i64),
    /// Milliseconds since 1970.
    pub admitted_at_ms: i64,
    /// How long it took.
    pub duration_ms: i64,
    /// Microjoules, where known.
    pub energy_uj: Option<i64>,
    /// Nanograms of CO2 equivalent, where known.
    pub operational_ng: Option<i64>,
}

impl Store {
    /// Responses and conversations of a principal, whether they have expired or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn kept_of(
        &self,
        principal: &PrincipalId,
        limit: u32,
    ) -> Result<Vec<KeptWhole>, StoreError> {
        let mut snapshot = self.readers.begin().await?;
        let rows = sqlx::query(
            "SELECT id, kind, created_at_ms, body FROM kept WHERE principal = ? ORDER BY created_at_ms, id LIMIT ?",
        )
        .bind(principal.as_str())
        .bind(limit)
        .fetch_all(&mut *snapshot)
        .await?;
        let mut kept = Vec::with_capacity(rows.len());
        for row in rows {
            let id: String = row.try_get("id")?;
            let items = sqlx::query("SELECT body FROM kept_items WHERE owner = ? ORDER BY seq")
                .bind(&id)
                .fetch_all(&mut *snapshot)
                .await?;
            let items: Result<Vec<String>, _> =
                items.iter().map(|item| item.try_get("body")).collect();
            kept.push(KeptWhole {
                id,
                kind: row.try_get("kind")?,
                created_at_ms: row.try_get("created_at_ms")?,
                body: row.try_get("body")?,
                items: items?,
            });
        }
        Ok(kept)
    }

    /// Receipts of a principal's work, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn receipts_of(
        &self,
        principal: &PrincipalId,
        limit: u32,
    ) -> Result<Vec<ReceiptOf>, StoreError> {
        let rows = sqlx::query(
            "SELECT job, model, work, outcome, prompt_tokens, completion_tokens, admitted_at_ms, duration_ms,
                    energy_uj, operational_ng
             FROM receipts WHERE principal = ? ORDER BY seq LIMIT ?",
        )
        .bind(principal.as_str())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let receipts = rows.iter().map(|row| {
            Ok(ReceiptOf {
                job: row.try_get("job")?,
                model: row.try_get("model")?,
                work: row.try_get("work")?,
                outcome: row.try_get("outcome")?,
                tokens: (
                    row.try_get("prompt_tokens")?,
                    row.try_get("completion_tokens")?,
                ),
                admitted_at_ms: row.try_get("admitted_at_ms")?,
                duration_ms: row.try_get("duration_ms")?,
                energy_uj: row.try_get("energy_uj")?,
                operational_ng: row.try_get("operational_ng")?,
            })
        });
        receipts.collect()
    }

    /// Erases what a principal left of this kind: `kept`, `files`, `batches` or `vector_stores`, with all that hangs on
    /// it; gives the ids.
    ///
    /// # Errors
    /// When the database fails; then nothing was erased.
    pub async fn erase_rows(
        &self,
        table: ErasableTable,
        principal: &PrincipalId,
    ) -> Result<Vec<String>, StoreError> {
        let table = table.name();
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "DELETE FROM {table} WHERE principal = ? RETURNING id"
        )))
        .bind(principal.as_str())
        .fetch_all(&self.writer)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    /// Takes a principal's name out of what stays: receipts, accounts, verifications; says how many rows.
    ///
    /// # Errors
    /// When the database fails; then nothing was changed.
    pub async fn anonymize(&self, principal: &PrincipalId) -> Result<u64, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let receipts =
            sqlx::query("UPDATE receipts SET principal = ?, key = NULL WHERE principal = ?")
                .bind(ERASED)
                .bind(principal.as_str())
                .execute(&mut *transaction)
                .await?;
        let accounts = sqlx::query("UPDATE ledger_accounts SET subject = '' WHERE subject = ?")
            .bind(principal.as_str())
            .execute(&mut *transaction)
            .await?;
        let verifications =
            sqlx::query("UPDATE verifications SET principal = ? WHERE principal = ?")
                .bind(ERASED)
                .bind(principal.as_str())
                .execute(&mut *transaction)
                .await?;
        transaction.commit().await?;
        let rows = [receipts, accounts, verifications];
        Ok(rows.iter().map(|done| done.rows_affected()).sum())
    }

    /// Erases an API key. That there was one stays known, since a node that never had a key is open.
    ///
    /// # Errors
    /// When the database fails, or something still refers to it; then nothing was changed.
    pub async fn erase_key(&self, id: &str, now_ms: i64) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin().await?;
        for (table, column) in [
            ("receipts", "key"),
            ("batches", "key"),
            ("vector_store_files", "key"),
            ("accounts", "admitted_by"),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(format!(
                "UPDATE {table} SET {column} = NULL WHERE {column} = ?"
            )))
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        }
        let done = sqlx::query(
            "UPDATE api_keys SET id = ?, name = '', hash = zeroblob(32), scopes = '', last_used_at_ms = NULL, sharing_key = NULL,
                 revoked_at_ms = COALESCE(revoked_at_ms, ?)
             WHERE id = ?",
        )
        .bind(format!("{ERASED}-{}", random_id()))
        .bind(now_ms)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Overwrites what was erased also where the database kept it aside, by writing the whole file anew: a deleted row is
    /// overwritten at once (`secure_delete`), but one that had moved between pages may have left a copy behind.
    ///
    /// # Errors
    /// When the database fails, or somebody goes on reading what was there before.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        rewrite(&self.writer).await
    }
}

/// Writes a database file anew, without what was deleted, and empties its write-ahead log. Nobody can write meanwhile.
pub(crate) async fn rewrite(writer: &SqlitePool) -> Result<(), StoreError> {
    let mut connection = writer.acquire().await?;
    sqlx::query("VACUUM").execute(&mut *connection).await?;
    for _ in 0..SCRUBS_MAX {
        let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        let row = row.fetch_one(&mut *connection).await?;
        if row.try_get::<i64, _>("busy")? == 0 {
            return Ok(());
        }
        tokio::time::sleep(SCRUB_PAUSE).await;
    }
    Err(StoreError::Busy)
}

/// What a principal leaves that can be erased as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasableTable {
    /// Responses and conversations.
    Kept,
    /// Files; their bytes are the caller's to remove.
    Files,
    /// Batches.
    Batches,
    /// Vector stores.
    VectorStores,
}

impl ErasableTable {
    fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Files => "files",
            Self::Batches => "batches",
            Self::VectorStores => "vector_stores",
        }
    }
}
