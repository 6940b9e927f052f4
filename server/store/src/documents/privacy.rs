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

    /// Erases all that is a principal's: databases with all that is in them, replications and erasures, what he holds of
    /// blobs, uploads, his meter, and his name where others let him in.
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
        // Where others let him in, what was encrypted for him, and what he had erased elsewhere.
        for statement in [
            "DELETE FROM members WHERE principal = ?",
            "DELETE FROM grants WHERE grantee = ?",
            "DELETE FROM wraps WHERE recipient = ?",
            "DELETE FROM replications WHERE owner = ?",
            "DELETE FROM erasures WHERE owner = ?",
        ] {
            let statement = sqlx::query(statement).bind(owner.as_str());
            statement.execute(&mut *transaction).await?;
        }
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

#[cfg(test)]
mod tests {
    use kwaainet_storage::{Draft, Limits, Mode, Roles};
    use serde_json::json;

    use super::*;
    use crate::{BlobRecord, DatabaseRecord, NewDatabase};

    const WORD: &str = "Kanarienvogel";
    const LIMITS: Limits = Limits {
        document_bytes: 1 << 20,
        attachment_bytes: 1 << 20,
        attachments: 10,
    };

    async fn database(store: &DocumentStore, owner: &str) -> DatabaseRecord {
        let new = NewDatabase {
            owner: owner.into(),
            name: "notes".parse().expect("it is a name"),
            mode: Mode::Private,
            created_at_ms: 1,
            wrap: None,
        };
        assert!(store.create_database(&new).await.expect("it answers"));
        let found = store.database(&new.owner, &new.name).await;
        found.expect("it answers").expect("it is there")
    }

    /// Documents in no order and of all sizes, so that rows move between pages.
    async fn fill(store: &DocumentStore, db: &DatabaseRecord, word: &str) {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..60 {
            let mut drafts = Vec::new();
            for _ in 0..10 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let said = word.repeat((seed >> 33) as usize % 60 + 1);
                let document = json!({"_id": format!("{seed:016x}{word}"), "said": said});
                drafts.push(Draft::parse(document, &LIMITS).expect("it is sound"));
            }
            let written = store.write(db, drafts, false, u64::MAX).await;
            assert!(written.expect("it is written").iter().all(Result::is_ok));
        }
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the handle is awaited")]
    async fn nothing_of_an_owner_is_left_and_all_of_the_others() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let opened = DocumentStore::open(&dir.path().join("storage.db")).await;
        let (store, group) = opened.expect("it opens");
        let writer = tokio::spawn(group.run(|error| panic!("{error}")));
        let mine = format!("key:{WORD}");
        let (own, other) = (
            database(&store, &mine).await,
            database(&store, "key:b").await,
        );
        fill(&store, &own, WORD).await;
        fill(&store, &other, "other").await;
        let names = vec![mine.clone(), "key:c".to_owned()];
        let security = Security {
            members: Roles {
                names,
                roles: Vec::new(),
            },
            ..Security::default()
        };
        let secured = store.secure(other.key, &security, None).await;
        assert!(secured.expect("it answers"));
        let owner = PrincipalId::new(mine.as_str());
        for (holder, hash) in [(&owner, "aa"), (&owner, "bb"), (&"key:b".into(), "bb")] {
            let blob = BlobRecord {
                hash: hash.into(),
                bytes: 7,
                created_at_ms: 1,
            };
            let held = store.hold_blob(holder, &blob, u64::MAX).await;
            assert!(held.expect("it answers"));
        }
        store.meter(1).await.expect("it is metered");

        let erased = store.erase_owner(&owner).await.expect("it is erased");
        assert_eq!(
            erased,
            OwnerErased {
                databases: 1,
                memberships: 1,
                files: vec!["aa".into()],
                blobs: 2,
                metered: true,
            }
        );
        store.rewrite().await.expect("it is rewritten");
        for file in ["storage.db", "storage.db-wal"] {
            let bytes = std::fs::read(dir.path().join(file)).expect("it is there");
            let found = bytes
                .windows(WORD.len())
                .any(|part| part == WORD.as_bytes());
            assert!(!found, "{file}");
        }
        let again = store.erase_owner(&owner).await.expect("it answers");
        assert_eq!(again, OwnerErased::default());
        let name = "notes".parse().expect("it is a name");
        let left = store.database(&"key:b".into(), &name).await;
        let left = left.expect("it answers").expect("it is there");
        assert_eq!(
            (left.docs, left.security.members.names),
            (600, vec!["key:c".to_owned()])
        );
        drop(store);
        writer.await.expect("it ends");
    }
}
