//! Conversations at rest: items that responses follow on and are added to.

use sqlx::Row;

use crate::kept::{KeptItem, Seeker, add_items, items};
use crate::{Store, StoreError};

/// A conversation that is kept.
#[derive(Clone, Debug)]
pub struct KeptConversation {
    /// Its metadata, as JSON.
    pub body: String,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// Bytes of its items.
    pub bytes: i64,
    /// How many items it has.
    pub items: i64,
}

/// How much a conversation may be.
#[derive(Clone, Copy, Debug)]
pub struct ConversationLimits {
    /// Items.
    pub items_max: i64,
    /// Bytes of all items.
    pub bytes_max: i64,
}

/// What became of items that were to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// They are there.
    Done,
    /// There is no such conversation.
    Missing,
    /// They would be too many.
    Full,
}

impl Store {
    /// Makes a conversation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_conversation(
        &self,
        who: Seeker<'_>,
        id: &str,
        body: &str,
        items: &[KeptItem],
        expires_at_ms: i64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin().await?;
        sqlx::query(
            "INSERT INTO kept (id, kind, principal, created_at_ms, expires_at_ms, body, bytes)
             VALUES (?, 'conversation', ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .bind(expires_at_ms)
        .bind(body)
        .bind(body.len() as i64)
        .execute(&mut *transaction)
        .await?;
        add_items(&mut transaction, id, items, false).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The conversation with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn conversation(
        &self,
        who: Seeker<'_>,
        id: &str,
    ) -> Result<Option<KeptConversation>, StoreError> {
        let row = sqlx::query(
            "SELECT body, created_at_ms, bytes,
                 (SELECT COUNT(*) FROM kept_items WHERE owner = kept.id) AS items
             FROM kept
             WHERE id = ? AND kind = 'conversation' AND principal = ? AND expires_at_ms > ?",
        )
        .bind(id)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(KeptConversation {
            body: row.try_get("body")?,
            created_at_ms: row.try_get("created_at_ms")?,
            bytes: row.try_get("bytes")?,
            items: row.try_get("items")?,
        }))
    }

    /// Everything that was said in a conversation, in order. The caller has seen that it is his.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn conversation_items(&self, id: &str) -> Result<Vec<KeptItem>, StoreError> {
        let rows = sqlx::query("SELECT id, body FROM kept_items WHERE owner = ? ORDER BY seq")
            .bind(id)
            .fetch_all(&self.readers)
            .await?;
        items(&rows)
    }

    /// Changes a conversation's metadata; `false` if there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_conversation(
        &self,
        who: Seeker<'_>,
        id: &str,
        body: &str,
        expires_at_ms: i64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE kept SET bytes = bytes + ? - length(CAST(body AS BLOB)), body = ?,
                 expires_at_ms = MAX(expires_at_ms, ?)
             WHERE id = ? AND kind = 'conversation' AND principal = ? AND expires_at_ms > ?",
        )
        .bind(body.len() as i64)
        .bind(body)
        .bind(expires_at_ms)
        .bind(id)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Adds items to a conversation, all or none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn extend_conversation(
        &self,
        who: Seeker<'_>,
        id: &str,
        new: &[KeptItem],
        limits: ConversationLimits,
        expires_at_ms: i64,
    ) -> Result<Added, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let done = sqlx::query(
            "UPDATE kept SET expires_at_ms = MAX(expires_at_ms, ?)
             WHERE id = ? AND kind = 'conversation' AND principal = ? AND expires_at_ms > ?",
        )
        .bind(expires_at_ms)
        .bind(id)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(Added::Missing);
        }
        add_items(&mut transaction, id, new, false).await?;
        let fits = sqlx::query(
            "SELECT bytes <= ? AND (SELECT COUNT(*) FROM kept_items WHERE owner = kept.id) <= ?
                 AS fits FROM kept WHERE id = ?",
        )
        .bind(limits.bytes_max)
        .bind(limits.items_max)
        .bind(id)
        .fetch_one(&mut *transaction)
        .await?;
        if !fits.try_get::<bool, _>("fits")? {
            return Ok(Added::Full);
        }
        transaction.commit().await?;
        Ok(Added::Done)
    }

    /// Erases one item; `false` if there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn erase_conversation_item(
        &self,
        who: Seeker<'_>,
        conversation: &str,
        item: &str,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM kept_items WHERE id = ? AND owner = (
                 SELECT id FROM kept
                 WHERE id = ? AND kind = 'conversation' AND principal = ? AND expires_at_ms > ?
             )",
        )
        .bind(item)
        .bind(conversation)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// One item of a conversation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn conversation_item(
        &self,
        who: Seeker<'_>,
        conversation: &str,
        item: &str,
    ) -> Result<Option<KeptItem>, StoreError> {
        let rows = sqlx::query(
            "SELECT item.id, item.body FROM kept_items AS item JOIN kept ON kept.id = item.owner
             WHERE item.id = ? AND kept.id = ? AND kept.kind = 'conversation'
                 AND kept.principal = ? AND kept.expires_at_ms > ?",
        )
        .bind(item)
        .bind(conversation)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .fetch_all(&self.readers)
        .await?;
        Ok(items(&rows)?.pop())
    }
}
