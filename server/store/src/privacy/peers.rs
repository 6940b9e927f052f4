//! What is kept of another node's work and words: told, and erased. Who is a member and who was removed stays, and up to
//! where books were read, or all would come back.

use kwaainet_core::NodeId;
use sqlx::Row;

use crate::{Store, StoreError};

/// One thing that is kept of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerItem {
    /// `receipt`, `claim` or `introduction`.
    pub kind: String,
    /// Hexadecimal digits that name it.
    pub id: String,
    /// Since when, or for an introduction until when: milliseconds since 1970.
    pub at_ms: i64,
}

impl Store {
    /// What is kept of a peer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn peer_items(&self, node: NodeId, limit: u32) -> Result<Vec<PeerItem>, StoreError> {
        let rows = sqlx::query(
            "SELECT 'receipt' AS kind, lower(hex(hash)) AS id, kept_at_ms AS at_ms
                 FROM services WHERE server = ?1 OR asker = ?1
             UNION ALL SELECT 'claim', lower(hex(request)), began_ms FROM claims WHERE server = ?1
             UNION ALL SELECT 'introduction', lower(hex(introducer)), until_ms
                 FROM introductions WHERE introducer = ?1 OR node = ?1
             ORDER BY at_ms, id LIMIT ?2",
        )
        .bind(node.0.as_slice())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let items = rows.iter().map(|row| {
            Ok(PeerItem {
                kind: row.try_get("kind")?,
                id: row.try_get("id")?,
                at_ms: row.try_get("at_ms")?,
            })
        });
        items.collect()
    }

    /// Erases that; says how many things.
    ///
    /// # Errors
    /// When the database fails; then nothing was erased.
    pub async fn erase_peer(&self, node: NodeId) -> Result<u64, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut gone = 0;
        for statement in [
            "DELETE FROM services WHERE server = ?1 OR asker = ?1",
            "DELETE FROM claims WHERE server = ?1",
            "DELETE FROM introductions WHERE introducer = ?1 OR node = ?1",
        ] {
            let done = sqlx::query(statement).bind(node.0.as_slice());
            gone += done.execute(&mut *transaction).await?.rows_affected();
        }
        transaction.commit().await?;
        Ok(gone)
    }
}
