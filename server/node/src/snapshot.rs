//! Gathers what routing knows, in the background, so that the request path asks no one.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Backend, Candidate, Snapshot};
use tokio::sync::watch;

/// How old the snapshot may be.
const PERIOD: Duration = Duration::from_millis(500);

/// Asks every backend what it serves, in order of preference. May read files.
fn gather(backends: &[Arc<dyn Backend>]) -> Snapshot {
    let mut candidates = Vec::new();
    for backend in backends {
        let report = backend.report();
        candidates.extend(report.models.into_iter().map(|model| Candidate {
            backend: backend.id().clone(),
            model,
            unavailable: report.unavailable.clone(),
            place: report.place.clone(),
            load: report.load,
        }));
    }
    Snapshot {
        candidates,
        backends: backends.iter().map(Arc::clone).collect(),
        ..Snapshot::default()
    }
}

/// Where snapshots come from.
pub(crate) struct Observer {
    backends: Arc<Vec<Arc<dyn Backend>>>,
    publish: watch::Sender<Arc<Snapshot>>,
}

impl Observer {
    /// One of these backends, with the first snapshot already taken.
    pub(crate) fn new(backends: Vec<Arc<dyn Backend>>) -> Self {
        let (publish, _) = watch::channel(Arc::new(gather(&backends)));
        Self {
            backends: Arc::new(backends),
            publish,
        }
    }

    /// Always the newest snapshot.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.publish.subscribe()
    }

    /// Takes a snapshot now.
    pub(crate) async fn refresh(&self) {
        let asked = Arc::clone(&self.backends);
        match tokio::task::spawn_blocking(move || gather(&asked)).await {
            Ok(fresh) => {
                self.publish.send_replace(Arc::new(fresh));
            }
            Err(error) => tracing::error!(%error, "a backend's report failed"),
        }
    }

    /// Keeps the snapshot fresh until dropped.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.refresh().await;
        }
    }
}
