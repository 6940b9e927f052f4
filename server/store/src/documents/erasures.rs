//! Erasures that have to reach other nodes: what was purged here, who has a copy, and who has acknowledged.

use std::collections::BTreeMap;

use kwaainet_core::PrincipalId;
use kwaainet_storage::{Rev, erased_floor};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::erasing::{forget, lighten, rewrite, sweep};
use super::{DatabaseRecord, DocumentStore, IMMEDIATE, erased, reading};
use crate::StoreError;

/// Of one owner. The oldest that are complete are forgotten for new ones.
const ERASURES_MAX: i64 = 10_000;

/// An erasure that is asked for.
#[derive(Clone, Debug)]
pub struct NewErasure {
    /// Names it, on all nodes that it reaches.
    pub id: String,
    /// Documents.
    pub ids: Vec<String>,
    /// The same, sealed, to be told to the replicas.
    pub sealed: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    pub now_ms: i64,
}

/// An erasure as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureRecord {
    /// Names it.
    pub id: String,
    /// The database's name when it was made.
    pub name: String,
    /// Documents that were here and are gone.
    pub documents: u64,
    /// Their leaves.
    pub revisions: u64,
    /// Whether the file was overwritten where they lay.
    pub overwritten: bool,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// When the last replica had acknowledged.
    pub completed_at_ms: Option<i64>,
    /// Who has a copy.
    pub replicas: Vec<ErasureReplica>,
}

/// A replica that is asked to erase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureReplica {
    /// Its database there.
    pub url: String,
    /// How often it was asked in vain.
    pub tries: u32,
    /// When it was last asked.
    pub asked_at_ms: Option<i64>,
    /// Why it was in vain.
    pub last_error: Option<String>,
    /// When it said that it has erased.
    pub acknowledged_at_ms: Option<i64>,
}

/// A replica that has not acknowledged yet.
#[derive(Clone, Debug)]
pub struct OpenErasure {
    /// Which erasure.
    pub erasure: String,
    /// Whose.
    pub owner: PrincipalId,
    /// The replica.
    pub replica: ErasureReplica,
    /// What is shown there, sealed for `secret_of`.
    pub secret: Vec<u8>,
    /// The replication that it was sealed for.
    pub secret_of: String,
    /// The ids, sealed for the erasure.
    pub ids: Vec<u8>,
}

impl DocumentStore {
    /// Erases documents as if they had never been, remembers that nothing may bring them back, and who has to be
    /// told: one transaction. An erasure that is known under its id is carried out again, but nobody is told anew.
    /// `false`, and nothing is done, if its id is that of another database's.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn erase(
        &self,
        database: &DatabaseRecord,
        new: &NewErasure,
    ) -> Result<bool, StoreError> {
        let db = database.key;
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let (mut documents, mut revisions) = (0, 0);
        let mut floors = BTreeMap::new();
        for id in &new.ids {
            let (floor, gone) = purge(db, id, &mut transaction).await?;
            floors.insert(id.clone(), floor);
            documents += i64::from(gone > 0);
            revisions += gone as i64;
        }
        sweep(db, &mut transaction).await?;
        let raised = "UPDATE databases SET purge_seq = purge_seq + ? WHERE key = ?";
        sqlx::query(raised)
            .bind(i64::from(documents > 0))
            .bind(db)
            .execute(&mut *transaction)
            .await?;
        let uuid = &database.uuid;
        erased::remember(db, uuid, &floors, new.now_ms, &mut transaction).await?;
        let counts = (documents, revisions);
        if !record_erasure(database, new, counts, &mut transaction).await? {
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Notes that the file was overwritten.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn overwritten(&self, erasure: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE erasures SET overwritten = 1 WHERE id = ?")
            .bind(erasure)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// An erasure of this owner's.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn erasure(
        &self,
        owner: &PrincipalId,
        id: &str,
    ) -> Result<Option<ErasureRecord>, StoreError> {
        let mut snapshot = self.readers.begin().await?;
        let row = sqlx::query("SELECT * FROM erasures WHERE id = ? AND owner = ?")
            .bind(id)
            .bind(owner.as_str())
            .fetch_optional(&mut *snapshot)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let replicas = sqlx::query("SELECT * FROM erasure_replicas WHERE erasure = ? ORDER BY url")
            .bind(id)
            .fetch_all(&mut *snapshot)
            .await?;
        let count = |name| row.try_get::<i64, _>(name).map(|n| n.max(0) as u64);
        Ok(Some(ErasureRecord {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            documents: count("documents")?,
            revisions: count("revisions")?,
            overwritten: row.try_get("overwritten")?,
            created_at_ms: row.try_get("created_at_ms")?,
            completed_at_ms: row.try_get("completed_at_ms")?,
            replicas: replicas.iter().map(replica).collect::<Result<_, _>>()?,
        }))
    }

    /// Replicas that have not acknowledged, of the oldest erasures.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn open_erasures(&self, limit: u32) -> Result<Vec<OpenErasure>, StoreError> {
        let rows = sqlx::query(
            "SELECT r.*, e.owner, e.ids FROM erasure_replicas AS r JOIN erasures AS e ON e.id = r.erasure
             WHERE r.acknowledged_at_ms IS NULL AND r.secret IS NOT NULL AND e.ids IS NOT NULL
             ORDER BY COALESCE(r.asked_at_ms, 0), e.created_at_ms LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let open = |row: &SqliteRow| {
            Ok(OpenErasure {
                erasure: row.try_get("erasure")?,
                owner: PrincipalId::new(row.try_get::<String, _>("owner")?),
                replica: replica(row)?,
                secret: row.try_get("secret")?,
                secret_of: row.try_get("secret_of")?,
                ids: row.try_get("ids")?,
            })
        };
        rows.iter().map(open).collect()
    }

    /// A replica was asked in vain.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn erasure_failed(
        &self,
        (erasure, url): (&str, &str),
        error: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE erasure_replicas SET tries = tries + 1, asked_at_ms = ?, last_error = ?
             WHERE erasure = ? AND url = ?",
        )
        .bind(now_ms)
        .bind(error)
        .bind(erasure)
        .bind(url)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// A replica has erased. With the last one the erasure is complete, and nothing is left of the ids.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn erasure_acknowledged(
        &self,
        (erasure, url): (&str, &str),
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        sqlx::query(
            "UPDATE erasure_replicas SET tries = tries + 1, asked_at_ms = ?1, acknowledged_at_ms = ?1,
             last_error = NULL, secret = NULL WHERE erasure = ?2 AND url = ?3",
        )
        .bind(now_ms)
        .bind(erasure)
        .bind(url)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE erasures SET completed_at_ms = ?1, ids = NULL WHERE id = ?2 AND NOT EXISTS (
                 SELECT 1 FROM erasure_replicas WHERE erasure = ?2 AND acknowledged_at_ms IS NULL)",
        )
        .bind(now_ms)
        .bind(erasure)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Removes a document with all its revisions: the floor above which one of its id may be, and how many leaves it had.
async fn purge(
    db: i64,
    id: &str,
    connection: &mut SqliteConnection,
) -> Result<(u64, usize), StoreError> {
    let row = sqlx::query("SELECT deleted, tree FROM documents WHERE db = ? AND id = ?")
        .bind(db)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok((erased_floor([].iter()), 0));
    };
    let mut tree = reading::tree(row.try_get("tree")?)?;
    let floor = erased_floor(tree.nodes().iter().map(|node| &node.rev));
    let leaves: Vec<Rev> = tree.leaves().iter().map(|leaf| leaf.rev.clone()).collect();
    let (gone, bodies) = tree.purge(&leaves);
    rewrite(db, id, row.try_get("deleted")?, &tree, connection).await?;
    let bytes = forget(db, &bodies, connection).await?;
    lighten(db, bytes, connection).await?;
    Ok((floor, gone.len()))
}

/// Writes the record, with everybody who has a copy; `false` if another database's has its id.
async fn record_erasure(
    database: &DatabaseRecord,
    new: &NewErasure,
    (documents, revisions): (i64, i64),
    connection: &mut SqliteConnection,
) -> Result<bool, StoreError> {
    sqlx::query(
        "DELETE FROM erasures WHERE id IN (SELECT id FROM erasures WHERE owner = ?
             AND completed_at_ms IS NOT NULL ORDER BY created_at_ms DESC LIMIT -1 OFFSET ?)",
    )
    .bind(database.owner.as_str())
    .bind(ERASURES_MAX)
    .execute(&mut *connection)
    .await?;
    let made = sqlx::query(
        "INSERT INTO erasures (id, owner, db, name, documents, revisions, created_at_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(&new.id)
    .bind(database.owner.as_str())
    .bind(database.key)
    .bind(database.name.as_str())
    .bind(documents)
    .bind(revisions)
    .bind(new.now_ms)
    .execute(&mut *connection)
    .await?;
    if made.rows_affected() == 0 {
        let known = sqlx::query(
            "UPDATE erasures SET documents = documents + ?, revisions = revisions + ?
             WHERE id = ? AND owner = ? AND db = ?",
        )
        .bind(documents)
        .bind(revisions)
        .bind(&new.id)
        .bind(database.owner.as_str())
        .bind(database.key)
        .execute(connection)
        .await?;
        return Ok(known.rows_affected() == 1);
    }
    let copies = sqlx::query(
        "INSERT INTO erasure_replicas (erasure, url, secret, secret_of)
         SELECT ?, url, secret, id FROM replications WHERE db = ? AND has_copy = 1",
    )
    .bind(&new.id)
    .bind(database.key)
    .execute(&mut *connection)
    .await?;
    let nobody = copies.rows_affected() == 0;
    sqlx::query("UPDATE erasures SET ids = ?, completed_at_ms = ? WHERE id = ?")
        .bind(new.sealed.as_deref().filter(|_| !nobody))
        .bind(nobody.then_some(new.now_ms))
        .bind(&new.id)
        .execute(connection)
        .await?;
    Ok(true)
}

fn replica(row: &SqliteRow) -> Result<ErasureReplica, StoreError> {
    Ok(ErasureReplica {
        url: row.try_get("url")?,
        tries: row.try_get("tries")?,
        asked_at_ms: row.try_get("asked_at_ms")?,
        last_error: row.try_get("last_error")?,
        acknowledged_at_ms: row.try_get("acknowledged_at_ms")?,
    })
}
