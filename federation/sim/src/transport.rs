//! A node's end of the simulated network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kwaainet_core::{BoxFuture, NodeId};
use kwaainet_federation::{
    DialError, Incoming, Link, PathFacts, PeerAddress, PeerTransport, Plane,
};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::net::{Doorstep, Net, Way};
use crate::pipe::{Pipe, Reader};

/// For a node to answer.
const DIAL_WITHIN: Duration = Duration::from_secs(5);

/// See [`Net::join`].
pub struct SimTransport {
    net: Net,
    node: NodeId,
    run: u64,
    address: PeerAddress,
    doorstep: Arc<Doorstep>,
    known: Mutex<BTreeMap<NodeId, PeerAddress>>,
    closed: CancellationToken,
}

impl SimTransport {
    pub(crate) fn new(
        net: Net,
        node: NodeId,
        run: u64,
        address: PeerAddress,
        doorstep: Arc<Doorstep>,
    ) -> Self {
        Self {
            net,
            node,
            run,
            address,
            doorstep,
            known: Mutex::default(),
            closed: CancellationToken::new(),
        }
    }

    async fn connect(&self, peer: NodeId, plane: Plane) -> Result<Link, DialError> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&peer)
            .cloned();
        let known = known.ok_or(DialError::NoAddress(peer))?;
        let streams = self.net.streams(self.node, peer).acquire_owned().await;
        let permit = streams.map_err(|_| DialError::Closed)?;
        let (to_run, doorstep) = loop {
            let changed = self.net.changed();
            let changed = changed.notified();
            match self.net.reach(self.node, peer) {
                Some((run, address, doorstep)) if address == known => break (run, doorstep),
                _ => changed.await,
            }
        };
        if !self.net.is_connected(self.node, peer) {
            tokio::time::sleep(self.net.round_trip()).await;
        }
        let way = Way {
            from: self.node,
            from_run: self.run,
            to: peer,
            to_run,
        };
        Ok(self.open(way, plane, permit, doorstep))
    }

    fn open(
        &self,
        way: Way,
        plane: Plane,
        permit: OwnedSemaphorePermit,
        doorstep: Arc<Doorstep>,
    ) -> Link {
        let (back, their_writer, our_reader) = Pipe::open(&self.net, way.back(), None);
        let (slot, peer) = (Arc::new(Mutex::new(None)), self.node);
        let theirs = Arc::clone(&slot);
        let first = Box::new(move |at: Instant| {
            let link = theirs.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(link) = link {
                let incoming = Incoming { peer, plane, link };
                let mut waiting = doorstep
                    .waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                waiting.push_back((at, incoming));
                doorstep.came.notify_one();
            }
        });
        let (there, our_writer, their_reader) = Pipe::open(&self.net, way, Some(first));
        self.net.remember(way, [&there, &back]);
        let reader = Counted {
            reader: their_reader,
            _permit: permit,
        };
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Link {
            reader: Box::new(reader),
            writer: Box::new(their_writer),
        });
        Link {
            reader: Box::new(our_reader),
            writer: Box::new(our_writer),
        }
    }

    async fn next(&self) -> Incoming {
        loop {
            let came = self.doorstep.came.notified();
            let changed = self.net.changed();
            let changed = changed.notified();
            let at = {
                let waiting = &self.doorstep.waiting;
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let at = waiting.front().map(|(at, _)| *at);
                let may = self.net.runs(self.node, self.run) && !self.net.is_frozen(self.node);
                if may
                    && at.is_some_and(|at| at <= Instant::now())
                    && let Some((_, incoming)) = waiting.pop_front()
                {
                    return incoming;
                }
                at.filter(|_| may)
            };
            match at {
                Some(at) => tokio::select! {
                    () = sleep_until(at) => {}
                    () = changed => {}
                },
                None => tokio::select! {
                    () = came => {}
                    () = changed => {}
                },
            }
        }
    }
}

/// A reader that is one of so many.
struct Counted {
    reader: Reader,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl PeerTransport for SimTransport {
    fn node(&self) -> NodeId {
        self.node
    }

    fn dial(&self, peer: NodeId, plane: Plane) -> BoxFuture<'_, Result<Link, DialError>> {
        Box::pin(async move {
            let dialed = timeout(DIAL_WITHIN, self.connect(peer, plane));
            tokio::select! {
                biased;
                () = self.closed.cancelled() => Err(DialError::Closed),
                dialed = dialed => dialed.unwrap_or(Err(DialError::Timeout(peer))),
            }
        })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Incoming>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.closed.cancelled() => None,
                incoming = self.next() => Some(incoming),
            }
        })
    }

    fn learn(&self, peer: NodeId, address: &PeerAddress) {
        if *address != PeerAddress::default() {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(peer, address.clone());
        }
    }

    fn address(&self) -> PeerAddress {
        self.address.clone()
    }

    fn path(&self, peer: NodeId) -> Option<PathFacts> {
        self.net.is_connected(self.node, peer).then(|| PathFacts {
            rtt: None,
            relayed: self.net.relayed(),
        })
    }

    fn drop_peer(&self, peer: NodeId) {
        self.net.break_off(self.node, self.run, peer);
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.cancel();
        Box::pin(std::future::ready(()))
    }
}
