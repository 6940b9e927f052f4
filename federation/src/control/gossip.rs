//! What members hand on of each other, for those that keep no stream with each other: iroh-gossip's protocol
//! (HyParView and Plumtree) over streams of the gossip plane. The protocol itself is a pure state machine; this task
//! gives it streams, timers and judgement: nothing is handed on that its node did not sign or that nobody here may
//! know. It decides nothing about peers; what is new goes to the keeper.

mod check;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod lines;
mod news;
mod origins;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh_gossip::proto::{
    Command, Config, Event as Told, HyparviewConfig, InEvent, OutEvent, PeerData, PlumtreeConfig,
    Scope, State, Timer,
};
use kwaainet_core::{Clock, NodeId};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::door::Complaints;
use super::keeper::Event;
use super::tasks::Tasks;
use super::tiers::Tiers;
use crate::{Link, PeerTransport, Seeded};
use check::{Checked, check};
use lines::{Inbound, Lines};
pub(crate) use news::{NEWS_MAX, News, Statement};
use origins::Origins;

/// The one swarm in which all members are.
const TOPIC: [u8; 32] = *b"kwaai members: who is how, and 1";
/// Bytes of a message of the protocol, overhead included.
pub(crate) const MESSAGE_MAX: usize = NEWS_MAX + 512;
/// With fewer neighbours another one is looked for,
const NEIGHBOURS_MIN: usize = 3;
const JOIN_EVERY: Duration = Duration::from_secs(3);
/// sooner by a node that has none,
const JOIN_ALONE_EVERY: Duration = Duration::from_secs(1);
/// and now and then in any case: a federation that was cut in two grows together again.
const MINGLE_EVERY: Duration = Duration::from_secs(45);
/// For the keeper's last word, and for neighbours to be told that this node leaves.
const FAREWELL: Duration = Duration::from_millis(200);
/// Streams of others, what is to be said, and what was heard, that wait.
pub(crate) const QUEUE_MAX: usize = 64;
const INBOUND_MAX: usize = 1024;
/// Messages that may be announced beyond those that came.
const ANNOUNCED_MAX: u64 = 8_192;

/// How the protocol names a node.
type Id = [u8; 32];

/// What the keeper says.
pub(crate) enum Say {
    /// Any members, through whom to come in.
    Contacts(Vec<NodeId>),
    /// News of this node.
    News(Vec<u8>),
}

/// What the task is made of.
pub(crate) struct Gossip {
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) tiers: Tiers,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) complaints: Complaints,
    pub(crate) tasks: Tasks,
    pub(crate) says: mpsc::Receiver<Say>,
    /// That members opened.
    pub(crate) links: mpsc::Receiver<(NodeId, Link)>,
    pub(crate) news: mpsc::Sender<Event>,
}

impl Gossip {
    /// Gossips until the node leaves.
    pub(crate) async fn run(self) {
        let Self {
            transport,
            tiers,
            clock,
            complaints,
            tasks,
            mut says,
            mut links,
            news,
        } = self;
        let leave: CancellationToken = tasks.leave.clone();
        let (heard, mut inbound) = mpsc::channel(INBOUND_MAX);
        let here = transport.node();
        let (head, _) = here.0.split_at(8);
        let seed = u64::from_be_bytes(head.try_into().expect("eight bytes"));
        let seed = seed ^ clock.unix_ms() as u64;
        let mut swarm = Swarm {
            state: State::new(
                here.0,
                PeerData::default(),
                config(),
                StdRng::seed_from_u64(seed),
            ),
            lines: Lines::new(transport, tasks, heard, Arc::clone(&clock)),
            origins: Origins::new(here),
            timers: BTreeMap::new(),
            timer: 0,
            neighbours: BTreeSet::new(),
            unheard: None,
            contacts: Vec::new(),
            random: Seeded::new(seed),
            joins: None,
            mingles: Instant::now(),
            delivered: 0,
            tiers,
            clock,
            complaints,
            news,
        };
        loop {
            let next = swarm.next_timer();
            tokio::select! {
                biased;
                () = leave.cancelled() => break,
                Some(say) = says.recv() => swarm.says(say),
                Some((node, link)) = links.recv() => swarm.opened(node, link),
                Some(heard) = inbound.recv() => swarm.hears(heard),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    swarm.time_passes();
                }
            }
        }
        // The keeper's last word is its farewell, after which it says nothing more.
        while let Ok(Some(say)) = timeout(FAREWELL, says.recv()).await {
            swarm.says(say);
        }
        swarm.handle(InEvent::Command(TOPIC.into(), Command::Quit), None);
        tokio::time::sleep(FAREWELL).await;
    }
}

/// As the papers have it, but for times: there is no hurry, and few messages are worth more.
fn config() -> Config {
    Config {
        membership: HyparviewConfig {
            shuffle_interval: Duration::from_secs(20),
            neighbor_request_timeout: Duration::from_secs(3),
            ..HyparviewConfig::default()
        },
        broadcast: PlumtreeConfig {
            graft_timeout_1: Duration::from_millis(250),
            graft_timeout_2: Duration::from_millis(150),
            dispatch_timeout: Duration::from_millis(50),
            message_cache_retention: Duration::from_secs(10),
            message_id_retention: Duration::from_secs(60),
            ..PlumtreeConfig::default()
        },
        max_message_size: MESSAGE_MAX,
    }
}

/// To tell all.
fn broadcast(content: Bytes) -> InEvent<Id> {
    let broadcast = Command::Broadcast(content, Scope::Swarm);
    InEvent::Command(TOPIC.into(), broadcast)
}

struct Swarm {
    state: State<Id, StdRng>,
    lines: Lines,
    origins: Origins,
    timers: BTreeMap<(Instant, u64), Timer<Id>>,
    timer: u64,
    neighbours: BTreeSet<NodeId>,
    /// The latest news of this node, if it had no neighbour yet to tell them.
    unheard: Option<Bytes>,
    contacts: Vec<NodeId>,
    random: Seeded,
    /// When another neighbour is looked for; before this node is in the swarm, never.
    joins: Option<Instant>,
    mingles: Instant,
    /// Messages that came.
    delivered: u64,
    tiers: Tiers,
    clock: Arc<dyn Clock>,
    complaints: Complaints,
    news: mpsc::Sender<Event>,
}

impl Swarm {
    fn next_timer(&self) -> Option<Instant> {
        let timer = self.timers.keys().next().map(|(at, _)| *at);
        [timer, self.joins].into_iter().flatten().min()
    }

    fn says(&mut self, say: Say) {
        match say {
            Say::Contacts(contacts) => {
                self.contacts = contacts;
                self.come_in();
            }
            Say::News(content) if self.neighbours.is_empty() => self.unheard = Some(content.into()),
            Say::News(content) => self.handle(broadcast(content.into()), None),
        }
    }

    fn come_in(&mut self) {
        if self.joins.is_none() {
            self.joins = Some(Instant::now());
            self.handle(
                InEvent::Command(TOPIC.into(), Command::Join(Vec::new())),
                None,
            );
        }
    }

    fn opened(&mut self, node: NodeId, link: Link) {
        self.come_in();
        self.lines.accept(node, link);
    }

    fn time_passes(&mut self) {
        let now = Instant::now();
        while let Some(timer) = self
            .timers
            .first_entry()
            .filter(|timer| timer.key().0 <= now)
        {
            let timer = timer.remove();
            self.handle(InEvent::TimerExpired(timer), None);
        }
        if self.joins.is_some_and(|joins| joins <= now) {
            let alone = self.neighbours.is_empty();
            self.joins = Some(now + if alone { JOIN_ALONE_EVERY } else { JOIN_EVERY });
            let lonely = self.neighbours.len() < NEIGHBOURS_MIN;
            if lonely || now >= self.mingles {
                self.mingles = now + MINGLE_EVERY;
                self.join();
            }
        }
    }

    /// Asks somebody, whoever it is, to be taken in.
    fn join(&mut self) {
        let strange = |node: &&NodeId| !self.neighbours.contains(node);
        let strangers: Vec<NodeId> = self.contacts.iter().filter(strange).copied().collect();
        if strangers.is_empty() {
            return;
        }
        let contact = strangers[self.random.below(strangers.len() as u64) as usize];
        let join = Command::Join(vec![contact.0]);
        self.handle(InEvent::Command(TOPIC.into(), join), None);
    }

    fn hears(&mut self, heard: Inbound) {
        match heard {
            Inbound::Message { node, line, bytes } => {
                if self.lines.is_current(node, line) {
                    self.message(node, &bytes);
                }
            }
            Inbound::Ended { node, line, why } => {
                if self.lines.ended(node, line) {
                    if let Some(why) = why {
                        self.complain(node, &why);
                    }
                    self.handle(InEvent::PeerDisconnected(node.0), None);
                }
            }
        }
    }

    fn message(&mut self, node: NodeId, bytes: &[u8]) {
        let news = match self.judge(node, bytes) {
            Ok(Some(news)) => news,
            // It is handed on no further.
            Ok(None) => return,
            Err(why) => {
                self.complain(node, &why);
                return self.hang_up(node);
            }
        };
        match postcard::from_bytes(bytes) {
            Ok(message) => self.handle(InEvent::RecvMessage(node.0, message), news),
            Err(_) => self.hang_up(node),
        }
    }

    /// Whether a message may go into the protocol, and the news that are in it.
    ///
    /// # Errors
    /// Why its sender is none to talk to.
    fn judge(&mut self, node: NodeId, bytes: &[u8]) -> Result<Option<Option<News>>, &'static str> {
        match check(bytes)? {
            Checked::Other => Ok(Some(None)),
            Checked::Announces(count) => {
                let announced = self.lines.announced(node, count);
                match announced <= self.delivered + ANNOUNCED_MAX {
                    true => Ok(Some(None)),
                    false => Err("it announces what never comes"),
                }
            }
            Checked::News(content) => {
                self.delivered += 1;
                let now = self.clock.monotonic();
                let now_ms = u64::try_from(self.clock.unix_ms()).unwrap_or(0);
                let is_member = |node| self.tiers.of(node).is_some();
                Ok(self.origins.judge(content, is_member, now, now_ms))
            }
        }
    }

    /// Lets the protocol have an event, and does what it says, until it says nothing more.
    fn handle(&mut self, event: InEvent<Id>, mut news: Option<News>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = Instant::now();
            let todo: Vec<OutEvent<Id>> = self.state.handle(event, now, None).collect();
            for todo in todo {
                match todo {
                    OutEvent::SendMessage(to, message) => {
                        let sent = postcard::to_stdvec(&message)
                            .is_ok_and(|bytes| self.send(NodeId(to), bytes.into()));
                        if !sent {
                            events.push_back(InEvent::PeerDisconnected(to));
                        }
                    }
                    OutEvent::ScheduleTimer(after, timer) => {
                        self.timer += 1;
                        self.timers.insert((now + after, self.timer), timer);
                    }
                    OutEvent::DisconnectPeer(node) => self.lines.close(NodeId(node)),
                    OutEvent::EmitEvent(_, told) => events.extend(self.told(told, &mut news)),
                    OutEvent::PeerData(..) => {}
                }
            }
        }
    }

    fn send(&mut self, to: NodeId, bytes: Bytes) -> bool {
        self.tiers.of(to).is_some() && self.lines.send(to, bytes)
    }

    /// What the protocol says, and what it has to be told thereupon.
    fn told(&mut self, told: Told<Id>, news: &mut Option<News>) -> Option<InEvent<Id>> {
        match told {
            Told::NeighborUp(node) => {
                self.neighbours.insert(NodeId(node));
                return self.unheard.take().map(broadcast);
            }
            Told::NeighborDown(node) => {
                self.neighbours.remove(&NodeId(node));
            }
            Told::Received(_) => {
                if let Some(news) = news.take() {
                    // Where there is more than can be taken in, the next news of that node will do.
                    let _ = self.news.try_send(Event::News(Box::new(news)));
                }
            }
        }
        None
    }

    fn hang_up(&mut self, node: NodeId) {
        self.lines.cut(node);
        self.handle(InEvent::PeerDisconnected(node.0), None);
    }

    fn complain(&self, node: NodeId, what: &dyn std::fmt::Display) {
        let what = format!("gossip: {what}");
        self.complaints.tell(node, self.clock.monotonic(), &what);
    }
}
