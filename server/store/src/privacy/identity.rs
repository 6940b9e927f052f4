//! What is known of somebody as an account: told, and erased.

use kwaainet_core::merkle::leaf_hash;
use sqlx::Row;

use super::ERASED;
use crate::{Store, StoreError};

/// DIDs that one may have had one after the other, as far as they are followed.
const SUCCESSIONS_MAX: usize = 64;

/// One thing that is known of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityItem {
    /// `account`, `link`, `session`, `passkey`, `shown_credential`, `issued_credential` or `succession`.
    pub kind: String,
    /// What names it.
    pub id: String,
    /// Since when: milliseconds since 1970.
    pub at_ms: i64,
    /// What was said or signed about it, if anything.
    pub said: Option<String>,
}

impl Store {
    /// All names of a principal: his own first, those that are linked to it, and those that he had before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn names_of(&self, principal: &str) -> Result<Vec<String>, StoreError> {
        let mut reading = self.readers.begin().await?;
        let mut names = vec![principal.to_owned()];
        let add = |found: Vec<String>, names: &mut Vec<String>| {
            for name in found {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        };
        // Forwards to the account as it is now, then backwards from there.
        for (direction, from) in [("new", "old"), ("old", "new")] {
            let mut at = 0;
            while at < names.len().min(SUCCESSIONS_MAX) {
                let found = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                    "SELECT account FROM account_links WHERE linked = ?1
                     UNION ALL SELECT linked FROM account_links WHERE account = ?1
                     UNION ALL SELECT {direction} FROM account_successions WHERE {from} = ?1"
                )));
                let found = found.bind(names[at].clone());
                add(found.fetch_all(&mut *reading).await?, &mut names);
                at += 1;
            }
        }
        Ok(names)
    }

    /// What is known of an account by this name, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn identity_items(
        &self,
        name: &str,
        limit: u32,
    ) -> Result<Vec<IdentityItem>, StoreError> {
        let rows = sqlx::query(
            "SELECT 'account' AS kind, did AS id, created_at_ms AS at_ms, recovery AS said
                 FROM accounts WHERE did = ?1
             UNION ALL SELECT 'link', linked, created_at_ms, message FROM account_links WHERE account = ?1
             UNION ALL SELECT 'session', id, created_at_ms, scopes FROM sessions WHERE account = ?1
             UNION ALL SELECT 'passkey', lower(hex(id)), created_at_ms, NULL FROM passkeys WHERE account = ?1
             UNION ALL SELECT 'shown_credential', COALESCE(credential, ''), shown_at_ms, issuer
                 FROM shown_credentials WHERE account = ?1
             UNION ALL SELECT 'issued_credential', id, created_at_ms, NULL
                 FROM issued_credentials WHERE issued_by = ?1
             UNION ALL SELECT 'succession', old, created_at_ms, message FROM account_successions WHERE new = ?1
             ORDER BY at_ms, kind, id LIMIT ?2",
        )
        .bind(name)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let items = rows.iter().map(|row| {
            Ok(IdentityItem {
                kind: row.try_get("kind")?,
                id: row.try_get("id")?,
                at_ms: row.try_get("at_ms")?,
                said: row.try_get("said")?,
            })
        });
        items.collect()
    }

    /// Erases an account with all that hangs on it, wherever it is named. Credentials that it had issued keep their state,
    /// since others rely on it, under a hash of their name; says how many are gone, and how many of those there are.
    ///
    /// # Errors
    /// When the database fails; then nothing was changed.
    pub async fn erase_identity(&self, name: &str) -> Result<(u64, u64), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut gone = 0;
        for statement in [
            "DELETE FROM account_links WHERE linked = ?1 OR account = ?1",
            "DELETE FROM sessions WHERE account = ?1",
            "DELETE FROM passkeys WHERE account = ?1",
            "DELETE FROM shown_credentials WHERE account = ?1",
            "DELETE FROM account_successions WHERE old = ?1 OR new = ?1",
            "DELETE FROM accounts WHERE did = ?1",
            "UPDATE accounts SET recovery = NULL WHERE recovery = ?1",
        ] {
            let done = sqlx::query(statement).bind(name);
            gone += done.execute(&mut *transaction).await?.rows_affected();
        }
        let issued: Vec<String> =
            sqlx::query_scalar("SELECT id FROM issued_credentials WHERE issued_by = ?")
                .bind(name)
                .fetch_all(&mut *transaction)
                .await?;
        for id in &issued {
            sqlx::query("UPDATE issued_credentials SET id = ?, issued_by = ? WHERE id = ?")
                .bind(forgotten(id))
                .bind(ERASED)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok((gone, issued.len() as u64))
    }
}

/// What a credential's id is after its issuer was erased: whoever has the credential can still ask for its state, and
/// nobody can read the id.
pub(crate) fn forgotten(id: &str) -> String {
    let digest = leaf_hash(id.as_bytes());
    let hex = digest.iter().map(|byte| format!("{byte:02x}"));
    format!("hash:{}", hex.collect::<String>())
}
