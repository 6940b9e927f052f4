//! The audit log of a running node: takes entries from everywhere and writes them in batches.

use std::sync::Arc;

use kwaainet_audit::{Action, AuditOutcome, BadEntry, Entry};
use kwaainet_core::{Clock, Principal};
use kwaainet_store::{AuditError, Store};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

/// Entries that may wait to be written.
const BACKLOG: usize = 4_096;
/// Entries of one transaction.
const BATCH_MAX: usize = 256;

/// An entry was not recorded.
#[derive(Debug, thiserror::Error)]
#[error("the audit log cannot be written: {0}")]
pub struct NotRecorded(String);

/// Records what was done. Cloning it is cheap.
#[derive(Clone)]
pub struct Audit {
    entries: mpsc::Sender<(Entry, oneshot::Sender<Result<u64, NotRecorded>>)>,
    clock: Arc<dyn Clock>,
}

/// What an entry says, without when.
pub struct Deed<'a> {
    /// What was done: a name like `storage.document.read`.
    pub action: &'static str,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Who did it.
    pub actor: &'a Principal,
    /// Whom it is about; empty for the node itself.
    pub subject: &'a str,
    /// On what.
    pub resource: &'a str,
    /// What else there is to say. Never contents, keys or secrets.
    pub details: Map<String, Value>,
}

impl Audit {
    /// A log, and what is to be given to [`write`].
    pub(crate) fn new(clock: Arc<dyn Clock>) -> (Self, Inbox) {
        let (entries, inbox) = mpsc::channel(BACKLOG);
        (Self { entries, clock }, Inbox(inbox))
    }

    /// Records a deed. When this returns it is on the disk; its index in the log is given. Those who come at the same
    /// time share one write.
    ///
    /// # Errors
    /// When it could not be written: then what was to be recorded must not be done.
    pub async fn record(&self, deed: Deed<'_>) -> Result<u64, NotRecorded> {
        let failed = |error: BadEntry| NotRecorded(error.to_string());
        self.record_entry(Entry {
            at_ms: self.clock.unix_ms(),
            action: Action::new(deed.action).map_err(failed)?,
            outcome: deed.outcome,
            actor: deed.actor.id().to_string(),
            subject: deed.subject.to_owned(),
            resource: deed.resource.to_owned(),
            details: deed.details,
        })
        .await
    }

    /// Records an entry.
    ///
    /// # Errors
    /// As [`Audit::record`].
    pub async fn record_entry(&self, entry: Entry) -> Result<u64, NotRecorded> {
        let over = || NotRecorded("the node is shutting down".to_owned());
        let (done, index) = oneshot::channel();
        let sent = self.entries.send((entry, done)).await;
        sent.map_err(|_| over())?;
        index.await.map_err(|_| over())?
    }
}

/// Entries on their way to the disk.
pub(crate) struct Inbox(mpsc::Receiver<(Entry, oneshot::Sender<Result<u64, NotRecorded>>)>);

/// Writes entries until nobody can record any more and all are written.
pub(crate) async fn write(store: Store, Inbox(mut inbox): Inbox) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while inbox.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (entries, waiting): (Vec<Entry>, Vec<_>) = batch.drain(..).unzip();
        match store.record_audit(&entries).await {
            Ok(first) => tell(waiting, first),
            Err(AuditError::Entry(_)) => one_by_one(&store, entries, waiting).await,
            Err(AuditError::Store(error)) => {
                tracing::error!(%error, entries = entries.len(), "the audit log cannot be written");
                for done in waiting {
                    // Whoever does not wait any more does not want to know.
                    let _ = done.send(Err(NotRecorded(error.to_string())));
                }
            }
        }
    }
}

fn tell(waiting: Vec<oneshot::Sender<Result<u64, NotRecorded>>>, first: u64) {
    for (index, done) in (first..).zip(waiting) {
        let _ = done.send(Ok(index));
    }
}

/// One of them is no entry: the others must not suffer for that.
async fn one_by_one(
    store: &Store,
    entries: Vec<Entry>,
    waiting: Vec<oneshot::Sender<Result<u64, NotRecorded>>>,
) {
    for (entry, done) in entries.into_iter().zip(waiting) {
        let recorded = store.record_audit(&[entry]).await;
        let _ = done.send(recorded.map_err(|error| NotRecorded(error.to_string())));
    }
}
