//! A relay of the owner's own, for members who cannot reach each other. It carries what they encrypted for each
//! other and cannot read it; it lets in nobody but members, proved by their keys, and those who show its token if it
//! has one.
//!
//! It speaks plain HTTP, or HTTPS if it is given a certificate: what members say is encrypted between them anyway,
//! but whoever listens on the way to a plain one sees who is connected, and the token if there is one.
//!
//! The relay itself listens inside this machine. All connections come through a door of ours, since it does not
//! bound them itself.

mod members;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use iroh_relay::server::{
    CertConfig, ClientRateLimit, RelayConfig as Config, Server, ServerConfig, TlsConfig,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::members::Members;
use crate::config::RelayToken;
use crate::door::{Complaints, Door, Limits, Source};
use crate::transport::Gate;

/// Connections, whoever they are of.
const CONNECTIONS: Limits = Limits {
    at_once: RelayConfig::CONNECTIONS,
    from_one_source: 64,
    in_a_second: 20,
    in_a_burst: 128,
};
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
    /// With which it speaks HTTPS; plain HTTP without.
    pub tls: Option<RelayTls>,
    /// Whoever shows it is let in, member or not.
    pub token: Option<RelayToken>,
}

impl RelayConfig {
    /// Connections at once.
    pub const CONNECTIONS: usize = 512;
}

/// Files (PEM) that are read at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayTls {
    /// The relay's certificate and those that lead to its root.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
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
    /// Its certificate or key is no good.
    #[error("the relay cannot use {}: {reason}", path.display())]
    Tls {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It could not be set up.
    #[error("the relay cannot start: {0}")]
    Start(String),
}

/// A relay that runs until it is dropped.
pub struct Relay {
    address: SocketAddr,
    is_https: bool,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Relay {
    /// Listens and lets members in.
    ///
    /// # Errors
    /// When the address cannot be had, or the certificate cannot be used.
    pub async fn start(config: RelayConfig, gate: Gate) -> Result<Self, RelayError> {
        let tls = config.tls.as_ref().map(read).transpose()?;
        let (at, is_https) = (config.listen, tls.is_some());
        let listening = async {
            let listener = TcpListener::bind(at).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listening
            .await
            .map_err(|error| RelayError::Listen { at, error })?;
        let members = Arc::new(Members::new(gate, config.token));
        let server = serve(config.bytes_per_second, tls, Arc::clone(&members)).await?;
        let inside = server.https_addr().or(server.http_addr());
        let inside = inside.expect("it was told to speak one of them");
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(take(listener, inside, tasks.clone(), stop.clone()));
        tasks.spawn(look(server, members, stop.clone()));
        Ok(Self {
            address,
            is_https,
            tasks,
            _stop: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        match self.is_https {
            true => "https",
            false => "http",
        }
    }

    /// Breaks all connections off.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(CLOSED_WITHIN, self.tasks.wait()).await;
    }
}

/// The files, as one thing that TLS can be spoken with.
fn read(files: &RelayTls) -> Result<rustls::ServerConfig, RelayError> {
    let bad = |path: &Path, reason: String| RelayError::Tls {
        path: path.to_owned(),
        reason,
    };
    let (cert, key) = (&files.cert, &files.key);
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| bad(cert, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string()))?;
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .expect("the provider has the versions of TLS that are spoken today")
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| bad(cert, error.to_string()))
}

async fn serve(
    rate: NonZeroU32,
    tls: Option<rustls::ServerConfig>,
    members: Arc<Members>,
) -> Result<Server, RelayError> {
    let inside = (Ipv4Addr::LOCALHOST, 0);
    let mut relay = Config::new(inside);
    relay.access = members;
    relay.tls =
        tls.map(|server_config| TlsConfig::new(inside, CertConfig::Manual { server_config }));
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
