//! Vector stores and the files in them. A file in a store is there in whole or not at all: its pieces are
//! written in the step that says it is done.

mod chunks;
mod parts;

use kwaainet_core::PrincipalId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

pub use chunks::{Chunk, Hit, SearchPart};
pub use parts::{VectorFileBatch, VectorFileRecord, VectorFileStatus, VectorWork};

use crate::files::unsigned;
use crate::page::List;
use crate::{Listed, Page, Store, StoreError};

/// One vector store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorStoreRecord {
    /// Names it to clients.
    pub id: String,
    /// Whose it is.
    pub principal: PrincipalId,
    /// What its owner calls it; may be empty.
    pub name: String,
    /// What its owner says of it.
    pub description: Option<String>,
    /// A JSON object, as its owner gave it.
    pub metadata: Option<String>,
    /// The model that makes all its vectors.
    pub model: String,
    /// Days without use after which it is emptied.
    pub expires_after_days: Option<u32>,
    /// Milliseconds since 1970, as all times here.
    pub created_at_ms: i64,
    /// When something was last put in or searched.
    pub last_active_at_ms: i64,
    /// Its files.
    pub counts: VectorFileCounts,
    /// Bytes of texts and vectors.
    pub bytes: u64,
}

/// Files by how far they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VectorFileCounts {
    /// Not yet read.
    pub in_progress: u64,
    /// To be found.
    pub completed: u64,
    /// Not to be read.
    pub failed: u64,
    /// Called off.
    pub cancelled: u64,
}

const DAY_MS: i64 = 86_400_000;

impl VectorStoreRecord {
    /// When it will be emptied if nobody uses it.
    pub fn expires_at_ms(&self) -> Option<i64> {
        let days = self.expires_after_days?;
        Some(self.last_active_at_ms + i64::from(days) * DAY_MS)
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expires_at_ms().is_some_and(|end| now_ms >= end)
    }
}

const COLUMNS: &str = "id, principal, name, description, metadata, model, expires_after_days,
    created_at_ms, last_active_at_ms,
    (SELECT COUNT(*) FROM vector_store_files f WHERE f.store = id AND status = 'in_progress') AS in_progress,
    (SELECT COUNT(*) FROM vector_store_files f WHERE f.store = id AND status = 'completed') AS completed,
    (SELECT COUNT(*) FROM vector_store_files f WHERE f.store = id AND status = 'failed') AS failed,
    (SELECT COUNT(*) FROM vector_store_files f WHERE f.store = id AND status = 'cancelled') AS cancelled,
    (SELECT COALESCE(SUM(bytes), 0) FROM vector_store_files f WHERE f.store = id) AS bytes";

impl Store {
    /// Stores a new vector store without files; `false` when its principal has `stores_max`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_vector_store(
        &self,
        store: &VectorStoreRecord,
        stores_max: u32,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO vector_stores (id, principal, name, description, metadata, model,
                 expires_after_days, created_at_ms, last_active_at_ms)
             SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?
             WHERE (SELECT COUNT(*) FROM vector_stores WHERE principal = ?) < ?",
        )
        .bind(&store.id)
        .bind(store.principal.as_str())
        .bind(&store.name)
        .bind(store.description.as_deref())
        .bind(store.metadata.as_deref())
        .bind(&store.model)
        .bind(store.expires_after_days)
        .bind(store.created_at_ms)
        .bind(store.last_active_at_ms)
        .bind(store.principal.as_str())
        .bind(stores_max)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The principal's vector store with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vector_store(
        &self,
        principal: &PrincipalId,
        id: &str,
    ) -> Result<Option<VectorStoreRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM vector_stores WHERE id = ? AND principal = ?"
        )))
        .bind(id)
        .bind(principal.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(record).transpose()
    }

    /// A page of the principal's vector stores; `None` when it begins at one that is not his.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vector_stores(
        &self,
        principal: &PrincipalId,
        page: &Page,
    ) -> Result<Option<Listed<VectorStoreRecord>>, StoreError> {
        let list = List {
            columns: COLUMNS,
            table: "vector_stores",
            id: "id",
            wanted: vec![("principal", principal.as_str())],
        };
        self.list(&list, page, record).await
    }

    /// Writes what its owner may change: name, description, metadata and expiry.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_vector_store(&self, store: &VectorStoreRecord) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE vector_stores SET name = ?, description = ?, metadata = ?,
                 expires_after_days = ?
             WHERE id = ? AND principal = ?",
        )
        .bind(&store.name)
        .bind(store.description.as_deref())
        .bind(store.metadata.as_deref())
        .bind(store.expires_after_days)
        .bind(&store.id)
        .bind(store.principal.as_str())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// A vector store was used.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn touch_vector_store(&self, id: &str, now_ms: i64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE vector_stores SET last_active_at_ms = MAX(last_active_at_ms, ?) WHERE id = ?",
        )
        .bind(now_ms)
        .bind(id)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Deletes a vector store with all that is in it; `false` if the principal has no such store.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_vector_store(
        &self,
        principal: &PrincipalId,
        id: &str,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM vector_stores WHERE id = ? AND principal = ?")
            .bind(id)
            .bind(principal.as_str())
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Empties the vector stores whose time is over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn empty_expired_vector_stores(&self, now_ms: i64) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM vector_store_files WHERE store IN (
                 SELECT id FROM vector_stores
                 WHERE last_active_at_ms + expires_after_days * ? <= ?)",
        )
        .bind(DAY_MS)
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}

fn counts(row: &SqliteRow) -> Result<VectorFileCounts, StoreError> {
    Ok(VectorFileCounts {
        in_progress: unsigned(row, "in_progress")?,
        completed: unsigned(row, "completed")?,
        failed: unsigned(row, "failed")?,
        cancelled: unsigned(row, "cancelled")?,
    })
}

fn record(row: &SqliteRow) -> Result<VectorStoreRecord, StoreError> {
    Ok(VectorStoreRecord {
        id: row.try_get("id")?,
        principal: PrincipalId::new(row.try_get::<String, _>("principal")?),
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        metadata: row.try_get("metadata")?,
        model: row.try_get("model")?,
        expires_after_days: row.try_get("expires_after_days")?,
        created_at_ms: row.try_get("created_at_ms")?,
        last_active_at_ms: row.try_get("last_active_at_ms")?,
        counts: counts(row)?,
        bytes: unsigned(row, "bytes")?,
    })
}

#[cfg(test)]
mod tests;
