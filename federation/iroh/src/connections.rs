//! All that is known of each peer: its addresses, the connections with it, and how the last call went. Never
//! waits.
//!
//! With each peer there are at most six connections: for each plane one that this node dialed and one that
//! the peer dialed. A newer one of a kind takes the place of an older one, which its owner has given up.

mod peer;

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::future::{BoxFuture, Shared};
use iroh::endpoint::Connection;
use kwaainet_core::NodeId;
use kwaainet_federation::{DialError, PathFacts, PeerAddress, Plane};

use self::peer::{Peer, Slot, index};
use crate::address::{ADDRESSES_MAX, is_machine};
use crate::quic::Goodbye;

/// Peers of which something is known at most.
pub(crate) const PEERS_MAX: usize = 1024;
/// Characters of a relay's URL at most.
const URL_MAX: usize = 256;

/// A call on its way, for all who wait for it.
pub(crate) type Call = Shared<BoxFuture<'static, Result<Connection, DialError>>>;

/// What became of a wish for a connection.
pub(crate) enum Dialed {
    /// There is one.
    Open(Connection),
    /// It is being called.
    Calling(Call),
    /// More peers are busy than there may be, or everything is closed.
    Full,
}

#[derive(Default)]
pub(crate) struct Connections(Mutex<Table>);

#[derive(Default)]
struct Table {
    peers: HashMap<NodeId, Peer>,
    /// Counts up with each use of an entry.
    uses: u64,
    closed: bool,
}

/// A peer, for `doctor`.
pub(crate) struct Seen {
    pub(crate) node: NodeId,
    pub(crate) address: PeerAddress,
    pub(crate) path: Option<PathFacts>,
    pub(crate) failure: Option<DialError>,
}

impl Connections {
    /// Adds to a peer's addresses, the newest first.
    pub(crate) fn learn(&self, node: NodeId, address: &PeerAddress) {
        self.with(|table| {
            let Some(peer) = table.peer(node) else { return };
            let good = address.direct.iter().copied().filter(|at| is_machine(*at));
            let mut direct: Vec<_> = good.take(ADDRESSES_MAX).collect();
            for known in &peer.address.direct {
                if direct.len() < ADDRESSES_MAX && !direct.contains(known) {
                    direct.push(*known);
                }
            }
            peer.address.direct = direct;
            if let Some(relay) = &address.relay
                && relay.len() <= URL_MAX
            {
                peer.address.relay = Some(relay.clone());
            }
        });
    }

    /// The open connection that this node dialed, or the call on its way, or a new one that `call` starts: it
    /// is given the call's number and the peer's addresses.
    pub(crate) fn dialed(
        &self,
        node: NodeId,
        plane: Plane,
        call: impl FnOnce(u64, PeerAddress) -> Call,
    ) -> Dialed {
        self.with(|table| {
            let Some(peer) = table.peer(node) else {
                return Dialed::Full;
            };
            let number = peer.used;
            let slot = &mut peer.planes[index(plane)].dialed;
            match slot {
                Slot::Open(connection) if connection.close_reason().is_none() => {
                    Dialed::Open(connection.clone())
                }
                Slot::Calling { call, .. } => Dialed::Calling(call.clone()),
                _ => {
                    let call = call(number, peer.address.clone());
                    *slot = Slot::Calling {
                        number,
                        call: call.clone(),
                    };
                    Dialed::Calling(call)
                }
            }
        })
    }

    /// Keeps what came of a call; false when nobody wants it any more.
    pub(crate) fn called(
        &self,
        node: NodeId,
        plane: Plane,
        number: u64,
        result: &Result<Connection, DialError>,
    ) -> bool {
        self.with(|table| {
            let Some(peer) = table.peers.get_mut(&node) else {
                return false;
            };
            let slot = &mut peer.planes[index(plane)].dialed;
            if !matches!(slot, Slot::Calling { number: current, .. } if *current == number) {
                return false;
            }
            *slot = match result {
                Ok(connection) => Slot::Open(connection.clone()),
                Err(_) => Slot::Empty,
            };
            peer.failure = result.as_ref().err().cloned();
            true
        })
    }

    /// Takes a connection that a peer dialed in the place of an older one of its kind, and gives the others
    /// with this peer; `None` when it is one peer too many.
    pub(crate) fn accepted(
        &self,
        node: NodeId,
        plane: Plane,
        connection: &Connection,
    ) -> Option<Vec<Connection>> {
        self.with(|table| {
            let peer = table.peer(node)?;
            let others = peer.connections().cloned().collect();
            let slot = &mut peer.planes[index(plane)].accepted;
            if let Some(older) = slot.replace(connection.clone()) {
                Goodbye::Replaced.to(&older);
            }
            Some(others)
        })
    }

    /// Forgets a connection that is closed.
    pub(crate) fn forget(&self, node: NodeId, closed: &Connection) {
        let is_it = |connection: &Connection| connection.stable_id() == closed.stable_id();
        self.with(|table| {
            let Some(peer) = table.peers.get_mut(&node) else {
                return;
            };
            for slots in &mut peer.planes {
                slots.accepted.take_if(|connection| is_it(connection));
                if matches!(&slots.dialed, Slot::Open(connection) if is_it(connection)) {
                    slots.dialed = Slot::Empty;
                }
            }
            if peer.is_blank() {
                table.peers.remove(&node);
            }
        });
    }

    /// Breaks everything with a peer off. Its addresses are kept.
    pub(crate) fn drop_peer(&self, node: NodeId) {
        self.with(|table| {
            if let Some(peer) = table.peers.get_mut(&node) {
                peer.break_off(Goodbye::Dropped);
            }
        });
    }

    /// Breaks everything off, for good.
    pub(crate) fn close(&self) {
        self.with(|table| {
            table.closed = true;
            for peer in table.peers.values_mut() {
                peer.break_off(Goodbye::Closing);
            }
        });
    }

    /// How a peer is reached now.
    pub(crate) fn path(&self, node: NodeId) -> Option<PathFacts> {
        self.with(|table| table.peers.get(&node)?.path())
    }

    /// All peers of which something is known, by their ids.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let mut seen: Vec<_> = self.with(|table| {
            let peers = table.peers.iter();
            peers.map(|(node, peer)| peer.seen(*node)).collect()
        });
        seen.sort_by_key(|seen| seen.node);
        seen
    }

    fn with<T>(&self, then: impl FnOnce(&mut Table) -> T) -> T {
        then(&mut self.0.lock().expect("no holder panics"))
    }
}

impl Table {
    /// The entry of a peer, maybe in the place of one that has been idle for longest; none when too many are
    /// busy or everything is closed.
    fn peer(&mut self, node: NodeId) -> Option<&mut Peer> {
        if self.closed {
            return None;
        }
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&node) {
            let idle = self.peers.iter().filter(|(_, peer)| peer.is_idle());
            let (oldest, _) = idle.min_by_key(|(_, peer)| peer.used)?;
            let oldest = *oldest;
            self.peers.remove(&oldest);
        }
        self.uses += 1;
        let peer = self.peers.entry(node).or_default();
        peer.used = self.uses;
        Some(peer)
    }
}

#[cfg(test)]
mod tests;
