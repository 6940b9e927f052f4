//! The transport as the federation sees it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use iroh::endpoint::{BindOpts, Builder, NetReportConfig, PortmapperConfig};
use iroh::tls::CaTlsConfig;
use iroh::{Endpoint, RelayConfig, RelayMode, RelayUrl, SecretKey};
use iroh_mdns_address_lookup::MdnsAddressLookup;
use kwaainet_core::{BoxFuture, NodeId};
use kwaainet_federation::{
    DialError, Incoming, Link, PathFacts, PeerAddress, PeerTransport, Plane,
};
use kwaainet_identity::NodeKey;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config::{IrohConfig, RelayToken};
use crate::connections::Connections;
use crate::door::{Complaints, Door};
use crate::interfaces::{Interfaces, Own};
use crate::quic;
use crate::serve::{HANDSHAKES, STRANGERS, WAITING_MAX, Waiting, serve};

/// Whether a node is a member. Asked often, so it answers at once.
pub type Gate = Arc<dyn Fn(NodeId) -> bool + Send + Sync>;

/// The name under which members find each other on the local network.
const LAN_SERVICE: &str = "kwaainet";
/// Until everything is closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(3);

/// Why the transport did not start. One sentence for the owner.
#[derive(Debug, thiserror::Error)]
pub enum IrohError {
    /// A configured relay is none.
    #[error("'{0}' is no URL of a relay, like https://relay.example.org")]
    Relay(String),
    /// The certificates for the relays cannot be used.
    #[error("the relays' certificates in {} cannot be used: {reason}", path.display())]
    Roots {
        /// As configured.
        path: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// Two addresses of one family.
    #[error("one address of each family can be listened on, not both {0} and {1}")]
    Bind(IpAddr, IpAddr),
    /// The sockets could not be had.
    #[error("the federation cannot listen on UDP port {port}: {reason}")]
    Listen {
        /// As configured.
        port: u16,
        /// As the system says it.
        reason: String,
    },
}

/// Streams between nodes over iroh. Dropping it closes everything without a word to others; better is
/// [`close`](PeerTransport::close).
pub struct IrohTransport {
    pub(crate) shared: Arc<Shared>,
    streams: Mutex<mpsc::Receiver<Waiting>>,
    _stop: DropGuard,
}

/// What its tasks share.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) connections: Connections,
    pub(crate) gate: Gate,
    pub(crate) relays: Vec<RelayUrl>,
    pub(crate) handshakes: Arc<Door>,
    pub(crate) strangers: Arc<Door>,
    pub(crate) complaints: Complaints,
    pub(crate) interfaces: Arc<Interfaces>,
    pub(crate) lan: Lan,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// The relays that may be used, and how.
struct Relays<'a> {
    urls: Vec<RelayUrl>,
    token: Option<&'a RelayToken>,
    roots: Option<Vec<CertificateDer<'static>>>,
}

/// Whether members are found on the local network.
pub(crate) enum Lan {
    Off,
    On,
    /// Wanted, and not to be had.
    Broken(String),
}

impl IrohTransport {
    /// Listens. Nothing here waits for the network.
    ///
    /// # Errors
    /// When the configuration is not good or the port is taken.
    pub async fn bind(key: &NodeKey, config: IrohConfig, gate: Gate) -> Result<Self, IrohError> {
        let relays = config.relays.iter().map(|url| {
            let parsed = url.parse::<RelayUrl>();
            parsed.map_err(|_| IrohError::Relay(url.clone()))
        });
        let relays = relays.collect::<Result<Vec<_>, _>>()?;
        let relays = Relays {
            token: config.relay_token.as_ref(),
            roots: config.relay_roots.as_deref().map(roots).transpose()?,
            urls: relays,
        };
        let interfaces = Interfaces::new(config.interfaces, &config.advertise, &config.bind).await;
        let interfaces = Arc::new(interfaces);
        let builder = preset(key, &relays, &config.advertise);
        let endpoint = listen(builder, &config.bind, config.port)?
            .bind()
            .await
            .map_err(|error| IrohError::Listen {
                port: config.port,
                reason: format!("{error:#}"),
            })?;
        let lan = match config.lan {
            true => look_around(&endpoint, &interfaces),
            false => Lan::Off,
        };
        let now = Instant::now();
        let shared = Arc::new(Shared {
            endpoint,
            connections: Connections::default(),
            gate,
            relays: relays.urls,
            handshakes: Door::new(HANDSHAKES, now),
            strangers: Door::new(STRANGERS, now),
            complaints: Complaints::default(),
            interfaces,
            lan,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        let (queue, streams) = mpsc::channel(WAITING_MAX);
        shared.tasks.spawn(serve(Arc::clone(&shared), queue));
        Ok(Self {
            _stop: shared.stop.clone().drop_guard(),
            streams: Mutex::new(streams),
            shared,
        })
    }
}

/// Our own preset: nothing but what is said here. No look-up of addresses anywhere, the owner's relays or none,
/// no port mapping.
fn preset(key: &NodeKey, relays: &Relays<'_>, advertise: &[SocketAddr]) -> Builder {
    let relay_mode = match relays.urls.as_slice() {
        [] => RelayMode::Disabled,
        urls => RelayMode::Custom(urls.iter().map(|url| relay(url, relays.token)).collect()),
    };
    let roots = relays.roots.iter().flatten().cloned();
    // How far the relays are, so that the nearest is chosen; not whether a hotel's network is in between.
    let mut report = NetReportConfig::minimal();
    report.https_probes = true;
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let builder = Builder::empty()
        .crypto_provider(crypto)
        .secret_key(SecretKey::from_bytes(&key.seed()))
        .alpns(Plane::ALL.map(|plane| plane.alpn().to_vec()).into())
        .transport_config(quic::accepted())
        .clear_address_lookup()
        .relay_mode(relay_mode)
        .net_report_config(report)
        .portmapper_config(PortmapperConfig::Disabled)
        .ca_tls_config(CaTlsConfig::embedded().with_extra_roots(roots));
    let external = advertise.iter().copied();
    external.fold(builder, Builder::external_addr)
}

/// A relay without TLS does not say either how this node is seen from outside, which goes over QUIC.
fn relay(url: &RelayUrl, token: Option<&RelayToken>) -> RelayConfig {
    let mut relay = RelayConfig::from(url.clone());
    relay.quic.take_if(|_| url.scheme() != "https");
    match token {
        None => relay,
        Some(token) => relay.with_auth_token(token.reveal()),
    }
}

fn roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, IrohError> {
    let bad = |reason: String| IrohError::Roots {
        path: path.to_owned(),
        reason,
    };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
    let found: Vec<_> = found
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    match found.is_empty() {
        false => Ok(found),
        true => Err(bad("there is none".to_owned())),
    }
}

/// Listens on the configured addresses, or on all; IPv6 only where the machine has it.
fn listen(builder: Builder, bind: &[IpAddr], port: u16) -> Result<Builder, IrohError> {
    for (at, ip) in bind.iter().enumerate() {
        let earlier = &bind[..at];
        if let Some(other) = earlier.iter().find(|it| it.is_ipv4() == ip.is_ipv4()) {
            return Err(IrohError::Bind(*other, *ip));
        }
    }
    let all = ["0.0.0.0", "::"].map(|ip| ip.parse().expect("an address of all zeros"));
    let required = |ip: &IpAddr| !bind.is_empty() || ip.is_ipv4();
    let ips = if bind.is_empty() { &all } else { bind };
    ips.iter()
        .try_fold(builder.clear_ip_transports(), |builder, ip| {
            let options = BindOpts::default().set_is_required(required(ip));
            let address = SocketAddr::new(*ip, port);
            builder.bind_addr_with_opts(address, options)
        })
        .map_err(|error| IrohError::Listen {
            port,
            reason: error.to_string(),
        })
}

/// Finds members on the local network, and tells it the same addresses that members are told.
fn look_around(endpoint: &Endpoint, interfaces: &Arc<Interfaces>) -> Lan {
    let interfaces = Arc::clone(interfaces);
    let filter = iroh::address_lookup::AddrFilter::new(move |addresses| {
        let direct = addresses.iter().filter_map(|address| match address {
            iroh::TransportAddr::Ip(address) => Some(*address),
            _ => None,
        });
        let told = told(interfaces.judge(direct));
        let told = told.into_iter().map(iroh::TransportAddr::Ip);
        std::borrow::Cow::Owned(told.collect())
    });
    let lookup = MdnsAddressLookup::builder()
        .service_name(LAN_SERVICE)
        .addr_filter(filter)
        .build(endpoint.id());
    let added = match lookup {
        Ok(lookup) => endpoint
            .address_lookup()
            .map(|services| services.add(lookup))
            .map_err(|error| format!("{error:#}")),
        Err(error) => Err(format!("{error:#}")),
    };
    match added {
        Ok(()) => Lan::On,
        Err(reason) => {
            tracing::warn!(%reason, "members cannot be found on the local network");
            Lan::Broken(reason)
        }
    }
}

fn told(own: Vec<Own>) -> Vec<SocketAddr> {
    let told = own.into_iter().filter(|own| own.hidden.is_none());
    told.map(|own| own.address).collect()
}

impl Shared {
    /// This node's own addresses, and why others are not told some of them.
    pub(crate) fn own(&self) -> Vec<Own> {
        let found = self.endpoint.addr();
        self.interfaces.judge(found.ip_addrs().copied())
    }

    /// The relay through which this node is reached.
    pub(crate) fn home(&self) -> Option<RelayUrl> {
        let home = self.endpoint.addr().relay_urls().next().cloned();
        home.or_else(|| self.relays.first().cloned())
    }

    async fn close(&self) {
        self.connections.close();
        self.stop.cancel();
        self.tasks.close();
        let all = async {
            self.endpoint.close().await;
            self.tasks.wait().await;
        };
        if tokio::time::timeout(CLOSED_WITHIN, all).await.is_err() {
            tracing::debug!("the transport did not close in time");
        }
    }
}

impl PeerTransport for IrohTransport {
    fn node(&self) -> NodeId {
        NodeId(*self.shared.endpoint.id().as_bytes())
    }

    fn dial(&self, peer: NodeId, plane: Plane) -> BoxFuture<'_, Result<Link, DialError>> {
        self.shared.dial(peer, plane).boxed()
    }

    fn accept(&self) -> BoxFuture<'_, Option<Incoming>> {
        let next = async {
            let mut streams = self.streams.lock().await;
            tokio::select! {
                waiting = streams.recv() => waiting.map(|waiting| waiting.incoming),
                () = self.shared.stop.cancelled() => None,
            }
        };
        next.boxed()
    }

    fn learn(&self, peer: NodeId, address: &PeerAddress) {
        self.shared.connections.learn(peer, address);
    }

    fn address(&self) -> PeerAddress {
        PeerAddress {
            direct: told(self.shared.own()),
            relay: self.shared.home().map(|url| url.to_string()),
        }
    }

    fn path(&self, peer: NodeId) -> Option<PathFacts> {
        self.shared.connections.path(peer)
    }

    fn drop_peer(&self, peer: NodeId) {
        self.shared.connections.drop_peer(peer);
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.close().boxed()
    }
}
