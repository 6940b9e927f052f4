//! The edits of one transaction: loads what they touch, decides them in memory, writes what came of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kwaainet_storage::{
    AttachmentDraft, Attachments, Digest, Draft, Edit, Mode, Place, Refused, Rev, RevTree, Seal,
    Took, interactive, replicated,
};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::{Job, WriteError, Written};
use crate::StoreError;
use crate::documents::attachments;
use crate::documents::blobs::HELD;
use crate::documents::databases::body_key;
use crate::documents::erased;
use crate::documents::erasing::forget;
use crate::documents::rows;
use crate::documents::sealed::{self, Kept};

pub(super) struct Batch {
    databases: BTreeMap<i64, Database>,
    /// Bytes of all databases of an owner.
    owned: HashMap<String, u64>,
}

struct Database {
    owner: String,
    mode: Mode,
    is_sealed: bool,
    /// With what somebody of those who write opened it.
    seal: Option<Arc<Seal>>,
    revs_limit: usize,
    seq: i64,
    next_body: u64,
    next_attachment: u64,
    docs: i64,
    deleted_docs: i64,
    bytes: i64,
    documents: HashMap<String, Document>,
    /// Of ids that were erased: what is taken again has more generations.
    floors: HashMap<String, u64>,
    uuid: String,
    has_erased: bool,
    /// What hangs on revisions, by the bodies' numbers.
    hanging: HashMap<u64, Attachments>,
    new_bodies: Vec<NewBody>,
    /// Of revisions that are so old that they were forgotten.
    old_bodies: Vec<u64>,
    new_attachments: BTreeMap<Digest, Vec<u8>>,
}

#[derive(Default)]
struct Document {
    tree: RevTree,
    /// Whether the row as it stands in the file says that it is deleted; none if there is no row.
    was: Option<bool>,
    /// Its place among the changes, once it has a new one.
    seq: Option<i64>,
}

struct NewBody {
    key: i64,
    kept: Kept,
}

struct NewRow {
    db: i64,
    id: String,
    seq: i64,
    deleted: bool,
    body: i64,
    tree: String,
}

impl Batch {
    /// Loads what these jobs touch.
    pub(super) async fn load(
        group: &[Job],
        connection: &mut SqliteConnection,
    ) -> Result<Self, StoreError> {
        let mut batch = Self {
            databases: BTreeMap::new(),
            owned: HashMap::new(),
        };
        let keys: BTreeSet<i64> = group.iter().map(|job| job.db).collect();
        for key in keys {
            let Some(mut database) = Database::load(key, connection).await? else {
                continue;
            };
            let mut jobs = group.iter().filter(|job| job.db == key);
            database.seal = jobs.find_map(|job| job.seal.clone());
            if database.is_sealed && database.seal.is_none() {
                // Nobody opened it, so nothing of it is needed to say so.
                batch.databases.insert(key, database);
                continue;
            }
            if !batch.owned.contains_key(&database.owner) {
                let held = sqlx::query_scalar(HELD).bind(&database.owner);
                let bytes: i64 = held.fetch_one(&mut *connection).await?;
                let owner = database.owner.clone();
                batch.owned.insert(owner, bytes.max(0) as u64);
            }
            let drafts = group.iter().filter(|job| job.db == key);
            let drafts: Vec<&Draft> = drafts.flat_map(|job| &job.drafts).collect();
            database.load_documents(key, &drafts, connection).await?;
            if database.has_erased {
                let ids = drafts.iter().map(|draft| draft.id.as_str());
                database.floors = erased::floors(key, &database.uuid, ids, connection).await?;
            }
            batch.databases.insert(key, database);
        }
        Ok(batch)
    }

    /// Decides the drafts of a job after those of the jobs before it.
    pub(super) fn decide(&mut self, job: &Job) -> Result<Written, WriteError> {
        let database = self.databases.get_mut(&job.db);
        let database = database.ok_or(WriteError::NoDatabase)?;
        if database.is_sealed && job.seal.is_none() {
            return Err(WriteError::Locked);
        }
        let owned = self.owned.entry(database.owner.clone()).or_default();
        let mut decide = |draft: &Draft| {
            let bytes = draft.bytes();
            // Who has no room left can still delete.
            let frees = draft.deleted && draft.body == "{}" && database.knows(&draft.id);
            if !frees && owned.saturating_add(bytes) > job.quota {
                return Err(Refused::Full);
            }
            let took = database.decide(draft, job.replicated, job.db)?;
            *owned += took.as_ref().map_or(0, |_| bytes);
            Ok(took)
        };
        Ok(job.drafts.iter().map(&mut decide).collect())
    }

    /// Writes what was decided.
    pub(super) async fn write(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        for (key, database) in &mut self.databases {
            database.write(*key, connection).await?;
        }
        Ok(())
    }

    /// Each database that changed, with its last sequence number.
    pub(super) fn told(&self) -> Vec<(i64, i64)> {
        let changed = self.databases.iter();
        let changed = changed.filter(|(_, database)| !database.new_bodies.is_empty());
        changed
            .map(|(key, database)| (*key, database.seq))
            .collect()
    }
}

impl Database {
    async fn load(key: i64, connection: &mut SqliteConnection) -> Result<Option<Self>, StoreError> {
        let row = sqlx::query(
            "SELECT owner, mode, sealed, revs_limit, update_seq, next_body, next_attachment, docs, deleted_docs, bytes,
             uuid, EXISTS (SELECT 1 FROM erased WHERE db = key) AS has_erased
             FROM databases WHERE key = ?",
        )
        .bind(key)
        .fetch_optional(connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mode = row.try_get::<&str, _>("mode")?.parse();
        Ok(Some(Self {
            owner: row.try_get("owner")?,
            mode: mode.map_err(|()| StoreError::Malformed("mode of a database"))?,
            is_sealed: row.try_get::<i64, _>("sealed")? > 0,
            seal: None,
            revs_limit: row.try_get::<i64, _>("revs_limit")?.max(1) as usize,
            seq: row.try_get("update_seq")?,
            next_body: row.try_get::<i64, _>("next_body")?.max(1) as u64,
            next_attachment: row.try_get::<i64, _>("next_attachment")?.max(1) as u64,
            docs: row.try_get("docs")?,
            deleted_docs: row.try_get("deleted_docs")?,
            bytes: row.try_get("bytes")?,
            documents: HashMap::new(),
            floors: HashMap::new(),
            uuid: row.try_get("uuid")?,
            has_erased: row.try_get("has_erased")?,
            hanging: HashMap::new(),
            new_bodies: Vec::new(),
            old_bodies: Vec::new(),
            new_attachments: BTreeMap::new(),
        }))
    }

    async fn load_documents(
        &mut self,
        key: i64,
        drafts: &[&Draft],
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        let ids: BTreeSet<&str> = drafts.iter().map(|draft| draft.id.as_str()).collect();
        let ids = serde_json::to_string(&ids).expect("texts are JSON");
        let rows = sqlx::query(
            "SELECT d.id, d.deleted, d.tree FROM json_each(?2) AS wanted
             CROSS JOIN documents AS d ON d.db = ?1 AND d.id = wanted.value",
        )
        .bind(key)
        .bind(ids)
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            let document = Document {
                tree: crate::documents::reading::tree(row.try_get("tree")?)?,
                was: Some(row.try_get("deleted")?),
                seq: None,
            };
            self.documents.insert(row.try_get("id")?, document);
        }
        let is_stub = |draft: &&&Draft| {
            let mut attachments = draft.attachments.iter();
            attachments.any(|(_, attachment)| *attachment == AttachmentDraft::Stub)
        };
        let mut parents: HashMap<i64, (&str, &Rev)> = HashMap::new();
        for draft in drafts.iter().filter(is_stub) {
            if let Some(document) = self.documents.get(&draft.id) {
                let nodes = parents_of(draft, &document.tree);
                parents.extend(nodes.map(|(body, rev)| (body_key(key, body), (&*draft.id, rev))));
            }
        }
        if parents.is_empty() {
            return Ok(());
        }
        let keys: Vec<i64> = parents.keys().copied().collect();
        let rows = sqlx::query(
            "SELECT b.key, b.json, b.attachments FROM json_each(?) AS wanted
             CROSS JOIN bodies AS b ON b.key = wanted.value WHERE b.attachments IS NOT NULL",
        )
        .bind(serde_json::to_string(&keys).expect("numbers are JSON"))
        .fetch_all(connection)
        .await?;
        for row in &rows {
            let body: i64 = row.try_get("key")?;
            let (document, rev) = parents[&body];
            let place = Place::Revision { document, rev };
            let said = sealed::revision_by(row, self.seal.as_deref(), place)?;
            let number = (body - body_key(key, 0)) as u64;
            self.hanging.insert(number, said.attachments);
        }
        Ok(())
    }

    /// Whether there is, or was, such a document.
    fn knows(&self, id: &str) -> bool {
        self.documents.contains_key(id)
    }

    fn decide(
        &mut self,
        draft: &Draft,
        from_elsewhere: bool,
        key: i64,
    ) -> Result<Option<Took>, Refused> {
        if self.mode == Mode::E2ee && !is_sealed(draft) {
            return Err(Refused::NotEncrypted);
        }
        let none = RevTree::default();
        let known = self.documents.get(&draft.id);
        let tree = known.map_or(&none, |document| &document.tree);
        let before = |rev: &Rev| {
            let body = tree.find(rev).and_then(|node| node.body);
            let hanging = body.and_then(|body| self.hanging.get(&body));
            hanging.cloned().unwrap_or_default()
        };
        let floor = self.floors.get(&draft.id).copied().unwrap_or(0);
        let edit = if from_elsewhere {
            replicated(tree, draft, floor, before)?
        } else {
            Some(interactive(tree, draft, floor, before)?)
        };
        let Some(edit) = edit else { return Ok(None) };
        Ok(Some(self.take(draft, edit, key)))
    }

    fn take(&mut self, draft: &Draft, edit: Edit, key: i64) -> Took {
        let body = self.next_body;
        self.next_body += 1;
        self.seq += 1;
        let document = self.documents.entry(draft.id.clone()).or_default();
        document.tree.add(&edit.history, draft.deleted, body);
        self.old_bodies.extend(document.tree.stem(self.revs_limit));
        document.seq = Some(self.seq);
        for (_, attachment) in &draft.attachments {
            if let AttachmentDraft::Data { bytes, digest, .. } = attachment {
                self.new_attachments.insert(digest.clone(), bytes.clone());
            }
        }
        let place = Place::Revision {
            document: &draft.id,
            rev: &edit.rev,
        };
        let seal = self.seal.as_deref().filter(|_| self.is_sealed);
        let kept = Kept::new(seal, place, &draft.body, &edit.attachments);
        self.bytes += kept.said.len() as i64 + Draft::OVERHEAD as i64;
        if !edit.attachments.is_empty() {
            self.hanging.insert(body, edit.attachments);
        }
        self.new_bodies.push(NewBody {
            key: body_key(key, body),
            kept,
        });
        Took {
            id: draft.id.clone(),
            rev: edit.rev,
        }
    }

    async fn write(
        &mut self,
        key: i64,
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        if self.new_bodies.is_empty() {
            return Ok(());
        }
        for (digest, bytes) in &self.new_attachments {
            let number = body_key(key, self.next_attachment);
            let seal = self.seal.as_deref().filter(|_| self.is_sealed);
            if attachments::store((key, number), digest, bytes, seal, connection).await? {
                self.next_attachment += 1;
                self.bytes += bytes.len() as i64;
            }
        }
        let head = "INSERT INTO bodies (key, json, attachments)";
        rows::insert(connection, head, 3, "", &self.new_bodies, |query, body| {
            let query = body.kept.said.bind(query.bind(body.key));
            query.bind(body.kept.attachments.as_deref())
        })
        .await?;
        self.bytes -= forget(key, &self.old_bodies, connection).await?;
        let changed = self.rows(key)?;
        let head = "INSERT INTO documents (db, id, seq, deleted, body, tree)";
        let tail =
            "ON CONFLICT (db, id) DO UPDATE SET seq = excluded.seq, deleted = excluded.deleted,
             body = excluded.body, tree = excluded.tree";
        rows::insert(connection, head, 6, tail, &changed, |query, row| {
            let query = query.bind(row.db).bind(row.id.as_str()).bind(row.seq);
            let query = query.bind(row.deleted).bind(row.body);
            query.bind(row.tree.as_str())
        })
        .await?;
        sqlx::query(
            "UPDATE databases SET update_seq = ?, next_body = ?, next_attachment = ?, docs = ?,
             deleted_docs = ?, bytes = ? WHERE key = ?",
        )
        .bind(self.seq)
        .bind(self.next_body as i64)
        .bind(self.next_attachment as i64)
        .bind(self.docs)
        .bind(self.deleted_docs)
        .bind(self.bytes)
        .bind(key)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// The rows that changed, in the order of their changes.
    fn rows(&mut self, key: i64) -> Result<Vec<NewRow>, StoreError> {
        let mut rows = Vec::new();
        for (id, document) in &self.documents {
            let Some(seq) = document.seq else { continue };
            let winner = document.tree.winner();
            let winner = winner.ok_or(StoreError::Malformed("document"))?;
            let count = |deleted| match deleted {
                Some(false) => (1, 0),
                Some(true) => (0, 1),
                None => (0, 0),
            };
            let (before, after) = (count(document.was), count(Some(winner.deleted)));
            self.docs += after.0 - before.0;
            self.deleted_docs += after.1 - before.1;
            rows.push(NewRow {
                db: key,
                id: id.clone(),
                seq,
                deleted: winner.deleted,
                body: body_key(key, winner.body.unwrap_or(0)),
                tree: document.tree.to_text(),
            });
        }
        rows.sort_unstable_by_key(|row| row.seq);
        Ok(rows)
    }
}

/// Whether a node that may see nothing may see this: an envelope, or a tombstone that says nothing, under an
/// id that says nothing either (32 bytes in base64url).
fn is_sealed(draft: &Draft) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_opaque = draft.id.len() == 43 && draft.id.bytes().all(is_word);
    let is_empty_tombstone = draft.deleted && draft.body == "{}";
    is_opaque && draft.attachments.is_empty() && (draft.is_envelope || is_empty_tombstone)
}

/// The revisions of a tree that a draft may follow on and whose attachments it may keep, with their bodies: the nearest
/// that it names, and the winner.
fn parents_of<'a>(draft: &Draft, tree: &'a RevTree) -> impl Iterator<Item = (u64, &'a Rev)> {
    let named = draft.rev.iter().chain(draft.history.iter().flatten());
    let mut named = named.filter_map(|rev| tree.find(rev));
    let nearest = named.find(|node| node.body.is_some());
    let nodes = nearest.into_iter().chain(tree.winner());
    nodes.filter_map(|node| Some((node.body?, &node.rev)))
}
