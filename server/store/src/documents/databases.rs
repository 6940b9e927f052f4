//! The databases themselves. Each principal has names of his own; a name that he does not use may lead to a
//! database that somebody shares with him.

use kwaainet_core::PrincipalId;
use kwaainet_storage::{DatabaseName, Mode, Security};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{DocumentStore, IMMEDIATE};
use crate::StoreError;

/// Databases of one principal.
const DATABASES_MAX: i64 = 10_000;
/// Generations of a document that are remembered, as in CouchDB.
const REVS_LIMIT: i64 = 1_000;
const BODY_BITS: u32 = 40;
/// Databases that a file ever has: each has a number of its own for good, which has to leave room for those of its
/// bodies, and one more for the end of them.
const NUMBERS_MAX: i64 = (1 << (i64::BITS - 1 - BODY_BITS)) - 2;

/// One database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRecord {
    /// Names it for good.
    pub key: i64,
    /// Whose it is.
    pub owner: PrincipalId,
    /// What its owner calls it.
    pub name: DatabaseName,
    /// Who can read what is in it.
    pub mode: Mode,
    /// Tells it from an earlier one of the same name.
    pub uuid: String,
    /// Who may do what.
    pub security: Security,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// Generations of a document that are remembered.
    pub revs_limit: u64,
    /// The last change.
    pub update_seq: i64,
    /// How often something was purged.
    pub purge_seq: i64,
    /// Documents that are there.
    pub docs: i64,
    /// Documents that were deleted.
    pub deleted_docs: i64,
    /// Bytes of all that documents say and of what hangs on them.
    pub bytes: i64,
}

/// A database that is to be.
#[derive(Clone, Debug)]
pub struct NewDatabase {
    /// Whose it will be.
    pub owner: PrincipalId,
    /// What he calls it.
    pub name: DatabaseName,
    /// Who can read what will be in it.
    pub mode: Mode,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
}

const COLUMNS: &str =
    "key, owner, name, mode, uuid, security, created_at_ms, revs_limit, update_seq,
    purge_seq, docs, deleted_docs, bytes";

/// The key of what has this number in a database. A number below 2^40 never meets another database's keys, since there
/// are at most [`NUMBERS_MAX`].
pub(super) fn body_key(db: i64, number: u64) -> i64 {
    (db << BODY_BITS) | number as i64
}

impl DocumentStore {
    /// Makes a database; `false`, and none is made, if its owner has one of this name or too many. No number is used up
    /// by what is refused.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn create_database(&self, new: &NewDatabase) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO databases (owner, name, mode, uuid, security, created_at_ms, revs_limit)
             SELECT ?1, ?2, ?3, lower(hex(randomblob(16))), '{}', ?4, ?5
             WHERE (SELECT COUNT(*) FROM databases WHERE owner = ?1) < ?6
                 AND NOT EXISTS (SELECT 1 FROM databases WHERE owner = ?1 AND name = ?2)
                 AND COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'databases'), 0) < ?7",
        )
        .bind(new.owner.as_str())
        .bind(new.name.as_str())
        .bind(new.mode.as_str())
        .bind(new.created_at_ms)
        .bind(REVS_LIMIT)
        .bind(DATABASES_MAX)
        .bind(NUMBERS_MAX)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The principal's own database of this name, else the oldest that he is a member of, else the oldest
    /// public one.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn database(
        &self,
        principal: &PrincipalId,
        name: &DatabaseName,
    ) -> Result<Option<DatabaseRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM databases WHERE name = ?2 AND (owner = ?1 OR mode = 'public'
                 OR key IN (SELECT db FROM members WHERE principal = ?1))
             ORDER BY owner = ?1 DESC, key IN (SELECT db FROM members WHERE principal = ?1) DESC, key LIMIT 1"
        )))
        .bind(principal.as_str())
        .bind(name.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(record).transpose()
    }

    /// The principal's databases and those that he is a member of, by name.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn databases(
        &self,
        principal: &PrincipalId,
    ) -> Result<Vec<DatabaseRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM databases WHERE owner = ?1
                 OR key IN (SELECT db FROM members WHERE principal = ?1) ORDER BY name, key LIMIT ?2"
        )))
        .bind(principal.as_str())
        .bind(DATABASES_MAX)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }

    /// Says who may do what; `false` if the database is gone.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn secure(&self, db: i64, security: &Security) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let json = serde_json::to_string(security).expect("texts are JSON");
        let done = sqlx::query("UPDATE databases SET security = ? WHERE key = ?")
            .bind(json)
            .bind(db)
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM members WHERE db = ?")
            .bind(db)
            .execute(&mut *transaction)
            .await?;
        for name in security.admins.names.iter().chain(&security.members.names) {
            sqlx::query("INSERT INTO members (db, principal) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(db)
                .bind(name)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Deletes a database with all that is in it; `false` if it was gone.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn delete_database(&self, db: i64) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let gone = delete(db, &mut transaction).await?;
        transaction.commit().await?;
        self.feeds.end(db);
        Ok(gone)
    }
}

async fn delete(db: i64, connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let (first, end) = (body_key(db, 0), body_key(db + 1, 0));
    for statement in [
        "DELETE FROM bodies WHERE key >= ?2 AND key < ?3 AND ?1 > 0",
        "DELETE FROM attachment_pieces WHERE attachment >= ?2 AND attachment < ?3 AND ?1 > 0",
        "DELETE FROM attachments WHERE db = ?1 AND ?2 < ?3",
        "DELETE FROM documents WHERE db = ?1 AND ?2 < ?3",
        "DELETE FROM locals WHERE db = ?1 AND ?2 < ?3",
    ] {
        sqlx::query(statement)
            .bind(db)
            .bind(first)
            .bind(end)
            .execute(&mut *connection)
            .await?;
    }
    let done = sqlx::query("DELETE FROM databases WHERE key = ?")
        .bind(db)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

fn record(row: &SqliteRow) -> Result<DatabaseRecord, StoreError> {
    let name: &str = row.try_get("name")?;
    let name = name
        .parse()
        .map_err(|_| StoreError::Malformed("name of a database"))?;
    let mode: &str = row.try_get("mode")?;
    let mode = mode
        .parse()
        .map_err(|()| StoreError::Malformed("mode of a database"))?;
    let security = serde_json::from_str(row.try_get("security")?)
        .map_err(|_| StoreError::Malformed("security of a database"))?;
    Ok(DatabaseRecord {
        key: row.try_get("key")?,
        owner: PrincipalId::new(row.try_get::<String, _>("owner")?),
        name,
        mode,
        uuid: row.try_get("uuid")?,
        security,
        created_at_ms: row.try_get("created_at_ms")?,
        revs_limit: row.try_get::<i64, _>("revs_limit")?.max(1) as u64,
        update_seq: row.try_get("update_seq")?,
        purge_seq: row.try_get("purge_seq")?,
        docs: row.try_get("docs")?,
        deleted_docs: row.try_get("deleted_docs")?,
        bytes: row.try_get("bytes")?,
    })
}
