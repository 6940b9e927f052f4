//! What the owner may choose about the transport.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use subtle::ConstantTimeEq;

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
    /// What those relays want to see, if they let in others than members.
    pub relay_token: Option<RelayToken>,
    /// Certificates (PEM) that the relays' own may be signed by, besides those that the world trusts.
    pub relay_roots: Option<PathBuf>,
    /// Whether to look for members, and be found, on the local network.
    pub lan: bool,
}

/// Whoever shows it may use a relay. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayToken(String);

impl RelayToken {
    /// Characters at least: it is a secret that anybody may guess at.
    pub const CHARS_MIN: usize = 16;

    /// From its text, which has to be printable and without spaces; `None` if it is not, or too short.
    pub fn new(text: &str) -> Option<Self> {
        let good =
            text.len() >= Self::CHARS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether somebody showed it; how much of it was right cannot be told from the time that this takes.
    pub(crate) fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

impl fmt::Debug for RelayToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayToken")
    }
}
