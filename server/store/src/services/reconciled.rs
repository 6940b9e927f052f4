//! Receipts as two nodes compare them: what changed here, what is lacking here, and what the other one handed over.

use kwaainet_core::NodeId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{COLUMNS, ClaimRecord, ServicePlace, ServiceRecord, bytes, claim, keep, record};
use crate::{Store, StoreError};

/// What changed in this node's book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceChanges {
    /// The book's name, which it got when it was made.
    pub book: [u8; 16],
    /// The number of the last change of all.
    pub last: i64,
    /// Each with the number of its last change, in that order.
    pub changed: Vec<(i64, ServiceRecord)>,
}

/// Up to where a peer's book was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceCursor {
    /// The book's name.
    pub book: [u8; 16],
    /// The number of the last change that was seen.
    pub seen: i64,
}

impl Store {
    /// The receipts with a peer that changed after a number, at most so many, in the order of their changes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn changed_services(
        &self,
        peer: NodeId,
        after: i64,
        limit: u32,
    ) -> Result<ServiceChanges, StoreError> {
        // All of it as it was at one time.
        let mut reading = self.readers.begin().await?;
        let book = sqlx::query(
            "SELECT name, (SELECT COALESCE(MAX(changed), 0) FROM services) AS last
             FROM service_book",
        )
        .fetch_one(&mut *reading)
        .await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT * FROM (SELECT changed, {COLUMNS} FROM services
                 WHERE server = ?1 AND changed > ?2 ORDER BY changed LIMIT ?3)
             UNION ALL
             SELECT * FROM (SELECT changed, {COLUMNS} FROM services
                 WHERE asker = ?1 AND changed > ?2 ORDER BY changed LIMIT ?3)
             ORDER BY changed LIMIT ?3"
        )))
        .bind(peer.0.as_slice())
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *reading)
        .await?;
        Ok(ServiceChanges {
            book: bytes(&book, "name")?,
            last: book.try_get("last")?,
            changed: rows.iter().map(numbered).collect::<Result<_, _>>()?,
        })
    }

    /// Receipts of streams that are over which changed after a number, at most so many, in the order of their changes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ended_services(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, ServiceRecord)>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT changed, {COLUMNS} FROM services WHERE changed > ? AND number > 0
             ORDER BY changed LIMIT ?"
        )))
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(numbered).collect()
    }

    /// Up to where a peer's book was read, if it ever was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn service_cursor(&self, peer: NodeId) -> Result<Option<ServiceCursor>, StoreError> {
        let row = sqlx::query("SELECT book, seen FROM service_cursors WHERE peer = ?")
            .bind(peer.0.as_slice())
            .fetch_optional(&self.readers)
            .await?;
        let cursor = row.map(|row| -> Result<_, StoreError> {
            Ok(ServiceCursor {
                book: bytes(&row, "book")?,
                seen: row.try_get("seen")?,
            })
        });
        cursor.transpose()
    }

    /// Whether there is a statement for each of these streams that is as high, and signed by the asker too if that is
    /// asked for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_services(
        &self,
        places: &[(ServicePlace, bool)],
    ) -> Result<Vec<bool>, StoreError> {
        let mut reading = self.readers.begin().await?;
        let mut has = Vec::with_capacity(places.len());
        for (place, signed) in places {
            let row = sqlx::query(
                "SELECT EXISTS (SELECT 1 FROM services
                     WHERE server = ? AND asker = ? AND chain = ? AND stream = ? AND revision >= ?
                         AND (counter IS NOT NULL OR NOT ?)) AS has",
            )
            .bind(place.server.0.as_slice())
            .bind(place.asker.0.as_slice())
            .bind(place.chain)
            .bind(place.stream)
            .bind(place.revision)
            .bind(signed)
            .fetch_one(&mut *reading)
            .await?;
            has.push(row.try_get("has")?);
        }
        Ok(has)
    }

    /// The receipts with a peer that have these hashes; those that are there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services_by_hash(
        &self,
        peer: NodeId,
        hashes: &[[u8; 32]],
    ) -> Result<Vec<ServiceRecord>, StoreError> {
        let mut reading = self.readers.begin().await?;
        let mut found = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let row = sqlx::query(sqlx::AssertSqlSafe(format!(
                "SELECT {COLUMNS} FROM services WHERE hash = ?1 AND (server = ?2 OR asker = ?2)"
            )))
            .bind(hash.as_slice())
            .bind(peer.0.as_slice())
            .fetch_optional(&mut *reading)
            .await?;
            found.extend(row.as_ref().map(record).transpose()?);
        }
        Ok(found)
    }

    /// What was seen of these requests to a server.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claims_on(
        &self,
        server: NodeId,
        requests: &[[u8; 16]],
    ) -> Result<Vec<ClaimRecord>, StoreError> {
        let mut reading = self.readers.begin().await?;
        let mut found = Vec::new();
        for request in requests {
            let row = sqlx::query("SELECT * FROM claims WHERE server = ? AND request = ?")
                .bind(server.0.as_slice())
                .bind(request.as_slice())
                .fetch_optional(&mut *reading)
                .await?;
            found.extend(row.as_ref().map(claim).transpose()?);
        }
        Ok(found)
    }

    /// Keeps what a peer handed over and up to where its book was read, in one transaction. Of a server's that the
    /// asker did not sign there are never more than `unsigned_max`. Says how many changed something.
    ///
    /// # Errors
    /// When the database fails; then nothing was written.
    pub async fn take_services(
        &self,
        peer: NodeId,
        records: &[ServiceRecord],
        cursor: ServiceCursor,
        unsigned_max: u32,
        now_ms: i64,
    ) -> Result<usize, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let unsigned = sqlx::query(
            "SELECT COUNT(*) AS count FROM services WHERE server = ? AND counter IS NULL",
        )
        .bind(peer.0.as_slice())
        .fetch_one(&mut *transaction)
        .await?;
        let unsigned: i64 = unsigned.try_get("count")?;
        let mut room = i64::from(unsigned_max) - unsigned;
        let mut taken = 0;
        for record in records {
            let is_unsigned = record.place.server == peer && record.counter.is_none();
            if is_unsigned && room <= 0 {
                continue;
            }
            if keep::receipt(&mut transaction, record, now_ms).await? {
                taken += 1;
                room -= i64::from(is_unsigned);
            }
        }
        sqlx::query(
            "INSERT INTO service_cursors (peer, book, seen) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET book = ?2, seen = ?3",
        )
        .bind(peer.0.as_slice())
        .bind(cursor.book.as_slice())
        .bind(cursor.seen)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(taken)
    }
}

fn numbered(row: &SqliteRow) -> Result<(i64, ServiceRecord), StoreError> {
    Ok((row.try_get("changed")?, record(row)?))
}
