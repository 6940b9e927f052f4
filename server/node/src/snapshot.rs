//! Gathers what routing knows, in the background, so that the request path asks no one.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Backend, Candidate, Snapshot};
use tokio::sync::watch;

/// How old the snapshot may be.
const PERIOD: Duration = Duration::from_millis(500);

/// Asks every backend what it serves, in order of preference. May read files.
pub(crate) fn gather(backends: &[Arc<dyn Backend>]) -> Snapshot {
    let mut candidates = Vec::new();
    for backend in backends {
        let report = backend.report();
        candidates.extend(report.models.into_iter().map(|model| Candidate {
            backend: backend.id().clone(),
            model,
            unavailable: report.unavailable.clone(),
        }));
    }
    Snapshot { candidates }
}

/// Keeps the snapshot fresh until dropped.
pub(crate) async fn refresh(
    backends: Vec<Arc<dyn Backend>>,
    snapshot: watch::Sender<Arc<Snapshot>>,
) {
    let backends = Arc::new(backends);
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = Arc::clone(&backends);
        match tokio::task::spawn_blocking(move || gather(&asked)).await {
            Ok(fresh) => {
                snapshot.send_replace(Arc::new(fresh));
            }
            Err(error) => tracing::error!(%error, "a backend's report failed"),
        }
    }
}
