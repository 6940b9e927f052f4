//! What is known of each file; its bytes lie elsewhere. A row is written after the bytes and deleted
//! before them, so a row never lacks its bytes.

use std::collections::HashSet;

use kwaainet_core::PrincipalId;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::page::List;
use crate::{Listed, Page, Store, StoreError};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Names it to clients and in the data directory.
    pub id: String,
    /// Whose it is.
    pub principal: PrincipalId,
    /// What it is for, in OpenAI's words.
    pub purpose: String,
    /// What its owner calls it.
    pub filename: String,
    /// Its size.
    pub bytes: u64,
    /// Milliseconds since 1970, as all times here.
    pub created_at_ms: i64,
    /// From then on it is swept away.
    pub expires_at_ms: Option<i64>,
}

const COLUMNS: &str = "id, principal, purpose, filename, bytes, created_at_ms, expires_at_ms";
/// What lies here of the principal who is the first parameter. A row of a vector store's file takes some
/// bytes even if nothing was read from it.
const BYTES: &str = "(SELECT COALESCE(SUM(bytes), 0) FROM files WHERE principal = ?1)
    + (SELECT COALESCE(SUM(f.bytes + COALESCE(LENGTH(f.attributes), 0) + 256), 0)
       FROM vector_store_files f JOIN vector_stores s ON s.id = f.store WHERE s.principal = ?1)";

impl Store {
    /// Stores a file's row; `false`, and nothing is stored, when its principal would then have more than
    /// `files_max` files, or more than `bytes_max` bytes in files and vector stores.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_file(
        &self,
        file: &FileRecord,
        files_max: u64,
        bytes_max: u64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT COUNT(*) AS files, {BYTES} AS bytes FROM files WHERE principal = ?1"
        )))
        .bind(file.principal.as_str())
        .fetch_one(&mut *transaction)
        .await?;
        let (files, bytes) = (unsigned(&row, "files")?, unsigned(&row, "bytes")?);
        if files >= files_max || bytes.saturating_add(file.bytes) > bytes_max {
            return Ok(false);
        }
        insert(file, &mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Bytes of the principal's files and of what is in his vector stores.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bytes_of(&self, principal: &PrincipalId) -> Result<u64, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {BYTES} AS bytes")))
            .bind(principal.as_str())
            .fetch_one(&self.readers)
            .await?;
        unsigned(&row, "bytes")
    }

    /// The principal's file with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn file(
        &self,
        principal: &PrincipalId,
        id: &str,
    ) -> Result<Option<FileRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM files WHERE id = ? AND principal = ?"
        )))
        .bind(id)
        .bind(principal.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(record).transpose()
    }

    /// A page of the principal's files; `None` when the page begins at a file that is not his.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn files(
        &self,
        principal: &PrincipalId,
        purpose: Option<&str>,
        page: &Page,
    ) -> Result<Option<Listed<FileRecord>>, StoreError> {
        let mut wanted = vec![("principal", principal.as_str())];
        wanted.extend(purpose.map(|purpose| ("purpose", purpose)));
        let list = List {
            columns: COLUMNS,
            table: "files",
            id: "id",
            wanted,
        };
        self.list(&list, page, record).await
    }

    /// Deletes a file's row, and with it the file's place in vector stores; `false` if the principal has
    /// no such file. The bytes are the caller's to remove.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_file(&self, principal: &PrincipalId, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM files WHERE id = ? AND principal = ?")
            .bind(id)
            .bind(principal.as_str())
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes the rows of files whose time is over and gives their ids. What a batch still reads stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_expired_files(&self, now_ms: i64) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "DELETE FROM files WHERE expires_at_ms <= ? AND NOT EXISTS (
                 SELECT 1 FROM batches WHERE input_file = files.id
                 AND status IN ('validating', 'in_progress', 'finalizing', 'cancelling'))
             RETURNING id",
        )
        .bind(now_ms)
        .fetch_all(&self.writer)
        .await?;
        let ids = rows.iter().map(|row| row.try_get("id"));
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// The ids of all files, whoever's they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn file_ids(&self) -> Result<HashSet<String>, StoreError> {
        let rows = sqlx::query("SELECT id FROM files")
            .fetch_all(&self.readers)
            .await?;
        let ids = rows.iter().map(|row| row.try_get("id"));
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

/// Writes a row whatever its principal has already.
pub(crate) async fn insert(
    file: &FileRecord,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "INSERT INTO files ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
    )))
    .bind(&file.id)
    .bind(file.principal.as_str())
    .bind(&file.purpose)
    .bind(&file.filename)
    .bind(signed(file.bytes))
    .bind(file.created_at_ms)
    .bind(file.expires_at_ms)
    .execute(connection)
    .await?;
    Ok(())
}

fn record(row: &SqliteRow) -> Result<FileRecord, StoreError> {
    Ok(FileRecord {
        id: row.try_get("id")?,
        principal: PrincipalId::new(row.try_get::<String, _>("principal")?),
        purpose: row.try_get("purpose")?,
        filename: row.try_get("filename")?,
        bytes: unsigned(row, "bytes")?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
    })
}

/// A column that is never below 0.
pub(crate) fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    Ok(row.try_get::<i64, _>(column)?.max(0) as u64)
}

/// SQLite has signed integers only; no size or count comes near their end.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: &str, principal: &str, bytes: u64) -> FileRecord {
        FileRecord {
            id: id.to_owned(),
            principal: principal.into(),
            purpose: "batch".to_owned(),
            filename: "in.jsonl".to_owned(),
            bytes,
            created_at_ms: 1_000,
            expires_at_ms: None,
        }
    }

    fn page(after: Option<&str>, limit: u32, newest_first: bool) -> Page {
        Page {
            after: after.map(str::to_owned),
            before: None,
            limit,
            newest_first,
        }
    }

    async fn store() -> (Store, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&dir.path().join("node.db")).await;
        (store.expect("it opens"), dir)
    }

    #[tokio::test]
    async fn a_principal_has_so_much_and_no_more() {
        let (store, _dir) = store().await;
        let insert = async |file: &FileRecord| {
            let inserted = store.insert_file(file, 2, 10).await;
            inserted.expect("it answers")
        };
        assert!(insert(&file("a", "p", 6)).await);
        assert!(!insert(&file("b", "p", 5)).await, "too many bytes");
        assert!(insert(&file("b", "p", 4)).await);
        assert!(!insert(&file("c", "p", 0)).await, "too many files");
        assert!(insert(&file("c", "q", 10)).await, "another principal");
    }

    #[tokio::test]
    async fn files_are_listed_in_pages_and_only_to_their_owner() {
        let (store, _dir) = store().await;
        for id in ["a", "b", "c"] {
            let inserted = store.insert_file(&file(id, "p", 1), 9, 9).await;
            assert!(inserted.expect("it answers"));
        }
        let ids = async |principal: &str, page: Page| {
            let listed = store.files(&principal.into(), Some("batch"), &page).await;
            listed.expect("it answers").map(|listed| {
                let ids: Vec<_> = listed.items.into_iter().map(|file| file.id).collect();
                (ids.join(""), listed.has_more)
            })
        };
        let found = |ids: &str, more| Some((ids.to_owned(), more));
        assert_eq!(ids("p", page(None, 2, true)).await, found("cb", true));
        assert_eq!(ids("p", page(Some("b"), 2, true)).await, found("a", false));
        assert_eq!(
            ids("p", page(Some("a"), 9, false)).await,
            found("bc", false)
        );
        assert_eq!(ids("p", page(Some("x"), 9, false)).await, None);
        assert_eq!(ids("q", page(None, 9, true)).await, found("", false));
        assert_eq!(ids("q", page(Some("a"), 9, true)).await, None);
        let before = Page {
            before: Some("a".to_owned()),
            ..page(None, 1, true)
        };
        assert_eq!(ids("p", before).await, found("b", true));

        let q = PrincipalId::new("q");
        assert_eq!(store.file(&q, "a").await.expect("it answers"), None);
        assert!(!store.delete_file(&q, "a").await.expect("it answers"));
        let p = PrincipalId::new("p");
        assert!(store.delete_file(&p, "a").await.expect("it answers"));
        assert_eq!(store.file(&p, "a").await.expect("it answers"), None);
    }

    #[tokio::test]
    async fn what_is_over_is_swept() {
        let (store, _dir) = store().await;
        let old = FileRecord {
            expires_at_ms: Some(5),
            ..file("old", "p", 1)
        };
        for file in [old, file("kept", "p", 1)] {
            let inserted = store.insert_file(&file, 9, 9).await;
            assert!(inserted.expect("it answers"));
        }
        let swept = async |now| store.delete_expired_files(now).await.expect("it answers");
        assert!(swept(4).await.is_empty());
        assert_eq!(swept(5).await, ["old"]);
        let left = store.file_ids().await.expect("it answers");
        assert_eq!(left, HashSet::from(["kept".to_owned()]));
    }
}
