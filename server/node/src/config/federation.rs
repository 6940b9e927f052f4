//! The section `federation`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The UDP port of a node whose owner named none.
pub(crate) const PORT: u16 = 11436;

/// Other nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Federation {
    /// Whether this node talks to others at all.
    pub enabled: bool,
    /// The UDP port; 0 lets the system choose, which it also does where another program has [`PORT`].
    pub port: u16,
    /// Addresses to listen on, at most one of each family; empty for all of the machine's.
    pub bind: Vec<IpAddr>,
    /// Addresses to tell members besides those that are found, like one that a router forwards.
    pub advertise: Vec<SocketAddr>,
    /// Interfaces whose addresses are told although they look like a container's or a VPN's.
    pub interfaces: Vec<String>,
    /// Relays by their URLs. Without one no relay is ever used.
    pub relays: Vec<String>,
    /// A file whose first line those relays want to see, if they let in others than members; empty for none.
    pub relay_token_file: PathBuf,
    /// Certificates (PEM) that the relays' own may be signed by, besides those that the world trusts; empty for none.
    pub relay_ca: PathBuf,
    /// Whether members look for each other on the local network.
    pub lan: bool,
    /// Whether an interactive request that is nobody's secret may be told to two peers: when the first takes long
    /// to answer, a second one keeps a place for it.
    pub tied: bool,
    /// Whether this node introduces its members to each other, and takes members that they introduce.
    pub introductions: bool,
    /// The file with the passphrase that the node's key is sealed with; empty if it is not, or if
    /// KWAAINET_KEY_PASSPHRASE has it.
    pub passphrase_file: PathBuf,
    /// Where this node stands, like `de` or `eu-west`; empty to say nothing.
    pub region: String,
    /// What it asks, in micro-VDA for each 1,000 tokens; 0 for nothing.
    pub price: u64,
    /// Grams of CO2 equivalent for each kilowatt-hour that it uses, as its owner knows it; 0 to say nothing.
    pub grid_g_per_kwh: f32,
    /// Watts that its work takes, as its owner knows it; 0 to say nothing.
    pub watts: f32,
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            enabled: false,
            port: PORT,
            bind: Vec::new(),
            advertise: Vec::new(),
            interfaces: Vec::new(),
            relays: Vec::new(),
            relay_token_file: PathBuf::new(),
            relay_ca: PathBuf::new(),
            lan: true,
            tied: true,
            introductions: true,
            passphrase_file: PathBuf::new(),
            region: String::new(),
            price: 0,
            grid_g_per_kwh: 0.0,
            watts: 0.0,
        }
    }
}

impl Federation {
    /// Checks what the types cannot say.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let measures = [
            ("federation.grid_g_per_kwh", self.grid_g_per_kwh, 5_000.0),
            ("federation.watts", self.watts, 100_000.0),
        ];
        for (key, value, max) in measures {
            if !(0.0..=max).contains(&value) {
                let reason = format!("{key} must be from 0 to {max}");
                return Err(ConfigError::Value(reason));
            }
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.region.len() > 64 || !self.region.chars().all(is_word) {
            let reason = "federation.region must be letters, digits and '-', at most 64";
            return Err(ConfigError::Value(reason.into()));
        }
        Ok(())
    }
}
