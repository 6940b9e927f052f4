//! Two ends and the pipes between them, in memory. When a [`Server`] is dropped it checks that every place came
//! home.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{
    Admission, AdmissionLimits, AdmissionLoad, Backend, BackendError, BoxFuture, Candidate, Clock,
    EnergyMeter, EnergyMethod, Event, EventStream, Footprint, GenerateParams, GenerateRequest,
    Hallway, JobEnergy, Load, ModelFacts, NodeId, PeerFacts, Place, Principal, PrincipalId, Prompt,
    Receipt, Sampling, Snapshot, Tier,
};
use kwaainet_testkit::{ScriptHandle, ScriptedBackend};
use tokio::io::duplex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::{
    Accounts, BadReceipt, DialError, FrameReader, FrameWriter, Incoming, InferenceDoor, Link,
    PathFacts, PeerAddress, PeerBackend, PeerState, PeerTransport, PeerView, Plane, Service, Turn,
};

pub(super) use crate::infer::samples::MODEL;

pub(super) const EMBEDDER: &str = "embedder";
pub(super) const CONTEXT: u32 = 64;
pub(super) const ASKER: NodeId = NodeId([1; 32]);
pub(super) const SERVER: NodeId = NodeId([2; 32]);
/// Where there are two.
pub(super) const OTHER: NodeId = NodeId([3; 32]);
/// How long anything that must happen may take before a test gives up on it.
pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) const LIMITS: AdmissionLimits = AdmissionLimits {
    slots: 64,
    waiting: 64,
    per_principal: 128,
    wait_max: Duration::from_secs(5),
};

/// Tokio's clock, which tests pause.
pub(super) struct PausableClock(Instant);

impl Default for PausableClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for PausableClock {
    fn unix_ms(&self) -> i64 {
        self.0.elapsed().as_millis() as i64
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Carries streams to whoever takes them from the other end.
pub(super) struct Pipes {
    /// Bytes that one direction holds.
    width: usize,
    to: NodeId,
    calls: mpsc::Sender<Link>,
}

impl Pipes {
    pub(super) fn new(width: usize) -> (Arc<Self>, mpsc::Receiver<Link>) {
        Self::to(SERVER, width)
    }

    pub(super) fn to(to: NodeId, width: usize) -> (Arc<Self>, mpsc::Receiver<Link>) {
        let (calls, called) = mpsc::channel(1_024);
        (Arc::new(Self { width, to, calls }), called)
    }
}

/// Both ends of a stream.
pub(super) fn link(width: usize) -> (Link, Link) {
    let ((near_in, far_out), (near_out, far_in)) = (duplex(width), duplex(width));
    let link = |reader, writer| Link {
        reader: Box::new(reader),
        writer: Box::new(writer),
    };
    (link(near_in, near_out), link(far_in, far_out))
}

impl PeerTransport for Pipes {
    fn node(&self) -> NodeId {
        ASKER
    }

    fn dial(&self, peer: NodeId, plane: Plane) -> BoxFuture<'_, Result<Link, DialError>> {
        assert_eq!((peer, plane), (self.to, Plane::Inference));
        let (near, far) = link(self.width);
        let called = self.calls.try_send(far);
        Box::pin(async move {
            match called {
                Ok(()) => Ok(near),
                Err(_) => Err(DialError::NoAddress(peer)),
            }
        })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Incoming>> {
        Box::pin(std::future::pending())
    }

    fn learn(&self, _peer: NodeId, _address: &PeerAddress) {}

    fn address(&self) -> PeerAddress {
        PeerAddress::default()
    }

    fn path(&self, _peer: NodeId) -> Option<PathFacts> {
        None
    }

    fn drop_peer(&self, _peer: NodeId) {}

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What the asker knows of the server.
pub(super) fn view(models: Vec<ModelFacts>) -> PeerView {
    PeerView {
        node: SERVER,
        state: PeerState::Alive,
        reason: None,
        facts: PeerFacts {
            node: SERVER,
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
        models: models.into(),
        incarnation: 1,
        version: "test".into(),
        introduced_by: None,
    }
}

/// The asking end, and what it thinks of the server.
pub(super) struct Asker {
    pub(super) backend: Arc<PeerBackend>,
    pub(super) views: watch::Sender<Arc<Vec<PeerView>>>,
    pub(super) books: Arc<Notebook>,
}

impl Asker {
    /// With a book, or without.
    pub(super) fn new(pipes: Arc<Pipes>, models: Vec<ModelFacts>, keeps_books: bool) -> Self {
        let (views, seen) = watch::channel(Arc::new(vec![view(models)]));
        let books = Arc::new(Notebook::default());
        let accounts: Arc<dyn Accounts> = books.clone();
        let accounts = keeps_books.then_some(accounts);
        let clock = Arc::new(PausableClock::default());
        let backend = PeerBackend::new(SERVER, seen, pipes, accounts, clock);
        Self {
            backend: Arc::new(backend),
            views,
            books,
        }
    }

    /// Changes what is known of the server.
    pub(super) fn learn(&self, change: impl FnOnce(&mut PeerView)) {
        self.views.send_modify(|views| {
            let mut view = views[0].clone();
            change(&mut view);
            *views = Arc::new(vec![view]);
        });
    }

    pub(super) async fn start(&self, request: GenerateRequest) -> EventStream {
        let started = tokio::time::timeout(SOON, self.backend.generate(request)).await;
        started.expect("soon").expect("it is accepted")
    }

    pub(super) async fn refused(&self, request: GenerateRequest) -> BackendError {
        let refused = tokio::time::timeout(SOON, self.backend.generate(request)).await;
        refused.expect("soon").err().expect("it is refused")
    }
}

/// A request for so many tokens.
pub(super) fn request(max_tokens: Option<u32>) -> GenerateRequest {
    GenerateRequest {
        model: MODEL.into(),
        prompt: Prompt::Text("once upon a time".into()),
        params: GenerateParams {
            max_tokens,
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

/// All that a stream says, which has to end soon.
pub(super) async fn collect(events: EventStream) -> Vec<Result<Event, BackendError>> {
    let all = tokio::time::timeout(SOON, events.collect());
    all.await.expect("it ends soon")
}

/// The text of events, of all choices one after the other.
pub(super) fn text_of(events: &[Result<Event, BackendError>]) -> String {
    let texts = events.iter().filter_map(|event| match event {
        Ok(Event::Delta(delta)) => Some(delta.text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// The serving end, behind a real hallway.
pub(super) struct Server {
    pub(super) door: Arc<InferenceDoor>,
    pub(super) hall: Arc<Hallway>,
    pub(super) script: ScriptHandle,
    pub(super) books: Arc<Notebook>,
    pub(super) models: Vec<ModelFacts>,
    pub(super) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(super) receipts: mpsc::Receiver<Receipt>,
    pub(super) tasks: TaskTracker,
}

impl Server {
    pub(super) fn new(context: u32) -> Self {
        let backend = ScriptedBackend::builder("scripted")
            .generator(MODEL, context)
            .embedder(EMBEDDER, 16, 8)
            .build();
        Self::of(backend)
    }

    pub(super) fn of(backend: ScriptedBackend) -> Self {
        let script = backend.handle();
        Self::behind(Arc::new(backend), script)
    }

    /// Of a backend around a scripted one.
    pub(super) fn behind(backend: Arc<dyn Backend>, script: ScriptHandle) -> Self {
        let models = backend.report().models;
        let candidate = |model: &ModelFacts| Candidate {
            backend: backend.id().clone(),
            model: model.clone(),
            unavailable: None,
            place: Place::Here,
            load: Some(Load::default()),
        };
        let candidates = models.iter().map(candidate).collect();
        let snapshot = Snapshot {
            candidates,
            backends: [backend].into_iter().collect(),
            ..Snapshot::default()
        };
        let (snapshot, seen) = watch::channel(Arc::new(snapshot));
        let (outbox, receipts) = mpsc::channel(4_096);
        let clock = Arc::new(PausableClock::default());
        let admission = Admission::new(LIMITS, outbox, clock.clone()).metered(Arc::new(Metered));
        let hall = Hallway::new(admission, seen);
        let hall = Arc::new(hall);
        let books = Arc::new(Notebook::default());
        let door = InferenceDoor::new(Arc::clone(&hall), Some(books.clone()), clock);
        Self {
            door: Arc::new(door),
            hall,
            script,
            books,
            models,
            snapshot,
            receipts,
            tasks: TaskTracker::new(),
        }
    }

    /// Serves one stream, of a node of this tier.
    pub(super) fn take(&self, link: Link, tier: Tier) {
        let door = Arc::clone(&self.door);
        let asker = Principal::peer(ASKER, tier);
        self.tasks
            .spawn(async move { door.serve(asker, link).await });
    }

    /// Takes all streams that come through the pipes.
    pub(super) fn listen(&self, mut calls: mpsc::Receiver<Link>) {
        let (door, tasks) = (Arc::clone(&self.door), self.tasks.clone());
        self.tasks.spawn(async move {
            while let Some(link) = calls.recv().await {
                let (door, asker) = (Arc::clone(&door), Principal::peer(ASKER, Tier::T1));
                tasks.spawn(async move { door.serve(asker, link).await });
            }
        });
    }

    /// Waits until nothing runs, and gives how many receipts there are of our own.
    pub(super) async fn rests(&mut self) -> usize {
        let resting = async {
            while !self.is_idle() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let rests = tokio::time::timeout(SOON, resting).await;
        rests.expect("it comes to rest");
        let mut receipts = 0;
        while self.receipts.try_recv().is_ok() {
            receipts += 1;
        }
        receipts
    }

    pub(super) fn is_idle(&self) -> bool {
        let empty = AdmissionLoad {
            running: 0,
            waiting: 0,
        };
        self.hall.admission().load() == empty && self.script.counts().alive == 0
    }
}

/// Both ends, joined by pipes of this width.
pub(super) fn pair(width: usize, keeps_books: bool) -> (Asker, Server) {
    pair_of(Server::new(CONTEXT), width, keeps_books)
}

pub(super) fn pair_of(server: Server, width: usize, keeps_books: bool) -> (Asker, Server) {
    let (pipes, calls) = Pipes::new(width);
    server.listen(calls);
    let asker = Asker::new(pipes, server.models.clone(), keeps_books);
    (asker, server)
}

/// The far end of a stream, for a test that speaks for itself.
pub(super) struct Raw {
    pub(super) reader: FrameReader<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    pub(super) writer: FrameWriter<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>,
}

impl From<Link> for Raw {
    fn from(link: Link) -> Self {
        Self {
            reader: FrameReader::new(link.reader, crate::FRAME_MAX),
            writer: FrameWriter::new(link.writer),
        }
    }
}

/// Books without signatures: a receipt is what it says, spelled out.
#[derive(Default)]
pub(super) struct Notebook {
    served: Mutex<Vec<Service>>,
    /// Receipts that were signed against.
    pub(super) signed: Mutex<Vec<Vec<u8>>>,
    /// Checkpoints that were made, or signed against.
    pub(super) checkpoints: Mutex<Vec<(Turn, Service)>>,
    /// Checkpoints of which the counter-signature was kept.
    pub(super) checkpoints_signed: Mutex<usize>,
    /// What was seen and not signed.
    pub(super) claims: Mutex<Vec<Service>>,
}

impl Notebook {
    pub(super) fn served(&self) -> Vec<Service> {
        self.served.lock().expect("no holder panics").clone()
    }

    /// What was checkpointed, or signed as a checkpoint.
    pub(super) fn checkpoints(&self) -> Vec<Service> {
        let checkpoints = self.checkpoints.lock().expect("no holder panics");
        checkpoints.iter().map(|(_, said)| said.clone()).collect()
    }

    pub(super) fn claims(&self) -> Vec<Service> {
        self.claims.lock().expect("no holder panics").clone()
    }

    pub(super) fn signed(&self) -> usize {
        self.signed.lock().expect("no holder panics").len()
    }
}

/// What both sides have to agree on.
fn spelled(service: &Service) -> Vec<u8> {
    let service = Service {
        began_ms: 0,
        duration_ms: 0,
        energy_mj: 0,
        energy_method: "none",
        ..service.clone()
    };
    format!("{service:?}").into_bytes()
}

impl Accounts for Notebook {
    fn begin(&self, asker: NodeId) -> u64 {
        assert_eq!(asker, ASKER);
        1 + self.served.lock().expect("no holder panics").len() as u64
    }

    fn checkpoint(&self, _asker: NodeId, turn: Turn, service: Service) -> Vec<u8> {
        let checkpoint = spelled(&service);
        let mut checkpoints = self.checkpoints.lock().expect("no holder panics");
        checkpoints.push((turn, service));
        checkpoint
    }

    fn checkpointed(
        &self,
        _server: NodeId,
        checkpoint: &[u8],
        seen: &Service,
    ) -> Result<Vec<u8>, BadReceipt> {
        if checkpoint != spelled(seen) {
            return Err(BadReceipt(format!("it is not {seen:?}")));
        }
        let turn = Turn {
            stream: 0,
            revision: 0,
        };
        let mut checkpoints = self.checkpoints.lock().expect("no holder panics");
        checkpoints.push((turn, seen.clone()));
        Ok(b"signed".to_vec())
    }

    fn claimed(&self, _server: NodeId, seen: Service) {
        self.claims.lock().expect("no holder panics").push(seen);
    }

    fn served(&self, asker: NodeId, _turn: Turn, service: Service) -> Vec<u8> {
        assert_eq!(asker, ASKER);
        let receipt = spelled(&service);
        self.served.lock().expect("no holder panics").push(service);
        receipt
    }

    fn received(
        &self,
        server: NodeId,
        receipt: &[u8],
        seen: &Service,
    ) -> Result<Vec<u8>, BadReceipt> {
        assert!([SERVER, OTHER].contains(&server));
        let mine = spelled(seen);
        if receipt != mine {
            let (theirs, mine) = (
                String::from_utf8_lossy(receipt),
                String::from_utf8_lossy(&mine),
            );
            return Err(BadReceipt(format!("{theirs} is not {mine}")));
        }
        let mut signed = self.signed.lock().expect("no holder panics");
        signed.push(receipt.to_vec());
        Ok(b"signed".to_vec())
    }

    fn countersigned(
        &self,
        asker: NodeId,
        receipt: &[u8],
        counter: &[u8],
    ) -> Result<(), BadReceipt> {
        assert_eq!((asker, counter), (ASKER, &b"signed"[..]));
        let checkpoints = self.checkpoints.lock().expect("no holder panics");
        if checkpoints.iter().any(|(_, said)| spelled(said) == receipt) {
            let mut signed = self.checkpoints_signed.lock().expect("no holder panics");
            *signed += 1;
            return Ok(());
        }
        let mut signed = self.signed.lock().expect("no holder panics");
        signed.push(receipt.to_vec());
        Ok(())
    }
}

/// What each job of a server takes.
pub(super) const TOOK: Footprint = Footprint {
    energy_uj: 7_654_321,
    method: EnergyMethod::Rapl,
    uncertainty_percent: 15,
    machine_us: 1,
    carbon: None,
};

struct Metered;

impl EnergyMeter for Metered {
    fn open(&self) -> Box<dyn JobEnergy> {
        Box::new(Metered)
    }
}

impl std::fmt::Debug for Metered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metered")
    }
}

impl JobEnergy for Metered {
    fn at(&mut self, _: &Place) {}

    fn close(self: Box<Self>) -> Option<Footprint> {
        Some(TOOK)
    }
}
