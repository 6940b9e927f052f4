//! One peer of the table, and its connections.

use iroh::endpoint::Connection;
use kwaainet_core::NodeId;
use kwaainet_federation::{DialError, PathFacts, PeerAddress, Plane};

use super::{Call, Seen};
use crate::quic::Goodbye;

#[derive(Default)]
pub(super) struct Peer {
    /// The last use of the entry.
    pub(super) used: u64,
    pub(super) address: PeerAddress,
    pub(super) planes: [Slots; Plane::ALL.len()],
    pub(super) failure: Option<DialError>,
}

#[derive(Default)]
pub(super) struct Slots {
    pub(super) dialed: Slot,
    pub(super) accepted: Option<Connection>,
}

#[derive(Default)]
pub(super) enum Slot {
    #[default]
    Empty,
    Calling {
        number: u64,
        call: Call,
    },
    Open(Connection),
}

impl Peer {
    /// All open connections; those of the control plane, which are always in use, first.
    pub(super) fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.planes
            .iter()
            .flat_map(Slots::connections)
            .filter(|connection| connection.close_reason().is_none())
    }

    pub(super) fn path(&self) -> Option<PathFacts> {
        let connection = self.connections().next()?;
        let paths = connection.paths();
        let now = paths.iter().find(|path| path.is_selected());
        let now = now.or_else(|| paths.iter().next());
        Some(PathFacts {
            rtt: now.as_ref().map(|path| path.rtt()),
            relayed: now.is_some_and(|path| path.is_relay()),
        })
    }

    pub(super) fn seen(&self, node: NodeId) -> Seen {
        Seen {
            node,
            address: self.address.clone(),
            path: self.path(),
            failure: self.failure.clone(),
        }
    }

    pub(super) fn break_off(&mut self, goodbye: Goodbye) {
        for connection in self.connections() {
            goodbye.to(connection);
        }
        self.planes = Default::default();
    }

    /// Whether nothing is known of it.
    pub(super) fn is_blank(&self) -> bool {
        self.address == PeerAddress::default() && self.is_idle()
    }

    /// Whether it is neither connected nor being called.
    pub(super) fn is_idle(&self) -> bool {
        self.connections().next().is_none() && !self.planes.iter().any(Slots::is_calling)
    }
}

impl Slots {
    fn connections(&self) -> impl Iterator<Item = &Connection> {
        let dialed = match &self.dialed {
            Slot::Open(connection) => Some(connection),
            _ => None,
        };
        dialed.into_iter().chain(&self.accepted)
    }

    fn is_calling(&self) -> bool {
        matches!(self.dialed, Slot::Calling { .. })
    }
}

/// Where a plane stands in a table.
pub(super) fn index(plane: Plane) -> usize {
    match plane {
        Plane::Control => 0,
        Plane::Inference => 1,
        Plane::Gossip => 2,
    }
}
