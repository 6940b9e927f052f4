//! The section `relay`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use kwaainet_core::NodeId;
use kwaainet_identity::node_of_name;
use kwaainet_iroh::{RelayConfig, RelayTls};
use serde::{Deserialize, Serialize};

use super::{ConfigError, path_is_empty};
use crate::identity::relay_token;

/// Where `kwaainet relay` listens if nothing else is said.
pub const RELAY_PORT: u16 = 11437;

/// A relay for members who cannot reach each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// Where `serve` lets one listen (TCP), like `0.0.0.0:11437`; empty for none. `kwaainet relay` has a default.
    pub bind: String,
    /// Its certificate with those that lead to its root (PEM), for HTTPS; empty for plain HTTP.
    pub tls_cert: PathBuf,
    /// The certificate's key (PEM).
    pub tls_key: PathBuf,
    /// A file whose first line lets in whoever shows it, member or not; empty to let in members only.
    pub token_file: PathBuf,
    /// Nodes that are let in besides the members, by any of their names.
    pub nodes: Vec<String>,
    /// Kibibytes that one node may send in a second.
    pub kib_per_second: u32,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            bind: String::new(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            token_file: PathBuf::new(),
            nodes: Vec::new(),
            kib_per_second: 4_096,
        }
    }
}

impl Relay {
    /// Checks what the types cannot say.
    pub(super) fn check(&self, federated: bool) -> Result<(), ConfigError> {
        if self.listen()?.is_some() && !federated {
            let reason = "relay.bind is for a node with federation.enabled; a relay alone is 'kwaainet relay'";
            return Err(ConfigError::Value(reason.into()));
        }
        self.nodes()?;
        if path_is_empty(&self.tls_cert) != path_is_empty(&self.tls_key) {
            let reason = "relay.tls_cert and relay.tls_key belong together";
            return Err(ConfigError::Value(reason.into()));
        }
        if !(1..=1 << 20).contains(&self.kib_per_second) {
            let reason = "relay.kib_per_second must be from 1 to 1048576";
            return Err(ConfigError::Value(reason.into()));
        }
        Ok(())
    }

    /// Where it listens, if it does.
    ///
    /// # Errors
    /// When it is no address.
    pub fn listen(&self) -> Result<Option<SocketAddr>, ConfigError> {
        if self.bind.is_empty() {
            return Ok(None);
        }
        let bad = |_| ConfigError::Value("relay.bind must be ADDRESS:PORT".into());
        self.bind.parse().map(Some).map_err(bad)
    }

    /// Who is let in besides the members.
    ///
    /// # Errors
    /// For the first name that is none.
    pub fn nodes(&self) -> Result<Vec<NodeId>, ConfigError> {
        let named = self.nodes.iter().map(|name| {
            let bad = |error| ConfigError::Value(format!("relay.nodes: {error}"));
            node_of_name(name).map_err(bad)
        });
        named.collect()
    }

    /// All of it, with the files read that hold secrets.
    ///
    /// # Errors
    /// When the token's file holds none.
    pub fn settings(&self, listen: SocketAddr) -> anyhow::Result<RelayConfig> {
        let bytes_per_second = self.kib_per_second.saturating_mul(1 << 10);
        let token = match path_is_empty(&self.token_file) {
            true => None,
            false => Some(relay_token(&self.token_file)?),
        };
        Ok(RelayConfig {
            listen,
            bytes_per_second: NonZeroU32::new(bytes_per_second).unwrap_or(NonZeroU32::MAX),
            tls: (!path_is_empty(&self.tls_cert)).then(|| RelayTls {
                cert: self.tls_cert.clone(),
                key: self.tls_key.clone(),
            }),
            token,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_kept_by_a_federated_node_and_has_whole_settings() {
        let bound = || Relay {
            bind: "0.0.0.0:11437".into(),
            ..Relay::default()
        };
        assert!(Relay::default().check(false).is_ok(), "none is fine");
        assert!(bound().check(true).is_ok());
        let error = bound().check(false).expect_err("it has no members");
        assert!(error.to_string().contains("kwaainet relay"), "{error}");
        let bad: [fn(&mut Relay); 5] = [
            |relay| relay.bind = "11437".into(),
            |relay| relay.tls_cert = "cert.pem".into(),
            |relay| relay.tls_key = "key.pem".into(),
            |relay| relay.nodes = vec!["somebody".into()],
            |relay| relay.kib_per_second = 0,
        ];
        for spoil in bad {
            let mut relay = bound();
            spoil(&mut relay);
            let error = relay.check(true).expect_err("it makes no sense");
            assert!(error.to_string().contains("relay."), "{error}");
        }
    }

    #[test]
    fn its_settings_read_the_token() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").expect("written");
        let listen = ([127, 0, 0, 1], 1).into();
        let plain = Relay::default().settings(listen).expect("they are whole");
        assert!(plain.token.is_none() && plain.tls.is_none());
        assert_eq!(plain.bytes_per_second.get(), 4 << 20);
        let mut relay = Relay {
            token_file: file,
            ..Relay::default()
        };
        assert!(relay.settings(listen).is_ok_and(|it| it.token.is_some()));
        relay.token_file = dir.path().join("missing");
        assert!(relay.settings(listen).is_err());
    }
}
