//! A federation of nodes with made-up engines.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use kwaainet_core::{Clock, NodeId, Tier};
use kwaainet_federation::{
    About, Federation, FederationParts, Member, PeerState, PeerStream, PeerView, STREAMS_MAX, Tiers,
};
use kwaainet_identity::NodeKey;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::{Engine, MemoryBook, Net, SimClock, SimTransport, Weather};

/// Between two looks of whoever waits for something.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The keys that were made, since making one takes a while.
#[derive(Default)]
struct Keys {
    nodes: BTreeMap<usize, NodeId>,
    keys: BTreeMap<NodeId, NodeKey>,
}

static KEYS: LazyLock<Mutex<Keys>> = LazyLock::new(Mutex::default);

/// The nth node's id: that of a key which follows from the number.
pub fn node_id(n: usize) -> NodeId {
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(node) = keys.nodes.get(&n) {
        return *node;
    }
    let mut random = kwaainet_federation::Seeded::new(n as u64);
    let mut seed = [0; 32];
    for part in seed.chunks_mut(8) {
        part.copy_from_slice(&random.draw().to_be_bytes());
    }
    let key = NodeKey::from_seed(&seed);
    let node = key.id();
    keys.nodes.insert(n, node);
    keys.keys.insert(node, key);
    node
}

/// The key of a node that [`node_id`] named.
///
/// # Panics
/// When it did not.
pub fn node_key(node: NodeId) -> NodeKey {
    let keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = keys.keys.get(&node);
    key.expect("the node was named by its number").clone()
}

/// Runs a test in simulated time; the seed is printed when it fails.
pub fn run<T, F: Future<Output = T>>(seed: u64, test: impl FnOnce(u64) -> F) -> T {
    struct Told(u64);
    impl Drop for Told {
        #[expect(
            clippy::print_stderr,
            reason = "this is for whoever reads a failed test"
        )]
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the simulation's seed was {}", self.0);
            }
        }
    }
    let _told = Told(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs nothing that could fail");
    runtime.block_on(test(seed))
}

/// A running node.
pub struct Node {
    /// Its membership.
    pub federation: Federation,
    /// Its end of the network.
    pub transport: Arc<SimTransport>,
    /// What it serves.
    pub engine: Engine,
    /// Cancelled when it takes no more work.
    pub drain: CancellationToken,
    /// Requests of its peers.
    pub requests: mpsc::Receiver<PeerStream>,
    _stopped: DropGuard,
}

/// Nodes, each with a book of its own, which survives them.
pub struct World {
    /// What connects them.
    pub net: Net,
    clock: SimClock,
    books: BTreeMap<NodeId, Arc<MemoryBook>>,
    nodes: BTreeMap<NodeId, Node>,
    introductions: bool,
    streams_max: usize,
    tasks: TaskTracker,
}

impl World {
    /// One without nodes.
    pub fn new(seed: u64, weather: Weather) -> Self {
        Self {
            net: Net::new(seed, weather),
            clock: SimClock::start(),
            books: BTreeMap::new(),
            nodes: BTreeMap::new(),
            introductions: false,
            streams_max: STREAMS_MAX,
            tasks: TaskTracker::new(),
        }
    }

    /// Whether nodes that are started from now on introduce their members to each other.
    pub fn set_introductions(&mut self, introductions: bool) {
        self.introductions = introductions;
    }

    /// With how many others nodes that are started from now on keep streams.
    pub fn set_streams_max(&mut self, streams_max: usize) {
        self.streams_max = streams_max;
    }

    /// One of so many nodes that all know each other, started at once.
    pub fn of(count: usize, seed: u64, weather: Weather) -> Self {
        Self::of_with_streams(STREAMS_MAX, count, seed, weather)
    }

    /// The same, where each keeps streams with so many others.
    pub fn of_with_streams(streams_max: usize, count: usize, seed: u64, weather: Weather) -> Self {
        let mut world = Self::new(seed, weather);
        world.set_streams_max(streams_max);
        let ids: Vec<NodeId> = (0..count).map(node_id).collect();
        for (a, b) in ids.iter().flat_map(|a| ids.iter().map(move |b| (*a, *b))) {
            if a != b {
                world.acquaint(a, b);
            }
        }
        ids.iter().for_each(|id| world.start(*id));
        world
    }

    /// The book of a node.
    pub fn book(&mut self, node: NodeId) -> Arc<MemoryBook> {
        Arc::clone(self.books.entry(node).or_default())
    }

    /// Writes one node into another's book.
    pub fn acquaint(&mut self, node: NodeId, with: NodeId) {
        self.book(node).add(Member {
            node: with,
            tier: Tier::T1,
            address: Net::address_of(with),
            invitation: None,
            introduced_by: None,
        });
    }

    /// Writes one node into another's book, with an invitation of that one.
    pub fn invite(&mut self, node: NodeId, to: NodeId, invitation: &[u8]) {
        self.book(to).invite(invitation);
        self.book(node).add(Member {
            node: to,
            tier: Tier::T1,
            address: Net::address_of(to),
            invitation: Some(invitation.to_vec()),
            introduced_by: None,
        });
    }

    /// Starts a node that serves a model of its own.
    pub fn start(&mut self, node: NodeId) {
        self.start_with(node, self.clock);
    }

    /// Starts a node whose clock was set back.
    pub fn start_set_back(&mut self, node: NodeId, set_back: Duration) {
        self.start_with(node, self.clock.set_back(set_back));
    }

    fn start_with(&mut self, node: NodeId, clock: SimClock) {
        let transport = self.net.join(node);
        let began = clock.monotonic().as_millis() as u64;
        let engine = Engine::new(&format!("model-{}", node.short()), began);
        let stopped = CancellationToken::new();
        let runs = stopped
            .clone()
            .run_until_cancelled_owned(engine.clone().run());
        self.tasks.spawn(runs);
        let drain = CancellationToken::new();
        let (inference, requests) = mpsc::channel(64);
        let federation = Federation::start(FederationParts {
            transport: Arc::clone(&transport) as _,
            book: self.book(node),
            about: About {
                version: "sim".into(),
                ..About::default()
            },
            own: engine.snapshots(),
            drain: drain.clone(),
            inference,
            tiers: Tiers::default(),
            key: node_key(node),
            introductions: self.introductions,
            streams_max: self.streams_max,
            clock: Arc::new(clock),
        });
        let node_parts = Node {
            federation,
            transport,
            engine,
            drain,
            requests,
            _stopped: stopped.drop_guard(),
        };
        self.nodes.insert(node, node_parts);
    }

    /// Kills a node without a word.
    pub fn crash(&mut self, node: NodeId) {
        self.net.crash(node);
        self.nodes.remove(&node);
    }

    /// Stops a node in good order.
    pub async fn stop(&mut self, node: NodeId) {
        if let Some(gone) = self.nodes.remove(&node) {
            gone.federation.stop().await;
            self.net.crash(node);
        }
    }

    /// A running node.
    ///
    /// # Panics
    /// When it does not run.
    pub fn node(&mut self, node: NodeId) -> &mut Node {
        self.nodes.get_mut(&node).expect("the node runs")
    }

    /// All that run.
    pub fn running(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// How one node sees another, if it runs and knows it.
    pub fn view(&self, of: NodeId, by: NodeId) -> Option<PeerView> {
        let views = self.views(by);
        views.iter().find(|view| view.node == of).cloned()
    }

    /// How one node sees all others; nobody, if it does not run.
    pub fn views(&self, by: NodeId) -> Arc<Vec<PeerView>> {
        let peers = self.nodes.get(&by).map(|node| node.federation.peers());
        peers.map_or_else(Arc::default, |peers| Arc::clone(&peers.borrow()))
    }

    /// The states in which a node is seen by all others that run and know it.
    pub fn states_of(&self, node: NodeId) -> Vec<PeerState> {
        let others = self.nodes.keys().filter(|by| **by != node);
        let views = others.filter_map(|by| self.view(node, *by));
        views.map(|view| view.state).collect()
    }

    /// Whether all others that know this node give it work, or none does.
    pub fn all_route_to(&self, node: NodeId, routable: bool) -> bool {
        let states = self.states_of(node);
        states.iter().all(|state| state.is_routable() == routable)
    }

    /// Whether every running node gives work to every other one that runs; all have to know all.
    pub fn is_whole(&self) -> bool {
        let runs = |node| self.nodes.contains_key(&node);
        self.nodes.keys().all(|by| {
            let views = self.views(*by);
            let mut others = views.iter().filter(|view| runs(view.node));
            views.len() + 1 >= self.nodes.len()
                && others.all(|view| view.state.is_routable() && !view.models.is_empty())
        })
    }

    /// Waits until something holds.
    ///
    /// # Panics
    /// When that takes longer.
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> Duration {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < within, "not within {within:?}: {what}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        begin.elapsed()
    }

    /// Sees that something holds for so long.
    ///
    /// # Panics
    /// When it does not.
    pub async fn throughout(&self, what: &str, time: Duration, holds: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            assert!(
                holds(self),
                "after {:?} not any more: {what}",
                begin.elapsed()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
