//! Sessions: who signed in, for how long, with what.

use kwaainet_core::{Scopes, SessionId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::accounts::{AccountRecord, FACTS, account};
use crate::{Store, StoreError};

/// Sessions of one account at once; the oldest ends for a new one.
const SESSIONS_MAX: i64 = 64;
/// How long one that is over is still shown.
const SHOWN_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// A session with its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its public part.
    pub id: SessionId,
    /// See [`kwaainet_core::SessionToken::hash`].
    pub hash: [u8; 32],
    /// What it was given.
    pub scopes: Scopes,
    /// Milliseconds since 1970, as all times here.
    pub created_at_ms: i64,
    /// Until when it is good.
    pub expires_at_ms: i64,
    /// When it was ended.
    pub ended_at_ms: Option<i64>,
    /// Whose it is.
    pub account: AccountRecord,
}

/// No capability is good for longer.
const CAPABILITY_MS: i64 = 366 * 24 * 3_600 * 1_000;

const COLUMNS: &str = "
    s.id, s.hash, s.scopes, s.created_at_ms, s.expires_at_ms, s.ended_at_ms";

impl Store {
    /// Stores a new session of an account that is there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO sessions (id, hash, account, scopes, created_at_ms, expires_at_ms)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(session.id.as_str())
        .bind(session.hash.as_slice())
        .bind(&session.account.did)
        .bind(session.scopes.to_string())
        .bind(session.created_at_ms)
        .bind(session.expires_at_ms)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM sessions WHERE account = ?1 AND (expires_at_ms < ?2 OR id NOT IN (
                 SELECT id FROM sessions WHERE account = ?1 ORDER BY created_at_ms DESC, id LIMIT ?3))",
        )
        .bind(&session.account.did)
        .bind(session.created_at_ms - SHOWN_MS)
        .bind(SESSIONS_MAX)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The session with this id, whatever its state, and its account as it is now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(
        &self,
        id: &SessionId,
        now_ms: i64,
    ) -> Result<Option<SessionRow>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS}, {FACTS} FROM sessions s JOIN accounts a ON a.did = s.account
             WHERE s.id = ?"
        )))
        .bind(now_ms)
        .bind(now_ms)
        .bind(id.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(session).transpose()
    }

    /// An account's sessions, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions(
        &self,
        account: &str,
        now_ms: i64,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS}, {FACTS} FROM sessions s JOIN accounts a ON a.did = s.account
             WHERE s.account = ? ORDER BY s.created_at_ms DESC, s.id"
        )))
        .bind(now_ms)
        .bind(now_ms)
        .bind(account)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(session).collect()
    }

    /// Ends a session of an account; `false` if it has none with this id. A second time changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_session(
        &self,
        account: &str,
        id: &SessionId,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE sessions SET ended_at_ms = COALESCE(ended_at_ms, ?) WHERE id = ? AND account = ?",
        )
        .bind(now_ms)
        .bind(id.as_str())
        .bind(account)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets sessions and revoked capabilities that are over since long, and accounts that nobody let in, that have nothing, and that nobody
    /// came back to; gives how many accounts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_accounts(&self, now_ms: i64) -> Result<u64, StoreError> {
        sqlx::query("DELETE FROM sessions WHERE expires_at_ms < ?")
            .bind(now_ms - SHOWN_MS)
            .execute(&self.writer)
            .await?;
        sqlx::query("DELETE FROM revoked_capabilities WHERE revoked_at_ms < ?")
            .bind(now_ms - CAPABILITY_MS)
            .execute(&self.writer)
            .await?;
        let done = sqlx::query(
            "DELETE FROM accounts WHERE admitted_by IS NULL AND seen_at_ms < ?
             AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.account = did)
             AND NOT EXISTS (SELECT 1 FROM passkeys p WHERE p.account = did)
             AND NOT EXISTS (SELECT 1 FROM account_links l WHERE l.account = did)",
        )
        .bind(now_ms - SHOWN_MS)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected())
    }
}

fn session(row: &SqliteRow) -> Result<SessionRow, StoreError> {
    let hash: Vec<u8> = row.try_get("hash")?;
    let scopes: String = row.try_get("scopes")?;
    Ok(SessionRow {
        id: SessionId::new(row.try_get::<String, _>("id")?),
        hash: hash
            .try_into()
            .map_err(|_| StoreError::Malformed("session hash"))?,
        scopes: scopes.parse().map_err(|_| StoreError::Malformed("scope"))?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
        ended_at_ms: row.try_get("ended_at_ms")?,
        account: account(row)?,
    })
}
