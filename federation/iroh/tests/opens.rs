//! A member that opens streams of the inference plane without end, and means none of them: over real sockets,
//! against the door that a node has. Its memory stays, and whoever is in earnest is served meanwhile.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{
    Admission, AdmissionLimits, Backend, BoxFuture, Candidate, Clock, GenerateParams,
    GenerateRequest, Hallway, Load, NodeId, PeerFacts, Place, PrincipalId, Prompt, Snapshot,
    SystemClock, Tier,
};
use kwaainet_federation::{
    About, Federation, FederationParts, InferenceDoor, Introduced, Member, MemberBook, PeerAddress,
    PeerBackend, PeerState, PeerStream, PeerTransport, PeerView, Plane, RedeemError, STREAMS_MAX,
    Tiers,
};
use kwaainet_identity::NodeKey;
use kwaainet_iroh::{Gate, IrohConfig, IrohTransport};
use kwaainet_testkit::ScriptedBackend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const MODEL: &str = "talker";
const LONG: Duration = Duration::from_secs(20);
/// Streams at once; a member may have 256.
const AT_ONCE: u64 = 128;
/// Before the memory is measured for the first time.
const WARM_UP: u64 = 4_000;
/// How much it may grow: what an allocator keeps, not what a million of anything takes.
const GROWTH_MAX: u64 = 48 << 20;

struct Book(Vec<Member>);

impl MemberBook for Book {
    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, String>> {
        let members = self.0.clone();
        Box::pin(async { Ok(members) })
    }

    fn redeem(&self, _: Vec<u8>, _: NodeId) -> BoxFuture<'_, Result<Member, RedeemError>> {
        Box::pin(async { Err(RedeemError::Invalid) })
    }

    fn removed(&self) -> BoxFuture<'_, Result<Vec<NodeId>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn introductions(&self) -> BoxFuture<'_, Result<Vec<Introduced>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn introduced(&self, _: Vec<Introduced>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn met(&self, _: NodeId, _: PeerAddress) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

async fn transport(key: &NodeKey, gate: Gate) -> Arc<IrohTransport> {
    let config = IrohConfig {
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ..IrohConfig::default()
    };
    let transport = IrohTransport::bind(key, config, gate).await;
    Arc::new(transport.expect("loopback can be listened on"))
}

/// A node with a scripted model, as `server/node` puts one together.
struct Serving {
    transport: Arc<IrohTransport>,
    federation: Federation,
    hall: Arc<Hallway>,
    requests: TaskTracker,
    _snapshot: watch::Sender<Arc<Snapshot>>,
}

impl Serving {
    async fn start(members: &[NodeId]) -> Self {
        let tiers = Tiers::default();
        let gate = tiers.clone();
        let key = NodeKey::generate();
        let transport = transport(&key, Arc::new(move |node| gate.of(node).is_some())).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let (snapshot, seen) = watch::channel(Arc::new(snapshot()));
        let limits = AdmissionLimits {
            slots: 16,
            waiting: 16,
            per_principal: 8,
            wait_max: Duration::from_secs(5),
        };
        let (receipts, mut written) = mpsc::channel(64);
        let admission = Admission::new(limits, receipts, Arc::clone(&clock));
        let hall = Arc::new(Hallway::new(admission, seen.clone()));
        let requests = TaskTracker::new();
        requests.spawn(async move { while written.recv().await.is_some() {} });
        let (inference, mut streams) = mpsc::channel(256);
        let member = |node: &NodeId| Member {
            node: *node,
            tier: Tier::T1,
            address: PeerAddress::default(),
            invitation: None,
            introduced_by: None,
        };
        let federation = Federation::start(FederationParts {
            transport: Arc::clone(&transport) as _,
            book: Arc::new(Book(members.iter().map(member).collect())),
            about: About::default(),
            own: seen,
            drain: CancellationToken::new(),
            inference,
            tiers,
            key,
            introductions: false,
            streams_max: STREAMS_MAX,
            clock: Arc::clone(&clock),
        });
        let door = Arc::new(InferenceDoor::new(Arc::clone(&hall), None, clock));
        let tasks = requests.clone();
        requests.spawn(async move {
            while let Some(PeerStream {
                principal, link, ..
            }) = streams.recv().await
            {
                let door = Arc::clone(&door);
                tasks.spawn(async move { door.serve(principal, link).await });
            }
        });
        let began = Instant::now();
        while members
            .iter()
            .any(|node| federation.tier_of(*node).is_none())
        {
            assert!(began.elapsed() < LONG, "the members are read");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self {
            transport,
            federation,
            hall,
            requests,
            _snapshot: snapshot,
        }
    }

    /// Ends it, and sees that nobody is left inside.
    async fn rests(self) {
        let resting = async {
            while self.hall.admission().load().running + self.hall.admission().load().waiting > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let rests = timeout(LONG, resting).await;
        rests.expect("every place comes home");
        self.federation.stop().await;
        self.transport.close().await;
        drop(self.hall);
        self.requests.close();
        let ended = timeout(LONG, self.requests.wait()).await;
        ended.expect("no request stays");
    }
}

fn snapshot() -> Snapshot {
    let backend: Arc<dyn Backend> =
        Arc::new(ScriptedBackend::builder("s").generator(MODEL, 64).build());
    let candidate = |model| Candidate {
        backend: backend.id().clone(),
        model,
        unavailable: None,
        place: Place::Here,
        load: Some(Load::default()),
    };
    Snapshot {
        candidates: backend.report().models.into_iter().map(candidate).collect(),
        backends: [Arc::clone(&backend)].into_iter().collect(),
        ..Snapshot::default()
    }
}

/// One who asks over a transport.
fn asker(transport: &Arc<IrohTransport>, server: NodeId) -> Arc<PeerBackend> {
    let models = ScriptedBackend::builder("s").generator(MODEL, 64).build();
    let view = PeerView {
        node: server,
        state: PeerState::Alive,
        reason: None,
        facts: PeerFacts {
            node: server,
            tier: Tier::T1,
            region: None,
            price: None,
            grid: None,
            watts: None,
            rtt: Duration::from_millis(1),
            relayed: false,
            load: Load::default(),
            ours: 0,
        },
        models: models.report().models.into(),
        incarnation: 1,
        version: String::new(),
        introduced_by: None,
    };
    let (_, views) = watch::channel(Arc::new(vec![view]));
    let clock = Arc::new(SystemClock::default());
    let backend = PeerBackend::new(server, views, Arc::clone(transport) as _, None, clock);
    Arc::new(backend)
}

fn request() -> GenerateRequest {
    GenerateRequest {
        model: MODEL.into(),
        prompt: Prompt::Text("once upon a time".into()),
        params: GenerateParams {
            max_tokens: Some(4),
            ..GenerateParams::default()
        },
        owner: PrincipalId::operator(),
        resume: None,
    }
}

/// Opens one stream, in one of many bad ways, and says which.
async fn open(
    number: u64,
    near: &IrohTransport,
    asker: &PeerBackend,
    server: NodeId,
) -> &'static str {
    if number.is_multiple_of(16) {
        // A good request, given up at once.
        return match timeout(LONG, asker.generate(request())).await {
            Ok(Ok(events)) => {
                drop(events);
                "accepted and left"
            }
            _ => "refused",
        };
    }
    let Ok(Ok(mut link)) = timeout(LONG, near.dial(server, Plane::Inference)).await else {
        return "not opened";
    };
    let (bytes, what): (&[u8], _) = match number % 5 {
        0 => (&[], "nothing said"),
        1 => (&[0, 0], "half a length"),
        2 => (&[0xFF; 64], "a length over the bound"),
        3 => (&[0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8], "garbage"),
        _ => (&[0, 0, 4, 0, 1, 2, 3], "a frame cut off"),
    };
    let _ = link.writer.write_all(bytes).await;
    let _ = link.writer.shutdown().await;
    let mut said = Vec::new();
    let mut reader = link.reader.take(4_096);
    match timeout(LONG, reader.read_to_end(&mut said)).await {
        Ok(_) => what,
        Err(_) => "never ended",
    }
}

/// What this process holds in memory; none where the system does not say.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// So many opens, and at each tenth a request in earnest.
async fn opens(count: u64) -> String {
    let (near, friend) = (
        transport(&NodeKey::generate(), Arc::new(|_| true)).await,
        transport(&NodeKey::generate(), Arc::new(|_| true)).await,
    );
    let serving = Serving::start(&[near.node(), friend.node()]).await;
    let server = serving.transport.node();
    let address = serving.transport.address();
    near.learn(server, &address);
    friend.learn(server, &address);
    let (hostile, polite) = (asker(&near, server), asker(&friend, server));

    let next = Arc::new(AtomicU64::new(0));
    let mut before = None;
    let mut slowest = Duration::ZERO;
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    let began = Instant::now();
    let tenths = (1..=10).map(|tenth| count * tenth / 10);
    let stages = std::iter::once(WARM_UP).chain(tenths.filter(|until| *until > WARM_UP));
    for until in stages {
        let mut opening = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (next, near, hostile) =
                (Arc::clone(&next), Arc::clone(&near), Arc::clone(&hostile));
            opening.spawn(async move {
                let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= until {
                        return ends;
                    }
                    *ends
                        .entry(open(number, &near, &hostile, server).await)
                        .or_default() += 1;
                }
            });
        }
        // In the midst of them.
        let asked = Instant::now();
        let events = timeout(LONG, polite.generate(request())).await;
        let events = events
            .expect("soon")
            .expect("whoever is in earnest is let in");
        let told = timeout(LONG, events.collect::<Vec<_>>()).await;
        assert!(told.expect("soon").iter().all(Result::is_ok));
        slowest = slowest.max(asked.elapsed());
        while let Some(done) = opening.join_next().await {
            for (end, count) in done.expect("no panic") {
                *ends.entry(end).or_default() += count;
            }
        }
        next.store(until, Ordering::Relaxed);
        before = before.or_else(resident);
    }
    let took = began.elapsed();
    let after = resident();
    let opened: u64 = ends.values().sum();
    assert_eq!(opened, count);
    for never in ["never ended", "not opened"] {
        assert_eq!(ends.get(never), None, "{ends:?}");
    }
    serving.rests().await;
    let (before, after) = (before.unwrap_or(0), after.unwrap_or(0));
    assert!(
        after.saturating_sub(before) < GROWTH_MAX,
        "from {before} to {after} bytes"
    );
    format!(
        "{count} opens in {:.1} s, {:.0} each second; {} KiB in memory after the first {WARM_UP}, {} KiB at the end; \
         the slowest good request took {:.0} ms; {ends:?}",
        took.as_secs_f64(),
        count as f64 / took.as_secs_f64(),
        before >> 10,
        after >> 10,
        slowest.as_secs_f64() * 1e3,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_opens_leave_nothing_behind() {
    opens(12_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes some minutes; run by `make opens`"]
async fn a_million_opens_leave_nothing_behind() {
    let told = opens(1_000_000).await;
    writeln!(std::io::stdout(), "{told}").expect("somebody reads it");
}
