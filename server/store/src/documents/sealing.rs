//! Seals a database of before. What comes is sealed from the beginning on; what was there is sealed in small
//! transactions, in an order in which it may be cut anywhere and begun again: nothing is thrown away as unused until all
//! is sealed, because a content has two names until then.

use kwaainet_storage::{Digest, Place, Seal};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::databases::body_key;
use super::sealed::{self, Kept, Said};
use super::{DatabaseRecord, DocumentStore, IMMEDIATE, Wrap, attachments, reading, wraps};
use crate::StoreError;

/// Documents of one transaction.
const PAGE: i64 = 200;

impl DocumentStore {
    /// From now on the database is sealed, with the key that was encrypted here for all who may open it; `false` if it is
    /// already.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn begin_sealing(&self, db: i64, wraps: &[Wrap]) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let done = sqlx::query(
            "UPDATE databases SET sealed = 1 WHERE key = ? AND sealed = 0 AND mode = 'private'",
        )
        .bind(db)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 || wraps.is_empty() {
            return Ok(false);
        }
        wraps::keep(db, wraps, &mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Seals what was there before [`Self::begin_sealing`]. Whoever was cut calls it again.
    ///
    /// # Errors
    /// When the file fails, or the database was not opened.
    pub async fn finish_sealing(&self, db: &DatabaseRecord) -> Result<(), StoreError> {
        let seal = db.seal()?.ok_or(StoreError::Locked)?;
        while self.seal_content(db.key, seal).await? {}
        let mut after = String::new();
        while let Some(last) = self.seal_documents(db.key, &after, seal).await? {
            after = last;
        }
        while self.seal_locals(db.key, seal).await? {}
        sqlx::query("UPDATE databases SET sealed = 2 WHERE key = ? AND sealed = 1")
            .bind(db.key)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// One content. It gets a new number, so that whoever just reads it never takes sealed bytes for its own.
    async fn seal_content(&self, db: i64, seal: &Seal) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let row = sqlx::query(
            "SELECT digest, key, length FROM attachments WHERE db = ? AND digest LIKE 'md5-%' LIMIT 1",
        )
        .bind(db)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let digest = row.try_get::<&str, _>("digest")?.parse();
        let digest: Digest = digest.map_err(|_| StoreError::Malformed("digest"))?;
        let (old, length): (i64, i64) = (row.try_get("key")?, row.try_get("length")?);
        let number: i64 = sqlx::query_scalar(
            "UPDATE databases SET next_attachment = next_attachment + 1 WHERE key = ?
             RETURNING next_attachment - 1",
        )
        .bind(db)
        .fetch_one(&mut *transaction)
        .await?;
        let new = body_key(db, number.max(0) as u64);
        let name = seal.name(&digest);
        if attachments::note(db, new, &name, length, &mut transaction).await? {
            reseal(old, new, &digest, seal, &mut transaction).await?;
        } else {
            // It came again meanwhile, and is there sealed.
            sqlx::query("UPDATE databases SET bytes = MAX(0, bytes - ?) WHERE key = ?")
                .bind(length)
                .bind(db)
                .execute(&mut *transaction)
                .await?;
        }
        for statement in [
            "DELETE FROM attachments WHERE db = ?1 AND key = ?2",
            "DELETE FROM attachment_pieces WHERE attachment = ?2 AND ?1 > 0",
        ] {
            sqlx::query(statement)
                .bind(db)
                .bind(old)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// A page of documents with all that their revisions say; the last one's id.
    async fn seal_documents(
        &self,
        db: i64,
        after: &str,
        seal: &Seal,
    ) -> Result<Option<String>, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let rows = sqlx::query(
            "SELECT id, tree FROM documents WHERE db = ? AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(db)
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut *transaction)
        .await?;
        let mut more = 0;
        for row in &rows {
            let (id, tree) = (row.try_get("id")?, reading::tree(row.try_get("tree")?)?);
            for node in tree.nodes() {
                let Some(number) = node.body else { continue };
                let place = Place::Revision {
                    document: id,
                    rev: &node.rev,
                };
                let key = body_key(db, number);
                more += seal_revision(key, place, seal, &mut transaction).await?;
            }
        }
        sqlx::query("UPDATE databases SET bytes = bytes + ? WHERE key = ?")
            .bind(more)
            .bind(db)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        rows.last().map(|row| Ok(row.try_get("id")?)).transpose()
    }

    async fn seal_locals(&self, db: i64, seal: &Seal) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let rows = sqlx::query(
            "SELECT id, rev, json FROM locals WHERE db = ? AND typeof(json) = 'text' LIMIT ?",
        )
        .bind(db)
        .bind(PAGE)
        .fetch_all(&mut *transaction)
        .await?;
        let mut more = 0;
        for row in &rows {
            let (id, rev): (&str, i64) = (row.try_get("id")?, row.try_get("rev")?);
            let (place, json) = (Place::Local { id, rev }, row.try_get::<&str, _>("json")?);
            let said = sealed::kept_local(Some(seal), place, json);
            more += said.len() as i64 - json.len() as i64;
            let update = sqlx::query("UPDATE locals SET json = ? WHERE db = ? AND id = ?");
            let update = said.bind(update).bind(db).bind(id.to_owned());
            update.execute(&mut *transaction).await?;
        }
        sqlx::query("UPDATE databases SET bytes = bytes + ? WHERE key = ?")
            .bind(more)
            .bind(db)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(!rows.is_empty())
    }
}

/// Seals the pieces of a content under its new number.
async fn reseal(
    old: i64,
    new: i64,
    digest: &Digest,
    seal: &Seal,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    for n in 0.. {
        let piece: Option<SqliteRow> =
            sqlx::query("SELECT bytes FROM attachment_pieces WHERE attachment = ? AND n = ?")
                .bind(old)
                .bind(n)
                .fetch_optional(&mut *connection)
                .await?;
        let Some(piece) = piece else { break };
        let place = Place::Piece {
            digest,
            n: n as u64,
        };
        let sealed = seal.seal(place, piece.try_get("bytes")?);
        attachments::keep(new, n, &sealed, connection).await?;
    }
    Ok(())
}

/// Seals what a revision says, unless it is; how many bytes that takes more.
async fn seal_revision(
    key: i64,
    place: Place<'_>,
    seal: &Seal,
    connection: &mut SqliteConnection,
) -> Result<i64, StoreError> {
    let row =
        sqlx::query("SELECT json, attachments FROM bodies WHERE key = ? AND typeof(json) = 'text'")
            .bind(key)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(row) = row else { return Ok(0) };
    let body = sealed::revision_by(&row, Some(seal), place)?;
    let kept = Kept::new(Some(seal), place, &body.json, &body.attachments);
    let update = sqlx::query("UPDATE bodies SET json = ?, attachments = ? WHERE key = ?");
    let update = kept.said.bind(update).bind(kept.attachments).bind(key);
    update.execute(connection).await?;
    Ok(Said::len(&kept.said) as i64 - body.json.len() as i64)
}
