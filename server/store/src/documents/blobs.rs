//! Which blobs are here and for whom. Their bytes lie elsewhere, under their hashes: a row is written after
//! the bytes and deleted before them, so a row never lacks its bytes.

use std::collections::HashSet;

use kwaainet_core::PrincipalId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{DocumentStore, IMMEDIATE};
use crate::StoreError;

/// Uploads of one principal that are under way.
const UPLOADS_MAX: i64 = 100;

/// A blob of somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRecord {
    /// Its BLAKE3 in hexadecimal digits.
    pub hash: String,
    /// Its size.
    pub bytes: u64,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
}

/// An upload that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRecord {
    /// Names it.
    pub id: String,
    /// Bytes that it will have.
    pub bytes: u64,
}

/// What became of an upload that was to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadBegun {
    /// It began.
    Done,
    /// Too many are under way.
    TooMany,
    /// There is no room for it beside what its owner has and has announced.
    Full,
}

impl DocumentStore {
    /// Notes that a principal has a blob; `false`, and nothing is noted, if all that is his would be more
    /// than `quota` bytes. What he has already costs nothing again.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn hold_blob(
        &self,
        owner: &PrincipalId,
        blob: &BlobRecord,
        quota: u64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let known = sqlx::query("SELECT 1 FROM blob_holders WHERE owner = ? AND hash = ?")
            .bind(owner.as_str())
            .bind(&blob.hash)
            .fetch_optional(&mut *transaction)
            .await?;
        if known.is_some() {
            return Ok(true);
        }
        let held: i64 = sqlx::query_scalar(HELD)
            .bind(owner.as_str())
            .fetch_one(&mut *transaction)
            .await?;
        if (held.max(0) as u64).saturating_add(blob.bytes) > quota {
            return Ok(false);
        }
        sqlx::query("INSERT INTO blobs (hash, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(&blob.hash)
            .bind(blob.bytes as i64)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO blob_holders (owner, hash, created_at_ms) VALUES (?, ?, ?)")
            .bind(owner.as_str())
            .bind(&blob.hash)
            .bind(blob.created_at_ms)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The principal's blob with this hash.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn blob(
        &self,
        owner: &PrincipalId,
        hash: &str,
    ) -> Result<Option<BlobRecord>, StoreError> {
        let row = sqlx::query(
            "SELECT b.hash, b.bytes, h.created_at_ms FROM blob_holders AS h
             JOIN blobs AS b ON b.hash = h.hash WHERE h.owner = ? AND h.hash = ?",
        )
        .bind(owner.as_str())
        .bind(hash)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(blob).transpose()
    }

    /// A page of the principal's blobs, in order of their hashes.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn blobs(
        &self,
        owner: &PrincipalId,
        after: &str,
        limit: u32,
    ) -> Result<Vec<BlobRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT b.hash, b.bytes, h.created_at_ms FROM blob_holders AS h
             JOIN blobs AS b ON b.hash = h.hash WHERE h.owner = ? AND h.hash > ?
             ORDER BY h.hash LIMIT ?",
        )
        .bind(owner.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(blob).collect()
    }

    /// Forgets that a principal has a blob. `Some(true)` if nobody has it any more, so that its bytes may
    /// go; none if he did not have it.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn release_blob(
        &self,
        owner: &PrincipalId,
        hash: &str,
    ) -> Result<Option<bool>, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let done = sqlx::query("DELETE FROM blob_holders WHERE owner = ? AND hash = ?")
            .bind(owner.as_str())
            .bind(hash)
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let gone = sqlx::query(
            "DELETE FROM blobs WHERE hash = ?1
             AND NOT EXISTS (SELECT 1 FROM blob_holders WHERE hash = ?1)",
        )
        .bind(hash)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(gone.rows_affected() == 1))
    }

    /// Whether anybody has the blob.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn blob_is_held(&self, hash: &str) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM blobs WHERE hash = ?").bind(hash);
        Ok(row.fetch_optional(&self.readers).await?.is_some())
    }

    /// Begins an upload, if the principal has not too many under way, and may have `quota` bytes with all that he has
    /// announced.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn begin_upload(
        &self,
        owner: &PrincipalId,
        upload: &UploadRecord,
        quota: u64,
        now_ms: i64,
    ) -> Result<UploadBegun, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let (count, announced): (i64, i64) =
            sqlx::query_as("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM uploads WHERE owner = ?")
                .bind(owner.as_str())
                .fetch_one(&mut *transaction)
                .await?;
        if count >= UPLOADS_MAX {
            return Ok(UploadBegun::TooMany);
        }
        let held: i64 = sqlx::query_scalar(HELD)
            .bind(owner.as_str())
            .fetch_one(&mut *transaction)
            .await?;
        let held = held.max(0).saturating_add(announced) as u64;
        if held.saturating_add(upload.bytes) > quota {
            return Ok(UploadBegun::Full);
        }
        sqlx::query("INSERT INTO uploads (id, owner, bytes, created_at_ms) VALUES (?, ?, ?, ?)")
            .bind(&upload.id)
            .bind(owner.as_str())
            .bind(upload.bytes as i64)
            .bind(now_ms)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(UploadBegun::Done)
    }

    /// The principal's upload.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn upload(
        &self,
        owner: &PrincipalId,
        id: &str,
    ) -> Result<Option<UploadRecord>, StoreError> {
        let row = sqlx::query("SELECT id, bytes FROM uploads WHERE owner = ? AND id = ?")
            .bind(owner.as_str())
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        let row = row.map(|row| {
            Ok(UploadRecord {
                id: row.try_get("id")?,
                bytes: row.try_get::<i64, _>("bytes")?.max(0) as u64,
            })
        });
        row.transpose()
    }

    /// Forgets an upload; `false` if there is none.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn end_upload(&self, owner: &PrincipalId, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM uploads WHERE owner = ? AND id = ?")
            .bind(owner.as_str())
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets uploads that began before this.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn end_old_uploads(&self, before_ms: i64) -> Result<Vec<String>, StoreError> {
        let ids = sqlx::query_scalar("DELETE FROM uploads WHERE created_at_ms < ? RETURNING id")
            .bind(before_ms)
            .fetch_all(&self.writer)
            .await?;
        Ok(ids)
    }

    /// The names of all files that blobs and uploads have: hashes and ids.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn blob_files(&self) -> Result<HashSet<String>, StoreError> {
        let names: Vec<String> =
            sqlx::query_scalar("SELECT hash FROM blobs UNION ALL SELECT id FROM uploads")
                .fetch_all(&self.readers)
                .await?;
        Ok(names.into_iter().collect())
    }
}

/// Bytes of a principal's databases and blobs.
pub(super) const HELD: &str = "SELECT
    (SELECT COALESCE(SUM(bytes), 0) FROM databases WHERE owner = ?1)
    + (SELECT COALESCE(SUM(b.bytes), 0) FROM blob_holders AS h JOIN blobs AS b ON b.hash = h.hash
       WHERE h.owner = ?1)";

fn blob(row: &SqliteRow) -> Result<BlobRecord, StoreError> {
    Ok(BlobRecord {
        hash: row.try_get("hash")?,
        bytes: row.try_get::<i64, _>("bytes")?.max(0) as u64,
        created_at_ms: row.try_get("created_at_ms")?,
    })
}
