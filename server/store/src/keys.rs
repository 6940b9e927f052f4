//! API keys at rest: the public id, a hash of the secret, and what the key may do.

use kwaainet_core::{KeyId, KeyRecord};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::{Store, StoreError};

const COLUMNS: &str =
    "id, name, hash, scopes, created_at_ms, expires_at_ms, revoked_at_ms, last_used_at_ms";

impl Store {
    /// Stores a new key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_key(&self, key: &KeyRecord) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO api_keys (id, name, hash, scopes, created_at_ms, expires_at_ms)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(key.id.as_str())
        .bind(&key.name)
        .bind(key.hash.as_slice())
        .bind(key.scopes.to_string())
        .bind(key.created_at_ms)
        .bind(key.expires_at_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// The key with this id, whatever its state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM api_keys WHERE id = ?"
        )))
        .bind(id.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(record).transpose()
    }

    /// All keys, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM api_keys ORDER BY created_at_ms, id"
        )))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }

    /// Whether a key was ever made, good or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys_exist(&self) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM api_keys) AS found")
            .fetch_one(&self.readers)
            .await?;
        Ok(row.try_get("found")?)
    }

    /// Notes the public half of what opens what is encrypted for the key's owner. It never changes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_sharing_key(&self, id: &KeyId, public: &[u8; 32]) -> Result<(), StoreError> {
        if self.sharing_key(id).await?.is_some() {
            return Ok(());
        }
        sqlx::query("UPDATE api_keys SET sharing_key = ? WHERE id = ? AND sharing_key IS NULL")
            .bind(public.as_slice())
            .bind(id.as_str())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// What was noted so; none for a key of before that was not used since, and for none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sharing_key(&self, id: &KeyId) -> Result<Option<[u8; 32]>, StoreError> {
        let public: Option<Option<Vec<u8>>> =
            sqlx::query_scalar("SELECT sharing_key FROM api_keys WHERE id = ?")
                .bind(id.as_str())
                .fetch_optional(&self.readers)
                .await?;
        let public = public.flatten().map(TryInto::try_into).transpose();
        public.map_err(|_| StoreError::Malformed("sharing key"))
    }

    /// Revokes a key; `false` if there is none with this id. A second time changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_key(&self, id: &KeyId, now_ms: i64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE api_keys SET revoked_at_ms = COALESCE(revoked_at_ms, ?) WHERE id = ?",
        )
        .bind(now_ms)
        .bind(id.as_str())
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

fn record(row: &SqliteRow) -> Result<KeyRecord, StoreError> {
    let hash: Vec<u8> = row.try_get("hash")?;
    let scopes: String = row.try_get("scopes")?;
    Ok(KeyRecord {
        id: KeyId::new(row.try_get::<String, _>("id")?),
        name: row.try_get("name")?,
        hash: hash
            .try_into()
            .map_err(|_| StoreError::Malformed("key hash"))?,
        scopes: scopes.parse().map_err(|_| StoreError::Malformed("scope"))?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
        revoked_at_ms: row.try_get("revoked_at_ms")?,
        last_used_at_ms: row.try_get("last_used_at_ms")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{ApiKey, Scopes};

    #[tokio::test]
    async fn a_key_is_kept_revoked_once_and_seen_by_a_second_process() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("node.db");
        let store = Store::open(&path).await.expect("it opens");
        let other = Store::open(&path).await.expect("it opens twice");
        assert!(!other.keys_exist().await.expect("it answers"));

        let key = ApiKey::generate();
        let stored = KeyRecord {
            id: key.id().clone(),
            name: "phone".into(),
            hash: key.hash(),
            scopes: Scopes::ALL,
            created_at_ms: 5,
            expires_at_ms: Some(50),
            revoked_at_ms: None,
            last_used_at_ms: None,
        };
        store.insert_key(&stored).await.expect("it is stored");
        assert!(other.keys_exist().await.expect("it answers"));
        let found = other.key(key.id()).await.expect("it answers");
        assert_eq!(found, Some(stored));

        assert_eq!(other.sharing_key(key.id()).await.expect("it answers"), None);
        for public in [[1; 32], [2; 32]] {
            let noted = store.note_sharing_key(key.id(), &public).await;
            noted.expect("it is stored");
            let known = other.sharing_key(key.id()).await.expect("it answers");
            assert_eq!(known, Some([1; 32]), "the first one stays");
        }

        assert!(other.revoke_key(key.id(), 7).await.expect("it answers"));
        assert!(store.revoke_key(key.id(), 9).await.expect("it answers"));
        let keys = store.keys().await.expect("it answers");
        assert_eq!(keys[0].revoked_at_ms, Some(7));
        let nobody = KeyId::new("nobody");
        assert!(!store.revoke_key(&nobody, 9).await.expect("it answers"));
    }
}
