//! When books are compared: soon after a peer is there again, some times more while what broke off settles, and then
//! from time to time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kwaainet_core::NodeId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Books, Cut};
use crate::{PeerState, PeerTransport, PeerView, Plane};

/// From when a peer is there, and from one to the next.
const FIRST: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_millis(1_500),
    Duration::from_secs(4),
    Duration::from_secs(15),
];
/// Between two after those.
const EVERY: Duration = Duration::from_secs(60);
/// Peers that are asked at once.
const AT_ONCE: usize = 4;
const DIAL_WITHIN: Duration = Duration::from_secs(5);

/// What a reconciler is made of.
pub struct ReconcilerParts {
    /// This node's.
    pub books: Arc<Books>,
    /// Who is there.
    pub views: watch::Receiver<Arc<Vec<PeerView>>>,
    /// Carries the streams.
    pub transport: Arc<dyn PeerTransport>,
}

/// Compares this node's books with those of its peers, again and again.
pub struct Reconciler {
    parts: ReconcilerParts,
    peers: HashMap<NodeId, Due>,
}

/// When a peer is asked next.
struct Due {
    incarnation: u64,
    /// How often it was asked.
    times: usize,
    at: Instant,
    under_way: bool,
}

impl Reconciler {
    /// One that has compared nothing yet.
    pub fn new(parts: ReconcilerParts) -> Self {
        let peers = HashMap::new();
        Self { parts, peers }
    }

    /// Goes on until nobody says any more who is there.
    pub async fn keep(mut self) {
        let mut under_way = FuturesUnordered::new();
        self.parts.views.mark_changed();
        loop {
            let due = self.due(AT_ONCE - under_way.len());
            for node in due {
                under_way.push(compare(
                    Arc::clone(&self.parts.books),
                    Arc::clone(&self.parts.transport),
                    node,
                ));
            }
            let next = self.next();
            tokio::select! {
                changed = self.parts.views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.look();
                }
                Some((node, done)) = under_way.next(), if !under_way.is_empty() => {
                    self.asked(node, done);
                }
                () = sleep_until(next), if under_way.len() < AT_ONCE => {}
            }
        }
    }

    /// Who is there, who is there again, and who is not.
    fn look(&mut self) {
        let views = Arc::clone(&self.parts.views.borrow_and_update());
        let now = Instant::now();
        for view in views.iter() {
            let known = self.peers.get(&view.node);
            if view.state != PeerState::Alive {
                self.peers.remove(&view.node);
            } else if known.is_none_or(|known| known.incarnation != view.incarnation) {
                let due = Due {
                    incarnation: view.incarnation,
                    times: 0,
                    at: now + FIRST[0],
                    under_way: false,
                };
                self.peers.insert(view.node, due);
            }
        }
        let is_member = |node| views.iter().any(|view| view.node == node);
        self.peers.retain(|node, _| is_member(*node));
    }

    /// Those to be asked now, at most so many.
    fn due(&mut self, room: usize) -> Vec<NodeId> {
        let now = Instant::now();
        let is_due = |due: &Due| !due.under_way && due.at <= now;
        let due = self.peers.iter_mut().filter(|(_, due)| is_due(due));
        let taken = due.take(room).map(|(node, due)| {
            due.under_way = true;
            *node
        });
        taken.collect()
    }

    /// When the next one is due.
    fn next(&self) -> Instant {
        let waiting = self.peers.values().filter(|due| !due.under_way);
        let next = waiting.map(|due| due.at).min();
        next.unwrap_or_else(|| Instant::now() + EVERY)
    }

    fn asked(&mut self, node: NodeId, done: Result<(), Cut>) {
        if let Err(error) = done {
            tracing::debug!(peer = %node.short(), "the books were not compared: {error}");
        }
        if let Some(due) = self.peers.get_mut(&node) {
            due.times += 1;
            due.at = Instant::now() + FIRST.get(due.times).copied().unwrap_or(EVERY);
            due.under_way = false;
        }
    }
}

async fn compare(
    books: Arc<Books>,
    transport: Arc<dyn PeerTransport>,
    node: NodeId,
) -> (NodeId, Result<(), Cut>) {
    let dialed = timeout(DIAL_WITHIN, transport.dial(node, Plane::Inference)).await;
    let done = match dialed {
        Ok(Ok(link)) => books.call(node, link).await,
        Ok(Err(_)) | Err(_) => Err(Cut::Silent),
    };
    (node, done)
}
