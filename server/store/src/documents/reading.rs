//! Reads documents: one, several by id, or a range of ids.

use std::collections::HashMap;

use kwaainet_storage::{Attachments, Place, RevTree};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::databases::body_key;
use super::{DatabaseRecord, DocumentStore, sealed};
use crate::StoreError;

/// A document as far as its revisions go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRow {
    /// Which.
    pub id: String,
    /// Its last change.
    pub seq: i64,
    /// Its revisions.
    pub tree: RevTree,
    /// What the winner says, where it was asked for; in a page of documents only if it is not long.
    pub body: Option<Body>,
}

/// What a revision says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// A JSON object without the protocol's members.
    pub json: String,
    /// What hangs on it.
    pub attachments: Attachments,
}

/// A range of ids, in order of their code points. Deleted documents are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdRange {
    /// From this one on.
    pub first: Option<String>,
    /// Up to this one.
    pub last: Option<String>,
    /// Whether `first` belongs to it.
    pub without_first: bool,
    /// Whether `last` belongs to it.
    pub without_last: bool,
    /// Whether it is read from its end.
    pub descending: bool,
}

impl DocumentStore {
    /// One document, deleted or not.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn document(
        &self,
        db: &DatabaseRecord,
        id: &str,
    ) -> Result<Option<DocumentRow>, StoreError> {
        let row = sqlx::query(
            "SELECT d.id, d.seq, d.tree, b.json, b.attachments FROM documents AS d
             LEFT JOIN bodies AS b ON b.key = d.body WHERE d.db = ? AND d.id = ?",
        )
        .bind(db.key)
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(|row| document(row, db)).transpose()
    }

    /// Several documents by their ids; those that are not there are left out.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn documents(
        &self,
        db: &DatabaseRecord,
        ids: &[&str],
        with_bodies: bool,
    ) -> Result<HashMap<String, DocumentRow>, StoreError> {
        let (columns, join) = parts(with_bodies);
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {columns} FROM json_each(?2) AS wanted
             CROSS JOIN documents AS d ON d.db = ?1 AND d.id = wanted.value {join}"
        )))
        .bind(db.key)
        .bind(serde_json::to_string(ids).expect("texts are JSON"))
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &SqliteRow| document(row, db).map(|found| (found.id.clone(), found));
        rows.iter().map(read).collect()
    }

    /// What revisions of a document say, by the numbers of their bodies; those that are gone are left out.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn bodies(
        &self,
        db: &DatabaseRecord,
        of: &DocumentRow,
        numbers: &[u64],
    ) -> Result<HashMap<u64, Body>, StoreError> {
        let key = |number: &u64| body_key(db.key, *number);
        let keys: Vec<i64> = numbers.iter().map(key).collect();
        let rows = sqlx::query(
            "SELECT b.key, b.json, b.attachments FROM json_each(?) AS wanted
             CROSS JOIN bodies AS b ON b.key = wanted.value",
        )
        .bind(serde_json::to_string(&keys).expect("numbers are JSON"))
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &SqliteRow| {
            let number = (row.try_get::<i64, _>("key")? - body_key(db.key, 0)) as u64;
            let mut nodes = of.tree.nodes().iter();
            let node = nodes.find(|node| node.body == Some(number));
            let node = node.ok_or(StoreError::Malformed("document"))?;
            let place = Place::Revision {
                document: &of.id,
                rev: &node.rev,
            };
            Ok((number, sealed::revision_by(row, db.seal()?, place)?))
        };
        rows.iter().map(read).collect()
    }

    /// A page of the documents in a range.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn in_range(
        &self,
        db: &DatabaseRecord,
        range: &IdRange,
        limit: u64,
        skip: u64,
        with_bodies: bool,
    ) -> Result<Vec<DocumentRow>, StoreError> {
        let (columns, join) = parts(with_bodies);
        let from = if range.without_first { ">" } else { ">=" };
        let to = if range.without_last { "<" } else { "<=" };
        // The parameter is named in any case, so that their number is the same.
        let upper = match range.last {
            Some(_) => format!("d.id {to} ?3"),
            None => "?3 IS NULL".to_owned(),
        };
        let order = if range.descending { "DESC" } else { "ASC" };
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {columns} FROM documents AS d {join}
             WHERE d.db = ?1 AND d.deleted = 0 AND d.id {from} ?2 AND {upper}
             ORDER BY d.id {order} LIMIT ?4 OFFSET ?5"
        )))
        .bind(db.key)
        .bind(range.first.as_deref().unwrap_or(""))
        .bind(range.last.as_deref())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(i64::try_from(skip).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| document(row, db)).collect()
    }
}

/// The columns of a [`DocumentRow`], and what they take besides the document's own row. What is longer than
/// 64 KiB is left out, so that a page of documents has a bound; its reader fetches it by itself.
pub(super) fn parts(with_bodies: bool) -> (&'static str, &'static str) {
    if with_bodies {
        (
            "d.id, d.seq, d.tree, b.attachments,
             CASE WHEN OCTET_LENGTH(b.json) <= 65536 THEN b.json END AS json",
            "LEFT JOIN bodies AS b ON b.key = d.body",
        )
    } else {
        ("d.id, d.seq, d.tree, NULL AS json, NULL AS attachments", "")
    }
}

pub(super) fn document(row: &SqliteRow, db: &DatabaseRecord) -> Result<DocumentRow, StoreError> {
    let (id, tree): (&str, _) = (row.try_get("id")?, tree(row.try_get("tree")?)?);
    let winner = tree.winner().ok_or(StoreError::Malformed("document"))?;
    let place = Place::Revision {
        document: id,
        rev: &winner.rev,
    };
    Ok(DocumentRow {
        id: id.to_owned(),
        seq: row.try_get("seq")?,
        body: sealed::revision(row, db, place)?,
        tree,
    })
}

pub(super) fn tree(text: &str) -> Result<RevTree, StoreError> {
    RevTree::from_text(text).ok_or(StoreError::Malformed("tree of revisions"))
}
