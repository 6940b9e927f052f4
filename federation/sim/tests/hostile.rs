//! Nodes that mean no good, or are broken: nobody else notices them, they take no memory, and the log says so
//! once.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwaainet_core::NodeId;
use kwaainet_federation::{Link, PeerState, PeerTransport, Plane, Seeded};
use kwaainet_sim::{Net, SimTransport, Weather, World, node_id, run};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::subscriber::DefaultGuard;

const HOSTILE: usize = 99;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a node says first, as another program might write it down.
#[derive(Clone, PartialEq, Message)]
struct Hello {
    #[prost(uint32, tag = "1")]
    protocol_min: u32,
    #[prost(uint32, tag = "2")]
    protocol_max: u32,
    #[prost(message, optional, tag = "3")]
    card: Option<Card>,
    #[prost(bytes = "vec", optional, tag = "4")]
    invitation: Option<Vec<u8>>,
    #[prost(string, tag = "1000")]
    of_a_later_version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Card {
    #[prost(uint64, tag = "1")]
    incarnation: u64,
    #[prost(string, repeated, tag = "3")]
    capabilities: Vec<String>,
}

fn hello(protocols: (u32, u32), incarnation: u64, invitation: Option<&[u8]>) -> Vec<u8> {
    let hello = Hello {
        protocol_min: protocols.0,
        protocol_max: protocols.1,
        card: Some(Card {
            incarnation,
            capabilities: vec!["inference/1".into()],
        }),
        invitation: invitation.map(<[u8]>::to_vec),
        of_a_later_version: "is ignored".into(),
    };
    framed(&hello.encode_to_vec())
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    [&length, message].concat()
}

/// A field of bytes, as protobuf writes it.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut out).expect("a vector takes all");
    out.extend(bytes);
    out
}

/// What was written to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen(&self) -> DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("no writer panics").clone();
        let text = String::from_utf8(bytes).expect("the log is text");
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Three good nodes, and a transport of one that is not.
struct Siege {
    world: World,
    transport: Arc<SimTransport>,
    victim: NodeId,
    streams: usize,
    log: Log,
    _listens: DefaultGuard,
}

impl Siege {
    async fn begin(seed: u64, member: bool) -> Self {
        let log = Log::default();
        let listens = log.listen();
        let mut world = World::of(3, seed, Weather::LAN);
        let (victim, hostile) = (node_id(0), node_id(HOSTILE));
        if member {
            world.acquaint(victim, hostile);
        }
        let known = |world: &World| {
            [0, 1, 2]
                .map(node_id)
                .iter()
                .all(|node| world.all_route_to(*node, true))
        };
        world
            .until("the good know each other", ms(3000), known)
            .await;
        // Of two streams that both dialed, one is closed after a while.
        tokio::time::sleep(ms(2000)).await;
        let transport = world.net.join(hostile);
        transport.learn(victim, &Net::address_of(victim));
        let streams = 3;
        Self {
            world,
            transport,
            victim,
            streams,
            log,
            _listens: listens,
        }
    }

    async fn open(&self) -> Link {
        let dialed = self.transport.dial(self.victim, Plane::Control).await;
        dialed.expect("the transport takes it")
    }

    /// Writes this, and waits until the other side ends the stream; returns what it said.
    async fn say(&self, bytes: &[u8]) -> Vec<u8> {
        let mut link = self.open().await;
        // It may be cut off in the middle.
        let _ = link.writer.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = link.reader.read_to_end(&mut answer).await;
        answer
    }

    /// The good are as they were, and nothing is left of the other.
    async fn held(mut self, lines: std::ops::RangeInclusive<usize>) {
        for node in [0, 1, 2].map(node_id) {
            let others = [0, 1, 2].map(node_id).into_iter().filter(|by| *by != node);
            for by in others {
                let view = self.world.view(node, by).expect("a view");
                assert_eq!(view.state, PeerState::Alive, "{node:?} seen by {by:?}");
            }
        }
        // A member would be called again and again.
        self.world.book(self.victim).remove(node_id(HOSTILE));
        self.transport.close().await;
        tokio::time::sleep(ms(6000)).await;
        assert_eq!(self.world.net.open_streams(), self.streams);
        let told = self.log.lines();
        assert!(
            lines.contains(&told.len()),
            "{} lines: {told:#?}",
            told.len()
        );
    }
}

#[test]
fn no_hello_gets_nowhere() {
    let seed = 1;
    run(seed, async |seed| {
        let siege = Siege::begin(seed, false).await;
        let mut random = Seeded::new(seed);
        let good = hello((1, 1), 7, None);
        let oversized = [&(9_000_u32).to_be_bytes()[..], &[0; 9_000]].concat();
        let huge = [&u32::MAX.to_be_bytes()[..], &[0; 100]].concat();
        let mut attempts = vec![oversized, huge, vec![0; 100_000]];
        for cut in 1..good.len() {
            attempts.push(good[..cut].to_vec());
        }
        for _ in 0..200 {
            let garbage = (0..1 + random.below(200))
                .map(|_| random.draw() as u8)
                .collect();
            attempts.push(garbage);
        }
        let count = attempts.len();
        for attempt in attempts {
            let began = tokio::time::Instant::now();
            let answer = siege.say(&attempt).await;
            assert!(answer.len() < 100, "it learns nothing: {answer:?}");
            assert!(began.elapsed() < ms(3100), "{:?}", began.elapsed());
            tokio::time::sleep(ms(40)).await;
        }
        let victim = siege.world.view(node_id(HOSTILE), siege.victim);
        assert_eq!(victim, None);
        assert!(count > 200);
        siege.held(1..=30).await;
    });
}

#[test]
fn a_slow_hello_is_not_waited_for() {
    run(2, async |seed| {
        let siege = Siege::begin(seed, true).await;
        let mut link = siege.open().await;
        let began = tokio::time::Instant::now();
        for byte in hello((1, 1), 7, None) {
            if link.writer.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(ms(300)).await;
        }
        let mut answer = Vec::new();
        let _ = link.reader.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
        assert!(began.elapsed() < ms(2700), "{:?}", began.elapsed());
        drop(link);
        siege.held(1..=3).await;
    });
}

fn opens_are_a_few_greetings(count: u64) {
    for member in [false, true] {
        run(3, async move |seed| {
            let mut siege = Siege::begin(seed, member).await;
            let mut kept = Vec::new();
            for n in 0..count {
                let mut link = siege.open().await;
                let bytes = hello((1, 1), 7, Some(b"guess"));
                // Half of them say nothing whole.
                let bytes = if n % 2 == 0 { &bytes[..5] } else { &bytes[..] };
                let _ = link.writer.write_all(bytes).await;
                kept.push(link);
                if kept.len() == 100 {
                    kept.remove(0);
                }
                if n % 100 == 0 {
                    tokio::time::sleep(ms(1)).await;
                }
            }
            drop(kept);
            let away = siege.world.node(siege.victim).federation.turned_away();
            assert!(away.control > count * 4 / 5, "{away:?}");
            siege.held(1..=3).await;
        });
    }
}

#[test]
fn thousands_of_opens_are_a_few_greetings() {
    opens_are_a_few_greetings(5_000);
}

#[test]
#[ignore = "takes a minute; run by `cargo test -p kwaainet-sim --test hostile -- --ignored`"]
fn a_million_opens_are_a_few_greetings() {
    opens_are_a_few_greetings(1_000_000);
}

#[test]
fn another_protocol_is_told_which_is_spoken_here() {
    run(4, async |seed| {
        let siege = Siege::begin(seed, true).await;
        for protocols in [(2, 9), (0, 0), (9, 1), (u32::MAX, u32::MAX)] {
            let answer = siege.say(&hello(protocols, 7, None)).await;
            // An answer with field 2, a refusal, whose field 1, the reason, is 3.
            assert_eq!(answer, framed(&field(2, &[8, 3])), "{protocols:?}");
        }
        let lines = siege.log.lines();
        let line = lines.iter().find(|line| line.contains("protocols"));
        let line = line.expect("a line about it");
        assert!(
            line.contains("it speaks protocols 2 to 9, this node 1 to 1"),
            "{line}"
        );
        siege.held(1..=3).await;
    });
}

#[test]
fn a_replayed_hello_takes_the_place_of_the_first() {
    run(5, async |seed| {
        let siege = Siege::begin(seed, true).await;
        let (mut last, mut welcomed) = (None::<Link>, 0);
        for n in 0..50 {
            let mut link = siege.open().await;
            link.writer
                .write_all(&hello((1, 9), 7, None))
                .await
                .expect("written");
            tokio::time::sleep(ms(150)).await;
            if let Some(mut before) = last.replace(link) {
                let mut said = Vec::new();
                let _ = before.reader.read_to_end(&mut said).await;
                welcomed += usize::from(said.len() > 10);
            }
            let open = siege.world.net.open_streams();
            // It and maybe the victim's own call.
            assert!(open <= siege.streams + 2, "{open} after {n}");
        }
        assert!(welcomed > 30, "each was greeted and then ended: {welcomed}");
        // One from before is not listened to.
        let answer = siege.say(&hello((1, 1), 6, None)).await;
        assert_eq!(answer, framed(&field(2, &[8, 4, 16, 7])));
        // And one on the stream itself is no message of it.
        let mut link = last.expect("the last one");
        let _ = link.writer.write_all(&hello((1, 1), 7, None)).await;
        drop(link);
        siege.held(0..=3).await;
    });
}

#[test]
fn a_member_that_goes_mad_is_cut_off() {
    let mut random = Seeded::new(6);
    let ping = framed(&field(1, &[9, 1, 2, 3, 4, 5, 6, 7, 8]));
    let models = vec![field(2, &field(1, &[b'm'; 300])); 180].concat();
    let report = framed(&field(2, &models));
    assert!(report.len() > 50_000);
    let garbage: Vec<u8> = (0..1000).map(|_| random.draw() as u8).collect();
    let unknown = framed(&field(15, b"of a later version"));
    let attacks: [(&str, Vec<u8>, bool); 7] = [
        ("pings without end", ping.repeat(1000), true),
        ("reports without end", report.repeat(300), true),
        ("garbage", framed(&garbage), true),
        (
            "a frame over the bound",
            70_000_u32.to_be_bytes().to_vec(),
            true,
        ),
        ("a frame that does not end", vec![0, 0, 1, 0, 1, 2, 3], true),
        ("strange models", report, false),
        ("unknown messages", unknown.repeat(50), false),
    ];
    for (what, bytes, fatal) in attacks {
        run(6, async |seed| {
            let siege = Siege::begin(seed, true).await;
            let hostile = node_id(HOSTILE);
            let mut link = siege.open().await;
            link.writer
                .write_all(&hello((1, 1), 7, None))
                .await
                .expect("written");
            let (world, victim) = (&siege.world, siege.victim);
            let is = |world: &World, wanted| {
                world
                    .view(hostile, victim)
                    .is_some_and(|view| view.state == wanted)
            };
            let alive = |world: &World| is(world, PeerState::Alive);
            world.until("it is let in", ms(100), alive).await;
            let mut reader = link.reader;
            let reading = async {
                let mut said = Vec::new();
                let _ = reader.read_to_end(&mut said).await;
            };
            let attacking = async {
                let _ = link.writer.write_all(&bytes).await;
                // It keeps pinging, as far as it is let.
                for _ in 0..8 {
                    let _ = link.writer.write_all(&ping).await;
                    tokio::time::sleep(ms(100)).await;
                }
            };
            let watching = async {
                let down = |world: &World| is(world, PeerState::Down);
                if fatal {
                    world.until(what, ms(1600), down).await;
                } else {
                    world.throughout(what, ms(700), alive).await;
                }
            };
            tokio::join!(attacking, watching, async {
                tokio::select! {
                    () = reading => {}
                    () = tokio::time::sleep(ms(2000)) => {}
                }
            });
            let view = world.view(hostile, victim).expect("a view");
            assert!(view.models.is_empty(), "nobody is offered its models");
            siege.held(0..=3).await;
        });
    }
}

#[test]
fn whoever_does_not_read_is_cut_off() {
    run(7, async |seed| {
        let siege = Siege::begin(seed, true).await;
        let hostile = node_id(HOSTILE);
        let mut link = siege.open().await;
        link.writer
            .write_all(&hello((1, 1), 7, None))
            .await
            .expect("written");
        let ping = framed(&field(1, &[9, 1, 2, 3, 4, 5, 6, 7, 8]));
        let mut cut = false;
        for _ in 0..40 {
            tokio::time::sleep(ms(100)).await;
            cut |= link.writer.write_all(&ping).await.is_err();
        }
        assert!(cut, "it answers no ping");
        let view = siege.world.view(hostile, siege.victim).expect("a view");
        assert_eq!(view.state, PeerState::Down);
        siege.held(0..=3).await;
    });
}
