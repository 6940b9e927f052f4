//! The control plane: who is a member, who of them is there, what each serves and has to do.
//!
//! Streams and their ends come from the [`PeerTransport`], members from the [`MemberBook`]; what is known of
//! the peers leaves as [`PeerView`]s. A node that cannot join, or a peer that misbehaves, delays nothing here:
//! [`Federation::start`] waits for nobody.

mod allowance;
mod backoff;
mod described;
mod detector;
mod door;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod gate;
pub(crate) mod gossip;
mod hearsay;
mod hello;
mod herald;
mod introductions;
mod keeper;
mod membership;
mod noise;
mod peer;
mod progress;
mod refusal;
mod report;
mod session;
mod tasks;
mod tiers;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Clock, NodeId, Snapshot, Tier};
use kwaainet_identity::NodeKey;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

pub use described::About;
pub use door::{PeerStream, TurnedAway};
pub use refusal::Refusal;
pub use tiers::Tiers;

use crate::{MemberBook, PeerTransport, PeerView};
use door::{Complaints, Counter, Door};
use gate::Gate;
use gossip::Gossip;
use keeper::{Event, Keeper, Surroundings};
use tasks::Tasks;
use wire::{Frame, FrameKind, Report};

/// Peers with which a control stream is kept, unless something else is said. Of more members those are left out that
/// come last in the order of their tiers and then of their ids' distance (exclusive or) from this node's; they are
/// known by gossip.
pub const STREAMS_MAX: usize = 64;
/// Between two looks into the book.
const READ_EVERY: Duration = Duration::from_secs(1);
/// For a look.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// For goodbyes.
const STOP_WITHIN: Duration = Duration::from_secs(1);
/// Greetings and calls that wait for the keeper.
const EVENTS_MAX: usize = 256;

/// What a federation is made of.
pub struct FederationParts {
    /// Carries the streams. It is not closed here.
    pub transport: Arc<dyn PeerTransport>,
    /// The members.
    pub book: Arc<dyn MemberBook>,
    /// What this node says of itself.
    pub about: About,
    /// What this node has; only what is computed here is told to others.
    pub own: watch::Receiver<Arc<Snapshot>>,
    /// Cancelled when this node takes no more work.
    pub drain: CancellationToken,
    /// Takes the members' requests. Never waited for.
    pub inference: mpsc::Sender<PeerStream>,
    /// Is told who is a member, so that a gate can know before the federation starts.
    pub tiers: Tiers,
    /// This node's.
    pub key: NodeKey,
    /// Whether it introduces its members to each other, and takes members that they introduce.
    pub introductions: bool,
    /// Peers with which a control stream is kept: [`STREAMS_MAX`], or less.
    pub streams_max: usize,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A running control plane. Ends without a goodbye when it is dropped.
pub struct Federation {
    node: NodeId,
    peers: watch::Receiver<Arc<Vec<PeerView>>>,
    tiers: Tiers,
    counter: Arc<Counter>,
    tasks: Tasks,
}

impl Federation {
    /// Begins to take and to make streams. Has to be called in a tokio runtime.
    pub fn start(parts: FederationParts) -> Self {
        let FederationParts {
            transport,
            book,
            about,
            own,
            drain,
            inference,
            tiers,
            key,
            introductions,
            streams_max,
            clock,
        } = parts;
        let tasks = Tasks::default();
        let node = transport.node();
        let counter = Arc::new(Counter::default());
        let complaints = Complaints::default();
        let (events, happening) = mpsc::channel(EVENTS_MAX);
        let (views, peers) = watch::channel(Arc::default());
        let nothing = Frame::from(FrameKind::Report(Report::default()));
        let (says, reports) = watch::channel(Arc::new(nothing));

        let (tells, told) = mpsc::channel(gossip::QUEUE_MAX);
        let (opens, opened) = mpsc::channel(gossip::QUEUE_MAX);
        let gossip = Gossip {
            transport: Arc::clone(&transport),
            tiers: tiers.clone(),
            clock: Arc::clone(&clock),
            complaints: complaints.clone(),
            tasks: tasks.clone(),
            says: told,
            links: opened,
            news: events.clone(),
        };
        let around = Surroundings {
            transport: Arc::clone(&transport),
            book: Arc::clone(&book),
            about,
            clock: Arc::clone(&clock),
            tiers: tiers.clone(),
            drain,
            reports,
            complaints: complaints.clone(),
            tasks: tasks.clone(),
            events: events.clone(),
            key,
            introductions,
            streams_max: streams_max.clamp(1, STREAMS_MAX),
            gossip: tells,
        };
        let (keeper, hears) = Keeper::new(around, views);
        let door = Door {
            transport,
            book: Arc::clone(&book),
            tiers: tiers.clone(),
            inference,
            events: events.clone(),
            gossip: opens,
            counter: Arc::clone(&counter),
            complaints,
            clock: Arc::clone(&clock),
            gate: Gate::default(),
            tasks: tasks.clone(),
        };
        tasks.spawn(keeper.keep(happening, hears));
        tasks.spawn(gossip.run());
        tasks.spawn_until_leaving(door.keep());
        tasks.spawn_until_leaving(report::keep_reporting(own, says, Arc::clone(&clock)));
        tasks.spawn_until_leaving(keep_reading(book, events, clock));
        Self {
            node,
            peers,
            tiers,
            counter,
            tasks,
        }
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// All members as they are now, in the order of their ids.
    pub fn peers(&self) -> watch::Receiver<Arc<Vec<PeerView>>> {
        self.peers.clone()
    }

    /// How far a member is trusted; `None` for whoever is none.
    pub fn tier_of(&self, node: NodeId) -> Option<Tier> {
        self.tiers.of(node)
    }

    /// What was turned away since the start.
    pub fn turned_away(&self) -> TurnedAway {
        self.counter.read()
    }

    /// Says goodbye to all peers and ends all tasks, within some two seconds.
    pub async fn stop(self) {
        self.tasks.end(STOP_WITHIN).await;
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        self.tasks.cut();
    }
}

/// Reads the book again and again, so that what another process wrote counts soon.
async fn keep_reading(
    book: Arc<dyn MemberBook>,
    events: mpsc::Sender<Event>,
    clock: Arc<dyn Clock>,
) {
    let mut ticks = tokio::time::interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let mut restored = false;
    loop {
        ticks.tick().await;
        let asked = clock.monotonic();
        let reading = async {
            if !restored {
                let kept = book.introductions().await?;
                // Fails only when nobody listens any more.
                restored = events.send(Event::Restored(kept)).await.is_ok();
            }
            Ok::<_, String>((book.members().await?, book.removed().await?))
        };
        let read = timeout(READ_WITHIN, reading).await;
        match read.unwrap_or_else(|_| Err("it took too long".into())) {
            Ok((members, removed)) => {
                failing = false;
                let event = Event::Members {
                    members,
                    removed,
                    asked,
                };
                if events.send(event).await.is_err() {
                    return;
                }
            }
            // Once: it would be said every second.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!("federation: the members cannot be read: {error}");
            }
            Err(_) => {}
        }
    }
}
