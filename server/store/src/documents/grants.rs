//! Leave to use a database for a while.

use kwaainet_core::PrincipalId;
use kwaainet_storage::{Access, DatabaseName, Grant};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::databases::{COLUMNS, record};
use super::wraps;
use super::{DatabaseRecord, DocumentStore, IMMEDIATE};
use crate::StoreError;

/// Of one database, those that are over not counted.
const GRANTS_MAX: i64 = 1_000;
/// Databases that one principal has leave for.
const GRANTED_MAX: i64 = 1_000;

impl DocumentStore {
    /// Gives leave; `false` if the database is gone or has given it to too many.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn grant(&self, db: i64, grant: &Grant) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        sqlx::query("DELETE FROM grants WHERE expires_at_ms <= ?")
            .bind(grant.created_at_ms)
            .execute(&mut *transaction)
            .await?;
        wraps::sweep(db, &mut transaction).await?;
        let documents = grant.documents.as_ref();
        let documents = documents.map(|ids| serde_json::to_string(ids).expect("texts are JSON"));
        let done = sqlx::query(
            "INSERT INTO grants (id, db, grantee, access, purpose, documents, created_at_ms, expires_at_ms)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE EXISTS (SELECT 1 FROM databases WHERE key = ?2)
             AND (SELECT COUNT(*) FROM grants WHERE db = ?2) < ?9",
        )
        .bind(&grant.id)
        .bind(db)
        .bind(&grant.grantee)
        .bind(word(grant.access))
        .bind(&grant.purpose)
        .bind(documents)
        .bind(grant.created_at_ms)
        .bind(grant.expires_at_ms)
        .bind(GRANTS_MAX)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// What a database has given that is not over, the oldest first.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn grants(&self, db: i64, now_ms: i64) -> Result<Vec<Grant>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM grants WHERE db = ? AND expires_at_ms > ? ORDER BY created_at_ms, id",
        )
        .bind(db)
        .bind(now_ms)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(grant).collect()
    }

    /// Takes leave back; `false` if there was none of this id.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn revoke_grant(&self, db: i64, id: &str) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let done = sqlx::query("DELETE FROM grants WHERE db = ? AND id = ?")
            .bind(db)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        wraps::sweep(db, &mut transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// The oldest database of this name that a principal has leave for, with what he has.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn granted(
        &self,
        principal: &PrincipalId,
        name: &DatabaseName,
        now_ms: i64,
    ) -> Result<Option<(DatabaseRecord, Vec<Grant>)>, StoreError> {
        let mut snapshot = self.readers.begin().await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM databases WHERE name = ?1 AND key IN (
                 SELECT db FROM grants WHERE grantee = ?2 AND expires_at_ms > ?3) ORDER BY key LIMIT 1"
        )))
        .bind(name.as_str())
        .bind(principal.as_str())
        .bind(now_ms)
        .fetch_optional(&mut *snapshot)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let found = record(&row)?;
        let rows =
            sqlx::query("SELECT * FROM grants WHERE db = ? AND grantee = ? AND expires_at_ms > ?")
                .bind(found.key)
                .bind(principal.as_str())
                .bind(now_ms)
                .fetch_all(&mut *snapshot)
                .await?;
        let grants = rows.iter().map(grant).collect::<Result<_, _>>()?;
        Ok(Some((found, grants)))
    }

    /// The databases that a principal has leave for as a whole, by name.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn granted_databases(
        &self,
        principal: &PrincipalId,
        now_ms: i64,
    ) -> Result<Vec<DatabaseRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM databases WHERE owner <> ?1 AND key IN (
                 SELECT db FROM grants WHERE grantee = ?1 AND expires_at_ms > ?2 AND documents IS NULL)
             AND key NOT IN (SELECT db FROM members WHERE principal = ?1) ORDER BY name, key LIMIT ?3"
        )))
        .bind(principal.as_str())
        .bind(now_ms)
        .bind(GRANTED_MAX)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }
}

fn word(access: Access) -> &'static str {
    match access {
        Access::Write => "write",
        _ => "read",
    }
}

fn grant(row: &SqliteRow) -> Result<Grant, StoreError> {
    let documents: Option<&str> = row.try_get("documents")?;
    let documents = documents.map(serde_json::from_str).transpose();
    Ok(Grant {
        id: row.try_get("id")?,
        grantee: row.try_get("grantee")?,
        access: match row.try_get("access")? {
            "write" => Access::Write,
            "read" => Access::Read,
            _ => return Err(StoreError::Malformed("access of a grant")),
        },
        purpose: row.try_get("purpose")?,
        documents: documents.map_err(|_| StoreError::Malformed("documents of a grant"))?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
    })
}
