//! Documents that are never replicated: where replicating clients keep how far they came.

use kwaainet_storage::Place;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::blobs::HELD;
use super::sealed::{self, Said};
use super::{DatabaseRecord, DocumentStore, IMMEDIATE};
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
    pub async fn local(
        &self,
        db: &DatabaseRecord,
        id: &str,
    ) -> Result<Option<(i64, String)>, StoreError> {
        let row = sqlx::query("SELECT rev, json FROM locals WHERE db = ? AND id = ?")
            .bind(db.key)
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let rev = row.try_get("rev")?;
        let said = sealed::local(&row, db.seal()?, Place::Local { id, rev })?;
        Ok(Some((rev, said)))
    }

    /// Writes what it says, or removes it, if `rev` is its revision now; none if there is none. The owner of the
    /// database may have `quota` bytes in all of his.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn edit_local(
        &self,
        db: &DatabaseRecord,
        id: &str,
        rev: Option<i64>,
        json: Option<&str>,
        quota: u64,
    ) -> Result<LocalEdit, StoreError> {
        let seal = db.seal()?;
        let db = db.key;
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let is_sealed: Option<bool> =
            sqlx::query_scalar("SELECT sealed > 0 FROM databases WHERE key = ?")
                .bind(db)
                .fetch_optional(&mut *transaction)
                .await?;
        if is_sealed == Some(true) && seal.is_none() {
            return Err(StoreError::Locked);
        }
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
        let next = known.unwrap_or(0) + 1;
        let said = json.map(|json| sealed::kept_local(seal, Place::Local { id, rev: next }, json));
        let more = said.as_ref().map_or(0, Said::len) as i64 - before.unwrap_or(0);
        if more > 0 && held_by_owner_of(db, &mut transaction).await? + more > quota as i64 {
            return Ok(LocalEdit::Full);
        }
        sqlx::query("UPDATE databases SET bytes = MAX(0, bytes + ?) WHERE key = ?")
            .bind(more)
            .bind(db)
            .execute(&mut *transaction)
            .await?;
        let now = match said {
            Some(said) => {
                let insert = sqlx::query(
                    "INSERT INTO locals (db, id, rev, json) SELECT ?1, ?2, ?3, ?4
                     WHERE EXISTS (SELECT 1 FROM databases WHERE key = ?1)
                     ON CONFLICT (db, id) DO UPDATE SET rev = excluded.rev, json = excluded.json",
                );
                let insert = insert.bind(db).bind(id.to_owned()).bind(next);
                said.bind(insert).execute(&mut *transaction).await?;
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
