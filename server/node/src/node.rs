//! A running node: it is handed its parts, binds, serves, drains.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kwaainet_audit::AuditOutcome;
use kwaainet_candle::CandleBackend;
use kwaainet_core::{Admission, AdmissionLimits, Backend, Clock, Hallway, Principal};
use kwaainet_identity::{KeyHistory, NodeKey};
use kwaainet_store::{DocumentStore, GroupWriter, Store, StoreError};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{self, Audit, Deed};
use crate::bell::Bells;
use crate::carbon::{self, CarbonDesk};
use crate::config::Config;
use crate::doctor::Network;
use crate::door::{self, App, Background};
use crate::federation::{self, Live, Serving, Setup, Surroundings};
use crate::identity::Desk;
use crate::metrics::Metrics;
use crate::rewards::{self, Paying};
use crate::shelf::Shelf;
use crate::snapshot::Observer;
use crate::storage::Storage;
use crate::vault::Vault;
use crate::{batches, housekeeping, indexing, ledger, privacy, replication, server};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made or written.
    #[error("the data directory {} cannot be used: {source}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another node uses it.
    #[error("another node is running with the data directory {}", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It would be open to strangers.
    #[error(
        "{listen} can be reached from other machines, and there is no valid API key: make one with \
         'kwaainet keys create', or listen on 127.0.0.1"
    )]
    Open {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// The socket cannot be had.
    #[error("cannot listen on {listen}: {source}{}", hint(source))]
    Listen {
        /// Where it was to listen.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (another program, perhaps another node, listens there; choose another with --listen)"
        }
        _ => "",
    }
}

/// What a node is made of.
pub struct Parts {
    /// Its configuration.
    pub config: Config,
    /// Its open database.
    pub store: Store,
    /// Its open file of documents, and who writes to it.
    pub documents: (DocumentStore, GroupWriter),
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// Its backends, in order of preference.
    pub backends: Vec<Arc<dyn Backend>>,
    /// The local engine, if it is one of them.
    pub engine: Option<Arc<CandleBackend>>,
    /// The models of this machine, if it has an engine.
    pub shelf: Option<Arc<Shelf>>,
    /// Its key, unless that is sealed and nobody opened it.
    pub key: Option<NodeKey>,
    /// Which keys it had before.
    pub history: KeyHistory,
    /// Its key and what it tells others, if it takes part in a federation.
    pub federation: Option<Setup>,
    /// Who measures and who is asked of carbon; as the configuration has it, but with nobody to ask, if none.
    pub carbon: Option<carbon::Setup>,
    /// Why it is not ready yet; none once it is.
    pub not_ready: watch::Receiver<Option<String>>,
}

/// The hallway with its background tasks, without a socket.
pub struct Assembled {
    /// What the door needs.
    pub app: Arc<App>,
    /// The door.
    pub router: Router,
    tasks: TaskTracker,
    /// Ends the tasks that would go on for ever; the ledger ends when nobody can send to it.
    over: CancellationToken,
    observer: Arc<Observer>,
    engine: Option<Arc<CandleBackend>>,
    store: Store,
    carbon: Arc<CarbonDesk>,
    /// What the owner chose of energy and carbon, for the audit log.
    chosen: Map<String, Value>,
    federation: Option<Serving>,
}

impl Assembled {
    /// Puts the parts together and starts the ledger and the snapshot.
    pub async fn new(mut parts: Parts) -> Self {
        let carbon = Arc::new(desk(&mut parts));
        let limits = &parts.config.limits;
        let tasks = TaskTracker::new();
        let metrics = Metrics::new(parts.engine.clone());

        let (receipts, inbox) = mpsc::channel(limits.slots + limits.waiting + ledger::BACKLOG);
        tasks.spawn(ledger::run(parts.store.clone(), metrics.clone(), inbox));
        let (documents, group) = parts.documents;
        tasks.spawn(group.run(|error| tracing::error!(%error, "documents cannot be written")));
        let admission = Admission::new(
            AdmissionLimits {
                slots: limits.slots,
                waiting: limits.waiting,
                per_principal: limits.per_key,
                wait_max: limits.wait(),
            },
            receipts,
            Arc::clone(&parts.clock),
        );
        let admission = match carbon.is_on {
            true => admission.metered(Arc::new(carbon.books.clone())),
            false => admission,
        };
        let metering = Arc::clone(&carbon).meter();

        let (peers, theirs) = federation::nobody();
        let here = parts.federation.as_ref().map(Setup::here);
        let here = here.unwrap_or_default();
        let node = here.node;
        let surroundings = carbon.subscribe();
        let observer = Observer::new(parts.backends.clone(), theirs, here, surroundings);
        let observer = Arc::new(observer);
        let live = match parts.federation {
            None => None,
            Some(setup) => {
                let around = Surroundings {
                    store: parts.store.clone(),
                    clock: Arc::clone(&parts.clock),
                    own: observer.subscribe(),
                    backends: peers,
                    bookkeeping: tasks.clone(),
                };
                Live::start(setup, around).await
            }
        };
        let over = CancellationToken::new();
        let watch = Arc::clone(&observer).watch();
        tasks.spawn(over.clone().run_until_cancelled_owned(watch));
        let upkeep = upkeep(metrics.clone());
        tasks.spawn(over.clone().run_until_cancelled_owned(upkeep));
        tasks.spawn(over.clone().run_until_cancelled_owned(metering));

        let (audit, entries) = Audit::new(Arc::clone(&parts.clock));
        tasks.spawn(audit::write(parts.store.clone(), entries));
        let vault = Vault::new(&parts.config.data_dir, parts.config.files.limits());
        let vault = Arc::new(vault);
        let responses = &parts.config.responses;
        let identity = parts.config.identity.clone();
        let (key, clock) = (parts.key.clone(), Arc::clone(&parts.clock));
        let desk = Arc::new(Desk::new(key, parts.history, identity, clock));
        let storage = Storage::new(
            documents,
            &parts.config.data_dir,
            &parts.config.storage,
            parts.key.as_ref(),
        );
        let holders = privacy::holders(&parts.store, &storage, &vault, &desk, &parts.clock);
        let app = Arc::new(App {
            desk,
            hallway: Arc::new(Hallway::new(admission, observer.subscribe())),
            store: parts.store.clone(),
            clock: parts.clock,
            shelf: parts.shelf,
            metrics,
            not_ready: parts.not_ready,
            body_bytes_max: limits.body_bytes,
            body_budget: Semaphore::new(BODIES_AT_ONCE * limits.body_bytes.div_ceil(1 << 10)),
            storage,
            vault,
            audit,
            holders,
            bells: Bells::default(),
            searches: Semaphore::new(SEARCHES_AT_ONCE),
            recordings: Semaphore::new(door::RECORDINGS_AT_ONCE),
            recording_bytes_max: parts.config.audio.file_mib << 20,
            cut: CancellationToken::new(),
            background: Background::new(limits.slots / 2),
            keep: responses.keep(),
            keep_bytes_max: responses.bytes_max(),
            paying: Paying::new(&parts.config, live.as_ref().and(node)),
            key: parts.key,
            node: live.as_ref().and(node),
            peers: live.as_ref().map(Live::peers),
            network: match &live {
                Some(live) => Network::Open {
                    transport: live.transport(),
                    peers: live.peers(),
                },
                None if node.is_some() => Network::Failed,
                None => Network::Off,
            },
            carbon: Arc::clone(&carbon),
        });
        let federation = live.map(|live| live.serve(Arc::clone(&app.hallway)));
        let chosen = carbon::chosen(&parts.config);
        Self {
            chosen,
            router: door::router(Arc::clone(&app)),
            app,
            tasks,
            over,
            observer,
            engine: parts.engine,
            store: parts.store,
            carbon,
            federation,
        }
    }

    /// Throws away what a crash left and begins what a node does by itself: batches, reading files into
    /// vector stores, keeping house. Only for whoever holds the data directory, since two would do
    /// everything twice.
    pub async fn work_alone(&self) {
        housekeeping::after_a_crash(&self.app).await;
        self.tell_settings().await;
        let over = || self.over.clone();
        let keeping = housekeeping::run(Arc::clone(&self.app));
        self.tasks.spawn(over().run_until_cancelled_owned(keeping));
        let indexing = indexing::run(Arc::clone(&self.app));
        self.tasks.spawn(over().run_until_cancelled_owned(indexing));
        let app = &self.app;
        let (clock, key) = (Arc::clone(&app.clock), app.key.clone());
        let stores = (app.store.clone(), app.storage.documents.clone());
        let paying = rewards::run(stores, clock, key, app.paying.clone());
        self.tasks.spawn(over().run_until_cancelled_owned(paying));
        let running = batches::run(Arc::clone(&self.app));
        self.tasks.spawn(over().run_until_cancelled_owned(running));
        let replicating = replication::run(Arc::clone(&self.app));
        self.tasks
            .spawn(over().run_until_cancelled_owned(replicating));
        let telling = replication::tell_replicas(Arc::clone(&self.app));
        self.tasks.spawn(over().run_until_cancelled_owned(telling));
        let listening = Arc::clone(&self.carbon).listen();
        self.tasks
            .spawn(over().run_until_cancelled_owned(listening));
        let reading = Arc::clone(&self.carbon).read_house();
        self.tasks.spawn(over().run_until_cancelled_owned(reading));
    }

    /// Records on what settings receipts and bonuses are computed from now on.
    async fn tell_settings(&self) {
        let deed = Deed {
            action: "carbon.settings.apply",
            outcome: AuditOutcome::Done,
            actor: &Principal::operator(),
            subject: "",
            resource: "",
            details: self.chosen.clone(),
        };
        if let Err(error) = self.app.audit.record(deed).await {
            tracing::error!(%error, "the settings of carbon are not recorded");
        }
    }

    /// Ends the background tasks once every job is over and every receipt is written. Clones of
    /// `app` and `router` must be gone, or this waits for them.
    pub async fn close(self) {
        if let Some(federation) = self.federation {
            federation.stop().await;
        }
        drop((self.app, self.router, self.observer));
        self.over.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.carbon.keep().await;
        if let Some(engine) = self.engine {
            engine.shutdown().await;
        }
        self.store.close().await;
    }
}

/// Who counts energy. A gauge that is asked for and not there is no reason not to start: the node says so, and models.
fn desk(parts: &mut Parts) -> CarbonDesk {
    let chosen = parts
        .carbon
        .take()
        .map_or_else(|| carbon::Setup::without_sources(&parts.config), Ok);
    let setup = chosen.unwrap_or_else(|error| {
        tracing::warn!(%error, "energy is not metered as configured, but by processor time");
        carbon::Setup::modelled(&parts.config)
    });
    CarbonDesk::new(setup, parts.store.clone(), Arc::clone(&parts.clock))
}

/// So many bodies of the largest size are read at once; any number of small ones.
const BODIES_AT_ONCE: usize = 8;
/// Each holds one of the few connections that read the database.
const SEARCHES_AT_ONCE: usize = 2;
/// How often recorded values are folded into the histograms.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

async fn upkeep(metrics: Metrics) {
    let mut ticks = tokio::time::interval(UPKEEP_PERIOD);
    loop {
        ticks.tick().await;
        metrics.upkeep();
    }
}

/// A node that listens.
pub struct Node {
    address: SocketAddr,
    stop: CancellationToken,
    /// How long what is under way may take when the node stops.
    drain: Duration,
    server: tokio::task::JoinHandle<()>,
    assembled: Assembled,
}

impl Node {
    /// Binds the socket and serves.
    ///
    /// # Errors
    /// When it may not or cannot listen there.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let listen = parts.config.listen;
        refuse_open_door(listen, &parts.store, parts.clock.unix_ms()).await?;
        let failed = |source| StartError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let limits = parts.config.limits.clone();
        let assembled = Assembled::new(parts).await;
        assembled.work_alone().await;
        let stop = CancellationToken::new();
        let server = assembled.tasks.spawn(server::serve(
            listener,
            assembled.router.clone(),
            limits.connections,
            server::Ending {
                stop: stop.clone(),
                cut: assembled.app.cut.clone(),
                drain: limits.drain(),
            },
        ));
        Ok(Self {
            address,
            stop,
            drain: limits.drain(),
            server,
            assembled,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the door sees.
    pub fn app(&self) -> &Arc<App> {
        &self.assembled.app
    }

    /// Looks at the backends now rather than at the next regular time.
    pub async fn refresh(&self) {
        self.assembled.observer.refresh().await;
    }

    /// Takes nothing new, lets running jobs finish within the configured time, writes every
    /// receipt, and closes the database.
    pub async fn shutdown(self) {
        self.assembled.app.hallway.admission().drain();
        self.stop.cancel();
        self.assembled.app.storage.closing.cancel();
        let app = &self.assembled.app;
        let background = app.background.drain(self.drain, &app.cut);
        let federation = async {
            if let Some(federation) = &self.assembled.federation {
                federation.drain(self.drain).await;
            }
        };
        let (served, (), ()) = tokio::join!(self.server, background, federation);
        if let Err(error) = served {
            tracing::error!(%error, "the server failed");
        }
        self.assembled.close().await;
    }
}

/// Listening where strangers can come needs a key that is good now.
async fn refuse_open_door(
    listen: SocketAddr,
    store: &Store,
    now_ms: i64,
) -> Result<(), StartError> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    let keys = store.keys().await?;
    if keys.iter().any(|key| key.is_active(now_ms)) {
        Ok(())
    } else {
        Err(StartError::Open { listen })
    }
}

/// Makes the data directory, for its owner only.
///
/// # Errors
/// When it cannot be made or written.
pub fn make_data_dir(path: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::DataDir {
        path: path.to_owned(),
        source,
    };
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(failed)
}

/// Holds a data directory for one node; given back when dropped, or when the process ends.
#[derive(Debug)]
pub struct DataDirLock(#[expect(dead_code, reason = "holding it is its use")] File);

impl DataDirLock {
    /// Takes the directory.
    ///
    /// # Errors
    /// When another node has it, or it cannot be written.
    pub fn take(path: &Path) -> Result<Self, StartError> {
        let failed = |source| StartError::DataDir {
            path: path.to_owned(),
            source,
        };
        let file = File::options()
            .create(true)
            .append(true)
            .open(path.join("node.lock"))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StartError::InUse {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}
