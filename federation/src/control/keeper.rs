//! Keeps the peers: whom to call, which stream to use, who is gone. One task owns all that is known of them, so
//! that nothing is decided twice; it waits for nobody, and what it knows is published for everybody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Clock, NodeId, Tier};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::described::{About, Described};
use super::door::Complaints;
use super::hello::{CallError, Lines, call};
use super::peer::{Live, Peer, REFUSED_WAIT, Second, Told};
use super::session::{Ended, Heard, Session, Signals};
use super::tasks::Tasks;
use super::tiers::Tiers;
use super::wire::{Answer, AnswerKind, Card, Frame, Hello, Lost, Reason, Refused, Welcome};
use crate::{Member, MemberBook, PeerAddress, PeerState, PeerTransport, PeerView};

/// Peers with which a control stream is kept. Of more members those are left out that come last in the order of
/// their tiers and then of their ids' distance (exclusive or) from this node's.
pub(crate) const PEERS_MAX: usize = 64;
/// Members that are looked at.
const MEMBERS_MAX: usize = 1024;
/// Calls at once.
const CALLS_MAX: usize = 32;
/// Between two looks at the time.
const TICK: Duration = Duration::from_millis(50);
/// This node itself stood still for so long: then its peers' silence says nothing yet,
const STALL: Duration = Duration::from_millis(400);
/// and it first hears what came meanwhile.
const STALL_GRACE: Duration = Duration::from_millis(300);
/// Between two publications of what is no news of who can be asked.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// A peer may make this node count up its incarnation by so much at a time.
const INCARNATION_STEP: u64 = 1 << 40;
/// For the book to write something down.
const MET_WITHIN: Duration = Duration::from_secs(5);
/// Messages that are taken at a time.
const BATCH: usize = 256;

/// What happens to the keeper.
pub(crate) enum Event {
    /// The book was read.
    Members {
        members: Vec<Member>,
        /// When it was asked.
        asked: Duration,
    },
    /// A node that may come in has said hello.
    Knock(Box<Knock>),
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
}

/// All peers.
pub(crate) struct Keeper {
    around: Surroundings,
    here: NodeId,
    incarnation: u64,
    peers: BTreeMap<NodeId, Peer>,
    calls: usize,
    streams: u64,
    heard: mpsc::Sender<(NodeId, u64, Duration, Heard)>,
    losses: broadcast::Sender<Lost>,
    views: watch::Sender<Arc<Vec<PeerView>>>,
    /// Something changed since the last publication,
    changed: bool,
    /// and it is news of who can be asked.
    urgent: bool,
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
        let keeper = Self {
            here: around.transport.node(),
            around,
            // 0 is of a node that was never seen.
            incarnation: since.max(1),
            peers: BTreeMap::new(),
            calls: 0,
            streams: 0,
            heard,
            losses: broadcast::Sender::new(PEERS_MAX),
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
                _ = ticks.tick(), if !self.peers.is_empty() => {}
            }
            let now = self.now();
            if now.saturating_sub(self.ticked) >= TICK {
                self.tick(now);
            }
            self.publish(now);
        }
        // Whoever still asks finds nobody.
        self.views.send_replace(Arc::default());
    }

    fn now(&self) -> Duration {
        self.around.clock.monotonic()
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Members { members, asked } => self.read(members, asked),
            Event::Knock(knock) => self.knocked(*knock),
            Event::Called { node, outcome } => self.called(node, *outcome),
        }
    }

    // ---- members

    fn read(&mut self, members: Vec<Member>, asked: Duration) {
        let mut before: Vec<NodeId> = self.peers.keys().copied().collect();
        for member in members.into_iter().take(MEMBERS_MAX) {
            if member.node == self.here {
                continue;
            }
            before.retain(|node| *node != member.node);
            self.know(member).joined = None;
        }
        for node in before {
            // It may have joined after the book was asked.
            if self.peers[&node].joined.is_none_or(|joined| joined < asked) {
                self.forget(node);
            }
        }
        self.tell_tiers();
        self.call(self.now());
    }

    fn know(&mut self, member: Member) -> &mut Peer {
        let node = member.node;
        let peer = self.peers.entry(node).or_insert_with(|| {
            self.around.transport.learn(node, &member.address);
            self.urgent = true;
            Peer::new(member.clone())
        });
        if peer.member != member {
            if peer.member.address != member.address {
                self.around.transport.learn(node, &member.address);
            }
            peer.calls.reset();
            peer.member = member;
            self.urgent = true;
        }
        peer
    }

    fn forget(&mut self, node: NodeId) {
        if let Some(mut peer) = self.peers.remove(&node) {
            if let Some(live) = peer.lost("it is no member any more") {
                live.close.cancel();
            }
            self.around.transport.drop_peer(node);
            self.urgent = true;
            tracing::info!(peer = %node.short(), "federation: no member any more");
        }
    }

    fn tell_tiers(&self) {
        let tiers = self.peers.values().map(|p| (p.node(), p.member.tier));
        self.around.tiers.set(tiers);
    }

    // ---- streams

    fn knocked(&mut self, knock: Knock) {
        let now = self.now();
        let Knock { node, joined, .. } = &knock;
        let node = *node;
        if let Some(member) = joined.clone().filter(|m| m.node == node) {
            self.know(member).joined = Some(now);
            self.tell_tiers();
        }
        let described = Described::from(knock.card);
        let refused = match self.choose(node, false, described.incarnation, now) {
            Ok(()) => {
                let protocol = knock.protocol;
                let card = Some(self.card());
                let welcome = Welcome { protocol, card };
                let kind = Some(AnswerKind::Welcome(welcome));
                let answer = Some(Answer { kind });
                return self.use_stream(node, knock.lines, answer, described, now);
            }
            Err(refused) => refused,
        };
        // The task that waits for it is gone only when the node is about to be.
        let _ = knock.refuses.send((knock.lines, refused));
    }

    fn called(&mut self, node: NodeId, outcome: Result<(Welcome, Lines), CallError>) {
        let now = self.now();
        self.calls -= 1;
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        peer.calls.under_way = false;
        let error = match outcome {
            Ok((welcome, lines)) => {
                let described = Described::from(welcome.card.unwrap_or_default());
                match self.choose(node, true, described.incarnation, now) {
                    Ok(()) => self.use_stream(node, lines, None, described, now),
                    Err(refused) => self.leave_unused(node, lines, &refused),
                }
                return;
            }
            Err(error) => error,
        };
        if peer.live.is_some() {
            return;
        }
        peer.calls.failed(self.here, node, now);
        if let CallError::Refused(refused) = &error {
            match Reason::try_from(refused.reason).unwrap_or(Reason::Unknown) {
                Reason::Duplicate | Reason::Later => {}
                Reason::Outdated => {
                    let step = refused.known.saturating_sub(self.incarnation);
                    self.incarnation += step.min(INCARNATION_STEP) + 1;
                }
                _ => peer.calls.wait(REFUSED_WAIT, now),
            }
        }
        if peer.state() == PeerState::Connecting {
            self.around.complaints.tell(node, now, &error);
        }
        // What happened first says more than that it cannot be reached since.
        if matches!(peer.state(), PeerState::Connecting) || matches!(error, CallError::Refused(_)) {
            peer.lost(error.to_string());
            self.urgent = true;
        }
    }

    /// Whether to use a stream on which a node greeted this one. Ends what stands against it.
    fn choose(
        &mut self,
        node: NodeId,
        dialed: bool,
        incarnation: u64,
        now: Duration,
    ) -> Result<(), Refused> {
        let Some(peer) = self.peers.get(&node) else {
            return Err(Refused::because(Reason::Stranger));
        };
        match peer.second(self.here, dialed, incarnation, now) {
            Err(outdated) => Err(Refused {
                reason: Reason::Outdated.into(),
                known: outdated.known,
            }),
            Ok(Second::Leave) => Err(Refused::because(Reason::Duplicate)),
            Ok(Second::Restarted) => {
                // The transport may still hold what led to the earlier run, and it is only dropped as a whole:
                // the two nodes greet once more.
                self.lose(node, "it was started anew", now);
                Err(Refused::because(Reason::Duplicate))
            }
            Ok(Second::Use) if peer.live.is_none() => self.make_room(node, now),
            Ok(Second::Use) => Ok(()),
        }
    }

    fn make_room(&mut self, node: NodeId, now: Duration) -> Result<(), Refused> {
        let live = || self.peers.values().filter(|peer| peer.live.is_some());
        if live().count() < PEERS_MAX {
            return Ok(());
        }
        let last = live().map(Peer::node).max_by_key(|node| self.rank(*node));
        let Some(last) = last.filter(|last| self.rank(*last) > self.rank(node)) else {
            return Err(Refused::because(Reason::Full));
        };
        if let Some(peer) = self.peers.get_mut(&last) {
            if let Some(live) = peer.lost("there are too many members for all to be kept") {
                live.close.cancel();
            }
            peer.calls.wait(REFUSED_WAIT, now);
        }
        Ok(())
    }

    /// See [`PEERS_MAX`]; the first is the smallest.
    fn rank(&self, node: NodeId) -> (Option<Tier>, [u8; 32]) {
        let mut distance = node.0;
        distance
            .iter_mut()
            .zip(self.here.0)
            .for_each(|(a, b)| *a ^= b);
        let tier = self.peers.get(&node).map(|peer| peer.member.tier);
        (tier, distance)
    }

    fn use_stream(
        &mut self,
        node: NodeId,
        lines: Lines,
        answer: Option<Answer>,
        described: Described,
        now: Duration,
    ) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        self.streams += 1;
        let live = Live::new(self.streams, answer.is_none(), now);
        let signals = Signals {
            close: live.close.clone(),
            retire: live.retire.clone(),
            drain: self.around.drain.clone(),
            leave: self.around.tasks.leave.clone(),
        };
        let address = described.address.clone();
        let came = peer.live.is_none();
        if let Some(before) = peer.greeted(described, live) {
            before.replaced();
        }
        self.urgent = true;
        if came {
            tracing::info!(peer = %node.short(), tier = %peer.member.tier, "federation: a peer is here");
        }
        let session = Session {
            node,
            id: self.streams,
            lines,
            answer,
            reports: self.around.reports.clone(),
            losses: self.losses.subscribe(),
            signals,
            heard: self.heard.clone(),
            clock: Arc::clone(&self.around.clock),
        };
        self.around.tasks.spawn(session.run());
        self.met(node, address);
    }

    /// A stream that the other side may use until it knows better.
    fn leave_unused(&mut self, node: NodeId, lines: Lines, refused: &Refused) {
        if refused.reason == i32::from(Reason::Duplicate) {
            self.around.tasks.spawn_until_leaving(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(lines);
            });
            return;
        }
        let now = self.now();
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.calls.wait(REFUSED_WAIT, now);
        }
    }

    /// Keeps where the peer says that it is, and that it let this node in.
    fn met(&mut self, node: NodeId, address: PeerAddress) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        let is_new = address != PeerAddress::default() && address != peer.member.address;
        if is_new {
            self.around.transport.learn(node, &address);
            peer.member.address = address;
        }
        if peer.member.invitation.take().is_none() && !is_new {
            return;
        }
        let (book, address) = (Arc::clone(&self.around.book), peer.member.address.clone());
        self.around.tasks.spawn_until_leaving(async move {
            let met = tokio::time::timeout(MET_WITHIN, book.met(node, address));
            let met = met.await.unwrap_or_else(|_| Err("it took too long".into()));
            if let Err(error) = met {
                tracing::warn!(peer = %node.short(), "federation: not written down: {error}");
            }
        });
    }

    // ---- what peers say

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
            Heard::Leaving(leaving) if leaving.gone => self.left(node),
            Heard::Leaving(_) => peer.draining(),
            Heard::Lost(lost) => self.doubted(&lost, at),
            Heard::End(end) => self.ended(node, &end, at),
        }
        let after = self.peers.get(&node).map(Peer::state);
        self.urgent |= after != Some(before);
    }

    fn left(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node)
            && let Some(live) = peer.lost("it left")
        {
            live.close.cancel();
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
        self.lose(node, &end.to_string(), now);
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

    // ---- time

    fn tick(&mut self, now: Duration) {
        if now.saturating_sub(self.ticked) >= STALL {
            self.grace = now + STALL_GRACE;
        }
        self.ticked = now;
        if now >= self.grace {
            self.judge(now);
        }
        self.call(now);
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
        }
    }

    fn call(&mut self, now: Duration) {
        let waiting = |peer: &&Peer| peer.live.is_none() && peer.calls.are_due(now);
        if self.calls >= CALLS_MAX || !self.peers.values().any(|peer| waiting(&peer)) {
            return;
        }
        let mut order: Vec<NodeId> = self.peers.keys().copied().collect();
        order.sort_by_cached_key(|node| self.rank(*node));
        order.truncate(PEERS_MAX);
        order.retain(|node| waiting(&&self.peers[node]));
        for node in order.into_iter().take(CALLS_MAX - self.calls) {
            self.call_one(node);
        }
    }

    fn call_one(&mut self, node: NodeId) {
        let card = self.card();
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        peer.calls.under_way = true;
        self.calls += 1;
        let hello = Hello::of(card, peer.member.invitation.clone());
        let transport = Arc::clone(&self.around.transport);
        let events = self.around.events.clone();
        self.around.tasks.spawn_until_leaving(async move {
            let outcome = call(&*transport, node, hello).await;
            // The keeper is gone only when the node is about to be.
            let outcome = Box::new(outcome);
            let _ = events.send(Event::Called { node, outcome }).await;
        });
    }

    fn card(&self) -> Card {
        let address = self.around.transport.address();
        Card::of(&self.around.about, self.incarnation, &address)
    }

    fn publish(&mut self, now: Duration) {
        let is_due = self.changed && now.saturating_sub(self.published) >= PUBLISH_EVERY;
        if !self.urgent && !is_due {
            return;
        }
        (self.changed, self.urgent, self.published) = (false, false, now);
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
