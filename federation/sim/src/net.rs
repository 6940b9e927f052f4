//! What connects the nodes, and all that can go wrong with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use kwaainet_core::NodeId;
use kwaainet_federation::{Incoming, PeerAddress, Seeded};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::SimTransport;
use crate::pipe::Pipe;

/// How messages fare.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One way, at least.
    pub delay: Duration,
    /// And so much more at most, another time for each message.
    pub jitter: Duration,
    /// Of 1,000 messages so many are lost, and come once they were sent again.
    pub lost_per_mille: u64,
    /// After which a lost message is sent again.
    pub again_after: Duration,
    /// Whether all goes through a relay.
    pub relayed: bool,
}

impl Weather {
    /// A quiet local network.
    pub const LAN: Self = Self {
        delay: Duration::from_micros(200),
        jitter: Duration::from_micros(300),
        lost_per_mille: 0,
        again_after: Duration::from_millis(200),
        relayed: false,
    };

    /// The same, and one message of a hundred is lost.
    pub const LOSSY: Self = Self {
        lost_per_mille: 10,
        ..Self::LAN
    };

    /// Far away.
    pub const WAN: Self = Self {
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(30),
        lost_per_mille: 10,
        again_after: Duration::from_millis(250),
        relayed: false,
    };
}

/// Streams of one node that another one may have open at once.
const STREAMS_MAX: usize = 128;

/// A network. Copies are the same one.
#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

struct State {
    random: Seeded,
    weather: Weather,
    places: BTreeMap<NodeId, Place>,
    moved: BTreeMap<NodeId, PeerAddress>,
    /// Nothing gets from the first to the second.
    cut: BTreeSet<(NodeId, NodeId)>,
    pipes: BTreeMap<(NodeId, NodeId), Vec<Weak<Pipe>>>,
    streams: BTreeMap<(NodeId, NodeId), Arc<Semaphore>>,
    /// Who waits for something to change.
    wakers: Vec<Waker>,
    changed: Arc<Notify>,
    /// Messages and bytes that were sent.
    sent: (u64, u64),
}

/// Where a node is.
struct Place {
    /// Counts up with each start.
    run: u64,
    runs: bool,
    frozen: bool,
    address: PeerAddress,
    doorstep: Arc<Doorstep>,
}

/// What was opened and is not yet accepted.
#[derive(Default)]
pub(crate) struct Doorstep {
    pub(crate) waiting: Mutex<VecDeque<(Instant, Incoming)>>,
    pub(crate) came: Notify,
}

/// From which run of which node to which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) from: NodeId,
    pub(crate) from_run: u64,
    pub(crate) to: NodeId,
    pub(crate) to_run: u64,
}

impl Way {
    pub(crate) fn back(self) -> Self {
        Self {
            from: self.to,
            from_run: self.to_run,
            to: self.from,
            to_run: self.from_run,
        }
    }
}

impl Net {
    /// One of this seed. Has to be made in the runtime in which it is used.
    pub fn new(seed: u64, weather: Weather) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Seeded::new(seed),
            weather,
            places: BTreeMap::new(),
            moved: BTreeMap::new(),
            cut: BTreeSet::new(),
            pipes: BTreeMap::new(),
            streams: BTreeMap::new(),
            wakers: Vec::new(),
            changed: Arc::default(),
            sent: (0, 0),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From its next start on a node is where by [`Net::address_of`] another one would be.
    pub fn move_to(&self, node: NodeId, other: NodeId) {
        self.state().moved.insert(node, Self::address_of(other));
    }

    /// Starts a node, or starts it again; it is where [`Net::address_of`] says, unless it moved.
    pub fn join(&self, node: NodeId) -> Arc<SimTransport> {
        let mut state = self.state();
        let moved = state.moved.get(&node).cloned();
        let address = moved.unwrap_or_else(|| Self::address_of(node));
        let run = state.places.get(&node).map_or(1, |place| place.run + 1);
        let doorstep = Arc::new(Doorstep::default());
        let place = Place {
            run,
            runs: true,
            frozen: false,
            address: address.clone(),
            doorstep: Arc::clone(&doorstep),
        };
        let before = state.places.insert(node, place);
        state.streams.retain(|(_, to), _| *to != node);
        state.change();
        drop(state);
        // With ends of streams, which look at the network when they are dropped.
        drop(before);
        Arc::new(SimTransport::new(
            self.clone(),
            node,
            run,
            address,
            doorstep,
        ))
    }

    /// Where a node is reached.
    pub fn address_of(node: NodeId) -> PeerAddress {
        let [a, b, c, d] = [node.0[0], node.0[1], node.0[2], node.0[3]];
        let port = 1 + u16::from_be_bytes([c, d]) % 60_000;
        let ip = Ipv4Addr::new(10, a, b, c);
        PeerAddress {
            direct: vec![SocketAddr::from((ip, port))],
            relay: None,
        }
    }

    /// Kills a node without a word. What it had sent arrives.
    pub fn crash(&self, node: NodeId) {
        let mut state = self.state();
        if let Some(place) = state.places.get_mut(&node) {
            place.runs = false;
        }
        let pipes = state.pipes_of(node);
        state.change();
        drop(state);
        for pipe in pipes {
            pipe.writer_died();
        }
    }

    /// Stops a node as it stands: it takes and sends nothing. Its timers go on.
    pub fn freeze(&self, node: NodeId, frozen: bool) {
        let mut state = self.state();
        if let Some(place) = state.places.get_mut(&node) {
            place.frozen = frozen;
        }
        state.change();
    }

    /// Lets nothing through from one node to another, or lets it through again.
    pub fn cut(&self, from: NodeId, to: NodeId, cut: bool) {
        let mut state = self.state();
        if cut {
            state.cut.insert((from, to));
        } else {
            state.cut.remove(&(from, to));
        }
        state.change();
    }

    /// Cuts all these nodes off from all those, both ways, or joins them again.
    pub fn part(&self, these: &[NodeId], those: &[NodeId], parted: bool) {
        for (a, b) in these
            .iter()
            .flat_map(|a| those.iter().map(move |b| (*a, *b)))
        {
            self.cut(a, b, parted);
            self.cut(b, a, parted);
        }
    }

    /// From now on.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Messages and bytes that were sent until now.
    pub fn sent(&self) -> (u64, u64) {
        self.state().sent
    }

    /// Streams that are open.
    pub fn open_streams(&self) -> usize {
        let state = self.state();
        let pipes = state.pipes.values().flatten();
        pipes.filter(|pipe| pipe.strong_count() > 0).count() / 2
    }

    pub(crate) fn relayed(&self) -> bool {
        self.state().weather.relayed
    }

    /// The run of a node, if it can be reached now from that one, there and back.
    pub(crate) fn reach(
        &self,
        from: NodeId,
        to: NodeId,
    ) -> Option<(u64, PeerAddress, Arc<Doorstep>)> {
        let state = self.state();
        let place = state.places.get(&to).filter(|p| p.runs && !p.frozen)?;
        let open = !state.cut.contains(&(from, to)) && !state.cut.contains(&(to, from));
        open.then(|| {
            (
                place.run,
                place.address.clone(),
                Arc::clone(&place.doorstep),
            )
        })
    }

    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.state().changed)
    }

    /// What bounds the streams of a node to another.
    pub(crate) fn streams(&self, from: NodeId, to: NodeId) -> Arc<Semaphore> {
        let mut state = self.state();
        let streams = state.streams.entry((from, to));
        Arc::clone(streams.or_insert_with(|| Arc::new(Semaphore::new(STREAMS_MAX))))
    }

    /// How long a message takes there and back now.
    pub(crate) fn round_trip(&self) -> Duration {
        let mut state = self.state();
        state.one_way().0 + state.one_way().0
    }

    pub(crate) fn remember(&self, way: Way, pipes: [&Arc<Pipe>; 2]) {
        let mut state = self.state();
        let open = state.pipes.entry(pair(way.from, way.to)).or_default();
        // Now and then, so that it costs nothing.
        if open.len().is_power_of_two() {
            open.retain(|pipe| pipe.strong_count() > 0);
        }
        open.extend(pipes.map(Arc::downgrade));
    }

    pub(crate) fn is_connected(&self, a: NodeId, b: NodeId) -> bool {
        let state = self.state();
        let pipes = state.pipes.get(&pair(a, b));
        pipes.is_some_and(|pipes| pipes.iter().any(|pipe| pipe.strong_count() > 0))
    }

    /// The node breaks off all that it has open with another.
    pub(crate) fn break_off(&self, by: NodeId, run: u64, other: NodeId) {
        let mut state = self.state();
        let gets_there = state.runs(by, run)
            && !state.cut.contains(&(by, other))
            && state.places.get(&by).is_some_and(|place| !place.frozen);
        // What the other side does not hear of stays open there, for it to break off.
        let pipes = match gets_there {
            true => state.pipes.remove(&pair(by, other)),
            false => state.pipes.get(&pair(by, other)).cloned(),
        };
        drop(state);
        for pipe in pipes.iter().flatten().filter_map(Weak::upgrade) {
            pipe.break_off(by, gets_there);
        }
    }

    /// Whether this run of the node is the present one and not over.
    pub(crate) fn runs(&self, node: NodeId, run: u64) -> bool {
        self.state().runs(node, run)
    }

    pub(crate) fn is_frozen(&self, node: NodeId) -> bool {
        self.state().places.get(&node).is_some_and(|p| p.frozen)
    }

    /// Whether something can be sent now; else the waker is called when that may have changed.
    pub(crate) fn may_send(&self, way: Way, waker: &Waker) -> bool {
        let mut state = self.state();
        let may = state.moves(way.from, way.from_run);
        if !may {
            state.wakers.push(waker.clone());
        }
        may
    }

    /// Whether something can arrive now; else the waker is called when that may have changed.
    pub(crate) fn may_arrive(&self, way: Way, waker: &Waker) -> bool {
        let mut state = self.state();
        let may = state.moves(way.to, way.to_run) && !state.cut.contains(&(way.from, way.to));
        if !may {
            state.wakers.push(waker.clone());
        }
        may
    }

    /// When a message that is sent now arrives, and whether it is lost on its first way.
    pub(crate) fn arrival(&self, bytes: usize) -> (Instant, bool) {
        let mut state = self.state();
        let (time, again) = state.one_way();
        state.sent.0 += 1;
        state.sent.1 += bytes as u64;
        (Instant::now() + time, again)
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl State {
    fn change(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
        self.changed.notify_waiters();
    }

    fn runs(&self, node: NodeId, run: u64) -> bool {
        let place = self.places.get(&node);
        place.is_some_and(|place| place.runs && place.run == run)
    }

    fn moves(&self, node: NodeId, run: u64) -> bool {
        self.runs(node, run) && !self.places[&node].frozen
    }

    fn pipes_of(&self, node: NodeId) -> Vec<Arc<Pipe>> {
        let pipes = self.pipes.iter();
        let pipes = pipes.filter(|((a, b), _)| *a == node || *b == node);
        pipes
            .flat_map(|(_, pipes)| pipes.iter().filter_map(Weak::upgrade))
            .filter(|pipe| pipe.writes(node))
            .collect()
    }

    fn one_way(&mut self) -> (Duration, bool) {
        let Weather {
            delay,
            jitter,
            lost_per_mille,
            again_after,
            ..
        } = self.weather;
        let more = Duration::from_micros(self.random.below(jitter.as_micros() as u64 + 1));
        let lost = self.random.below(1000) < lost_per_mille;
        let again = if lost { again_after } else { Duration::ZERO };
        (delay + more + again, lost)
    }
}
