//! Forgets: what is not current (compaction), what somebody wants gone (purge), and all trace of it in the
//! files of the database.

use std::collections::BTreeMap;

use kwaainet_storage::{Draft, Rev, RevTree};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::databases::body_key;
use super::reading;
use super::{DocumentStore, IMMEDIATE};
use crate::StoreError;

/// Documents that one transaction compacts, so that others can write in between.
const PAGE: i64 = 500;
/// Each waits for those who read just now, while nobody can write.
const VACUUM_TRIES: usize = 3;

/// What a compaction freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Revisions that say nothing any more.
    pub revisions: u64,
    /// Contents that no document has any more.
    pub attachments: u64,
}

/// What a purge removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Which revisions of which documents.
    pub revs: BTreeMap<String, Vec<Rev>>,
    /// How often something was purged from this database.
    pub purge_seq: i64,
}

impl DocumentStore {
    /// Forgets what all revisions but the current ones say.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn compact(&self, db: i64) -> Result<Compacted, StoreError> {
        let mut compacted = Compacted::default();
        let mut after = String::new();
        loop {
            let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
            let rows = sqlx::query(
                "SELECT id, tree FROM documents WHERE db = ? AND id > ? ORDER BY id LIMIT ?",
            )
            .bind(db)
            .bind(&after)
            .bind(PAGE)
            .fetch_all(&mut *transaction)
            .await?;
            let Some(last) = rows.last() else { break };
            after = last.try_get("id")?;
            for row in &rows {
                let mut tree = reading::tree(row.try_get("tree")?)?;
                let old = tree.compact();
                if old.is_empty() {
                    continue;
                }
                compacted.revisions += old.len() as u64;
                sqlx::query("UPDATE documents SET tree = ? WHERE db = ? AND id = ?")
                    .bind(tree.to_text())
                    .bind(db)
                    .bind(row.try_get::<&str, _>("id")?)
                    .execute(&mut *transaction)
                    .await?;
                let bytes = forget(db, &old, &mut transaction).await?;
                lighten(db, bytes, &mut transaction).await?;
            }
            transaction.commit().await?;
        }
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        compacted.attachments = sweep(db, &mut transaction).await?;
        transaction.commit().await?;
        Ok(compacted)
    }

    /// Removes leaves of documents as if they had never been, and with the last leaf the document.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn purge(
        &self,
        db: i64,
        wanted: &BTreeMap<String, Vec<Rev>>,
    ) -> Result<Purged, StoreError> {
        let mut purged = Purged::default();
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        for (id, revs) in wanted {
            let row = sqlx::query("SELECT deleted, tree FROM documents WHERE db = ? AND id = ?")
                .bind(db)
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?;
            let Some(row) = row else { continue };
            let mut tree = reading::tree(row.try_get("tree")?)?;
            let (gone, bodies) = tree.purge(revs);
            if gone.is_empty() {
                continue;
            }
            rewrite(db, id, row.try_get("deleted")?, &tree, &mut transaction).await?;
            let bytes = forget(db, &bodies, &mut transaction).await?;
            lighten(db, bytes, &mut transaction).await?;
            purged.revs.insert(id.clone(), gone);
        }
        sweep(db, &mut transaction).await?;
        let raised = i64::from(!purged.revs.is_empty());
        let seq =
            "UPDATE databases SET purge_seq = purge_seq + ? WHERE key = ? RETURNING purge_seq";
        let seq: Option<i64> = sqlx::query_scalar(seq)
            .bind(raised)
            .bind(db)
            .fetch_optional(&mut *transaction)
            .await?;
        purged.purge_seq = seq.unwrap_or(0);
        transaction.commit().await?;
        Ok(purged)
    }

    /// Overwrites what is no longer used in the files of the database, so that a search through their bytes
    /// finds nothing of it. `false` if somebody who still reads kept it from being complete.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn scrub(&self) -> Result<bool, StoreError> {
        let mut connection = self.writer.acquire().await?;
        for _ in 0..VACUUM_TRIES {
            let rows = sqlx::query("PRAGMA incremental_vacuum");
            rows.fetch_all(&mut *connection).await?;
            let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
            let row = row.fetch_one(&mut *connection).await?;
            let free: i64 = sqlx::query_scalar("PRAGMA freelist_count")
                .fetch_one(&mut *connection)
                .await?;
            if row.try_get::<i64, _>(0)? == 0 && free == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Writes what is left of a document.
pub(super) async fn rewrite(
    db: i64,
    id: &str,
    was_deleted: bool,
    tree: &RevTree,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    let count = |deleted: bool| if deleted { (0, 1) } else { (1, 0) };
    let before = count(was_deleted);
    let after = tree.winner().map_or((0, 0), |winner| count(winner.deleted));
    let seq: i64 = sqlx::query_scalar(
        "UPDATE databases SET update_seq = update_seq + 1, docs = docs + ?, deleted_docs = deleted_docs + ?
         WHERE key = ? RETURNING update_seq",
    )
    .bind(after.0 - before.0)
    .bind(after.1 - before.1)
    .bind(db)
    .fetch_one(&mut *connection)
    .await?;
    let Some(winner) = tree.winner() else {
        sqlx::query("DELETE FROM documents WHERE db = ? AND id = ?")
            .bind(db)
            .bind(id)
            .execute(connection)
            .await?;
        return Ok(());
    };
    sqlx::query(
        "UPDATE documents SET seq = ?, deleted = ?, body = ?, tree = ? WHERE db = ? AND id = ?",
    )
    .bind(seq)
    .bind(winner.deleted)
    .bind(body_key(db, winner.body.unwrap_or(0)))
    .bind(tree.to_text())
    .bind(db)
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes bodies; how many bytes that frees.
pub(super) async fn forget(
    db: i64,
    bodies: &[u64],
    connection: &mut SqliteConnection,
) -> Result<i64, StoreError> {
    if bodies.is_empty() {
        return Ok(0);
    }
    let keys: Vec<i64> = bodies.iter().map(|body| body_key(db, *body)).collect();
    let keys = serde_json::to_string(&keys).expect("numbers are JSON");
    let bytes = sqlx::query_scalar(
        "SELECT COALESCE(SUM(LENGTH(CAST(json AS BLOB)) + ?), 0) FROM bodies
         WHERE key IN (SELECT value FROM json_each(?))",
    );
    let bytes = bytes.bind(Draft::OVERHEAD as i64).bind(&keys);
    let bytes: i64 = bytes.fetch_one(&mut *connection).await?;
    sqlx::query("DELETE FROM bodies WHERE key IN (SELECT value FROM json_each(?))")
        .bind(&keys)
        .execute(&mut *connection)
        .await?;
    Ok(bytes)
}

/// Deletes contents that hang on nothing any more. Not while the database is being sealed: a content has two names
/// then.
pub(super) async fn sweep(db: i64, connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let sealed: Option<i64> = sqlx::query_scalar("SELECT sealed FROM databases WHERE key = ?")
        .bind(db)
        .fetch_optional(&mut *connection)
        .await?;
    if sealed == Some(1) {
        return Ok(0);
    }
    let rows = sqlx::query(
        "DELETE FROM attachments WHERE db = ?1 AND digest NOT IN (
             SELECT json_extract(one.value, '$.digest') FROM bodies AS b, json_each(b.attachments) AS one
             WHERE b.key >= ?2 AND b.key < ?3 AND b.attachments IS NOT NULL)
         RETURNING key, length",
    )
    .bind(db)
    .bind(body_key(db, 0))
    .bind(body_key(db + 1, 0))
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        sqlx::query("DELETE FROM attachment_pieces WHERE attachment = ?")
            .bind(row.try_get::<i64, _>("key")?)
            .execute(&mut *connection)
            .await?;
        lighten(db, row.try_get("length")?, connection).await?;
    }
    Ok(rows.len() as u64)
}

pub(super) async fn lighten(
    db: i64,
    bytes: i64,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE databases SET bytes = MAX(0, bytes - ?) WHERE key = ?")
        .bind(bytes)
        .bind(db)
        .execute(connection)
        .await?;
    Ok(())
}
