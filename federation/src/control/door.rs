//! Takes what other nodes open. A stream of the inference plane is handed on if it is a member's; one of the
//! control plane is a member's or shows an invitation, and is handed to the keeper once it said hello. Everything
//! else is dropped and counted. Nothing here waits for one node while another one knocks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kwaainet_core::{Clock, NodeId, Principal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::gate::{Gate, Visit};
use super::hello::{Lines, PROTOCOLS, hear, refuse};
use super::keeper::{Event, Knock};
use super::noise::Noise;
use super::tasks::Tasks;
use super::tiers::Tiers;
use super::wire::{Reason, Refused};
use crate::{
    Incoming, Introduced, Introduction, Link, Member, MemberBook, PeerAddress, PeerTransport,
    Plane, RedeemError,
};

/// Introductions that a node may show.
const INTRODUCTIONS_MAX: usize = 4;
/// For an invitation to be looked up.
const REDEEM_WITHIN: Duration = Duration::from_secs(3);

/// A stream of the inference plane that a member opened.
pub struct PeerStream {
    /// As whom it asks.
    pub principal: Principal,
    /// Which node it is.
    pub node: NodeId,
    /// The stream.
    pub link: Link,
}

/// What was turned away since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnedAway {
    /// Streams of the control plane: of strangers, too many, or not what they should be.
    pub control: u64,
    /// Streams of the inference plane of nodes that are no members.
    pub strangers: u64,
    /// Streams of the inference plane of members, since too many wait already.
    pub crowded: u64,
}

/// Counts them.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    control: AtomicU64,
    strangers: AtomicU64,
    crowded: AtomicU64,
}

impl Counter {
    pub(crate) fn read(&self) -> TurnedAway {
        TurnedAway {
            control: self.control.load(Ordering::Relaxed),
            strangers: self.strangers.load(Ordering::Relaxed),
            crowded: self.crowded.load(Ordering::Relaxed),
        }
    }
}

/// Complaints about other nodes, for all who complain.
#[derive(Clone, Default)]
pub(crate) struct Complaints(Arc<Mutex<Noise>>);

impl Complaints {
    /// Writes a line about a node, unless there were enough.
    pub(crate) fn tell(&self, node: NodeId, now: Duration, what: &dyn std::fmt::Display) {
        let mut noise = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left_out) = noise.tell(node, now) {
            tracing::warn!(peer = %node.short(), left_out, "federation: {what}");
        }
    }
}

/// The way in.
pub(crate) struct Door {
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) book: Arc<dyn MemberBook>,
    pub(crate) tiers: Tiers,
    pub(crate) inference: mpsc::Sender<PeerStream>,
    pub(crate) events: mpsc::Sender<Event>,
    /// Takes the members' gossip.
    pub(crate) gossip: mpsc::Sender<(NodeId, Link)>,
    pub(crate) counter: Arc<Counter>,
    pub(crate) complaints: Complaints,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gate: Gate,
    pub(crate) tasks: Tasks,
}

impl Door {
    /// Takes streams until the transport is closed.
    pub(crate) async fn keep(self) {
        let door = Arc::new(self);
        while let Some(incoming) = door.transport.accept().await {
            match incoming.plane {
                Plane::Inference => door.hand_on(incoming),
                Plane::Gossip => door.gossip(incoming),
                Plane::Control => door.open(incoming),
            }
        }
    }

    fn gossip(&self, incoming: Incoming) {
        let Incoming { peer, link, .. } = incoming;
        if self.tiers.of(peer).is_none() {
            return self.turn_away(peer, &"a node that is no member gossips; it is not heard");
        }
        if self.gossip.try_send((peer, link)).is_err() {
            self.turn_away(peer, &"more neighbours than are taken; some are dropped");
        }
    }

    fn hand_on(&self, incoming: Incoming) {
        let Incoming { peer, link, .. } = incoming;
        let Some(tier) = self.tiers.of(peer) else {
            self.counter.strangers.fetch_add(1, Ordering::Relaxed);
            let what = "a node that is no member asks for inference; it is not answered";
            return self.complaints.tell(peer, self.clock.monotonic(), &what);
        };
        let stream = PeerStream {
            principal: Principal::peer(peer, tier),
            node: peer,
            link,
        };
        if self.inference.try_send(stream).is_err() {
            self.counter.crowded.fetch_add(1, Ordering::Relaxed);
            let what = "more requests than are taken; some are dropped";
            self.complaints.tell(peer, self.clock.monotonic(), &what);
        }
    }

    fn open(self: &Arc<Self>, incoming: Incoming) {
        let Incoming { peer, link, .. } = incoming;
        let is_member = self.tiers.of(peer).is_some();
        match self.gate.enter(peer, is_member, self.clock.monotonic()) {
            Some(visit) => {
                let door = Arc::clone(self);
                self.tasks
                    .spawn(async move { door.greet(peer, link, visit).await });
            }
            None => self.turn_away(peer, &"it opens too many streams; some are dropped"),
        }
    }

    fn turn_away(&self, node: NodeId, what: &dyn std::fmt::Display) {
        self.counter.control.fetch_add(1, Ordering::Relaxed);
        self.complaints.tell(node, self.clock.monotonic(), what);
    }

    async fn greet(&self, node: NodeId, link: Link, _visit: Visit) {
        let mut lines = Lines::from(link);
        let hello = match hear(&mut lines).await {
            Ok(hello) => hello,
            Err(error) => return self.turn_away(node, &format!("no hello: {error}")),
        };
        let Some(protocol) = hello.protocol() else {
            let (from, to) = (hello.protocol_min, hello.protocol_max);
            let (ours, own) = PROTOCOLS;
            let what = format!("it speaks protocols {from} to {to}, this node {ours} to {own}");
            self.turn_away(node, &what);
            return refuse(lines, Refused::because(Reason::Protocol)).await;
        };
        let introductions = self.introductions(node, &hello.introductions);
        let joined = match self.let_in(node, hello.invitation, &introductions).await {
            Ok(joined) => joined,
            Err((reason, what)) => {
                self.turn_away(node, &what);
                return refuse(lines, Refused::because(reason)).await;
            }
        };
        let (refuses, refused) = oneshot::channel();
        let knock = Event::Knock(Box::new(Knock {
            node,
            protocol,
            card: hello.card.unwrap_or_default(),
            joined,
            introductions,
            lines,
            refuses,
        }));
        // The keeper is gone only when the node is about to be.
        let _ = self.events.send(knock).await;
        if let Ok((lines, refused)) = refused.await {
            refuse(lines, refused).await;
        }
    }

    /// The words about a node that it shows and that a member gave. What they are worth, the keeper knows.
    fn introductions(&self, node: NodeId, shown: &[Vec<u8>]) -> Vec<Introduced> {
        let words = shown.iter().take(INTRODUCTIONS_MAX);
        let words = words.filter_map(|bytes| Introduction::open(bytes).ok());
        words
            .filter(|word| word.node == node && self.tiers.of(word.by).is_some())
            .map(|word| Introduced {
                word,
                address: PeerAddress::default(),
            })
            .collect()
    }

    /// A member passes, a node with a good invitation becomes one, and one with an introduction may.
    async fn let_in(
        &self,
        node: NodeId,
        invitation: Option<Vec<u8>>,
        introductions: &[Introduced],
    ) -> Result<Option<Member>, (Reason, String)> {
        if self.tiers.of(node).is_some() {
            return Ok(None);
        }
        let Some(invitation) = invitation else {
            if !introductions.is_empty() {
                return Ok(None);
            }
            let what = "a node that is neither a member nor invited; it is refused";
            return Err((Reason::Stranger, what.to_owned()));
        };
        let redeemed = timeout(REDEEM_WITHIN, self.book.redeem(invitation, node));
        let redeemed = redeemed.await.unwrap_or(Err(RedeemError::Unavailable));
        redeemed.map(Some).map_err(|error| match error {
            RedeemError::Unavailable => (Reason::Later, error.to_string()),
            _ => (Reason::Invitation, error.to_string()),
        })
    }
}
