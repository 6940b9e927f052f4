//! `kwaainet relay`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use kwaainet_core::NodeId;
use kwaainet_iroh::Relay;
use kwaainet_store::Store;

use super::serve::Signals;
use crate::config::{Config, RELAY_PORT};
use crate::identity::key_file;
use crate::node::make_data_dir;
use crate::{VERSION, telemetry, terminal};

/// How often it is looked who is a member.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Each stands for the key of that name in the configuration's section `relay`, and beats it.
#[derive(Debug, Args)]
pub(super) struct RelayArgs {
    /// Where to listen; 0.0.0.0:11437 if nothing is said.
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<SocketAddr>,
    /// A certificate with those that lead to its root (PEM), to speak HTTPS. Read at the start.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A file whose first line lets in whoever shows it. Without it only members are let in, and the nodes given here.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A node that is let in besides the members of this machine's node, by any of its names; may be given several
    /// times.
    #[arg(long = "node", value_name = "NODE")]
    nodes: Vec<String>,
}

impl RelayArgs {
    fn lay_over(self, config: &mut Config) -> anyhow::Result<SocketAddr> {
        let relay = &mut config.relay;
        if let (Some(cert), Some(key)) = (self.tls_cert, self.tls_key) {
            (relay.tls_cert, relay.tls_key) = (cert, key);
        }
        if let Some(file) = self.token_file {
            relay.token_file = file;
        }
        relay.nodes.extend(self.nodes);
        let listen = self
            .bind
            .map_or_else(|| relay.listen(), |bind| Ok(Some(bind)))?;
        let default = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), RELAY_PORT);
        Ok(listen.unwrap_or(default))
    }
}

/// Relays until a signal comes. Needs no node to run; the members are those of the data directory.
pub(super) async fn relay(args: RelayArgs, mut config: Config) -> anyhow::Result<ExitCode> {
    telemetry::start(&config.log)?;
    let mut signals = Signals::listen()?;
    let listen = args.lay_over(&mut config)?;
    let settings = config.relay.settings(listen)?;
    let named: HashSet<_> = config.relay.nodes()?.into_iter().collect();
    make_data_dir(&config.data_dir)?;
    let store = Store::open(&config.database()).await?;
    let own = key_file(&config).facts()?.map(|facts| facts.node);
    let members = Members {
        always: Arc::new(named.iter().copied().chain(own).collect()),
        now: Arc::default(),
    };
    let known = members.read(&store).await?;
    let by_token = settings.token.is_some();
    if known == 0 && named.is_empty() && !by_token {
        bail!(
            "nobody could use this relay: this machine's node has no members; name the nodes with --node, or give \
             a --token-file"
        );
    }
    let let_in = members.clone();
    let relay = Relay::start(settings, Arc::new(move |node| let_in.has(node))).await?;
    let tokens = if by_token {
        ", and whoever has the token"
    } else {
        ""
    };
    terminal::line(format!(
        "KwaaiNet {VERSION} is ready to relay on {}://{} for {known} members, {} nodes by name{tokens}.",
        relay.scheme(),
        relay.address(),
        named.len(),
    ));
    let mut ticks = tokio::time::interval(READ_EVERY);
    loop {
        tokio::select! {
            () = signals.next() => break,
            _ = ticks.tick() => {
                // Those of a moment ago stay if the database is busy.
                if let Err(error) = members.read(&store).await {
                    tracing::warn!(%error, "the members cannot be read");
                }
            }
        }
    }
    relay.close().await;
    store.close().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Who is let in by the key that it has.
#[derive(Clone)]
struct Members {
    always: Arc<HashSet<NodeId>>,
    now: Arc<RwLock<HashSet<NodeId>>>,
}

impl Members {
    fn has(&self, node: NodeId) -> bool {
        let now = self.now.read().expect("no holder panics");
        self.always.contains(&node) || now.contains(&node)
    }

    /// How many there are in the database.
    async fn read(&self, store: &Store) -> anyhow::Result<usize> {
        let members = store.members().await?;
        let members: HashSet<_> = members.into_iter().map(|member| member.node).collect();
        let count = members.len();
        *self.now.write().expect("no holder panics") = members;
        Ok(count)
    }
}
