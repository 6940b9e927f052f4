//! One session of a replication, one way: from where both sides agree that the target has everything, page by page.
//! What a page brought is on the target's disk before it is written to both checkpoints.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::random_id;
use kwaainet_identity::timestamp;
use kwaainet_storage::{Checkpoint, Digest, Session};
use kwaainet_store::{ReplicationRecord, ReplicationState, Way, WayRecord};
use serde_json::{Map, Value, json};

use super::owner;
use super::protocol::{Changes, Revisions, Wrote, text_of};
use super::side::{Side, Trouble};
use crate::door::App;

/// Documents of a page of changes, and of one request for what they say.
const PAGE: usize = 500;
const DOCUMENTS_AT_ONCE: usize = 250;
/// Bytes of what documents say that are read at once, where no single one is larger.
const READ_BYTES_MAX: usize = 64 << 20;
/// Bytes of documents that are written at once, where no single one is larger.
const WRITE_BYTES: usize = 4 << 20;
/// How long the source waits for a change.
const WAIT: Duration = Duration::from_secs(25);
/// A source that does not wait is not asked more often.
const PAUSE: Duration = Duration::from_secs(1);
/// After so long a live session ends, and who may do what is looked at anew.
const LIFE: Duration = Duration::from_secs(3_600);

/// What is to be done.
pub(super) struct Plan<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) source: &'a Side,
    pub(super) target: &'a Side,
    /// Under which both sides keep their checkpoints.
    pub(super) id: String,
    /// Whether to wait for what comes.
    pub(super) live: bool,
    /// The replication that is kept, if it is one.
    pub(super) watch: Option<Watch<'a>>,
}

/// Says how far a replication came that is kept, and whether it is still wanted.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    /// Which.
    pub(crate) record: &'a ReplicationRecord,
    /// One of its ways.
    pub(crate) way: Way,
}

/// Where a session is.
struct Run<'a> {
    plan: &'a Plan<'a>,
    session: Session,
    /// How much of the session the record has.
    told: Session,
    source: Kept,
    target: Kept,
}

/// A checkpoint as one side has it.
struct Kept {
    checkpoint: Option<Checkpoint>,
    rev: Option<String>,
}

/// Replicates until both sides are equal, or for an hour of a live replication.
///
/// # Errors
/// [`Trouble`] says why it did not come to its end.
pub(super) async fn run(plan: &Plan<'_>) -> Result<Checkpoint, Trouble> {
    plan.source.exists().await?;
    plan.target.exists().await?;
    let source = Kept::of(plan.source, &plan.id).await?;
    let target = Kept::of(plan.target, &plan.id).await?;
    let common = Checkpoint::common(source.checkpoint.as_ref(), target.checkpoint.as_ref());
    let since = common.unwrap_or_else(|| json!(0));
    let mut run = Run {
        session: Session {
            session_id: random_id(),
            start_time: timestamp(plan.app.clock.unix_ms()),
            start_last_seq: since.clone(),
            recorded_seq: since,
            ..Session::default()
        },
        told: Session::default(),
        plan,
        source,
        target,
    };
    run.all().await?;
    Ok(Checkpoint::after(None, &run.session))
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), Trouble> {
        let clock = &self.plan.app.clock;
        let began = clock.monotonic();
        let mut caught_up = false;
        let mut since = self.session.recorded_seq.clone();
        while clock.monotonic().saturating_sub(began) < LIFE || !self.plan.live {
            self.may_go_on().await?;
            let waits = (self.plan.live && caught_up).then_some(WAIT);
            let asked = clock.monotonic();
            let changes = self.plan.source.changes(&since, PAGE, waits).await?;
            if changes.results.is_empty() {
                if !self.plan.live {
                    break;
                }
                if caught_up && clock.monotonic().saturating_sub(asked) < PAUSE {
                    tokio::time::sleep(PAUSE).await;
                }
                if !std::mem::replace(&mut caught_up, true) {
                    self.is_well().await?;
                }
                continue;
            }
            let _place = self.plan.app.storage.replicating.acquire().await;
            // Whoever waited for news, or for his place, may have lost his leave meanwhile.
            self.may_go_on().await?;
            self.page(&changes).await?;
            since = changes.last_seq;
            self.keep(since.clone()).await?;
        }
        Ok(())
    }

    /// Whether it is still wanted, by somebody who may still have it done.
    async fn may_go_on(&self) -> Result<(), Trouble> {
        let app = self.plan.app;
        if app.storage.closing.is_cancelled() {
            return Err(Trouble::Gone);
        }
        let Some(Watch { record, .. }) = self.plan.watch else {
            return Ok(());
        };
        let now = app.storage.documents.replication(&record.id).await?;
        if now.is_none_or(|now| now.revision != record.revision) {
            return Err(Trouble::Gone);
        }
        owner(app, record).await?.map(drop).ok_or(Trouble::Owner)
    }

    /// Says that nothing is wrong, though nothing came.
    async fn is_well(&self) -> Result<(), Trouble> {
        let app = self.plan.app;
        if let Some(Watch { record, .. }) = self.plan.watch {
            let which = (record.id.as_str(), record.revision);
            let (state, now) = (ReplicationState::Running, app.clock.unix_ms());
            let documents = &app.storage.documents;
            documents.replication_is(which, state, None, now).await?;
        }
        Ok(())
    }

    /// Brings what the target has not.
    async fn page(&mut self, changes: &Changes) -> Result<(), Trouble> {
        let mut offered = Revisions::new();
        for change in &changes.results {
            let revs = change.changes.iter().map(|leaf| leaf.rev.clone());
            let all = offered.entry(change.id.clone()).or_default();
            all.extend(revs);
        }
        let missing = self.plan.target.revs_diff(&offered).await?;
        let count = |revisions: &Revisions| revisions.values().map(Vec::len).sum::<usize>() as u64;
        self.session.missing_checked += count(&offered);
        self.session.missing_found += count(&missing);
        let wanted = missing.into_iter().flat_map(|(id, revs)| {
            let pair = move |rev| (id.clone(), rev);
            revs.into_iter().map(pair)
        });
        let wanted: Vec<_> = wanted.collect();
        for wanted in wanted.chunks(DOCUMENTS_AT_ONCE) {
            self.bring(wanted).await?;
        }
        Ok(())
    }

    /// Copies these revisions; fewer at once where they are too long.
    async fn bring(&mut self, wanted: &[(String, String)]) -> Result<(), Trouble> {
        let own = self.plan.app.storage.limits.document_bytes;
        let bytes_max = READ_BYTES_MAX.max(2 * own);
        let mut left = vec![wanted];
        while let Some(wanted) = left.pop() {
            match self.plan.source.bulk_get(wanted, bytes_max).await {
                Ok(docs) => self.write(docs).await?,
                Err(Trouble::TooLong) if wanted.len() > 1 => {
                    let (first, second) = wanted.split_at(wanted.len() / 2);
                    left.extend([second, first]);
                }
                Err(Trouble::TooLong) => self.session.doc_write_failures += 1,
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    async fn write(&mut self, docs: Vec<Map<String, Value>>) -> Result<(), Trouble> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for doc in docs {
            self.session.docs_read += 1;
            let Some(doc) = self.whole(doc).await? else {
                self.session.doc_write_failures += 1;
                continue;
            };
            if bytes + doc.len() > WRITE_BYTES && !batch.is_empty() {
                self.flush(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += doc.len();
            batch.push(doc);
        }
        self.flush(batch).await
    }

    async fn flush(&mut self, batch: Vec<String>) -> Result<(), Trouble> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut left = vec![&batch[..]];
        while let Some(docs) = left.pop() {
            match self.plan.target.bulk_docs(docs).await? {
                Wrote::AllBut(refused) => {
                    self.session.doc_write_failures += refused;
                    self.session.docs_written += (docs.len() as u64).saturating_sub(refused);
                }
                Wrote::TooMuch if docs.len() > 1 => {
                    let (first, second) = docs.split_at(docs.len() / 2);
                    left.extend([second, first]);
                }
                Wrote::TooMuch => self.session.doc_write_failures += 1,
            }
        }
        Ok(())
    }

    /// A document with the bytes of all that hangs on it; none if it is too large for one request, or some of it is
    /// gone.
    async fn whole(&self, mut doc: Map<String, Value>) -> Result<Option<String>, Trouble> {
        let text = |doc: &Map<String, Value>, name: &str| {
            let text = doc.get(name).and_then(Value::as_str);
            text.map(str::to_owned).ok_or(Trouble::Malformed)
        };
        let (id, rev) = (text(&doc, "_id")?, text(&doc, "_rev")?);
        let mut room = self.plan.app.storage.body_bytes_max;
        if let Some(Value::Object(hanging)) = doc.get_mut("_attachments") {
            for (name, attachment) in hanging {
                if attachment["stub"] != true {
                    continue;
                }
                // No path leads to such names.
                if [&id, name]
                    .iter()
                    .any(|part| matches!(part.as_str(), "." | ".."))
                {
                    return Ok(None);
                }
                let digest = attachment["digest"]
                    .as_str()
                    .and_then(|text| text.parse().ok());
                let digest: Digest = digest.ok_or(Trouble::Malformed)?;
                let asked = self
                    .plan
                    .source
                    .attachment((&id, &rev), (name, &digest), room);
                let bytes = match asked.await {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) | Err(Trouble::TooLong) => return Ok(None),
                    Err(trouble) => return Err(trouble),
                };
                let data = data_encoding::BASE64.encode(&bytes);
                let Some(left) = room.checked_sub(data.len()) else {
                    return Ok(None);
                };
                room = left;
                attachment["data"] = Value::from(data);
                if let Some(members) = attachment.as_object_mut() {
                    for known in ["stub", "length", "digest"] {
                        members.remove(known);
                    }
                }
            }
        }
        Ok(Some(Value::Object(doc).to_string()))
    }

    /// Writes how far it came: first at the target, where it counts, then at the source, then in the record.
    async fn keep(&mut self, seq: Value) -> Result<(), Trouble> {
        let plan = self.plan;
        self.session.recorded_seq = seq.clone();
        self.session.end_last_seq = seq;
        self.session.end_time = timestamp(plan.app.clock.unix_ms());
        self.target
            .write(plan.target, &plan.id, &self.session)
            .await?;
        self.source
            .write(plan.source, &plan.id, &self.session)
            .await?;
        if let Some(Watch { record, way }) = plan.watch {
            let came = WayRecord {
                since: Some(text_of(&self.session.recorded_seq)),
                read: self.session.docs_read - self.told.docs_read,
                written: self.session.docs_written - self.told.docs_written,
                refused: self.session.doc_write_failures - self.told.doc_write_failures,
            };
            let which = (record.id.as_str(), record.revision);
            let documents = &plan.app.storage.documents;
            let now = plan.app.clock.unix_ms();
            documents.replication_came(which, way, &came, now).await?;
            self.told = self.session.clone();
        }
        Ok(())
    }
}

impl Kept {
    async fn of(side: &Side, id: &str) -> Result<Self, Trouble> {
        let (checkpoint, rev) = side.checkpoint(id).await?;
        Ok(Self { checkpoint, rev })
    }

    async fn write(&mut self, side: &Side, id: &str, session: &Session) -> Result<(), Trouble> {
        let next = Checkpoint::after(self.checkpoint.as_ref(), session);
        self.rev = side.keep(id, self.rev.as_deref(), &next).await?;
        self.checkpoint = Some(next);
        Ok(())
    }
}
