//! Accounts by their DIDs.

use kwaainet_core::Scopes;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::{Store, StoreError};

/// Other DIDs of one account at most.
const LINKS_MAX: i64 = 64;
/// Accounts at most: beyond that only those come in that are here already.
const ACCOUNTS_MAX: i64 = 100_000;

/// An account, and what is known of it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// Its name.
    pub did: String,
    /// What passkeys call it.
    pub handle: [u8; 16],
    /// Whether what let it in is good now: a key, or that the node has none.
    pub admitted: bool,
    /// What the owner allowed it while that is so.
    pub scopes: Scopes,
    /// SHA-256 of the DID that is to come after it.
    pub next_key: Option<[u8; 32]>,
    /// Who may say what comes after it, if its key is lost.
    pub recovery: Option<String>,
    /// Its passkeys.
    pub passkeys: u32,
    /// Its other DIDs.
    pub links: u32,
    /// Those of them on a chain.
    pub chains: u32,
    /// Until when a credential of an accepted issuer counts: milliseconds since 1970, as all times here. None if there
    /// is none that is good now.
    pub verified_until_ms: Option<i64>,
    /// When it first came.
    pub created_at_ms: i64,
}

/// Who lets an account in, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// A key's id, or `owner`.
    pub by: String,
    /// What he allows.
    pub scopes: Scopes,
}

/// That another DID is the same account's, as its owner signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRecord {
    /// The other DID.
    pub linked: String,
    /// The account.
    pub account: String,
    /// What he signed.
    pub message: String,
    /// The signature.
    pub signature: String,
    /// When.
    pub created_at_ms: i64,
}

/// What came of linking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// It is done.
    Done,
    /// The DID is another account, or linked to one.
    Taken,
    /// The account has too many.
    Full,
}

/// A kept passkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyRecord {
    /// Its own name.
    pub id: Vec<u8>,
    /// Whose it is.
    pub account: String,
    /// The rest, which means nothing here.
    pub record: String,
}

/// What became of a passkey that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasskeyKept {
    /// It is kept.
    Done,
    /// It is another account's.
    Taken,
    /// The account has too many.
    Full,
}

/// An account's columns with what is known of it; takes the time twice. What the owner let in while his node had no
/// key is let in until it has one.
pub(super) const FACTS: &str = "
    a.did, a.handle, a.scopes AS account_scopes, a.next_key, a.recovery, a.created_at_ms AS account_created_at_ms,
    (CASE WHEN a.admitted_by IS 'owner' THEN NOT EXISTS (SELECT 1 FROM api_keys) ELSE EXISTS (
        SELECT 1 FROM api_keys k WHERE k.id = a.admitted_by AND k.revoked_at_ms IS NULL
        AND (k.expires_at_ms IS NULL OR k.expires_at_ms > ?)) END) AS admitted,
    (SELECT COUNT(*) FROM passkeys p WHERE p.account = a.did) AS passkeys,
    (SELECT COUNT(*) FROM account_links l WHERE l.account = a.did) AS links,
    (SELECT COUNT(*) FROM account_links l WHERE l.account = a.did AND l.linked LIKE 'did:pkh:%') AS chains,
    (SELECT MAX(good_until_ms) FROM shown_credentials s
        WHERE s.account = a.did AND s.good_until_ms > ?) AS verified_until_ms";

impl Store {
    /// The account of this DID, its own or a linked one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account(
        &self,
        did: &str,
        now_ms: i64,
    ) -> Result<Option<AccountRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {FACTS} FROM accounts a
             WHERE a.did = COALESCE((SELECT account FROM account_links WHERE linked = ?), ?)"
        )))
        .bind(now_ms)
        .bind(now_ms)
        .bind(did)
        .bind(did)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(account).transpose()
    }

    /// Makes an account if there is none and room for it, and lets it in if somebody does.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn see_account(
        &self,
        did: &str,
        handle: [u8; 16],
        admission: Option<&Admission>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO accounts (did, handle, admitted_by, scopes, created_at_ms, seen_at_ms)
             SELECT ?1, ?2, ?3, ?4, ?5, ?5
             WHERE (SELECT COUNT(*) FROM accounts) < ?6 OR EXISTS (SELECT 1 FROM accounts WHERE did = ?1)
             ON CONFLICT (did) DO UPDATE SET
                 admitted_by = COALESCE(excluded.admitted_by, admitted_by),
                 scopes = IIF(excluded.admitted_by IS NULL, scopes, excluded.scopes),
                 seen_at_ms = excluded.seen_at_ms",
        )
        .bind(did)
        .bind(handle.as_slice())
        .bind(admission.map(|admission| admission.by.as_str()))
        .bind(admission.map_or_else(String::new, |admission| admission.scopes.to_string()))
        .bind(now_ms)
        .bind(ACCOUNTS_MAX)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Links another DID to an account. Doing so again changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn link_account(&self, link: &LinkRecord) -> Result<Linked, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query(
            "SELECT (SELECT account FROM account_links WHERE linked = ?1) AS holder,
                    EXISTS (SELECT 1 FROM accounts WHERE did = ?1) AS is_account,
                    (SELECT COUNT(*) FROM account_links WHERE account = ?2) AS held",
        )
        .bind(&link.linked)
        .bind(&link.account)
        .fetch_one(&mut *transaction)
        .await?;
        let holder: Option<String> = row.try_get("holder")?;
        match holder {
            Some(holder) if holder == link.account => return Ok(Linked::Done),
            Some(_) => return Ok(Linked::Taken),
            None if row.try_get::<bool, _>("is_account")? => return Ok(Linked::Taken),
            None if row.try_get::<i64, _>("held")? >= LINKS_MAX => return Ok(Linked::Full),
            None => {}
        }
        sqlx::query(
            "INSERT INTO account_links (linked, account, message, signature, created_at_ms)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&link.linked)
        .bind(&link.account)
        .bind(&link.message)
        .bind(&link.signature)
        .bind(link.created_at_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Linked::Done)
    }

    /// An account's links, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account_links(&self, account: &str) -> Result<Vec<LinkRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM account_links WHERE account = ? ORDER BY created_at_ms, linked",
        )
        .bind(account)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(LinkRecord {
                    linked: row.try_get("linked")?,
                    account: row.try_get("account")?,
                    message: row.try_get("message")?,
                    signature: row.try_get("signature")?,
                    created_at_ms: row.try_get("created_at_ms")?,
                })
            })
            .collect()
    }

    /// Takes a link back; `false` if the account has none to this DID.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unlink_account(&self, account: &str, linked: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM account_links WHERE account = ? AND linked = ?")
            .bind(account)
            .bind(linked)
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps what an account says of the key that comes after its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prepare_account(
        &self,
        account: &str,
        next_key: [u8; 32],
        recovery: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE accounts SET next_key = ?, recovery = ? WHERE did = ?")
            .bind(next_key.as_slice())
            .bind(recovery)
            .bind(account)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Puts another DID in an account's place, with all that it has; its sessions end. `false` when that DID is an
    /// account already, or linked to one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn succeed_account(&self, link: &LinkRecord) -> Result<bool, StoreError> {
        let (old, new) = (&link.account, &link.linked);
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let taken = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM accounts WHERE did = ?1)
                 OR EXISTS (SELECT 1 FROM account_links WHERE linked = ?1 AND account <> ?2) AS taken",
        )
        .bind(new)
        .bind(old)
        .fetch_one(&mut *transaction)
        .await?;
        if taken.try_get::<bool, _>("taken")? {
            return Ok(false);
        }
        sqlx::query("DELETE FROM account_links WHERE linked = ?")
            .bind(new)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE sessions SET ended_at_ms = COALESCE(ended_at_ms, ?) WHERE account = ?")
            .bind(link.created_at_ms)
            .bind(old)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE accounts SET did = ?, next_key = NULL WHERE did = ?")
            .bind(new)
            .bind(old)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO account_successions (old, new, message, signature, created_at_ms)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(old)
        .bind(new)
        .bind(&link.message)
        .bind(&link.signature)
        .bind(link.created_at_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Keeps a passkey: a new one, if its account has not so many yet, or what has changed of a known one, whose owner
    /// stays who he was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_passkey(
        &self,
        passkey: &PasskeyRecord,
        max: usize,
        now_ms: i64,
    ) -> Result<PasskeyKept, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query(
            "SELECT (SELECT account FROM passkeys WHERE id = ?1) AS holder,
                    (SELECT COUNT(*) FROM passkeys WHERE account = ?2) AS held",
        )
        .bind(&passkey.id)
        .bind(&passkey.account)
        .fetch_one(&mut *transaction)
        .await?;
        let (holder, held): (Option<String>, i64) = (row.try_get("holder")?, row.try_get("held")?);
        match holder {
            Some(holder) if holder != passkey.account => return Ok(PasskeyKept::Taken),
            None if held >= max as i64 => return Ok(PasskeyKept::Full),
            _ => {}
        }
        sqlx::query(
            "INSERT INTO passkeys (id, account, record, created_at_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET record = excluded.record, used_at_ms = ?4",
        )
        .bind(&passkey.id)
        .bind(&passkey.account)
        .bind(&passkey.record)
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(PasskeyKept::Done)
    }

    /// An account's passkeys, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn passkeys(&self, account: &str) -> Result<Vec<PasskeyRecord>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM passkeys WHERE account = ? ORDER BY created_at_ms, id")
                .bind(account)
                .fetch_all(&self.readers)
                .await?;
        rows.iter()
            .map(|row| {
                Ok(PasskeyRecord {
                    id: row.try_get("id")?,
                    account: row.try_get("account")?,
                    record: row.try_get("record")?,
                })
            })
            .collect()
    }
}

pub(super) fn account(row: &SqliteRow) -> Result<AccountRecord, StoreError> {
    let handle: Vec<u8> = row.try_get("handle")?;
    let scopes: String = row.try_get("account_scopes")?;
    let next_key: Option<Vec<u8>> = row.try_get("next_key")?;
    let count = |column| -> Result<u32, StoreError> {
        let count: i64 = row.try_get(column)?;
        u32::try_from(count).map_err(|_| StoreError::Malformed("count"))
    };
    Ok(AccountRecord {
        did: row.try_get("did")?,
        handle: handle
            .try_into()
            .map_err(|_| StoreError::Malformed("account"))?,
        admitted: row.try_get("admitted")?,
        scopes: scopes.parse().map_err(|_| StoreError::Malformed("scope"))?,
        next_key: next_key
            .map(TryInto::try_into)
            .transpose()
            .map_err(|_| StoreError::Malformed("next key"))?,
        recovery: row.try_get("recovery")?,
        passkeys: count("passkeys")?,
        links: count("links")?,
        chains: count("chains")?,
        verified_until_ms: row.try_get("verified_until_ms")?,
        created_at_ms: row.try_get("account_created_at_ms")?,
    })
}
