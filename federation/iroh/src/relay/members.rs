//! Who a relay lets in.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;

use iroh::EndpointId;
use iroh_relay::server::{Access, AccessControl, ClientRequest, ConnectionId};
use kwaainet_core::NodeId;

use crate::config::RelayToken;
use crate::transport::Gate;

/// Connections of one node.
const OF_ONE_NODE: usize = 4;

/// Asked whenever somebody connects.
pub(super) struct Members {
    gate: Gate,
    token: Option<RelayToken>,
    connected: Mutex<HashMap<ConnectionId, Client>>,
}

/// One who was let in.
struct Client {
    node: EndpointId,
    /// By the token, whether it is a member or not.
    by_token: bool,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}

impl Members {
    pub(super) fn new(gate: Gate, token: Option<RelayToken>) -> Self {
        Self {
            gate,
            token,
            connected: Mutex::default(),
        }
    }

    fn has(&self, node: EndpointId) -> bool {
        (self.gate)(NodeId(*node.as_bytes()))
    }

    /// Let in as members, and none any more.
    pub(super) fn gone(&self) -> Vec<EndpointId> {
        let connected = self.connected.lock().expect("no holder panics");
        let as_members = connected.values().filter(|client| !client.by_token);
        let mut nodes: Vec<_> = as_members.map(|client| client.node).collect();
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
        let shown = request.auth_token().unwrap_or_default();
        let by_token = self.token.as_ref().is_some_and(|token| token.is(&shown));
        if !by_token && !self.has(node) {
            return deny(match self.token {
                None => "this relay is for members only",
                Some(_) => "this relay is for members and for those who have its token",
            });
        }
        let mut connected = self.connected.lock().expect("no holder panics");
        let have = connected
            .values()
            .filter(|other| other.node == node)
            .count();
        if have >= OF_ONE_NODE {
            return deny("your node is connected often enough");
        }
        connected.insert(request.connection_id(), Client { node, by_token });
        Access::Allow
    }

    fn on_disconnect(&self, _: EndpointId, connection: ConnectionId) {
        let mut connected = self.connected.lock().expect("no holder panics");
        connected.remove(&connection);
    }
}
