//! The audit log at rest, and the keys of its subjects.

use std::collections::HashMap;

use kwaainet_audit::{Action, AuditOutcome, BadEntry, Entry, Sealed, SubjectKey};
use kwaainet_core::random_id;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use crate::log::{self, Log, ROWS_MAX};
use crate::{Store, StoreError};

/// Why entries were not recorded.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// One is none.
    #[error(transparent)]
    Entry(#[from] BadEntry),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which entries are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Whom they are about.
    pub subject: Option<String>,
    /// What was done: this, or all that begins so if it ends with a dot.
    pub action: Option<String>,
    /// How it ended.
    pub outcome: Option<AuditOutcome>,
    /// From this time on: milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Before this time.
    pub until_ms: Option<i64>,
}

/// An entry as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Counts from 0: its leaf in the Merkle tree.
    pub index: u64,
    /// The entry.
    pub sealed: Sealed,
    /// The key to it; none once its subject was erased.
    pub key: Option<SubjectKey>,
}

const COLUMNS: &str =
    "audit_entries.seq, at_ms, action, outcome, commitment, nonce, ciphertext, audit_subjects.key";

impl Store {
    /// Records entries, in one transaction; gives the index of the first.
    ///
    /// # Errors
    /// When one of them is none, or the database fails; then nothing was recorded.
    pub async fn record_audit(&self, entries: &[Entry]) -> Result<u64, AuditError> {
        let recorded = async {
            // The owner's commands record too, from a process of their own.
            let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await;
            let mut transaction = transaction.map_err(StoreError::from)?;
            let mut subjects: HashMap<&str, ([u8; 16], SubjectKey)> = HashMap::new();
            let mut rows = Vec::with_capacity(entries.len());
            for entry in entries {
                let subject = entry.subject.as_str();
                let (id, key) = match subjects.get(subject) {
                    Some(known) => known.clone(),
                    None => {
                        let known = subject_key(&mut transaction, subject).await?;
                        subjects.insert(subject, known.clone());
                        known
                    }
                };
                rows.push((id, Sealed::seal(entry, &key)?));
            }
            let mut frontier = log::frontier(&mut transaction, Log::Audit).await?;
            let first = frontier.size();
            insert(&mut transaction, first, &rows).await?;
            let leaves = rows.iter().map(|(_, sealed)| sealed.leaf_hash());
            log::append(&mut transaction, Log::Audit, &mut frontier, leaves).await?;
            transaction.commit().await.map_err(StoreError::from)?;
            Ok(first)
        };
        recorded.await
    }

    /// The entries that are looked for, oldest first, from this index on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_entries(
        &self,
        filter: &AuditFilter,
        from: u64,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut query = QueryBuilder::new(format!(
            "SELECT {COLUMNS} FROM audit_entries
             LEFT JOIN audit_subjects ON audit_subjects.id = audit_entries.subject
             WHERE audit_entries.seq > "
        ));
        query.push_bind(i64::try_from(from).unwrap_or(i64::MAX));
        if let Some(subject) = &filter.subject {
            query.push(
                " AND audit_entries.subject = (SELECT id FROM audit_subjects WHERE subject = ",
            );
            query.push_bind(subject).push(")");
        }
        if let Some(action) = &filter.action {
            match action.ends_with('.') {
                true => query
                    .push(" AND substr(action, 1, length(")
                    .push_bind(action)
                    .push(")) = "),
                false => query.push(" AND action = "),
            };
            query.push_bind(action);
        }
        if let Some(outcome) = filter.outcome {
            query.push(" AND outcome = ").push_bind(outcome.name());
        }
        if let Some(since) = filter.since_ms {
            query.push(" AND at_ms >= ").push_bind(since);
        }
        if let Some(until) = filter.until_ms {
            query.push(" AND at_ms < ").push_bind(until);
        }
        query
            .push(" ORDER BY audit_entries.seq LIMIT ")
            .push_bind(limit);
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(record).collect()
    }

    /// Destroys the key of a subject, and with it what the log says of him; says how many entries that were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_audit_subject(&self, subject: &str) -> Result<u64, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let row = sqlx::query(
            "SELECT COUNT(*) AS entries FROM audit_entries
             WHERE subject = (SELECT id FROM audit_subjects WHERE subject = ?)",
        )
        .bind(subject)
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM audit_subjects WHERE subject = ?")
            .bind(subject)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let entries: i64 = row.try_get("entries")?;
        Ok(entries.max(0) as u64)
    }
}

/// The key of a subject, made now if there is none.
async fn subject_key(
    connection: &mut SqliteConnection,
    subject: &str,
) -> Result<([u8; 16], SubjectKey), StoreError> {
    let row = sqlx::query("SELECT id, key FROM audit_subjects WHERE subject = ?")
        .bind(subject)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = row {
        let key = array(&row, "key")?;
        return Ok((array(&row, "id")?, SubjectKey::from_bytes(key)));
    }
    // 120 random bits in letters and digits, of which 16 are 80: enough that none comes twice.
    let id = random_id();
    let (id, _) = id
        .as_bytes()
        .split_first_chunk()
        .expect("it has 24 letters");
    let key = SubjectKey::generate();
    sqlx::query("INSERT INTO audit_subjects (id, subject, key) VALUES (?, ?, ?)")
        .bind(id.as_slice())
        .bind(subject)
        .bind(key.as_bytes().as_slice())
        .execute(connection)
        .await?;
    Ok((*id, key))
}

async fn insert(
    connection: &mut SqliteConnection,
    first: u64,
    rows: &[([u8; 16], Sealed)],
) -> Result<(), StoreError> {
    let numbered: Vec<(i64, &([u8; 16], Sealed))> = (first as i64 + 1..).zip(rows).collect();
    for rows in numbered.chunks(ROWS_MAX) {
        let mut insert = QueryBuilder::new(
            "INSERT INTO audit_entries (seq, at_ms, action, outcome, commitment, subject, nonce, ciphertext) ",
        );
        insert.push_values(rows, |mut row, (seq, (subject, sealed))| {
            row.push_bind(*seq)
                .push_bind(sealed.at_ms)
                .push_bind(sealed.action.as_str().to_owned())
                .push_bind(sealed.outcome.name())
                .push_bind(sealed.commitment.to_vec())
                .push_bind(subject.to_vec())
                .push_bind(sealed.nonce.to_vec())
                .push_bind(sealed.ciphertext.clone());
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

fn record(row: &SqliteRow) -> Result<AuditRecord, StoreError> {
    let bad = || StoreError::Malformed("audit entry");
    let seq: i64 = row.try_get("seq")?;
    let action: String = row.try_get("action")?;
    let outcome: String = row.try_get("outcome")?;
    let key: Option<Vec<u8>> = row.try_get("key")?;
    let key = key.map(|key| key.try_into().map(SubjectKey::from_bytes));
    Ok(AuditRecord {
        index: u64::try_from(seq - 1).map_err(|_| bad())?,
        sealed: Sealed {
            at_ms: row.try_get("at_ms")?,
            action: Action::new(action).map_err(|_| bad())?,
            outcome: AuditOutcome::of_name(&outcome).ok_or_else(bad)?,
            commitment: array(row, "commitment")?,
            nonce: array(row, "nonce")?,
            ciphertext: row.try_get("ciphertext")?,
        },
        key: key.transpose().map_err(|_| bad())?,
    })
}

fn array<const N: usize>(row: &SqliteRow, column: &str) -> Result<[u8; N], StoreError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    bytes
        .try_into()
        .map_err(|_| StoreError::Malformed("audit entry"))
}

#[cfg(test)]
mod tests;
