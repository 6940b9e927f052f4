//! The audit log of a running node: takes entries from everywhere and writes them in batches.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwaainet_audit::{Action, AuditOutcome, BadEntry, Entry};
use kwaainet_core::{Clock, Principal, PrincipalId, SystemClock};
use kwaainet_store::{AuditError, Store};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

/// Entries that may wait to be written.
const BACKLOG: usize = 4_096;
/// Entries of one transaction.
const BATCH_MAX: usize = 256;
/// How long an entry that nobody waits for lies here, so that others share its write.
const MOMENT: Duration = Duration::from_millis(50);
/// Entries a minute about people who did not show who they are.
const STRANGERS_MAX: u32 = 60;
const MINUTE_MS: i64 = 60_000;

/// An entry was not recorded.
#[derive(Debug, thiserror::Error)]
#[error("the audit log cannot be written: {0}")]
pub struct NotRecorded(String);

/// An entry, and who waits for it.
type Waiting = (Entry, Option<oneshot::Sender<Result<u64, NotRecorded>>>);

/// Records what was done. Cloning it is cheap.
#[derive(Clone)]
pub struct Audit {
    entries: mpsc::Sender<Waiting>,
    clock: Arc<dyn Clock>,
    /// The minute, and how many strangers were recorded in it.
    strangers: Arc<Mutex<(i64, u32)>>,
}

/// A place in the line to the disk. Whoever has one can record what he does, however it ends.
pub struct AuditPlace(mpsc::OwnedPermit<Waiting>);

/// An entry on its way to the disk.
pub struct AuditWrite(oneshot::Receiver<Result<u64, NotRecorded>>);

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
        let audit = Self {
            entries,
            clock,
            strangers: Arc::default(),
        };
        (audit, Inbox(inbox))
    }

    /// Records a deed. When this returns it is on the disk; its index in the log is given. Those who come at the same
    /// time share one write.
    ///
    /// # Errors
    /// When it could not be written: then what was to be recorded must not be done.
    pub async fn record(&self, deed: Deed<'_>) -> Result<u64, NotRecorded> {
        let failed = |error: BadEntry| NotRecorded(error.to_string());
        let entry = Entry {
            at_ms: self.clock.unix_ms(),
            action: Action::new(deed.action).map_err(failed)?,
            outcome: deed.outcome,
            actor: deed.actor.id().to_string(),
            subject: deed.subject.to_owned(),
            resource: deed.resource.to_owned(),
            details: deed.details,
        };
        self.place().await?.send(entry).done().await
    }

    /// Whether one more stranger is recorded in this minute: whoever is nobody must not fill the disk.
    pub fn heeds_strangers(&self) -> bool {
        let minute = self.clock.unix_ms().div_euclid(MINUTE_MS);
        let mut strangers = self.strangers.lock().expect("no holder panics");
        if strangers.0 != minute {
            *strangers = (minute, 0);
        }
        strangers.1 += 1;
        strangers.1 <= STRANGERS_MAX
    }

    /// Waits for a place in line.
    ///
    /// # Errors
    /// When nothing is written any more.
    pub async fn place(&self) -> Result<AuditPlace, NotRecorded> {
        let place = self.entries.clone().reserve_owned().await;
        place.map(AuditPlace).map_err(|_| over())
    }
}

impl AuditPlace {
    /// Puts an entry in line, to be waited for.
    pub fn send(self, entry: Entry) -> AuditWrite {
        let (done, index) = oneshot::channel();
        self.0.send((entry, Some(done)));
        AuditWrite(index)
    }

    /// Puts an entry in line that nobody waits for. It is on the disk within a moment.
    pub fn note(self, entry: Entry) {
        self.0.send((entry, None));
    }
}

impl AuditWrite {
    /// Waits until the entry is on the disk, and gives its index in the log.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn done(self) -> Result<u64, NotRecorded> {
        self.0.await.map_err(|_| over())?
    }
}

/// Records what the owner does at his terminal. The node may be running beside it.
///
/// # Errors
/// When it could not be written: then it must not be done.
pub async fn record_at_terminal(
    store: &Store,
    action: &'static str,
    subject: &str,
    resource: &str,
) -> Result<(), AuditError> {
    let entry = Entry {
        at_ms: SystemClock::default().unix_ms(),
        action: Action::new(action)?,
        outcome: AuditOutcome::Done,
        actor: PrincipalId::operator().to_string(),
        subject: subject.to_owned(),
        resource: resource.to_owned(),
        details: Map::new(),
    };
    store.record_audit(&[entry]).await.map(|_| ())
}

fn over() -> NotRecorded {
    NotRecorded("the node is shutting down".to_owned())
}

/// Entries on their way to the disk.
pub(crate) struct Inbox(mpsc::Receiver<Waiting>);

/// Writes entries until nobody can record any more and all are written.
pub(crate) async fn write(store: Store, Inbox(mut inbox): Inbox) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while inbox.recv_many(&mut batch, BATCH_MAX).await > 0 {
        gather(&mut inbox, &mut batch).await;
        let (entries, waiting): (Vec<Entry>, Vec<_>) = batch.drain(..).unzip();
        match store.record_audit(&entries).await {
            Ok(first) => tell(waiting, first),
            Err(AuditError::Entry(_)) => one_by_one(&store, entries, waiting).await,
            Err(AuditError::Store(error)) => {
                tracing::error!(%error, entries = entries.len(), "the audit log cannot be written");
                for done in waiting.into_iter().flatten() {
                    // Whoever does not wait any more does not want to know.
                    let _ = done.send(Err(NotRecorded(error.to_string())));
                }
            }
        }
    }
}

/// While nobody waits for any of these, takes what comes within a moment.
async fn gather(inbox: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>) {
    let moment = tokio::time::sleep(MOMENT);
    tokio::pin!(moment);
    while batch.len() < BATCH_MAX && batch.iter().all(|(_, done)| done.is_none()) {
        let room = BATCH_MAX - batch.len();
        let came = tokio::select! {
            came = inbox.recv_many(batch, room) => came,
            () = &mut moment => 0,
        };
        if came == 0 {
            return;
        }
    }
}

fn tell(waiting: Vec<Option<oneshot::Sender<Result<u64, NotRecorded>>>>, first: u64) {
    for (index, done) in (first..).zip(waiting) {
        let told = done.map(|done| done.send(Ok(index)));
        // Whoever does not wait any more does not want to know.
        drop(told);
    }
}

/// One of them is no entry: the others must not suffer for that.
async fn one_by_one(
    store: &Store,
    entries: Vec<Entry>,
    waiting: Vec<Option<oneshot::Sender<Result<u64, NotRecorded>>>>,
) {
    for (entry, done) in entries.into_iter().zip(waiting) {
        let recorded = store.record_audit(&[entry]).await;
        if let Err(error) = &recorded {
            tracing::error!(%error, "an audit entry cannot be written");
        }
        let recorded = recorded.map_err(|error| NotRecorded(error.to_string()));
        drop(done.map(|done| done.send(recorded)));
    }
}
