//! How much one peer may have open here, and how often is complained of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwaainet_core::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::FrameError;

use super::super::wire::refusal::Refusal;
use super::line::{First, Line};

/// Streams of one peer. Admission lets in fewer; these bound what it costs to be refused.
const STREAMS_MAX: usize = 256;
/// Openings of one peer that are read at once.
const OPENINGS_MAX: usize = 8;
/// Bytes of a message from which on it is large: few of those are read at once, of one peer and of all. Each takes
/// up to twice [`OPEN_MAX`](super::super::wire::OPEN_MAX) for a moment.
const LARGE: usize = 1 << 20;
const LARGE_OF_ONE_MAX: usize = 2;
const LARGE_MAX: usize = 8;
/// Until an opening message is here.
const OPENED_WITHIN: Duration = Duration::from_secs(5);
/// Between two lines in the log about peers that do what they should not.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// Everybody's.
pub(super) struct Limits {
    peers: Arc<Mutex<HashMap<NodeId, Arc<OfPeer>>>>,
    large: Semaphore,
    complaints: Mutex<Complaints>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: Arc::default(),
            large: Semaphore::new(LARGE_MAX),
            complaints: Mutex::default(),
        }
    }
}

/// One peer's, kept while it has a stream here.
struct OfPeer {
    streams: Arc<Semaphore>,
    openings: Semaphore,
    large: Semaphore,
}

impl Default for OfPeer {
    fn default() -> Self {
        Self {
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            openings: Semaphore::new(OPENINGS_MAX),
            large: Semaphore::new(LARGE_OF_ONE_MAX),
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
    pub(super) fn complain(&self, node: NodeId, what: &FrameError) {
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
    /// Reads the opening message in turn, and not for too long; `None` if the asker changed its mind before it.
    ///
    /// # Errors
    /// When it does not come or is none.
    pub(super) async fn open(&self, line: &mut Line) -> Result<Option<First>, FrameError> {
        let reading = async {
            let _turn = self.of.openings.acquire().await;
            let Some(length) = line.announced().await? else {
                return Ok(None);
            };
            if length <= LARGE {
                return line.open().await.map(Some);
            }
            // Its own first, so that one peer never holds more than its part of all.
            let _own = self.of.large.acquire().await;
            let _all = self.limits.large.acquire().await;
            line.open().await.map(Some)
        };
        let read = timeout(OPENED_WITHIN, reading).await;
        read.unwrap_or(Err(FrameError::TooSlow))
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
