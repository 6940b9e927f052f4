//! Documents that are never replicated: where replicating clients keep how far they came.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::blobs::HELD;
use super::{DocumentStore, IMMEDIATE};
use crate::StoreError;

/// Such documents of one database.
const LOCALS_MAX: i64 = 10_000;

/// What became of an edit of such a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalEdit {
    /// It is this revision now; 0 if it is gone.
    Now(i64),
    /// It follows on what is not current.
    Conflict,
    /// The database has too many, or its owner would have more than he may.
    Full,
}

impl DocumentStore {
    /// The revision and what it says.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn local(&self, db: i64, id: &str) -> Result<Option<(i64, String)>, StoreError> {
        let row = sqlx::query("SELECT rev, json FROM locals WHERE db = ? AND id = ?")
            .bind(db)
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        let row = row.map(|row| Ok((row.try_get("rev")?, row.try_get("json")?)));
        row.transpose()
    }

    /// Writes what it says, or removes it, if `rev` is its revision now; none if there is none. The owner of the
    /// database may have `quota` bytes in all of his.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn edit_local(
        &self,
        db: i64,
        id: &str,
        rev: Option<i64>,
        json: Option<&str>,
        quota: u64,
    ) -> Result<LocalEdit, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let known: Option<(i64, i64)> =
            sqlx::query_as("SELECT rev, OCTET_LENGTH(json) FROM locals WHERE db = ? AND id = ?")
                .bind(db)
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?;
        let (known, before) = known.unzip();
        if known != rev {
            return Ok(LocalEdit::Conflict);
        }
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM locals WHERE db = ?")
            .bind(db)
            .fetch_one(&mut *transaction)
            .await?;
        if known.is_none() && count >= LOCALS_MAX {
            return Ok(LocalEdit::Full);
        }
        let more = json.map_or(0, str::len) as i64 - before.unwrap_or(0);
        if more > 0 && held_by_owner_of(db, &mut transaction).await? + more > quota as i64 {
            return Ok(LocalEdit::Full);
        }
        sqlx::query("UPDATE databases SET bytes = MAX(0, bytes + ?) WHERE key = ?")
            .bind(more)
            .bind(db)
            .execute(&mut *transaction)
            .await?;
        let next = known.unwrap_or(0) + 1;
        let now = match json {
            Some(json) => {
                sqlx::query(
                    "INSERT INTO locals (db, id, rev, json) SELECT ?1, ?2, ?3, ?4
                     WHERE EXISTS (SELECT 1 FROM databases WHERE key = ?1)
                     ON CONFLICT (db, id) DO UPDATE SET rev = excluded.rev, json = excluded.json",
                )
                .bind(db)
                .bind(id)
                .bind(next)
                .bind(json)
                .execute(&mut *transaction)
                .await?;
                next
            }
            None => {
                sqlx::query("DELETE FROM locals WHERE db = ? AND id = ?")
                    .bind(db)
                    .bind(id)
                    .execute(&mut *transaction)
                    .await?;
                0
            }
        };
        transaction.commit().await?;
        Ok(LocalEdit::Now(now))
    }
}

/// Bytes of all that the owner of a database has; 0 if it is gone.
async fn held_by_owner_of(db: i64, connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let owner: Option<String> = sqlx::query_scalar("SELECT owner FROM databases WHERE key = ?")
        .bind(db)
        .fetch_optional(&mut *connection)
        .await?;
    match owner {
        Some(owner) => Ok(sqlx::query_scalar(HELD)
            .bind(owner)
            .fetch_one(connection)
            .await?),
        None => Ok(0),
    }
}
