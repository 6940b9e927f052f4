//! Nodes with the whole inference plane between them: each asks the others all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{
    Admission, AdmissionLimits, Backend, Candidate, GenerateParams, GenerateRequest, Hallway, Load,
    NodeId, Place, PrincipalId, Prompt, Receipt, Sampling, Snapshot, Tier,
};
use kwaainet_federation::{
    About, Accounts, Entry, Federation, FederationParts, InferenceDoor, Ledger, Member,
    PeerBackend, ReceiptBooks, Reconciler, ReconcilerParts, STREAMS_MAX, Seeded, Tiers,
};
use kwaainet_identity::NodeKey;
use kwaainet_sim::{MemoryBook, MemoryReceipts, Net, SimClock, Weather};
use kwaainet_testkit::{Script, ScriptedBackend};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const MODEL: &str = "talker";
const LIMITS: AdmissionLimits = AdmissionLimits {
    slots: 64,
    waiting: 64,
    per_principal: 128,
    wait_max: Duration::from_secs(5),
};
/// A token of the made-up engine.
const STEP: Duration = Duration::from_millis(25);
/// Streams that a node has open at once.
const STREAMS: u64 = 2;
/// A disk takes so long at most.
const WRITTEN_WITHIN_MS: u64 = 60;

/// What survives a node.
struct Disk {
    key: NodeKey,
    members: Arc<MemoryBook>,
    receipts: Arc<MemoryReceipts>,
}

/// A running node; dropping it kills it.
struct Trader {
    _federation: Federation,
    killed: CancellationToken,
}

impl Drop for Trader {
    fn drop(&mut self) {
        self.killed.cancel();
    }
}

/// All of them.
pub(crate) struct Traders {
    net: Net,
    clock: SimClock,
    seed: u64,
    disks: BTreeMap<NodeId, Disk>,
    running: BTreeMap<NodeId, Trader>,
    cut: BTreeSet<(NodeId, NodeId)>,
    starts: u64,
    tasks: TaskTracker,
    /// No more is asked.
    enough: CancellationToken,
}

impl Traders {
    /// So many that know each other, at work.
    pub(crate) async fn begin(seed: u64, count: u8) -> Self {
        let keys: Vec<_> = (1..=count).map(|n| NodeKey::from_seed(&[n; 32])).collect();
        let disk = |key: &NodeKey| {
            let members = Arc::new(MemoryBook::default());
            for other in keys.iter().filter(|other| other.id() != key.id()) {
                members.add(Member {
                    node: other.id(),
                    tier: Tier::T1,
                    address: Net::address_of(other.id()),
                    invitation: None,
                    introduced_by: None,
                });
            }
            let receipts = Arc::new(MemoryReceipts::new(key.id()));
            let key = key.clone();
            (
                key.id(),
                Disk {
                    key,
                    members,
                    receipts,
                },
            )
        };
        let mut traders = Self {
            net: Net::new(seed, Weather::LOSSY),
            clock: SimClock::start(),
            seed,
            disks: keys.iter().map(disk).collect(),
            running: BTreeMap::new(),
            cut: BTreeSet::new(),
            starts: 0,
            tasks: TaskTracker::new(),
            enough: CancellationToken::new(),
        };
        for node in traders.nodes() {
            traders.start(node);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        traders
    }

    /// All, running or not.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.disks.keys().copied().collect()
    }

    /// What a node has on its disk.
    pub(crate) fn book(&self, node: NodeId) -> &MemoryReceipts {
        &self.disks[&node].receipts
    }

    /// Something breaks or is mended.
    pub(crate) fn change(&mut self, random: &mut Seeded) {
        let nodes = self.nodes();
        let mut any = || nodes[random.below(nodes.len() as u64) as usize];
        let (node, other) = (any(), any());
        let runs = self.running.contains_key(&node);
        match random.below(8) {
            0..=2 if runs => {
                self.net.crash(node);
                self.running.remove(&node);
            }
            0..=4 if !runs => self.start(node),
            5 if node != other => {
                self.net.cut(node, other, true);
                self.cut.insert((node, other));
            }
            6 => self.mend_cuts(),
            7 if runs => self.net.freeze(node, true),
            _ => self.net.freeze(node, false),
        }
    }

    fn mend_cuts(&mut self) {
        for (from, to) in std::mem::take(&mut self.cut) {
            self.net.cut(from, to, false);
        }
    }

    /// Mends everything.
    pub(crate) fn mend_all(&mut self) {
        self.mend_cuts();
        for node in self.nodes() {
            self.net.freeze(node, false);
            if !self.running.contains_key(&node) {
                self.start(node);
            }
        }
    }

    /// Asks for no more, and gives the nodes the time to settle what there is.
    pub(crate) async fn rest(&self) {
        self.enough.cancel();
        tokio::time::sleep(Duration::from_secs(80)).await;
    }

    fn start(&mut self, node: NodeId) {
        self.starts += 1;
        let disk = &self.disks[&node];
        let transport = self.net.join(node);
        let killed = CancellationToken::new();
        let clock = Arc::new(self.clock);
        let now_ms = kwaainet_core::Clock::unix_ms(&*clock) as u64;
        let (outbox, entries) = mpsc::channel(4_096);
        let chain = disk.receipts.next_chain(now_ms);
        let ledger = Ledger::new(disk.key.clone(), chain, disk.receipts.last(), outbox);
        let accounts: Arc<dyn Accounts> = Arc::new(ledger);
        let books = ReceiptBooks::new(disk.key.clone(), Arc::clone(&disk.receipts) as _);
        let books = Arc::new(books);
        let random = Seeded::new(self.seed ^ (self.starts << 32));

        let (hall, own, receipts) = hallway(clock.clone());
        let (inference, mut streams) = mpsc::channel(64);
        let federation = Federation::start(FederationParts {
            transport: Arc::clone(&transport) as _,
            book: Arc::clone(&disk.members) as _,
            about: About::default(),
            own,
            drain: CancellationToken::new(),
            inference,
            tiers: Tiers::default(),
            key: disk.key.clone(),
            introductions: false,
            streams_max: STREAMS_MAX,
            clock: clock.clone(),
        });
        let door = InferenceDoor::new(hall, Some(Arc::clone(&accounts)), clock.clone());
        let door = Arc::new(door.with_receipts(Arc::clone(&books)));
        let reconciler = Reconciler::new(ReconcilerParts {
            books,
            views: federation.peers(),
            transport: Arc::clone(&transport) as _,
        });
        let spawn = {
            let (tasks, killed) = (self.tasks.clone(), killed.clone());
            move |task| {
                tasks.spawn(killed.clone().run_until_cancelled_owned(task));
            }
        };
        let spawn: Arc<dyn Fn(Task) + Send + Sync> = Arc::new(spawn);
        spawn(Box::pin(reconciler.keep()));
        let disk_of = Arc::clone(&disk.receipts);
        spawn(Box::pin(write(disk_of, entries, random.clone())));
        spawn(Box::pin(forget(receipts)));
        let serving = Arc::clone(&spawn);
        spawn(Box::pin(async move {
            while let Some(stream) = streams.recv().await {
                let door = Arc::clone(&door);
                serving(Box::pin(async move {
                    door.serve(stream.principal, stream.link).await;
                }));
            }
        }));
        let backends: Vec<_> = (self.disks.keys().filter(|other| **other != node))
            .map(|other| {
                let (views, accounts) = (federation.peers(), Some(Arc::clone(&accounts)));
                let transport = Arc::clone(&transport) as _;
                Arc::new(PeerBackend::new(
                    *other,
                    views,
                    transport,
                    accounts,
                    clock.clone(),
                ))
            })
            .collect();
        for n in 0..STREAMS {
            let random = Seeded::new(self.seed ^ (self.starts << 32) ^ (n + 1));
            let enough = self.enough.clone();
            spawn(Box::pin(ask(backends.clone(), random, enough)));
        }
        let trader = Trader {
            _federation: federation,
            killed,
        };
        self.running.insert(node, trader);
    }
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The way to a made-up engine.
fn hallway(
    clock: Arc<SimClock>,
) -> (
    Arc<Hallway>,
    watch::Receiver<Arc<Snapshot>>,
    mpsc::Receiver<Receipt>,
) {
    let script = Script {
        delay: STEP,
        ..Script::words(2_000)
    };
    let backend = ScriptedBackend::builder("scripted")
        .generator(MODEL, 1 << 20)
        .script(script)
        .build();
    let backend: Arc<dyn Backend> = Arc::new(backend);
    let candidate = |model: &kwaainet_core::ModelFacts| Candidate {
        backend: backend.id().clone(),
        model: model.clone(),
        unavailable: None,
        place: Place::Here,
        load: Some(Load::default()),
    };
    let candidates = backend.report().models.iter().map(candidate).collect();
    let snapshot = Snapshot {
        candidates,
        backends: [Arc::clone(&backend)].into_iter().collect(),
        ..Snapshot::default()
    };
    // Nothing in it changes.
    let (_, own) = watch::channel(Arc::new(snapshot));
    let (outbox, receipts) = mpsc::channel(4_096);
    let hall = Hallway::new(Admission::new(LIMITS, outbox, clock), own.clone());
    (Arc::new(hall), own, receipts)
}

/// A disk, which takes its time. What it had no time for is lost with the node.
async fn write(disk: Arc<MemoryReceipts>, mut entries: mpsc::Receiver<Entry>, mut random: Seeded) {
    let mut batch = Vec::new();
    while entries.recv_many(&mut batch, 64).await > 0 {
        let time = Duration::from_millis(random.below(WRITTEN_WITHIN_MS));
        tokio::time::sleep(time).await;
        batch.drain(..).for_each(|entry| disk.write(entry));
    }
}

async fn forget(mut receipts: mpsc::Receiver<Receipt>) {
    while receipts.recv().await.is_some() {}
}

/// Asks one after the other, and leaves some in the middle.
async fn ask(backends: Vec<Arc<PeerBackend>>, mut random: Seeded, enough: CancellationToken) {
    while !enough.is_cancelled() {
        let backend = &backends[random.below(backends.len() as u64) as usize];
        let longest = [20, 40, 300][random.below(3) as usize];
        let tokens = 1 + random.below(longest);
        let reads = match random.below(4) {
            0 => random.below(tokens),
            _ => u64::MAX,
        };
        let asked = backend.generate(request(tokens as u32)).await;
        if let Ok(mut events) = asked {
            let mut read = 0;
            while read < reads && events.next().await.is_some_and(|event| event.is_ok()) {
                read += 1;
            }
        }
        let pause = Duration::from_millis(50 + random.below(400));
        tokio::time::sleep(pause).await;
    }
}

fn request(max_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        model: MODEL.into(),
        prompt: Prompt::Text("once upon a time".into()),
        params: GenerateParams {
            max_tokens: Some(max_tokens),
            sampling: Sampling {
                temperature: 0.0,
                ..Sampling::default()
            },
            ..GenerateParams::default()
        },
        owner: PrincipalId::operator(),
        resume: None,
    }
}
