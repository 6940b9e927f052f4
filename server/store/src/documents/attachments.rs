//! The bytes that hang on documents, each once in a database, in pieces so that a reader need not hold all.

use std::ops::Range;

use kwaainet_storage::{Attachments, Digest};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::DocumentStore;
use crate::StoreError;

/// Bytes of one piece.
const PIECE: usize = 128 << 10;

impl DocumentStore {
    /// The key of a content and its length; none if the database does not have it.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn attachment(
        &self,
        db: i64,
        digest: &Digest,
    ) -> Result<Option<(i64, u64)>, StoreError> {
        let row = sqlx::query("SELECT key, length FROM attachments WHERE db = ? AND digest = ?")
            .bind(db)
            .bind(digest.as_str())
            .fetch_optional(&self.readers)
            .await?;
        let found = |row: sqlx::sqlite::SqliteRow| {
            let length: i64 = row.try_get("length")?;
            Ok((row.try_get("key")?, length.max(0) as u64))
        };
        row.map(found).transpose()
    }

    /// The bytes of a content from `range.start` on: as many as lie in one piece, and none from `range.end`
    /// on. Empty at the end.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn attachment_piece(
        &self,
        attachment: i64,
        range: Range<u64>,
    ) -> Result<Vec<u8>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let piece = PIECE as u64;
        let n = range.start / piece;
        let row = sqlx::query("SELECT bytes FROM attachment_pieces WHERE attachment = ? AND n = ?")
            .bind(attachment)
            .bind(n as i64)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else {
            return Ok(Vec::new());
        };
        let bytes: &[u8] = row.try_get("bytes")?;
        let from = ((range.start - n * piece) as usize).min(bytes.len());
        let to = ((range.end - n * piece).min(piece) as usize).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }
}

/// Keeps a content if the database does not have it; whether it was kept.
pub(super) async fn store(
    db: i64,
    key: i64,
    digest: &Digest,
    bytes: &[u8],
    connection: &mut SqliteConnection,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO attachments (db, digest, key, length) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(db)
    .bind(digest.as_str())
    .bind(key)
    .bind(bytes.len() as i64)
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    for (n, piece) in bytes.chunks(PIECE).enumerate() {
        sqlx::query("INSERT INTO attachment_pieces (attachment, n, bytes) VALUES (?, ?, ?)")
            .bind(key)
            .bind(n as i64)
            .bind(piece)
            .execute(&mut *connection)
            .await?;
    }
    Ok(true)
}

/// What a row says of attachments.
pub(super) fn read(json: Option<&str>) -> Result<Attachments, StoreError> {
    let read = json.map(serde_json::from_str).transpose();
    let read = read.map_err(|_| StoreError::Malformed("list of attachments"))?;
    Ok(read.unwrap_or_default())
}
