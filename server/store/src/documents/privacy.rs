//! What a principal keeps in the file of documents: told, and erased as a whole.

use kwaainet_core::PrincipalId;
use kwaainet_storage::Security;
use sqlx::Row;

use super::databases::delete;
use super::{DocumentStore, IMMEDIATE};
use crate::StoreError;

/// What was erased of a principal's, and the files that are the caller's to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerErased {
    /// Databases.
    pub databases: u64,
    /// Databases of others that do not name him any more.
    pub memberships: u64,
    /// Names of the files of blobs that nobody else has, and of uploads.
    pub files: Vec<String>,
    /// Blobs and uploads that were his.
    pub blobs: u64,
    /// Whether there was a meter.
    pub metered: bool,
}

impl DocumentStore {
    /// Uploads of a principal that are under way: their ids.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn uploads(&self, owner: &PrincipalId) -> Result<Vec<String>, StoreError> {
        let ids = sqlx::query_scalar("SELECT id FROM uploads WHERE owner = ? ORDER BY id");
        Ok(ids.bind(owner.as_str()).fetch_all(&self.readers).await?)
    }

    /// Erases all that is a principal's: databases with all that is in them, what he holds of blobs, uploads, his meter,
    /// and his name where others let him in.
    ///
    /// # Errors
    /// When the file fails. What was erased until then stays erased, and the rest may be erased again.
    pub async fn erase_owner(&self, owner: &PrincipalId) -> Result<OwnerErased, StoreError> {
        let mut erased = OwnerErased::default();
        let owned: Vec<i64> = sqlx::query_scalar("SELECT key FROM databases WHERE owner = ?")
            .bind(owner.as_str())
            .fetch_all(&self.readers)
            .await?;
        for db in owned {
            // One at a time, so that others can write in between.
            erased.databases += u64::from(self.delete_database(db).await?);
        }
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        // What was made meanwhile.
        let owned: Vec<i64> = sqlx::query_scalar("SELECT key FROM databases WHERE owner = ?")
            .bind(owner.as_str())
            .fetch_all(&mut *transaction)
            .await?;
        for db in &owned {
            erased.databases += u64::from(delete(*db, &mut transaction).await?);
        }
        let shared = sqlx::query(
            "SELECT key, security FROM databases
             WHERE key IN (SELECT db FROM members WHERE principal = ?)",
        );
        let shared = shared.bind(owner.as_str());
        for row in shared.fetch_all(&mut *transaction).await? {
            let mut security: Security = serde_json::from_str(row.try_get("security")?)
                .map_err(|_| StoreError::Malformed("security of a database"))?;
            for list in [&mut security.admins, &mut security.members] {
                list.names.retain(|name| name != owner.as_str());
            }
            let json = serde_json::to_string(&security).expect("texts are JSON");
            sqlx::query("UPDATE databases SET security = ? WHERE key = ?")
                .bind(json)
                .bind(row.try_get::<i64, _>("key")?)
                .execute(&mut *transaction)
                .await?;
            erased.memberships += 1;
        }
        sqlx::query("DELETE FROM members WHERE principal = ?")
            .bind(owner.as_str())
            .execute(&mut *transaction)
            .await?;
        let held = sqlx::query("DELETE FROM blob_holders WHERE owner = ?").bind(owner.as_str());
        erased.blobs = held.execute(&mut *transaction).await?.rows_affected();
        erased.files = sqlx::query_scalar(
            "DELETE FROM blobs WHERE hash NOT IN (SELECT hash FROM blob_holders) RETURNING hash",
        )
        .fetch_all(&mut *transaction)
        .await?;
        let uploads: Vec<String> =
            sqlx::query_scalar("DELETE FROM uploads WHERE owner = ? RETURNING id")
                .bind(owner.as_str())
                .fetch_all(&mut *transaction)
                .await?;
        erased.blobs += uploads.len() as u64;
        erased.files.extend(uploads);
        let metered = sqlx::query("DELETE FROM storage_meters WHERE owner = ?");
        let metered = metered.bind(owner.as_str()).execute(&mut *transaction);
        erased.metered = metered.await?.rows_affected() > 0;
        transaction.commit().await?;
        for db in owned {
            self.feeds.end(db);
        }
        Ok(erased)
    }

    /// Writes the whole file anew, without what was deleted. Deleted rows are overwritten at once, but a row that moved
    /// between pages may have left a copy behind, which only this removes.
    ///
    /// # Errors
    /// When the file fails, or somebody goes on reading what was there before.
    pub async fn rewrite(&self) -> Result<(), StoreError> {
        crate::privacy::rewrite(&self.writer).await
    }
}
