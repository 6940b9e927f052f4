//! Gathers what routing knows, in the background, so that the request path asks no one.

use std::sync::Arc;
use std::time::Duration;

use crate::carbon::Surroundings;
use kwaainet_core::{Backend, BackendReport, Candidate, Here, Snapshot};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// How old what is known of this node's own backends may be.
const PERIOD: Duration = Duration::from_millis(250);
/// Between two looks at the peers, which may say something new at any time.
const PEERS_PERIOD: Duration = Duration::from_millis(20);

/// The peers' backends; sent anew whenever one of them has something new to say.
pub(crate) type Peers = watch::Receiver<Vec<Arc<dyn Backend>>>;

/// Where snapshots come from.
pub(crate) struct Observer {
    fixed: Arc<Vec<Arc<dyn Backend>>>,
    peers: Peers,
    /// What the fixed backends said last; held while a snapshot is made.
    reports: Mutex<Vec<BackendReport>>,
    here: Here,
    /// What of it changes.
    surroundings: watch::Receiver<Surroundings>,
    publish: watch::Sender<Arc<Snapshot>>,
}

impl Observer {
    /// One of these backends, in order of preference, and after them the peers'; with the first snapshot
    /// already taken.
    pub(crate) fn new(
        fixed: Vec<Arc<dyn Backend>>,
        peers: Peers,
        here: Here,
        surroundings: watch::Receiver<Surroundings>,
    ) -> Self {
        let reports = ask(&fixed);
        let now = as_of_now(&here, *surroundings.borrow());
        let snapshot = gather(&fixed, &reports, &peers, now);
        let (publish, _) = watch::channel(Arc::new(snapshot));
        Self {
            fixed: Arc::new(fixed),
            peers,
            reports: Mutex::new(reports),
            here,
            surroundings,
            publish,
        }
    }

    /// Always the newest snapshot.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.publish.subscribe()
    }

    /// Takes a snapshot now.
    pub(crate) async fn refresh(&self) {
        let mut reports = self.reports.lock().await;
        let asked = Arc::clone(&self.fixed);
        match tokio::task::spawn_blocking(move || ask(&asked)).await {
            Ok(fresh) => *reports = fresh,
            Err(error) => tracing::error!(%error, "a backend's report failed"),
        }
        self.publish(&reports);
    }

    /// Keeps the snapshot fresh until dropped.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut peers = self.peers.clone();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {
                    self.refresh().await;
                    next = Instant::now() + PERIOD;
                }
                Ok(()) = peers.changed() => {
                    let reports = self.reports.lock().await;
                    self.publish(&reports);
                    drop(reports);
                    tokio::time::sleep(PEERS_PERIOD).await;
                }
            }
        }
    }

    fn publish(&self, reports: &[BackendReport]) {
        let here = as_of_now(&self.here, *self.surroundings.borrow());
        let snapshot = gather(&self.fixed, reports, &self.peers, here);
        self.publish.send_replace(Arc::new(snapshot));
    }
}

/// What the owner says of this node, with what was heard and measured since in place of it.
fn as_of_now(here: &Here, now: Surroundings) -> Here {
    Here {
        grid: now.grid.or(here.grid),
        withholds: now.withholds,
        ..here.clone()
    }
}

/// What every backend serves. May read files.
fn ask(backends: &[Arc<dyn Backend>]) -> Vec<BackendReport> {
    backends.iter().map(|backend| backend.report()).collect()
}

fn gather(
    fixed: &[Arc<dyn Backend>],
    reports: &[BackendReport],
    peers: &Peers,
    here: Here,
) -> Snapshot {
    let peers: Vec<_> = peers.borrow().clone();
    let theirs = ask(&peers);
    let all = fixed.iter().zip(reports).chain(peers.iter().zip(&theirs));
    let candidates = all.flat_map(|(backend, report)| {
        report.models.iter().map(|model| Candidate {
            backend: backend.id().clone(),
            model: model.clone(),
            unavailable: report.unavailable.clone(),
            place: report.place.clone(),
            load: report.load,
        })
    });
    Snapshot {
        candidates: candidates.collect(),
        backends: fixed.iter().chain(&peers).map(Arc::clone).collect(),
        here,
    }
}
