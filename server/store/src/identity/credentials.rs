//! The states of what this node issued, and what others showed it; and capabilities that were taken back.

use sqlx::Row;

use crate::{Store, StoreError};

/// A credential of this node's: where its state stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCredential {
    /// The list's number, from 1 on.
    pub list: u32,
    /// The place in it.
    pub place: u32,
    /// The credential's id.
    pub id: String,
    /// Which principal had it issued.
    pub issued_by: String,
    /// Milliseconds since 1970, as all times here.
    pub created_at_ms: i64,
}

/// That an account showed a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCredential {
    /// Whose it is.
    pub account: String,
    /// Who issued it.
    pub issuer: String,
    /// Its id, if it has one.
    pub credential: Option<String>,
    /// When it was shown.
    pub shown_at_ms: i64,
    /// Until when that counts.
    pub good_until_ms: i64,
}

/// Tries to find a free place in a list before the next one is begun.
const TRIES: u32 = 64;

impl Store {
    /// Takes a place for a credential: a random one among those that are free in the last list, so that places tell
    /// nothing of when. `None` if the id was used before. `random` gives numbers below its argument.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_place(
        &self,
        id: &str,
        issued_by: &str,
        list_length: u32,
        random: impl Fn(u32) -> u32,
        now_ms: i64,
    ) -> Result<Option<IssuedCredential>, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM issued_credentials WHERE id = ?) AS used,
                    (SELECT MAX(list) FROM issued_credentials) AS last",
        )
        .bind(id)
        .fetch_one(&mut *transaction)
        .await?;
        if row.try_get("used")? {
            return Ok(None);
        }
        let mut list = row.try_get::<Option<i64>, _>("last")?.unwrap_or(1);
        let mut tries = 0;
        loop {
            if tries == TRIES {
                // As good as full.
                (list, tries) = (list + 1, 0);
            }
            tries += 1;
            let place = random(list_length);
            let done = sqlx::query(
                "INSERT INTO issued_credentials (list, place, id, issued_by, created_at_ms)
                 VALUES (?, ?, ?, ?, ?) ON CONFLICT (list, place) DO NOTHING",
            )
            .bind(list)
            .bind(place)
            .bind(id)
            .bind(issued_by)
            .bind(now_ms)
            .execute(&mut *transaction)
            .await?;
            if done.rows_affected() == 1 {
                transaction.commit().await?;
                return Ok(Some(IssuedCredential {
                    list: u32::try_from(list).map_err(|_| StoreError::Malformed("list"))?,
                    place,
                    id: id.to_owned(),
                    issued_by: issued_by.to_owned(),
                    created_at_ms: now_ms,
                }));
            }
        }
    }

    /// Revokes a credential, at once and for good, also for accounts that have shown it; `false` if this node did not
    /// issue one with this id. A second time changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_credential(&self, id: &str, now_ms: i64) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query(
            "UPDATE issued_credentials SET revoked_at_ms = COALESCE(revoked_at_ms, ?) WHERE id = ?",
        )
        .bind(now_ms)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM shown_credentials WHERE credential = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// The revoked places of a list; `None` where no credential has a place in it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoked_places(&self, list: u32) -> Result<Option<Vec<u32>>, StoreError> {
        let used = sqlx::query("SELECT 1 FROM issued_credentials WHERE list = ? LIMIT 1")
            .bind(list)
            .fetch_optional(&self.readers)
            .await?;
        if used.is_none() {
            return Ok(None);
        }
        let rows = sqlx::query(
            "SELECT place FROM issued_credentials WHERE list = ? AND revoked_at_ms IS NOT NULL",
        )
        .bind(list)
        .fetch_all(&self.readers)
        .await?;
        let places = rows.iter().map(|row| row.try_get::<u32, _>("place"));
        Ok(Some(places.collect::<Result<_, _>>()?))
    }

    /// Keeps that an account showed a credential; not of one of this node's that was revoked since it was looked at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn show_credential(&self, shown: &ShownCredential) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO shown_credentials (account, issuer, credential, shown_at_ms, good_until_ms)
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (
                 SELECT 1 FROM issued_credentials WHERE id = ?3 AND revoked_at_ms IS NOT NULL)
             ON CONFLICT (account, issuer) DO UPDATE SET
                 credential = excluded.credential, shown_at_ms = excluded.shown_at_ms,
                 good_until_ms = excluded.good_until_ms",
        )
        .bind(&shown.account)
        .bind(&shown.issuer)
        .bind(shown.credential.as_deref())
        .bind(shown.shown_at_ms)
        .bind(shown.good_until_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Takes capabilities back, by their revocation ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_capability(&self, id: &[u8], now_ms: i64) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO revoked_capabilities VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(id)
            .bind(now_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Whether any of these was taken back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_capability_revoked(&self, ids: &[Vec<u8>]) -> Result<bool, StoreError> {
        for id in ids {
            let found = sqlx::query("SELECT 1 FROM revoked_capabilities WHERE id = ?")
                .bind(id)
                .fetch_optional(&self.readers)
                .await?;
            if found.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
