//! Streams that others open: who may dial, how many of them, and how many streams wait.
//!
//! A member's connections are taken as they come, one of each plane. Of others there are only a few, on the
//! control plane and for a short time, with one stream each, to show an invitation.

use std::sync::Arc;
use std::time::Duration;

use iroh::TransportAddr;
use iroh::endpoint::{Connection, Incoming as Attempt};
use kwaainet_core::NodeId;
use kwaainet_federation::{Incoming, Link, PeerAddress, Plane};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::door::{Inside, Limits, Source};
use crate::quic::{self, Goodbye};
use crate::transport::Shared;

/// Handshakes, of which it is not known yet whose they are. Each new key costs some 30 kB for a minute, and
/// after a restart all members call at once.
pub(crate) const HANDSHAKES: Limits = Limits {
    at_once: 64,
    from_one_source: 16,
    in_a_second: 20,
    in_a_burst: 128,
};
/// With more of them on their way, a source has to prove its address first.
const HANDSHAKES_FREELY: usize = 8;
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(4);

/// Connections of nodes that are no members.
pub(crate) const STRANGERS: Limits = Limits {
    at_once: 16,
    from_one_source: 8,
    in_a_second: 8,
    in_a_burst: 8,
};
/// Until one of them has become a member.
const STRANGER_FOR: Duration = Duration::from_secs(10);
const STRANGER_LOOK: Duration = Duration::from_millis(100);

/// Streams that wait to be taken, of all connections and of one.
pub(crate) const WAITING_MAX: usize = 256;
const WAITING_OF_ONE: usize = 4;

/// A connection from which nothing came for so long after its peer called anew is a leftover: both sides speak
/// at least each second.
const SILENCE: Duration = Duration::from_secs(2);

/// A stream that waits to be taken.
pub(crate) struct Waiting {
    pub(crate) incoming: Incoming,
    _turn: OwnedSemaphorePermit,
}

/// Takes connections until the endpoint is closed.
pub(crate) async fn serve(shared: Arc<Shared>, queue: mpsc::Sender<Waiting>) {
    loop {
        let attempt = tokio::select! {
            attempt = shared.endpoint.accept() => attempt,
            () = shared.stop.cancelled() => None,
        };
        let Some(attempt) = attempt else { return };
        if shared.handshakes.inside() >= HANDSHAKES_FREELY && !attempt.remote_addr_validated() {
            // It fails only for one that was asked before, which is none.
            let _ = attempt.retry();
            continue;
        }
        let now = Instant::now();
        let source = Source::of(&attempt.remote_addr());
        let Some(inside) = shared.handshakes.enter(source, now) else {
            if let Some(count) = shared.complaints.count(now) {
                tracing::warn!(count, "too many nodes dial this one; some are not answered");
            }
            // Whoever is in earnest sends its first packet again.
            attempt.ignore();
            continue;
        };
        let (shared, queue) = (Arc::clone(&shared), queue.clone());
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            let stop = shared.stop.clone();
            tokio::select! {
                () = receive(shared, attempt, source, inside, queue) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn receive(
    shared: Arc<Shared>,
    attempt: Attempt,
    source: Source,
    inside: Inside,
    queue: mpsc::Sender<Waiting>,
) {
    let Ok(Ok(connection)) = tokio::time::timeout(HANDSHAKE_WITHIN, attempt).await else {
        return;
    };
    drop(inside);
    let node = NodeId(*connection.remote_id().as_bytes());
    let alpn = connection.alpn();
    let Some(plane) = Plane::ALL.into_iter().find(|plane| plane.alpn() == alpn) else {
        return;
    };
    let stranger = match admit(&shared, node, plane, source) {
        Ok(stranger) => stranger,
        Err(goodbye) => {
            if let Some(count) = shared.complaints.count(Instant::now()) {
                let peer = node.short();
                tracing::warn!(%peer, ?plane, ?goodbye, count, "connections were refused");
            }
            return goodbye.to(&connection);
        }
    };
    if stranger.is_none() {
        // Where it calls from it can be called, whatever it says itself.
        shared.connections.learn(node, &comes_from(&connection));
    }
    let Some(others) = shared.connections.accepted(node, plane, &connection) else {
        return Goodbye::Full.to(&connection);
    };
    tokio::select! {
        () = take(&shared, node, plane, &connection, queue) => {}
        () = welcome(&shared, node, plane, &connection, stranger) => {}
        // One wait in the whole life of a connection, for each of the peer's others.
        () = async { drop_silent(node, others).await; std::future::pending().await } => {}
    }
    shared.connections.forget(node, &connection);
}

fn comes_from(connection: &Connection) -> PeerAddress {
    let paths = connection.paths();
    let direct = paths.iter().filter_map(|path| match path.remote_addr() {
        TransportAddr::Ip(address) => Some(*address),
        _ => None,
    });
    PeerAddress {
        direct: direct.collect(),
        relay: None,
    }
}

/// Whether a connection is taken, and as a stranger's.
fn admit(
    shared: &Shared,
    node: NodeId,
    plane: Plane,
    source: Source,
) -> Result<Option<Inside>, Goodbye> {
    if (shared.gate)(node) {
        return Ok(None);
    }
    if plane != Plane::Control {
        return Err(Goodbye::Stranger);
    }
    let stranger = shared.strangers.enter(source, Instant::now());
    stranger.map(Some).ok_or(Goodbye::Full)
}

/// Lets streams be opened, and ends with a stranger who has not become a member in time.
async fn welcome(
    shared: &Shared,
    node: NodeId,
    plane: Plane,
    connection: &Connection,
    stranger: Option<Inside>,
) {
    if let Some(inside) = stranger {
        quic::open_to_stranger(connection);
        let until = Instant::now() + STRANGER_FOR;
        while !(shared.gate)(node) {
            if Instant::now() >= until {
                return Goodbye::Stranger.to(connection);
            }
            tokio::time::sleep(STRANGER_LOOK).await;
        }
        drop(inside);
    }
    quic::open_to_member(connection, plane);
    std::future::pending().await
}

/// Takes streams until the connection is closed. While one peer's wait, no more of his are taken.
async fn take(
    shared: &Shared,
    node: NodeId,
    plane: Plane,
    connection: &Connection,
    queue: mpsc::Sender<Waiting>,
) {
    let turns = Arc::new(Semaphore::new(WAITING_OF_ONE));
    loop {
        let turn = Arc::clone(&turns).acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        let Ok((writer, reader)) = connection.accept_bi().await else {
            return;
        };
        if plane != Plane::Control && !(shared.gate)(node) {
            return Goodbye::Stranger.to(connection);
        }
        let link = Link {
            reader: Box::new(reader),
            writer: Box::new(writer),
        };
        let incoming = Incoming {
            peer: node,
            plane,
            link,
        };
        let waiting = Waiting {
            incoming,
            _turn: turn,
        };
        if queue.send(waiting).await.is_err() {
            return;
        }
    }
}

/// Closes those connections with a peer from which nothing comes: it calls anew, maybe because it started anew.
async fn drop_silent(node: NodeId, others: Vec<Connection>) {
    let heard = |connection: &Connection| connection.stats().udp_rx.datagrams;
    let before: Vec<_> = others.iter().map(heard).collect();
    tokio::time::sleep(SILENCE).await;
    for (connection, before) in others.iter().zip(before) {
        if heard(connection) == before && connection.close_reason().is_none() {
            tracing::debug!(peer = %node.short(), "a silent connection is closed");
            Goodbye::Silent.to(connection);
        }
    }
}
