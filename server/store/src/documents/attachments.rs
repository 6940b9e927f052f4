//! The bytes that hang on documents, each once in a database, in pieces so that a reader need not hold all.

use std::ops::Range;
use std::sync::Arc;

use kwaainet_storage::{Attachments, Digest, Place, Seal};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::{DatabaseRecord, DocumentStore, Sealed};
use crate::StoreError;

/// Bytes of one piece.
const PIECE: usize = 128 << 10;

/// A content that a database has.
#[derive(Clone, Debug)]
pub struct Content {
    /// Bytes.
    pub length: u64,
    key: i64,
    digest: Digest,
    seal: Option<Arc<Seal>>,
}

impl DocumentStore {
    /// A content; none if the database does not have it.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn attachment(
        &self,
        db: &DatabaseRecord,
        digest: &Digest,
    ) -> Result<Option<Content>, StoreError> {
        let seal = db.shared_seal()?;
        let sealed = seal.map(|seal| (seal.name(digest), Some(Arc::clone(seal))));
        let is_open = db.sealed != Sealed::Wholly;
        let open = is_open.then(|| (digest.as_str().to_owned(), None));
        for (name, seal) in [sealed, open].into_iter().flatten() {
            let row =
                sqlx::query("SELECT key, length FROM attachments WHERE db = ? AND digest = ?")
                    .bind(db.key)
                    .bind(name)
                    .fetch_optional(&self.readers)
                    .await?;
            let Some(row) = row else { continue };
            return Ok(Some(Content {
                length: row.try_get::<i64, _>("length")?.max(0) as u64,
                key: row.try_get("key")?,
                digest: digest.clone(),
                seal,
            }));
        }
        Ok(None)
    }

    /// The bytes of a content from `range.start` on: as many as lie in one piece, and none from `range.end`
    /// on. Empty at the end.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn attachment_piece(
        &self,
        content: &Content,
        range: Range<u64>,
    ) -> Result<Vec<u8>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let piece = PIECE as u64;
        let n = range.start / piece;
        let row = sqlx::query("SELECT bytes FROM attachment_pieces WHERE attachment = ? AND n = ?")
            .bind(content.key)
            .bind(n as i64)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else {
            return Ok(Vec::new());
        };
        let kept: &[u8] = row.try_get("bytes")?;
        let place = Place::Piece {
            digest: &content.digest,
            n,
        };
        let opened = content.seal.as_ref().map(|seal| seal.open(place, kept));
        let opened = opened.transpose();
        let opened = opened.map_err(|_| StoreError::Malformed("sealed attachment"))?;
        let bytes = opened.as_deref().unwrap_or(kept);
        let from = ((range.start - n * piece) as usize).min(bytes.len());
        let to = ((range.end - n * piece).min(piece) as usize).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }
}

/// Keeps a content if the database does not have it; whether it was kept.
pub(super) async fn store(
    (db, key): (i64, i64),
    digest: &Digest,
    bytes: &[u8],
    seal: Option<&Seal>,
    connection: &mut SqliteConnection,
) -> Result<bool, StoreError> {
    let name = seal.map(|seal| seal.name(digest));
    let name = name.as_deref().unwrap_or(digest.as_str());
    if !note(db, key, name, bytes.len() as i64, connection).await? {
        return Ok(false);
    }
    for (n, piece) in (0..).zip(bytes.chunks(PIECE)) {
        let place = Place::Piece {
            digest,
            n: n as u64,
        };
        let sealed = seal.map(|seal| seal.seal(place, piece));
        keep(key, n, sealed.as_deref().unwrap_or(piece), connection).await?;
    }
    Ok(true)
}

/// Notes a content under its name; `false` if it is there.
pub(super) async fn note(
    db: i64,
    key: i64,
    name: &str,
    length: i64,
    connection: &mut SqliteConnection,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO attachments (db, digest, key, length) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(db)
    .bind(name)
    .bind(key)
    .bind(length)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps a piece as it is to lie in the file.
pub(super) async fn keep(
    key: i64,
    n: i64,
    piece: &[u8],
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO attachment_pieces (attachment, n, bytes) VALUES (?, ?, ?)")
        .bind(key)
        .bind(n)
        .bind(piece)
        .execute(connection)
        .await?;
    Ok(())
}

/// What a row says of attachments.
pub(super) fn read(json: Option<&str>) -> Result<Attachments, StoreError> {
    let read = json.map(serde_json::from_str).transpose();
    let read = read.map_err(|_| StoreError::Malformed("list of attachments"))?;
    Ok(read.unwrap_or_default())
}
