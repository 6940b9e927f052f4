//! The federation while the node runs: the transport, the control plane, the peers as backends, and the door for
//! their requests. Whatever goes wrong here, the local API does not notice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Backend, Clock, GridEvidence, GridIntensity, Hallway, Here, NodeId, Snapshot};
use kwaainet_federation::{
    About, Accounts, Federation, FederationParts, InferenceDoor, PeerBackend, PeerState,
    PeerStream, PeerTransport, PeerView, Plane, ReceiptBooks, Reconciler, ReconcilerParts,
    STREAMS_MAX, Tiers,
};
use kwaainet_identity::NodeKey;
use kwaainet_iroh::{Gate, IrohConfig, IrohError, IrohTransport, Relay, RelayConfig, RelayToken};
use kwaainet_store::Store;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{StoreBook, StoreReceipts, open_ledger, publish_address, write_entries};
use crate::config::{self, FEDERATION_PORT};
use crate::snapshot::Peers;

/// Requests of peers that wait to be taken; each is a stream that was opened and not read.
const WAITING_MAX: usize = 256;
/// How often it is looked whether this node's addresses have changed.
const ADDRESS_PERIOD: Duration = Duration::from_secs(5);
/// For a connection that is made before anybody needs it.
const WARM_WITHIN: Duration = Duration::from_secs(5);

/// What the federation is made of, before the node runs.
pub struct Setup {
    /// This node's key.
    pub key: NodeKey,
    /// What the owner chose.
    pub config: config::Federation,
    /// What its relays want to see.
    pub relay_token: Option<RelayToken>,
    /// The relay that it keeps for its members, if it does, and who else is let in.
    pub relay: Option<(RelayConfig, Vec<NodeId>)>,
}

impl Setup {
    /// What this node says of itself.
    pub(crate) fn about(&self) -> About {
        let here = self.here();
        About {
            version: crate::VERSION.to_owned(),
            region: here.region,
            price: (self.config.price > 0).then_some(self.config.price),
            grid: here.grid,
            watts: here.watts,
        }
    }

    /// The same for routing.
    pub(crate) fn here(&self) -> Here {
        let known = |value: f32| (value > 0.0).then_some(value);
        let config = &self.config;
        Here {
            node: Some(self.key.id()),
            region: (!config.region.is_empty()).then(|| config.region.to_lowercase()),
            grid: known(config.grid_g_per_kwh).map(|g_per_kwh| GridIntensity {
                g_per_kwh,
                evidence: GridEvidence::Stated,
            }),
            watts: known(config.watts),
            ties: config.tied,
            withholds: None,
        }
    }

    pub(crate) fn transport(&self) -> IrohConfig {
        let config = &self.config;
        let roots = &config.relay_ca;
        IrohConfig {
            port: config.port,
            bind: config.bind.clone(),
            advertise: config.advertise.clone(),
            interfaces: config.interfaces.clone(),
            relays: config.relays.clone(),
            relay_token: self.relay_token.clone(),
            relay_roots: (!roots.as_os_str().is_empty()).then(|| roots.clone()),
            lan: config.lan,
        }
    }
}

/// What of the node it needs.
pub(crate) struct Surroundings {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) own: watch::Receiver<Arc<Snapshot>>,
    /// Where the peers' backends are told.
    pub(crate) backends: watch::Sender<Vec<Arc<dyn Backend>>>,
    /// Waited for after every snapshot is gone.
    pub(crate) bookkeeping: TaskTracker,
}

/// Listens. A second node of one machine finds the usual port taken, and takes another.
async fn listen(setup: &Setup, gate: Gate) -> Result<IrohTransport, IrohError> {
    let config = setup.transport();
    let any = IrohConfig {
        port: 0,
        ..config.clone()
    };
    match IrohTransport::bind(&setup.key, config, Arc::clone(&gate)).await {
        Err(IrohError::Listen {
            port: FEDERATION_PORT,
            ..
        }) => {
            tracing::info!("UDP port {FEDERATION_PORT} is taken; the federation takes another one");
            IrohTransport::bind(&setup.key, any, gate).await
        }
        bound => bound,
    }
}

/// A running federation.
pub(crate) struct Live {
    federation: Federation,
    iroh: Arc<IrohTransport>,
    transport: Arc<dyn PeerTransport>,
    relay: Option<Relay>,
    accounts: Arc<dyn Accounts>,
    receipts: Arc<ReceiptBooks>,
    clock: Arc<dyn Clock>,
    streams: mpsc::Receiver<PeerStream>,
    drain: CancellationToken,
    /// Ends its own tasks.
    over: CancellationToken,
    tasks: TaskTracker,
}

impl Live {
    /// Listens, and begins to meet the members. `None`, with a line in the log, where that cannot be: the node works
    /// alone then.
    pub(crate) async fn start(setup: Setup, around: Surroundings) -> Option<Self> {
        let node = setup.key.id();
        let tiers = Tiers::default();
        let gate = tiers.clone();
        let gate = Arc::new(move |node| gate.of(node).is_some());
        let iroh = match listen(&setup, gate).await {
            Ok(transport) => Arc::new(transport),
            Err(error) => {
                tracing::error!(%error, "this node works alone");
                return None;
            }
        };
        let transport: Arc<dyn PeerTransport> = Arc::clone(&iroh) as _;
        let Surroundings {
            store,
            clock,
            own,
            backends,
            bookkeeping,
        } = around;
        let about = setup.about();
        let relay = match setup.relay {
            Some((config, nodes)) => relay(config, nodes, node, tiers.clone()).await,
            None => None,
        };
        let book = StoreReceipts::new(node, store.clone(), Arc::clone(&clock));
        let receipts = Arc::new(ReceiptBooks::new(setup.key.clone(), Arc::new(book)));
        let (ledger, entries) = match open_ledger(setup.key.clone(), &store, clock.as_ref()).await {
            Ok(ledger) => ledger,
            Err(error) => {
                tracing::error!(%error, "the books cannot be read; this node works alone");
                return None;
            }
        };
        let accounts: Arc<dyn Accounts> = Arc::new(ledger);
        let (over, tasks) = (CancellationToken::new(), TaskTracker::new());
        // Ends when nobody can write any more, and the last who can are backends in a snapshot.
        bookkeeping.spawn(write_entries(store.clone(), Arc::clone(&clock), entries));
        let (inference, streams) = mpsc::channel(WAITING_MAX);
        let drain = CancellationToken::new();
        let federation = Federation::start(FederationParts {
            transport: Arc::clone(&transport),
            book: Arc::new(StoreBook::new(node, store.clone(), Arc::clone(&clock))),
            about,
            own,
            drain: drain.clone(),
            inference,
            tiers,
            key: setup.key,
            introductions: setup.config.introductions,
            streams_max: STREAMS_MAX,
            clock: Arc::clone(&clock),
        });
        tracing::info!(node = %node, "the federation is open");
        let keeper = Keeper {
            views: federation.peers(),
            transport: Arc::clone(&transport),
            accounts: Arc::clone(&accounts),
            clock: Arc::clone(&clock),
            tasks: tasks.clone(),
        };
        tasks.spawn(
            over.clone()
                .run_until_cancelled_owned(keeper.keep(backends)),
        );
        let reconciler = Reconciler::new(ReconcilerParts {
            books: Arc::clone(&receipts),
            views: federation.peers(),
            transport: Arc::clone(&transport),
        });
        tasks.spawn(over.clone().run_until_cancelled_owned(reconciler.keep()));
        let telling = tell_address(store, Arc::clone(&transport));
        tasks.spawn(over.clone().run_until_cancelled_owned(telling));
        Some(Self {
            federation,
            iroh,
            transport,
            relay,
            accounts,
            receipts,
            clock,
            streams,
            drain,
            over,
            tasks,
        })
    }

    /// What is known of the members.
    pub(crate) fn peers(&self) -> watch::Receiver<Arc<Vec<PeerView>>> {
        self.federation.peers()
    }

    /// The way to them.
    pub(crate) fn transport(&self) -> Arc<IrohTransport> {
        Arc::clone(&self.iroh)
    }

    /// Opens the door for the members' requests.
    pub(crate) fn serve(self, hall: Arc<Hallway>) -> Serving {
        let Self {
            federation,
            transport,
            relay,
            accounts,
            receipts,
            clock,
            mut streams,
            drain,
            over,
            tasks,
            ..
        } = self;
        let cut = CancellationToken::new();
        let requests = TaskTracker::new();
        let door = InferenceDoor::new(hall, Some(accounts), clock).with_receipts(receipts);
        let door = Arc::new(door);
        let taking = {
            let (requests, cut) = (requests.clone(), cut.clone());
            async move {
                while let Some(PeerStream {
                    principal, link, ..
                }) = streams.recv().await
                {
                    let door = Arc::clone(&door);
                    let serving = async move { door.serve(principal, link).await };
                    requests.spawn(cut.clone().run_until_cancelled_owned(serving));
                }
            }
        };
        tasks.spawn(over.clone().run_until_cancelled_owned(taking));
        Serving {
            federation,
            transport,
            relay,
            drain,
            over,
            cut,
            requests,
            tasks,
        }
    }
}

/// Lets the members use this node's relay, and these nodes, and itself. Without one, the rest goes on.
async fn relay(
    config: RelayConfig,
    nodes: Vec<NodeId>,
    own: NodeId,
    members: Tiers,
) -> Option<Relay> {
    let gate = move |node| node == own || nodes.contains(&node) || members.of(node).is_some();
    match Relay::start(config, Arc::new(gate)).await {
        Ok(relay) => {
            tracing::info!(scheme = relay.scheme(), address = %relay.address(), "relaying for members");
            Some(relay)
        }
        Err(error) => {
            tracing::error!(%error, "there is no relay");
            None
        }
    }
}

/// A federation whose members are served.
pub(crate) struct Serving {
    federation: Federation,
    transport: Arc<dyn PeerTransport>,
    relay: Option<Relay>,
    drain: CancellationToken,
    over: CancellationToken,
    /// Cuts the requests off.
    cut: CancellationToken,
    requests: TaskTracker,
    tasks: TaskTracker,
}

impl Serving {
    /// Tells the members that this node takes no more, and lets their requests finish for so long.
    pub(crate) async fn drain(&self, within: Duration) {
        self.drain.cancel();
        self.requests.close();
        if tokio::time::timeout(within, self.requests.wait())
            .await
            .is_err()
        {
            self.cut.cancel();
        }
    }

    /// Says goodbye and ends everything, within some seconds.
    pub(crate) async fn stop(self) {
        self.cut.cancel();
        self.requests.close();
        self.requests.wait().await;
        self.over.cancel();
        self.federation.stop().await;
        self.transport.close().await;
        if let Some(relay) = self.relay {
            relay.close().await;
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Keeps a backend for each member.
struct Keeper {
    views: watch::Receiver<Arc<Vec<PeerView>>>,
    transport: Arc<dyn PeerTransport>,
    accounts: Arc<dyn Accounts>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
}

impl Keeper {
    async fn keep(mut self, publish: watch::Sender<Vec<Arc<dyn Backend>>>) {
        let mut known: HashMap<NodeId, Arc<dyn Backend>> = HashMap::new();
        let mut warm: HashMap<NodeId, u64> = HashMap::new();
        while self.views.changed().await.is_ok() {
            let views = Arc::clone(&self.views.borrow_and_update());
            let is_member =
                |node: &NodeId| views.binary_search_by_key(node, |view| view.node).is_ok();
            known.retain(|node, _| is_member(node));
            for view in views.iter() {
                known
                    .entry(view.node)
                    .or_insert_with(|| Arc::new(self.backend(view.node)));
                if view.state != PeerState::Alive {
                    warm.remove(&view.node);
                } else if warm.insert(view.node, view.incarnation) != Some(view.incarnation) {
                    self.warm(view.node);
                }
            }
            // In the order of the views, which is that of the ids.
            let backends = views.iter().filter_map(|view| known.get(&view.node));
            publish.send_replace(backends.map(Arc::clone).collect());
        }
    }

    fn backend(&self, node: NodeId) -> PeerBackend {
        PeerBackend::new(
            node,
            self.views.clone(),
            Arc::clone(&self.transport),
            Some(Arc::clone(&self.accounts)),
            Arc::clone(&self.clock),
        )
    }

    /// Connects before the first request has to wait for it.
    fn warm(&self, node: NodeId) {
        let transport = Arc::clone(&self.transport);
        self.tasks.spawn(async move {
            let dialed = transport.dial(node, Plane::Inference);
            if let Ok(Ok(link)) = tokio::time::timeout(WARM_WITHIN, dialed).await {
                drop(link);
            }
        });
    }
}

/// Keeps this node's addresses in the database, where tickets are made from them.
async fn tell_address(store: Store, transport: Arc<dyn PeerTransport>) {
    let mut ticks = tokio::time::interval(ADDRESS_PERIOD);
    let mut told = None;
    loop {
        ticks.tick().await;
        let address = transport.address();
        if told.as_ref() == Some(&address) {
            continue;
        }
        match publish_address(&store, &address).await {
            Ok(()) => told = Some(address),
            Err(error) => tracing::warn!(%error, "this node's address cannot be kept"),
        }
    }
}

/// No peers, for a node that works alone.
pub(crate) fn nobody() -> (watch::Sender<Vec<Arc<dyn Backend>>>, Peers) {
    watch::channel(Vec::new())
}
