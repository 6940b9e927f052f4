//! Whether the database can be written, and is whole.

use sqlx::Row;

use crate::{Store, StoreError};

impl Store {
    /// Writes something that changes nothing, down to the disk.
    ///
    /// # Errors
    /// With what keeps it from being written: a full disk, a file of somebody else's, another process that holds it.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await?;
        let version: i64 = sqlx::query("PRAGMA user_version")
            .fetch_one(&mut *connection)
            .await?
            .try_get(0)?;
        let same = format!("PRAGMA user_version = {version}");
        sqlx::query(sqlx::AssertSqlSafe(same))
            .execute(&mut *connection)
            .await?;
        Ok(())
    }

    /// What is wrong with its pages, if anything is: the first complaint. Reads all of it.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub async fn complaint(&self) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("PRAGMA quick_check(1)")
            .fetch_one(&self.readers)
            .await?;
        let said: String = row.try_get(0)?;
        Ok((said != "ok").then_some(said))
    }
}

#[cfg(test)]
mod tests {
    use crate::Store;

    #[tokio::test]
    async fn a_good_database_is_writable_and_whole_and_a_damaged_one_is_not() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("node.db");
        let store = Store::open(&path).await.expect("it opens");
        store.check_writable().await.expect("it can be written");
        assert_eq!(store.complaint().await.expect("it is read"), None);
        store.close().await;

        let mut bytes = std::fs::read(&path).expect("it is there");
        // Everything but the first page, which holds the schema's beginning.
        bytes[4096..].fill(0xA5);
        std::fs::write(&path, bytes).expect("written");
        let healthy = match Store::open(&path).await {
            Ok(store) => matches!(store.complaint().await, Ok(None)),
            Err(_) => false,
        };
        assert!(!healthy, "the damage is seen");
    }
}
