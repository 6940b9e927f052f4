//! Documents that are never replicated: where replicating clients keep how far they came.

use kwaainet_storage::Place;
use sqlx::Row;

use super::{DatabaseRecord, DocumentStore, IMMEDIATE, sealed};
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
    /// The database has too many.
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

    /// Writes what it says, or removes it, if `rev` is its revision now; none if there is none.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn edit_local(
        &self,
        db: &DatabaseRecord,
        id: &str,
        rev: Option<i64>,
        json: Option<&str>,
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
        let known = sqlx::query_scalar("SELECT rev FROM locals WHERE db = ? AND id = ?")
            .bind(db)
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
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
        let now = match json {
            Some(json) => {
                let said = sealed::kept_local(seal, Place::Local { id, rev: next }, json);
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
