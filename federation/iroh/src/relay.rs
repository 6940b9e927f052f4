//! A relay of the owner's own, for members who cannot reach each other. It carries what they encrypted for each
//! other and cannot read it; it lets in nobody but members, proved by their keys.
//!
//! It speaks plain HTTP: what members say is encrypted between them anyway, but whoever listens on the way sees
//! who is connected. Where that matters, a web server in front of it adds TLS.
//!
//! The relay itself listens inside this machine. All connections come through a door of ours, since it does not
//! bound them itself.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iroh::EndpointId;
use iroh_relay::server::{
    Access, AccessControl, ClientRateLimit, ClientRequest, ConnectionId, RelayConfig as Config,
    Server, ServerConfig,
};
use kwaainet_core::NodeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::door::{Complaints, Door, Limits, Source};
use crate::transport::Gate;

/// Connections, whoever they are of.
const CONNECTIONS: Limits = Limits {
    at_once: 512,
    from_one_source: 64,
    in_a_second: 20,
    in_a_burst: 128,
};
/// Of one member.
const OF_ONE_MEMBER: usize = 4;
/// How often it is looked whether those who are connected are still members.
const LOOK: Duration = Duration::from_secs(1);
const CLOSED_WITHIN: Duration = Duration::from_secs(3);

/// What the owner may choose about a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Where it listens, over TCP.
    pub listen: SocketAddr,
    /// What one member may send in a second.
    pub bytes_per_second: NonZeroU32,
}

/// Why the relay did not start. One sentence for the owner.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The port could not be had.
    #[error("the relay cannot listen on {at}: {error}")]
    Listen {
        /// As configured.
        at: SocketAddr,
        /// As the system says it.
        error: std::io::Error,
    },
    /// It could not be set up.
    #[error("the relay cannot start: {0}")]
    Start(String),
}

/// A relay that runs until it is dropped.
pub struct Relay {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Relay {
    /// Listens and lets members in.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start(config: RelayConfig, gate: Gate) -> Result<Self, RelayError> {
        let at = config.listen;
        let listening = async {
            let listener = TcpListener::bind(at).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listening
            .await
            .map_err(|error| RelayError::Listen { at, error })?;
        let members = Arc::new(Members::new(gate));
        let server = serve(config.bytes_per_second, Arc::clone(&members)).await?;
        let inside = server.http_addr().expect("it was told to speak HTTP");
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(take(listener, inside, tasks.clone(), stop.clone()));
        tasks.spawn(look(server, members, stop.clone()));
        Ok(Self {
            address,
            tasks,
            _stop: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections off.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(CLOSED_WITHIN, self.tasks.wait()).await;
    }
}

async fn serve(rate: NonZeroU32, members: Arc<Members>) -> Result<Server, RelayError> {
    let mut relay = Config::new((Ipv4Addr::LOCALHOST, 0));
    relay.access = members;
    relay.limits.client_rx = Some(ClientRateLimit::new(rate));
    let mut config = ServerConfig::default();
    config.relay = Some(relay);
    let server = Server::spawn(config).await;
    server.map_err(|error| RelayError::Start(format!("{error:#}")))
}

/// Leads connections inside, as many as there may be.
async fn take(
    listener: TcpListener,
    inside: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let door = Door::new(CONNECTIONS, Instant::now());
    let complaints = Complaints::default();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((outer, from)) = accepted else {
            // Out of file descriptors, most likely: let some connections end.
            tokio::time::sleep(LOOK).await;
            continue;
        };
        let now = Instant::now();
        let Some(place) = door.enter(Source::at(from.ip()), now) else {
            if let Some(count) = complaints.count(now) {
                tracing::warn!(count, "the relay is full; some connections were refused");
            }
            continue;
        };
        let stop = stop.clone();
        tasks.spawn(async move {
            let _place = place;
            stop.run_until_cancelled(carry(outer, inside)).await
        });
    }
}

async fn carry(mut outer: TcpStream, inside: SocketAddr) -> std::io::Result<()> {
    let mut inner = TcpStream::connect(inside).await?;
    // Small datagrams, wanted at once.
    outer.set_nodelay(true)?;
    inner.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut outer, &mut inner).await?;
    Ok(())
}

/// Breaks off with those who are no members any more.
async fn look(server: Server, members: Arc<Members>, stop: CancellationToken) {
    let service = server.relay_service().expect("it was told to relay");
    while stop
        .run_until_cancelled(tokio::time::sleep(LOOK))
        .await
        .is_some()
    {
        for node in members.gone() {
            service.clients().disconnect(node, None);
        }
    }
    if let Err(error) = server.shutdown().await {
        tracing::debug!(%error, "the relay did not end well");
    }
}

/// Who is let in.
struct Members {
    gate: Gate,
    connected: Mutex<HashMap<ConnectionId, EndpointId>>,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}

impl Members {
    fn new(gate: Gate) -> Self {
        let connected = Mutex::default();
        Self { gate, connected }
    }

    fn has(&self, node: EndpointId) -> bool {
        (self.gate)(NodeId(*node.as_bytes()))
    }

    /// Connected, and not members any more.
    fn gone(&self) -> Vec<EndpointId> {
        let connected = self.connected.lock().expect("no holder panics");
        let mut nodes: Vec<_> = connected.values().copied().collect();
        drop(connected);
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| !self.has(*node));
        nodes
    }
}

impl AccessControl for Members {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let node = request.endpoint_id();
        let deny = |reason: &str| Access::Deny {
            reason: Some(reason.to_owned()),
        };
        if !self.has(node) {
            return deny("this relay is for members only");
        }
        let mut connected = self.connected.lock().expect("no holder panics");
        let have = connected.values().filter(|other| **other == node).count();
        if have >= OF_ONE_MEMBER {
            return deny("your node is connected often enough");
        }
        connected.insert(request.connection_id(), node);
        Access::Allow
    }

    fn on_disconnect(&self, _: EndpointId, connection: ConnectionId) {
        let mut connected = self.connected.lock().expect("no holder panics");
        connected.remove(&connection);
    }
}
