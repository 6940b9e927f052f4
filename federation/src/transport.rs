//! The seam to whatever carries streams between nodes: iroh, or a simulation.

use std::net::SocketAddr;
use std::time::Duration;

use kwaainet_core::{BoxFuture, NodeId};
use tokio::io::{AsyncRead, AsyncWrite};

/// What a stream is for; each is an ALPN of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plane {
    /// Hello, joining, pings, load reports: one long stream for each pair of nodes.
    Control,
    /// One stream for each request.
    Inference,
    /// What members hand on of each other: one long stream for each pair of neighbours.
    Gossip,
}

impl Plane {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Control, Self::Inference, Self::Gossip];

    /// Its ALPN.
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Self::Control => b"kwaai/ctl/1",
            Self::Inference => b"kwaai/infer/1",
            Self::Gossip => b"kwaai/gossip/1",
        }
    }
}

/// A stream in both directions. Dropping the reading half tells the other side to stop writing; dropping
/// the writing half ends what it reads.
pub struct Link {
    /// From the other node.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// To it.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

/// A stream that another node opened. The transport has proved that `peer` holds the key of that id, and
/// nothing more: whether it may do anything is for whoever takes it.
pub struct Incoming {
    /// Who.
    pub peer: NodeId,
    /// For what.
    pub plane: Plane,
    /// The stream.
    pub link: Link,
}

/// Where a node may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerAddress {
    /// Directly.
    pub direct: Vec<SocketAddr>,
    /// Through this relay.
    pub relay: Option<String>,
}

/// How a node is reached now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathFacts {
    /// There and back, as the transport sees it.
    pub rtt: Option<Duration>,
    /// Whether through a relay.
    pub relayed: bool,
}

/// Why no stream came about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Nothing is known of where it is.
    #[error("no address is known of the node {0}")]
    NoAddress(NodeId),
    /// It does not answer.
    #[error("the node {node} cannot be reached: {reason}")]
    Unreachable {
        /// Which.
        node: NodeId,
        /// As the transport says it.
        reason: String,
    },
    /// It did not answer in time.
    #[error("the node {0} did not answer in time")]
    Timeout(NodeId),
    /// This node is closing.
    #[error("this node is shutting down")]
    Closed,
}

/// Carries streams between nodes by their ids.
pub trait PeerTransport: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeId;

    /// Opens a stream. Bounded in time by the transport. The other node sees it with the first byte that is
    /// written.
    fn dial(&self, peer: NodeId, plane: Plane) -> BoxFuture<'_, Result<Link, DialError>>;

    /// The next stream that another node opened; `None` once the transport is closed.
    fn accept(&self) -> BoxFuture<'_, Option<Incoming>>;

    /// Adds to what is known of where a node is.
    fn learn(&self, peer: NodeId, address: &PeerAddress);

    /// Where this node may be reached, for tickets and for hellos.
    fn address(&self) -> PeerAddress;

    /// How a node is reached now, if there is a connection.
    fn path(&self, peer: NodeId) -> Option<PathFacts>;

    /// Breaks all streams with a node off, and its connection.
    fn drop_peer(&self, peer: NodeId);

    /// Breaks everything off and takes nothing more.
    fn close(&self) -> BoxFuture<'_, ()>;
}
