//! `kwaainet serve`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use kwaainet_core::{Clock, ModelId, ModelKind, SystemClock};
use kwaainet_http::HttpBackend;
use kwaainet_identity::{KeyFileError, NodeKey};
use kwaainet_store::{DocumentStore, Store};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::carbon;
use crate::config::{Config, Environment};
use crate::federation::Setup;
use crate::identity;
use crate::node::{DataDirLock, Node, Parts, make_data_dir};
use crate::terminal::{self, PullProgress};
use crate::wiring::{self, LocalEngine};
use crate::{VERSION, telemetry};

/// How long readiness waits for the upstreams' lists of models.
const DISCOVERY_MAX: Duration = Duration::from_secs(5);
/// What a shell expects of a program that a second signal ended.
const INTERRUPTED: u8 = 130;

pub(super) async fn serve(config: Config, environment: &Environment) -> anyhow::Result<ExitCode> {
    telemetry::start(&config.log)?;
    let mut signals = Signals::listen()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    make_data_dir(&config.data_dir)?;
    let _lock = DataDirLock::take(&config.data_dir)?;
    let local = LocalEngine::new(&config, environment, Arc::clone(&clock))?;
    let upstreams = wiring::upstreams(&config, environment)?;
    let store = Store::open(&config.database()).await?;
    let documents = DocumentStore::open(&config.documents()).await?;

    let key = own_key(&config, environment)?;
    let history = identity::load_history(&config)?;
    let federation = match key.clone().filter(|_| config.federation.enabled) {
        Some(key) => Some(setup(&config, key)?),
        None => None,
    };
    let carbon = carbon::Setup::of(&config, environment)?;
    let (readiness, not_ready) = watch::channel(Some("models are loading".to_owned()));
    let node = Node::start(Parts {
        config,
        store,
        documents,
        clock: Arc::clone(&clock),
        backends: wiring::in_order(&local.backend, &upstreams),
        engine: Some(Arc::clone(&local.backend)),
        shelf: Some(local.shelf()),
        key,
        history,
        federation,
        carbon: Some(carbon),
        not_ready,
    })
    .await?;
    tracing::info!(version = VERSION, address = %node.address(), "listening");

    // The door is open meanwhile: what is already there answers.
    let outcome = tokio::select! {
        first = prepare(&local, &upstreams, clock.as_ref()) => first.map(Some),
        () = signals.next() => Ok(None),
    };
    let background = TaskTracker::new();
    let discoveries: Vec<_> = upstreams
        .into_iter()
        .map(|upstream| background.spawn(wiring::discover(upstream)))
        .collect();
    let ended = match outcome {
        Ok(Some(first)) => {
            node.refresh().await;
            readiness.send_replace(None);
            let keys_exist = node.app().store.keys_exist().await?;
            terminal::line(greeting(&node, &first, keys_exist));
            signals.next().await;
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };

    tracing::info!("stopping; a second signal ends at once");
    for discovery in discoveries {
        discovery.abort();
    }
    drop(local);
    tokio::select! {
        () = node.shutdown() => {
            ended?;
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        () = signals.next() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// What this node needs to meet others; none where it is to work alone.
pub(super) fn federation(
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<Option<Setup>> {
    if !config.federation.enabled {
        return Ok(None);
    }
    let key = own_key(config, environment)?;
    key.map(|key| setup(config, key)).transpose()
}

fn setup(config: &Config, key: NodeKey) -> anyhow::Result<Setup> {
    let token = &config.federation.relay_token_file;
    let relay_token = match token.as_os_str().is_empty() {
        true => None,
        false => Some(identity::relay_token(token)?),
    };
    let relay = match config.relay.listen()? {
        Some(listen) => Some((config.relay.settings(listen)?, config.relay.nodes()?)),
        None => None,
    };
    Ok(Setup {
        key,
        config: config.federation.clone(),
        relay_token,
        relay,
    })
}

/// This node's key, made now if there is none. A node without its passphrase serves all the same, unless it is to meet
/// others; then it cannot say who it is.
fn own_key(config: &Config, environment: &Environment) -> anyhow::Result<Option<NodeKey>> {
    let chosen = &config.federation;
    let file = &chosen.passphrase_file;
    let file = (!file.as_os_str().is_empty()).then_some(file.as_path());
    let passphrase = identity::passphrase(environment, file)?;
    match identity::key_file(config).load_or_create(passphrase.as_ref()) {
        Err(error @ KeyFileError::Sealed { .. }) if !chosen.enabled => {
            tracing::warn!(%error, "the node signs nothing: no accounts, no credentials, no capabilities");
            Ok(None)
        }
        loaded => Ok(Some(loaded?)),
    }
}

/// Pulls and loads what the owner wants from the start, and asks the upstreams what they have;
/// gives the first model's name.
async fn prepare(
    local: &LocalEngine,
    upstreams: &[Arc<HttpBackend>],
    clock: &dyn Clock,
) -> anyhow::Result<ModelId> {
    let asking = join_all(upstreams.iter().map(|upstream| upstream.refresh()));
    let (_, prepared) = tokio::join!(
        // One that does not answer is asked again later; nobody waits for it.
        tokio::time::timeout(DISCOVERY_MAX, asking),
        prepare_models(local, clock)
    );
    prepared
}

async fn prepare_models(local: &LocalEngine, clock: &dyn Clock) -> anyhow::Result<ModelId> {
    let mut first = None;
    for wanted in &local.wanted {
        let came = clock.monotonic();
        let id = local.prepare(wanted, &PullProgress::default()).await?;
        let seconds = clock.monotonic().saturating_sub(came).as_secs_f64();
        tracing::info!(model = %id, "ready after {seconds:.1} s");
        first.get_or_insert(id);
    }
    first.context("there is no model to serve")
}

/// The lines that a person needs first: where, and one request that works as it stands.
fn greeting(node: &Node, model: &ModelId, keys_exist: bool) -> String {
    let address = reachable(node.address());
    let key = if keys_exist {
        " -H 'Authorization: Bearer YOUR_KEY'"
    } else {
        ""
    };
    let snapshot = node.app().hallway.snapshot();
    let embeds = snapshot
        .candidates
        .iter()
        .any(|c| c.model.id == *model && c.model.kind == ModelKind::Embed);
    let (path, body) = if embeds {
        ("embeddings", r#""input": "Hello""#.to_owned())
    } else {
        let messages = r#""messages": [{"role": "user", "content": "What is the moon?"}]"#;
        (
            "chat/completions",
            format!("{messages}, \"max_tokens\": 64"),
        )
    };
    format!(
        "KwaaiNet {VERSION} is ready on http://{address} (API page: http://{address}/docs/). \
         Try:\n\ncurl http://{address}/v1/{path}{key} -H 'Content-Type: application/json' -d \
         '{{\"model\": \"{model}\", {body}}}'\n"
    )
}

/// An address that a client on this machine can use.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

/// Whatever asks the process to end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
