//! The keys of sealed databases, each encrypted for whoever may open it. Without one of these nobody opens a database
//! any more.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::{DocumentStore, IMMEDIATE};
use crate::StoreError;

/// A database's key, encrypted for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrap {
    /// For whom: the id of a principal, or the node's public key.
    pub recipient: String,
    /// The key.
    pub wrapped: Vec<u8>,
}

/// Who may open a database from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// All of them. What was encrypted for others is destroyed.
    pub recipients: Vec<String>,
    /// What is encrypted anew.
    pub wraps: Vec<Wrap>,
}

impl DocumentStore {
    /// The database's key as it was encrypted for somebody; none if it was not.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn wrapped(&self, db: i64, recipient: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let wrapped =
            sqlx::query_scalar("SELECT wrapped FROM wraps WHERE db = ? AND recipient = ?")
                .bind(db)
                .bind(recipient)
                .fetch_optional(&self.readers)
                .await?;
        Ok(wrapped)
    }

    /// Keeps a database's key as it was encrypted for somebody else.
    ///
    /// # Errors
    /// When the file fails, or the database is gone.
    pub async fn share(&self, db: i64, wraps: &[Wrap]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        keep(db, wraps, &mut transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A page of the databases whose keys were encrypted for somebody, with those: the first ones after `after`.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn wraps_of(
        &self,
        recipient: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT db, wrapped FROM wraps WHERE recipient = ? AND db > ? ORDER BY db LIMIT ?",
        )
        .bind(recipient)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let read =
            |row: &sqlx::sqlite::SqliteRow| Ok((row.try_get("db")?, row.try_get("wrapped")?));
        rows.iter().map(read).collect()
    }
}

/// Replaces who may open a database. Never by nobody.
pub(super) async fn replace(
    db: i64,
    sharing: &Sharing,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    if !sharing.recipients.is_empty() {
        let recipients = serde_json::to_string(&sharing.recipients).expect("texts are JSON");
        sqlx::query(
            "DELETE FROM wraps WHERE db = ?1 AND recipient NOT IN (SELECT value FROM json_each(?2))
             AND recipient NOT IN (SELECT grantee FROM grants WHERE db = ?1)",
        )
        .bind(db)
        .bind(recipients)
        .execute(&mut *connection)
        .await?;
    }
    keep(db, &sharing.wraps, connection).await
}

pub(super) async fn keep(
    db: i64,
    wraps: &[Wrap],
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    for wrap in wraps {
        sqlx::query(
            "INSERT INTO wraps (db, recipient, wrapped) VALUES (?, ?, ?)
             ON CONFLICT (db, recipient) DO NOTHING",
        )
        .bind(db)
        .bind(&wrap.recipient)
        .bind(&wrap.wrapped)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Destroys what was encrypted for keys that may open the database no more.
pub(super) async fn sweep(db: i64, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM wraps WHERE db = ?1 AND recipient LIKE 'key:%'
         AND recipient NOT IN (SELECT owner FROM databases WHERE key = ?1)
         AND recipient NOT IN (SELECT principal FROM members WHERE db = ?1)
         AND recipient NOT IN (SELECT grantee FROM grants WHERE db = ?1)",
    )
    .bind(db)
    .execute(connection)
    .await?;
    Ok(())
}

/// Destroys a database's key.
pub(super) async fn destroy(db: i64, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM wraps WHERE db = ?")
        .bind(db)
        .execute(connection)
        .await?;
    Ok(())
}
