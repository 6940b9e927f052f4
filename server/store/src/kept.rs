//! What responses and conversations have in common: they belong to a principal, hold items, expire,
//! and are erased. To anybody else, and after its time, a kept thing is not there.

use kwaainet_core::PrincipalId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use crate::page::List;
use crate::{Listed, Page, Store, StoreError};

/// An item of a response or a conversation, as JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptItem {
    /// Told apart from the other items of its owner by this.
    pub id: String,
    /// The wire item.
    pub body: String,
}

impl std::fmt::Debug for KeptItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeptItem({}, {} bytes)", self.id, self.body.len())
    }
}

/// Whose thing is looked for, and at what time.
#[derive(Clone, Copy, Debug)]
pub struct Seeker<'a> {
    /// Who asks.
    pub principal: &'a PrincipalId,
    /// Milliseconds since 1970; what has expired by then is not found.
    pub now_ms: i64,
}

/// How much a principal's things may be, and how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepLimits {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// Bytes of all things of one principal; the oldest go first.
    pub bytes_max: i64,
}

/// Items but those that a response was answered with, which are shown as a part of it.
const SHOWN: &str = "(SELECT owner, seq, id, body FROM kept_items WHERE is_output = 0)";

/// What a thing takes besides its words, so that many small ones count too.
const BYTES_OF_ONE: i64 = 1 << 10;

impl Store {
    /// Erases a response with all its items; `false` if there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn erase_response(&self, who: Seeker<'_>, id: &str) -> Result<bool, StoreError> {
        self.erase(who, "response", id).await
    }

    /// Erases a conversation with all its items; `false` if there is none. Responses that belong to
    /// it stay.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn erase_conversation(&self, who: Seeker<'_>, id: &str) -> Result<bool, StoreError> {
        self.erase(who, "conversation", id).await
    }

    async fn erase(&self, who: Seeker<'_>, kind: &str, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM kept WHERE id = ? AND kind = ? AND principal = ? AND expires_at_ms > ?",
        )
        .bind(id)
        .bind(kind)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// A page of a thing's items, of a response only those it was asked with; `None` when the page begins
    /// at an item that is not among them. The caller has seen that the thing is his.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn kept_items(
        &self,
        owner: &str,
        page: &Page,
    ) -> Result<Option<Listed<KeptItem>>, StoreError> {
        let list = List {
            columns: "id, body",
            table: SHOWN,
            id: "id",
            wanted: vec![("owner", owner)],
        };
        self.list(&list, page, item).await
    }

    /// The item with this id, of whichever thing of the principal.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn kept_item(
        &self,
        who: Seeker<'_>,
        id: &str,
    ) -> Result<Option<KeptItem>, StoreError> {
        let row = sqlx::query(
            "SELECT item.id, item.body FROM kept_items AS item JOIN kept ON kept.id = item.owner
             WHERE item.id = ? AND kept.principal = ? AND kept.expires_at_ms > ? LIMIT 1",
        )
        .bind(id)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(item).transpose()
    }

    /// Erases what has expired, and of each principal's things the oldest beyond the bound, but none
    /// that is still being made. Gives how many went.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_kept(&self, limits: KeepLimits) -> Result<u64, StoreError> {
        let expired = sqlx::query("DELETE FROM kept WHERE expires_at_ms <= ?")
            .bind(limits.now_ms)
            .execute(&self.writer)
            .await?;
        let mut erased = expired.rows_affected();
        let too_much =
            sqlx::query("SELECT principal FROM kept GROUP BY principal HAVING SUM(bytes + ?) > ?")
                .bind(BYTES_OF_ONE)
                .bind(limits.bytes_max)
                .fetch_all(&self.readers)
                .await?;
        for row in too_much {
            let oldest = sqlx::query(
                "DELETE FROM kept WHERE finished = 1 AND id IN (
                     SELECT id FROM (
                         SELECT id, SUM(bytes + ?) OVER (ORDER BY expires_at_ms DESC, id) AS sum
                         FROM kept WHERE principal = ?
                     ) WHERE sum > ?
                 )",
            )
            .bind(BYTES_OF_ONE)
            .bind(row.try_get::<String, _>("principal")?)
            .bind(limits.bytes_max)
            .execute(&self.writer)
            .await?;
            erased += oldest.rows_affected();
        }
        Ok(erased)
    }
}

/// Adds items behind those that are there.
pub(crate) async fn add_items(
    transaction: &mut Transaction<'_, Sqlite>,
    owner: &str,
    items: &[KeptItem],
    is_output: bool,
) -> Result<(), StoreError> {
    for item in items {
        sqlx::query(
            "INSERT INTO kept_items (owner, seq, id, is_output, body)
             VALUES (?, (SELECT COALESCE(MAX(seq) + 1, 0) FROM kept_items WHERE owner = ?), ?, ?, ?)",
        )
        .bind(owner)
        .bind(owner)
        .bind(&item.id)
        .bind(is_output)
        .bind(&item.body)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

pub(crate) fn items(rows: &[SqliteRow]) -> Result<Vec<KeptItem>, StoreError> {
    rows.iter().map(item).collect()
}

fn item(row: &SqliteRow) -> Result<KeptItem, StoreError> {
    Ok(KeptItem {
        id: row.try_get("id")?,
        body: row.try_get("body")?,
    })
}

#[cfg(test)]
mod tests;
