//! How much lies here for whom, and for how long: byte-seconds, for whoever accounts for them.

use kwaainet_core::PrincipalId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::blobs::HELD;
use super::{DocumentStore, IMMEDIATE};
use crate::StoreError;

/// Owners that are metered in one transaction.
const OWNERS_MAX: i64 = 100_000;

/// What is metered of one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageMeter {
    /// Whose bytes they are.
    pub owner: PrincipalId,
    /// Bytes when it was last read.
    pub bytes: u64,
    /// When that was: milliseconds since 1970.
    pub metered_at_ms: i64,
    /// Bytes times seconds since he first kept something here. It never falls.
    pub byte_seconds: u64,
}

impl DocumentStore {
    /// Bytes of a principal's databases and blobs.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn held(&self, owner: &PrincipalId) -> Result<u64, StoreError> {
        let held: i64 = sqlx::query_scalar(HELD)
            .bind(owner.as_str())
            .fetch_one(&self.readers)
            .await?;
        Ok(held.max(0) as u64)
    }

    /// Reads all meters: what lay here at both ends of the time since the last reading counts for that time.
    /// A clock that went backwards counts nothing.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn meter(&self, now_ms: i64) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let rows = sqlx::query(
            "WITH owned AS (
                 SELECT owner, SUM(bytes) AS bytes FROM (
                     SELECT owner, bytes FROM databases
                     UNION ALL SELECT h.owner, b.bytes FROM blob_holders AS h JOIN blobs AS b ON b.hash = h.hash
                     UNION ALL SELECT owner, 0 FROM storage_meters)
                 GROUP BY owner)
             SELECT o.owner, o.bytes AS now, m.bytes, m.metered_at_ms, m.byte_seconds, m.rest
             FROM owned AS o LEFT JOIN storage_meters AS m ON m.owner = o.owner LIMIT ?",
        )
        .bind(OWNERS_MAX)
        .fetch_all(&mut *transaction)
        .await?;
        for row in &rows {
            let now: i64 = row.try_get("now")?;
            let before: Option<i64> = row.try_get("bytes")?;
            let at: Option<i64> = row.try_get("metered_at_ms")?;
            let past: Option<i64> = row.try_get("byte_seconds")?;
            let rest: Option<i64> = row.try_get("rest")?;
            let elapsed = at.map_or(0, |at| now_ms.saturating_sub(at).max(0));
            let held = before.unwrap_or(0).min(now).max(0);
            let more = i128::from(held) * i128::from(elapsed) + i128::from(rest.unwrap_or(0));
            let seconds = i64::try_from(more / 1_000).unwrap_or(i64::MAX);
            sqlx::query(
                "INSERT INTO storage_meters (owner, bytes, metered_at_ms, byte_seconds, rest)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (owner) DO UPDATE SET bytes = ?2, metered_at_ms = ?3, byte_seconds = ?4,
                     rest = ?5",
            )
            .bind(row.try_get::<&str, _>("owner")?)
            .bind(now)
            .bind(now_ms)
            .bind(past.unwrap_or(0).saturating_add(seconds))
            .bind((more % 1_000) as i64)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// What the meters say that were read after this time: milliseconds since 1970.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn meters_after(&self, after_ms: i64) -> Result<Vec<StorageMeter>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM storage_meters WHERE metered_at_ms > ? ORDER BY owner LIMIT ?",
        )
        .bind(after_ms)
        .bind(OWNERS_MAX)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(meter).collect()
    }

    /// What the meter of one owner says.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn meter_of(&self, owner: &PrincipalId) -> Result<Option<StorageMeter>, StoreError> {
        let row = sqlx::query("SELECT * FROM storage_meters WHERE owner = ?")
            .bind(owner.as_str())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(meter).transpose()
    }
}

fn meter(row: &SqliteRow) -> Result<StorageMeter, StoreError> {
    let unsigned = |column| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)?.max(0) as u64);
    Ok(StorageMeter {
        owner: PrincipalId::new(row.try_get::<String, _>("owner")?),
        bytes: unsigned("bytes")?,
        metered_at_ms: row.try_get("metered_at_ms")?,
        byte_seconds: unsigned("byte_seconds")?,
    })
}
