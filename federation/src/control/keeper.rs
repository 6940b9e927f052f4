//! Keeps the peers: whom to call, which stream to use, who is gone. One task owns all that is known of them, so
//! that nothing is decided twice; it waits for nobody, and what it knows is published for everybody else.

mod hearsay;
mod introduced;
mod members;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Clock, NodeId};
use kwaainet_identity::NodeKey;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::described::About;
use super::door::Complaints;
use super::gossip::{News, Say};
use super::hello::{CallError, Lines};
use super::herald::Herald;
use super::introductions::{Given, Introductions};
use super::peer::{Peer, Told};
use super::session::{Ended, Heard};
use super::tasks::Tasks;
use super::tiers::Tiers;
use super::wire::{Card, Frame, Lost, Refused, Welcome};
use crate::{Introduced, Member, MemberBook, PeerTransport, PeerView, Seeded};

/// Members that are looked at.
const MEMBERS_MAX: usize = 1024;
/// Between two looks at the time.
const TICK: Duration = Duration::from_millis(50);
/// This node itself stood still for so long: then its peers' silence says nothing yet,
const STALL: Duration = Duration::from_millis(400);
/// and it first hears what came meanwhile.
const STALL_GRACE: Duration = Duration::from_millis(300);
/// Between two publications of what is no news of who can be asked.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// For each peer, where that is longer, since each publication tells of all.
const PUBLISH_A_PEER: Duration = Duration::from_micros(250);
/// The same where only figures of those moved with whom no stream is kept.
const PUBLISH_DISTANT_EVERY: Duration = Duration::from_millis(500);
/// A peer may make this node count up its incarnation by so much at a time.
const INCARNATION_STEP: u64 = 1 << 40;
/// For the book to write something down.
const MET_WITHIN: Duration = Duration::from_secs(5);
/// Why a member is not called at all.
const LEFT_OUT: &str = "there are too many members for all to be kept";
/// A stream that the peer may take for the one that is used is left open for so long.
const UNUSED: Duration = Duration::from_secs(1);
/// How long whoever had no room for this node is left alone.
const FULL_WAIT: Duration = Duration::from_secs(30);
/// Introductions that come with a refusal, and their bytes: it has to fit into an answer to a hello.
const INSTEAD_MAX: usize = 20;
const INSTEAD_BYTES: usize = 7 << 10;
/// Losses that a session need not have told yet.
const LOSSES_MAX: usize = 64;
/// Messages that are taken at a time.
const BATCH: usize = 256;

/// What happens to the keeper.
pub(crate) enum Event {
    /// What was kept of introductions, before anything else.
    Restored(Vec<Introduced>),
    /// The book was read.
    Members {
        members: Vec<Member>,
        /// No members any more.
        removed: Vec<NodeId>,
        /// When it was asked.
        asked: Duration,
    },
    /// A node that may come in has said hello.
    Knock(Box<Knock>),
    /// Others handed on what a node says.
    News(Box<News>),
    /// A call is over.
    Called {
        node: NodeId,
        outcome: Box<Result<(Welcome, Lines), CallError>>,
    },
}

/// A hello.
pub(crate) struct Knock {
    pub(crate) node: NodeId,
    pub(crate) protocol: u32,
    pub(crate) card: Card,
    /// If it became a member by it.
    pub(crate) joined: Option<Member>,
    /// What members said of it, as it shows.
    pub(crate) introductions: Vec<Introduced>,
    pub(crate) lines: Lines,
    /// Takes the stream back if it is refused.
    pub(crate) refuses: oneshot::Sender<(Lines, Refused)>,
}

/// What the keeper needs of the node.
pub(crate) struct Surroundings {
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) book: Arc<dyn MemberBook>,
    pub(crate) about: About,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tiers: Tiers,
    pub(crate) drain: CancellationToken,
    pub(crate) reports: watch::Receiver<Arc<Frame>>,
    pub(crate) complaints: Complaints,
    pub(crate) tasks: Tasks,
    pub(crate) events: mpsc::Sender<Event>,
    /// Signs.
    pub(crate) key: NodeKey,
    /// Whether there are introductions.
    pub(crate) introductions: bool,
    /// How many streams are kept.
    pub(crate) streams_max: usize,
    /// To those with whom none is kept.
    pub(crate) gossip: mpsc::Sender<Say>,
}

/// All peers.
pub(crate) struct Keeper {
    around: Surroundings,
    here: NodeId,
    incarnation: u64,
    peers: BTreeMap<NodeId, Peer>,
    /// All of them, the first to be kept first: see [`STREAMS_MAX`](crate::STREAMS_MAX).
    order: Vec<NodeId>,
    streams: u64,
    heard: mpsc::Sender<(NodeId, u64, Duration, Heard)>,
    losses: broadcast::Sender<Lost>,
    introductions: Introductions,
    given: watch::Sender<Arc<Vec<Given>>>,
    herald: Herald,
    /// How many were said.
    news: u64,
    /// When it is looked again whether there are any.
    looks: Duration,
    names_contacts: Duration,
    random: Seeded,
    views: watch::Sender<Arc<Vec<PeerView>>>,
    /// Something changed since the last publication,
    changed: bool,
    /// and it is news of who can be asked.
    urgent: bool,
    /// Numbers of those did with whom no stream is kept.
    distant_changed: bool,
    published: Duration,
    ticked: Duration,
    /// Until then nobody is judged.
    grace: Duration,
}

impl Keeper {
    /// One that knows nobody yet.
    pub(crate) fn new(
        around: Surroundings,
        views: watch::Sender<Arc<Vec<PeerView>>>,
    ) -> (Self, mpsc::Receiver<(NodeId, u64, Duration, Heard)>) {
        let (heard, hears) = mpsc::channel(1024);
        let now = around.clock.monotonic();
        let since = u64::try_from(around.clock.unix_ms()).unwrap_or(0);
        let here = around.transport.node();
        let head = *here.0.first_chunk().expect("an id has 32 bytes");
        let keeper = Self {
            here,
            introductions: {
                let key = around.introductions.then(|| around.key.clone());
                Introductions::new(here, key)
            },
            herald: Herald::default(),
            news: 0,
            looks: now,
            names_contacts: now,
            random: Seeded::new(since ^ u64::from_be_bytes(head)),
            distant_changed: false,
            given: watch::Sender::default(),
            around,
            // 0 is of a node that was never seen.
            incarnation: since.max(1),
            peers: BTreeMap::new(),
            order: Vec::new(),
            streams: 0,
            heard,
            losses: broadcast::Sender::new(LOSSES_MAX),
            views,
            changed: false,
            urgent: false,
            published: now,
            ticked: now,
            grace: now,
        };
        (keeper, hears)
    }

    /// Keeps them until the node leaves.
    pub(crate) async fn keep(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut hears: mpsc::Receiver<(NodeId, u64, Duration, Heard)>,
    ) {
        let leave = self.around.tasks.leave.clone();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let mut is_time = false;
            // What was heard comes before the time, by which the unheard are judged.
            tokio::select! {
                biased;
                () = leave.cancelled() => break,
                Some(event) = events.recv() => self.happens(event),
                _ = hears.recv_many(&mut batch, BATCH) => {
                    for (node, stream, at, heard) in batch.drain(..) {
                        self.hears(node, stream, at, heard);
                    }
                }
                _ = ticks.tick(), if !self.peers.is_empty() => is_time = true,
            }
            let now = self.now();
            // However much there is to hear.
            if is_time || now.saturating_sub(self.ticked) >= 2 * TICK {
                self.tick(now);
            }
            self.publish(now);
        }
        self.farewell();
        // Whoever still asks finds nobody.
        self.views.send_replace(Arc::default());
    }

    fn now(&self) -> Duration {
        self.around.clock.monotonic()
    }

    fn unix_ms(&self) -> u64 {
        u64::try_from(self.around.clock.unix_ms()).unwrap_or(0)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Restored(kept) => self.introductions.restore(kept, self.unix_ms()),
            Event::Members {
                members,
                removed,
                asked,
            } => self.read(members, removed, asked),
            Event::News(news) => self.news(*news),
            Event::Knock(knock) => self.knocked(*knock),
            Event::Called { node, outcome } => self.called(node, *outcome),
        }
    }

    fn hears(&mut self, node: NodeId, stream: u64, at: Duration, heard: Heard) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        if peer.live.as_ref().is_none_or(|live| live.id != stream) {
            return;
        }
        let before = peer.state();
        match heard {
            Heard::Ping(rtt) => {
                let path = self.around.transport.path(node);
                let relayed = path.is_some_and(|path| path.relayed);
                self.changed |= peer.heard(rtt, relayed, at);
            }
            Heard::Report(report) => {
                let told = peer.reported(report, at);
                self.changed |= told != Told::Nothing;
                self.urgent |= told == Told::Models;
            }
            Heard::Leaving(leaving) if leaving.gone => self.left(node, at),
            Heard::Leaving(_) => peer.draining(),
            Heard::Lost(lost) => self.doubted(&lost, at),
            Heard::Introductions(words) => self.introduced(node, words),
            Heard::End(end) => self.ended(node, &end, at),
        }
        let after = self.peers.get(&node).map(Peer::state);
        self.urgent |= after != Some(before);
    }

    fn left(&mut self, node: NodeId, now: Duration) {
        if let Some(peer) = self.peers.get_mut(&node)
            && let Some(live) = peer.lost("it left")
        {
            live.close.cancel();
            peer.calls.failed(self.here, node, now);
            tracing::info!(peer = %node.short(), "federation: a peer left");
        }
    }

    fn doubted(&mut self, lost: &Lost, now: Duration) {
        let peer = lost.node().and_then(|node| self.peers.get_mut(&node));
        if let Some(peer) = peer {
            let before = peer.state();
            peer.rumoured_lost(lost.incarnation, now);
            self.urgent |= peer.state() != before;
        }
    }

    fn ended(&mut self, node: NodeId, end: &Ended, now: Duration) {
        if !matches!(end, Ended::HungUp | Ended::Closed) {
            self.around.complaints.tell(node, now, end);
        }
        self.lose(node, end.reason(), now);
    }

    /// A peer is gone without a word. All that is open with it is broken off, so that nobody waits for it.
    fn lose(&mut self, node: NodeId, reason: &str, now: Duration) {
        let here = self.here;
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        if let Some(live) = peer.lost(reason) {
            live.close.cancel();
        }
        peer.calls.failed(here, node, now);
        self.around.transport.drop_peer(node);
        self.urgent = true;
        tracing::info!(peer = %node.short(), "federation: a peer is gone: {reason}");
    }

    fn tick(&mut self, now: Duration) {
        if now.saturating_sub(self.ticked) >= STALL {
            self.grace = now + STALL_GRACE;
        }
        self.ticked = now;
        if now >= self.grace {
            self.judge(now);
        }
        self.call(now);
        self.herald(now);
    }

    fn judge(&mut self, now: Duration) {
        let mut gone = Vec::new();
        for peer in self.peers.values_mut() {
            let before = peer.state();
            if peer.judge(now) {
                gone.push((peer.node(), peer.incarnation()));
            }
            self.urgent |= peer.state() != before;
        }
        for (node, incarnation) in gone {
            self.lose(node, "it is silent", now);
            // Nobody may be there to hear it.
            let _ = self.losses.send(Lost::of(node, incarnation));
            self.tell_of_loss(Lost::of(node, incarnation), now);
        }
    }

    /// Calls those that are to be kept and are not here, each once at a time.
    fn call(&mut self, now: Duration) {
        let is_due = |peer: &Peer| peer.live.is_none() && peer.calls.are_due(now);
        let due: Vec<NodeId> = (self.order.iter().take(self.around.streams_max))
            .filter(|node| self.peers.get(node).is_some_and(is_due))
            .copied()
            .collect();
        for node in due {
            self.call_one(node);
        }
    }

    fn publish(&mut self, now: Duration) {
        let since = now.saturating_sub(self.published);
        let size = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        let every = PUBLISH_EVERY.max(PUBLISH_A_PEER.saturating_mul(size));
        let is_due = (self.changed && since >= every)
            || (self.distant_changed && since >= PUBLISH_DISTANT_EVERY);
        if !self.urgent && !is_due {
            return;
        }
        (self.changed, self.urgent, self.distant_changed) = (false, false, false);
        self.published = now;
        let views: Vec<PeerView> = self.peers.values().map(Peer::view).collect();
        self.views.send_if_modified(|shown| {
            let differs = **shown != views;
            if differs {
                *shown = Arc::new(views);
            }
            differs
        });
    }
}
