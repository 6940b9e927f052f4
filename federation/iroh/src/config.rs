//! What the owner may choose about the transport.

use std::net::{IpAddr, SocketAddr};

/// How this node is reached and how it reaches others. The default listens everywhere, on a port that the
/// system chooses, and asks nobody for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IrohConfig {
    /// The UDP port; 0 lets the system choose.
    pub port: u16,
    /// Addresses to listen on, at most one of each family. None: all of the machine's.
    pub bind: Vec<IpAddr>,
    /// Addresses to tell others besides those that are found, like one that a router forwards.
    pub advertise: Vec<SocketAddr>,
    /// Interfaces whose addresses are told to others although they look like a container's or a VPN's.
    pub interfaces: Vec<String>,
    /// The owner's relays, by their URLs. None: no relay is ever used.
    pub relays: Vec<String>,
    /// Whether to look for members, and be found, on the local network.
    pub lan: bool,
}
