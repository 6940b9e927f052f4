//! The files in a vector store.

use kwaainet_core::{KeyId, PrincipalId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{VectorFileCounts, counts};
use crate::files::unsigned;
use crate::page::List;
use crate::{Listed, Page, Store, StoreError};

/// A file in a vector store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorFileRecord {
    /// In which store.
    pub store: String,
    /// Which file.
    pub file: String,
    /// With which others it was put in.
    pub file_batch: Option<String>,
    /// The key that it was put in with, if any.
    pub key: Option<KeyId>,
    /// How far it is.
    pub status: VectorFileStatus,
    /// Why it failed: OpenAI's code and a sentence.
    pub error: Option<(String, String)>,
    /// A JSON object, as its owner gave it.
    pub attributes: Option<String>,
    /// Tokens of a piece and how many of them it shares with the next; `None` leaves them to the node.
    pub chunking: Option<(u32, u32)>,
    /// Bytes of its texts and vectors.
    pub bytes: u64,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
}

/// How far a file in a vector store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorFileStatus {
    /// Not yet read.
    InProgress,
    /// To be found.
    Completed,
    /// Not to be read.
    Failed,
    /// Called off.
    Cancelled,
}

impl VectorFileStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::InProgress,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// OpenAI's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A file that waits to be read into a store.
#[derive(Clone, Debug)]
pub struct VectorWork {
    /// Stands for the file in the store.
    pub part: i64,
    /// What is to be read.
    pub file: VectorFileRecord,
    /// Its name, which says what it holds.
    pub filename: String,
    /// Whose it is.
    pub principal: PrincipalId,
    /// The store's model.
    pub model: String,
}

/// Files that were put into a store together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorFileBatch {
    /// Names it to clients.
    pub id: String,
    /// Into which store.
    pub store: String,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// Its files.
    pub counts: VectorFileCounts,
}

const COLUMNS: &str = "f.seq AS seq, f.store AS store, f.file AS file, f.file_batch AS file_batch,
    f.key AS key, f.status AS status, f.error_code AS error_code, f.error_message AS error_message,
    f.attributes AS attributes, f.chunk_tokens AS chunk_tokens, f.overlap_tokens AS overlap_tokens,
    f.bytes AS bytes, f.created_at_ms AS created_at_ms";
const TABLE: &str = "vector_store_files f";

impl Store {
    /// Puts files into a store, to be read later; what was there of them is forgotten. `false`, and
    /// nothing is changed, when the store would have more than `files_max`, or when a file is not the
    /// principal's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_vector_files(
        &self,
        principal: &PrincipalId,
        files: &[VectorFileRecord],
        files_max: u64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin().await?;
        for file in files {
            sqlx::query("DELETE FROM vector_store_files WHERE store = ? AND file = ?")
                .bind(&file.store)
                .bind(&file.file)
                .execute(&mut *transaction)
                .await?;
            let done = sqlx::query(
                "INSERT INTO vector_store_files (store, file, file_batch, key, status, attributes,
                     chunk_tokens, overlap_tokens, created_at_ms)
                 SELECT ?, files.id, ?, ?, 'in_progress', ?, ?, ?, ? FROM files
                 WHERE id = ? AND principal = ?
                 AND (SELECT COUNT(*) FROM vector_store_files WHERE store = ?) < ?",
            )
            .bind(&file.store)
            .bind(file.file_batch.as_deref())
            .bind(file.key.as_ref().map(|key| key.as_str()))
            .bind(file.attributes.as_deref())
            .bind(file.chunking.map(|(tokens, _)| tokens))
            .bind(file.chunking.map(|(_, overlap)| overlap))
            .bind(file.created_at_ms)
            .bind(&file.file)
            .bind(principal.as_str())
            .bind(&file.store)
            .bind(crate::files::signed(files_max))
            .execute(&mut *transaction)
            .await?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// A file in a store.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vector_file(
        &self,
        store: &str,
        file: &str,
    ) -> Result<Option<VectorFileRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM {TABLE} WHERE f.store = ? AND f.file = ?"
        )))
        .bind(store)
        .bind(file)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(record).transpose()
    }

    /// A page of a store's files, of one batch of them if it is named; `None` when the page begins at a
    /// file that is not among them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vector_files(
        &self,
        store: &str,
        file_batch: Option<&str>,
        status: Option<VectorFileStatus>,
        page: &Page,
    ) -> Result<Option<Listed<VectorFileRecord>>, StoreError> {
        let mut wanted = vec![("f.store", store)];
        wanted.extend(file_batch.map(|batch| ("f.file_batch", batch)));
        wanted.extend(status.map(|status| ("f.status", status.as_str())));
        let list = List {
            columns: COLUMNS,
            table: TABLE,
            id: "f.file",
            wanted,
        };
        self.list(&list, page, record).await
    }

    /// Takes a file out of a store; `false` if it is not in it. The file itself stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_vector_file(&self, store: &str, file: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM vector_store_files WHERE store = ? AND file = ?")
            .bind(store)
            .bind(file)
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes the attributes of a file in a store, a JSON object.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_vector_file_attributes(
        &self,
        store: &str,
        file: &str,
        attributes: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE vector_store_files SET attributes = ? WHERE store = ? AND file = ?")
            .bind(attributes)
            .bind(store)
            .bind(file)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Of each principal the file that waits longest to be read, in the order of waiting.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_vector_files(&self, limit: u32) -> Result<Vec<VectorWork>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS}, files.filename AS filename, s.principal AS principal, s.model AS model
             FROM {TABLE} JOIN files ON files.id = f.file JOIN vector_stores s ON s.id = f.store
             WHERE f.seq IN (SELECT MIN(w.seq) FROM vector_store_files w
                 JOIN vector_stores o ON o.id = w.store
                 WHERE w.status = 'in_progress' GROUP BY o.principal)
             ORDER BY f.seq LIMIT ?"
        )))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let work = |row: &SqliteRow| {
            Ok(VectorWork {
                part: row.try_get("seq")?,
                file: record(row)?,
                filename: row.try_get("filename")?,
                principal: PrincipalId::new(row.try_get::<String, _>("principal")?),
                model: row.try_get("model")?,
            })
        };
        rows.iter().map(work).collect()
    }

    /// A file could not be read into its store.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fail_vector_file(
        &self,
        part: i64,
        code: &str,
        message: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE vector_store_files SET status = 'failed', error_code = ?, error_message = ?
             WHERE seq = ? AND status = 'in_progress'",
        )
        .bind(code)
        .bind(message)
        .bind(part)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Names files that are put into a store together.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_vector_file_batch(
        &self,
        id: &str,
        store: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO vector_file_batches (id, store, created_at_ms) VALUES (?, ?, ?)")
            .bind(id)
            .bind(store)
            .bind(now_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Files that were put into a store together.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vector_file_batch(
        &self,
        store: &str,
        id: &str,
    ) -> Result<Option<VectorFileBatch>, StoreError> {
        let row = sqlx::query(
            "SELECT b.created_at_ms AS created_at_ms,
                 COUNT(*) FILTER (WHERE f.status = 'in_progress') AS in_progress,
                 COUNT(*) FILTER (WHERE f.status = 'completed') AS completed,
                 COUNT(*) FILTER (WHERE f.status = 'failed') AS failed,
                 COUNT(*) FILTER (WHERE f.status = 'cancelled') AS cancelled
             FROM vector_file_batches b
             LEFT JOIN vector_store_files f ON f.store = b.store AND f.file_batch = b.id
             WHERE b.store = ? AND b.id = ? GROUP BY b.id",
        )
        .bind(store)
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        let batch = |row: &SqliteRow| {
            Ok(VectorFileBatch {
                id: id.to_owned(),
                store: store.to_owned(),
                created_at_ms: row.try_get("created_at_ms")?,
                counts: counts(row)?,
            })
        };
        row.as_ref().map(batch).transpose()
    }

    /// Calls off what is not yet read of the files that were put into a store together.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_vector_file_batch(&self, store: &str, id: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE vector_store_files SET status = 'cancelled'
             WHERE store = ? AND file_batch = ? AND status = 'in_progress'",
        )
        .bind(store)
        .bind(id)
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}

fn record(row: &SqliteRow) -> Result<VectorFileRecord, StoreError> {
    let status: String = row.try_get("status")?;
    let status = VectorFileStatus::ALL
        .into_iter()
        .find(|s| s.as_str() == status);
    let key: Option<String> = row.try_get("key")?;
    let code: Option<String> = row.try_get("error_code")?;
    let message: Option<String> = row.try_get("error_message")?;
    let tokens: Option<u32> = row.try_get("chunk_tokens")?;
    let overlap: Option<u32> = row.try_get("overlap_tokens")?;
    Ok(VectorFileRecord {
        store: row.try_get("store")?,
        file: row.try_get("file")?,
        file_batch: row.try_get("file_batch")?,
        key: key.map(KeyId::new),
        status: status.ok_or(StoreError::Malformed("vector store file"))?,
        error: code.zip(message),
        attributes: row.try_get("attributes")?,
        chunking: tokens.zip(overlap),
        bytes: unsigned(row, "bytes")?,
        created_at_ms: row.try_get("created_at_ms")?,
    })
}
