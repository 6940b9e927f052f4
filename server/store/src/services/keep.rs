//! Which receipts stand: of each stream the one with the highest revision, and of those that the asker signed the
//! highest. Whatever order they come in, the same ones are left.

use sqlx::sqlite::SqliteConnection;

use super::{ClaimRecord, ServicePlace, ServiceRecord, record};
use crate::StoreError;

/// Keeps one, unless it is there or superseded, or contradicts another. `true` if something changed.
pub(super) async fn receipt(
    connection: &mut SqliteConnection,
    record: &ServiceRecord,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let known = sqlx::query("UPDATE services SET returned = MIN(returned, ?) WHERE hash = ?")
        .bind(record.returned)
        .bind(record.hash.as_slice())
        .execute(&mut *connection)
        .await?;
    if known.rows_affected() > 0 {
        return match &record.counter {
            Some(signed) => counter(connection, &record.hash, signed).await,
            None => Ok(false),
        };
    }
    let inserted = insert(connection, record, now_ms).await?;
    if inserted {
        tidy(connection, record).await?;
    }
    Ok(inserted)
}

/// Two statements contradict each other if they are about the same stream and revision, if one follows the end of
/// its stream, or if they are no neighbours though their numbers say so.
async fn insert(
    connection: &mut SqliteConnection,
    record: &ServiceRecord,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let ServicePlace {
        server,
        asker,
        chain,
        stream,
        revision,
    } = &record.place;
    let inserted = sqlx::query(
        "INSERT INTO services (hash, server, asker, chain, stream, revision, number, previous,
             request, kept_at_ms, receipt, counter, returned, changed)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
             (SELECT COALESCE(MAX(changed), 0) + 1 FROM services)
         WHERE NOT EXISTS (
             SELECT 1 FROM services
             WHERE server = ?2 AND asker = ?3 AND chain = ?4 AND stream = ?5 AND (
                 revision = ?6
                 OR (revision > ?6 AND (counter IS NOT NULL OR ?12 IS NULL))
                 OR (number > 0 AND (?7 > 0 OR revision < ?6))
                 OR (?7 > 0 AND revision > ?6)))
         AND NOT EXISTS (
             SELECT 1 FROM services
             WHERE ?7 > 0 AND server = ?2 AND asker = ?3 AND chain = ?4
                 AND number > 0 AND number IN (?7 - 1, ?7, ?7 + 1) AND (
                 number = ?7
                 OR (number = ?7 - 1 AND hash <> ?8)
                 OR (number = ?7 + 1 AND previous <> ?1)))",
    )
    .bind(record.hash.as_slice())
    .bind(server.0.as_slice())
    .bind(asker.0.as_slice())
    .bind(chain)
    .bind(stream)
    .bind(revision)
    .bind(record.number)
    .bind(record.previous.as_slice())
    .bind(record.request.as_slice())
    .bind(now_ms)
    .bind(&record.receipt)
    .bind(record.counter.as_deref())
    .bind(record.returned)
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Adds the first counter-signature. `true` if there was none.
pub(super) async fn counter(
    connection: &mut SqliteConnection,
    hash: &[u8; 32],
    counter: &[u8],
) -> Result<bool, StoreError> {
    let signed = sqlx::query(
        "UPDATE services SET counter = ?1,
             changed = (SELECT COALESCE(MAX(changed), 0) + 1 FROM services)
         WHERE hash = ?2 AND counter IS NULL RETURNING *",
    )
    .bind(counter)
    .bind(hash.as_slice())
    .fetch_optional(&mut *connection)
    .await?;
    match signed {
        None => Ok(false),
        Some(row) => {
            tidy(connection, &record(&row)?).await?;
            Ok(true)
        }
    }
}

/// Removes what this one supersedes.
async fn tidy(connection: &mut SqliteConnection, record: &ServiceRecord) -> Result<(), StoreError> {
    let ServicePlace {
        server,
        asker,
        chain,
        stream,
        ..
    } = &record.place;
    sqlx::query(
        "WITH said AS (SELECT revision, counter FROM services
             WHERE server = ?1 AND asker = ?2 AND chain = ?3 AND stream = ?4)
         DELETE FROM services
         WHERE server = ?1 AND asker = ?2 AND chain = ?3 AND stream = ?4
             AND revision < (SELECT MAX(revision) FROM said)
             AND (counter IS NULL OR revision <
                 (SELECT MAX(revision) FROM said WHERE counter IS NOT NULL))",
    )
    .bind(server.0.as_slice())
    .bind(asker.0.as_slice())
    .bind(chain)
    .bind(stream)
    .execute(&mut *connection)
    .await?;
    if record.number > 0 && record.counter.is_some() {
        sqlx::query("DELETE FROM claims WHERE server = ? AND request = ?")
            .bind(server.0.as_slice())
            .bind(record.request.as_slice())
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Keeps what was seen, once for each request.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    claim: &ClaimRecord,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO claims (server, request, request_hash, model, prompt_tokens, cached_tokens,
             completion_tokens, began_ms, duration_ms, transcript_hash)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(claim.server.0.as_slice())
    .bind(claim.request.as_slice())
    .bind(claim.request_hash.as_slice())
    .bind(claim.model.as_ref().map(|model| model.as_slice()))
    .bind(claim.prompt_tokens)
    .bind(claim.cached_tokens)
    .bind(claim.completion_tokens)
    .bind(claim.began_ms)
    .bind(claim.duration_ms)
    .bind(claim.transcript_hash.as_slice())
    .execute(connection)
    .await?;
    Ok(())
}
