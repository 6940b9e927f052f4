//! How much one peer may have open here, and how often is complained of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwaainet_core::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::super::wire::refusal::Refusal;

/// Streams of one peer. Admission lets in fewer; these bound what it costs to be refused.
const STREAMS_MAX: usize = 256;
/// Openings that are read at once: of one peer, and of all. Each takes up to twice
/// [`OPEN_MAX`](super::super::wire::OPEN_MAX).
const OPENINGS_OF_ONE_MAX: usize = 8;
const OPENINGS_MAX: usize = 32;
/// Until an opening message is here.
const OPENED_WITHIN: Duration = Duration::from_secs(5);
/// Between two lines in the log about peers that do what they should not.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// Everybody's.
pub(super) struct Limits {
    peers: Arc<Mutex<HashMap<NodeId, Arc<OfPeer>>>>,
    openings: Semaphore,
    complaints: Mutex<Complaints>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: Arc::default(),
            openings: Semaphore::new(OPENINGS_MAX),
            complaints: Mutex::default(),
        }
    }
}

/// One peer's, kept while it has a stream here.
struct OfPeer {
    streams: Arc<Semaphore>,
    openings: Semaphore,
}

impl Default for OfPeer {
    fn default() -> Self {
        Self {
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            openings: Semaphore::new(OPENINGS_OF_ONE_MAX),
        }
    }
}

#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

/// A place for one stream.
pub(super) struct Inside<'a> {
    limits: &'a Limits,
    node: NodeId,
    of: Arc<OfPeer>,
    permit: Option<OwnedSemaphorePermit>,
}

/// The refusal of whoever has no place.
pub(super) fn too_many() -> Refusal {
    Refusal::Busy {
        reason: format!("a peer may have {STREAMS_MAX} requests open"),
        retry_after: Duration::from_secs(1),
    }
}

impl Limits {
    /// A place for one more stream of the peer, if there is one.
    pub(super) fn enter(&self, node: NodeId) -> Option<Inside<'_>> {
        let mut peers = self.peers.lock().expect("no holder panics");
        let of = Arc::clone(peers.entry(node).or_default());
        let permit = Arc::clone(&of.streams).try_acquire_owned().ok()?;
        Some(Inside {
            limits: self,
            node,
            of,
            permit: Some(permit),
        })
    }

    /// Says in the log that a peer does what it should not, not too often.
    pub(super) fn complain(&self, node: NodeId, what: &str) {
        let mut complaints = self.complaints.lock().expect("no holder panics");
        let now = Instant::now();
        let is_due = |last: Instant| now.duration_since(last) >= COMPLAIN_EVERY;
        if !complaints.last.is_none_or(is_due) {
            complaints.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut complaints.unsaid);
        complaints.last = Some(now);
        tracing::warn!(peer = %node.short(), unsaid, "a request of a peer was dropped: {what}");
    }
}

impl Inside<'_> {
    /// What opening a stream comes to, waited for in turn and not too long.
    ///
    /// # Errors
    /// When it takes too long.
    pub(super) async fn opening<F: Future>(&self, opening: F) -> Result<F::Output, &'static str> {
        let in_turn = async {
            // Its own first, so that one peer never holds more than its part of all.
            let _own = self.of.openings.acquire().await;
            let _all = self.limits.openings.acquire().await;
            opening.await
        };
        let opened = timeout(OPENED_WITHIN, in_turn).await;
        opened.map_err(|_| "it did not say in time what it wants")
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut peers = self.limits.peers.lock().expect("no holder panics");
        self.permit = None;
        if self.of.streams.available_permits() == STREAMS_MAX {
            peers.remove(&self.node);
        }
    }
}
