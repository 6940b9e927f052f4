//! Transports that talk over the loopback of this machine.

mod hostile;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kwaainet_core::NodeId;
use kwaainet_federation::{DialError, Incoming, Link, PeerAddress, PeerTransport, Plane};
use kwaainet_identity::NodeKey;
use kwaainet_iroh::{Gate, Grade, IrohConfig, IrohTransport, Reach};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Longer than anything here may take.
const LONG: Duration = Duration::from_secs(15);
/// Until it is clear that something waits.
const A_WHILE: Duration = Duration::from_millis(300);

fn everybody() -> Gate {
    Arc::new(|_| true)
}

fn nobody() -> Gate {
    Arc::new(|_| false)
}

fn loopback() -> IrohConfig {
    IrohConfig {
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ..IrohConfig::default()
    }
}

async fn node(key: &NodeKey, gate: Gate) -> Arc<IrohTransport> {
    let transport = IrohTransport::bind(key, loopback(), gate).await;
    Arc::new(transport.expect("loopback can be listened on"))
}

async fn member() -> Arc<IrohTransport> {
    node(&NodeKey::generate(), everybody()).await
}

/// Two who know where the other is.
async fn pair() -> (Arc<IrohTransport>, Arc<IrohTransport>) {
    let (near, far) = tokio::join!(member(), member());
    near.learn(far.node(), &far.address());
    far.learn(near.node(), &near.address());
    (near, far)
}

/// Sends back all that comes, on all streams, until the transport is closed.
fn echoes(transport: &Arc<IrohTransport>, tasks: &mut JoinSet<()>) {
    let transport = Arc::clone(transport);
    tasks.spawn(async move {
        let mut streams = JoinSet::new();
        while let Some(Incoming { mut link, .. }) = transport.accept().await {
            streams.spawn(async move {
                let _ = tokio::io::copy(&mut link.reader, &mut link.writer).await;
            });
        }
    });
}

async fn dial(from: &IrohTransport, to: NodeId, plane: Plane) -> Result<Link, DialError> {
    let dialed = timeout(LONG, from.dial(to, plane)).await;
    dialed.expect("a call is bounded in time")
}

async fn opened(from: &IrohTransport, to: NodeId, plane: Plane) -> Link {
    let mut link = dial(from, to, plane).await.expect("a stream");
    link.writer.write_all(b"?").await.expect("written");
    link
}

async fn taken(transport: &IrohTransport) -> Incoming {
    let next = timeout(LONG, transport.accept()).await;
    let mut incoming = next.expect("a stream comes").expect("it is open");
    let mut first = [0];
    let read = incoming.link.reader.read_exact(&mut first).await;
    read.expect("its first byte");
    incoming
}

/// Whether what goes there comes back.
async fn answers(link: &mut Link, text: &[u8]) -> bool {
    let mut back = vec![0; text.len()];
    let trip = async {
        link.writer.write_all(text).await?;
        link.reader.read_exact(&mut back).await
    };
    matches!(timeout(LONG, trip).await, Ok(Ok(_))) && back == text
}

#[tokio::test]
async fn streams_go_in_both_directions_and_end() {
    let (near, far) = pair().await;
    for (from, to) in [(&near, &far), (&far, &near)] {
        for plane in Plane::ALL {
            let mut asking = opened(from, to.node(), plane).await;
            let mut incoming = taken(to).await;
            assert_eq!((incoming.peer, incoming.plane), (from.node(), plane));
            asking.writer.write_all(b"question").await.expect("written");
            drop(asking.writer);
            let mut read = String::new();
            let ended = incoming.link.reader.read_to_string(&mut read).await;
            ended.expect("it ends");
            assert_eq!(read, "question");
            let written = incoming.link.writer.write_all(b"answer").await;
            written.expect("written");
            drop(incoming.link.writer);
            read.clear();
            let ended = asking.reader.read_to_string(&mut read).await;
            ended.expect("it ends");
            assert_eq!(read, "answer");
        }
    }
    let path = near.path(far.node()).expect("they are connected");
    assert!(!path.relayed);
    assert!(path.rtt.expect("measured") < Duration::from_millis(200));
}

#[tokio::test]
async fn whoever_does_not_read_any_more_stops_the_writer() {
    let (near, far) = pair().await;
    let asking = opened(&near, far.node(), Plane::Inference).await;
    let mut incoming = taken(&far).await;
    drop(asking);
    let end = timeout(LONG, incoming.link.reader.read(&mut [0; 8])).await;
    assert_eq!(end.expect("told").expect("a clean end"), 0);
    let writing = async {
        loop {
            if let Err(error) = incoming.link.writer.write_all(&[7; 1024]).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, writing).await.expect("it is stopped");
}

/// Writes until the other side takes no more for a while; how much it took.
async fn written_until_held_back(link: &mut Link) -> usize {
    let mut written = 0;
    let piece = [7; 1000];
    while let Ok(wrote) = timeout(A_WHILE, link.writer.write(&piece)).await {
        written += wrote.expect("the stream is open");
        assert!(written < 4 << 20, "nothing holds it back");
    }
    written
}

#[tokio::test]
async fn an_answer_that_is_not_read_holds_its_writer_back_and_nobody_else() {
    let (near, far) = pair().await;
    let mut slow = opened(&near, far.node(), Plane::Inference).await;
    let mut answering = taken(&far).await.link;
    let written = written_until_held_back(&mut answering).await;
    assert!((32 << 10..=64 << 10).contains(&written), "{written} bytes");
    // Another stream of the same connection goes on.
    let mut other = opened(&near, far.node(), Plane::Inference).await;
    let mut other_far = taken(&far).await.link;
    other_far.writer.write_all(b"!").await.expect("written");
    let mut first = [0];
    let read = timeout(LONG, other.reader.read_exact(&mut first)).await;
    read.expect("not held up").expect("read");
    // What is read makes room.
    let mut read = vec![0; written];
    let all = timeout(LONG, slow.reader.read_exact(&mut read)).await;
    all.expect("all is there").expect("read");
    let more = timeout(LONG, answering.writer.write_all(&[7; 1000])).await;
    more.expect("there is room").expect("written");
}

#[tokio::test]
async fn a_long_request_arrives() {
    let (near, far) = pair().await;
    let mut tasks = JoinSet::new();
    echoes(&far, &mut tasks);
    let link = dial(&near, far.node(), Plane::Inference).await;
    let mut link = link.expect("a stream");
    let request = vec![5; 12 << 20];
    let sending = async {
        link.writer.write_all(&request).await.expect("written");
        link.writer.shutdown().await.expect("ended");
    };
    let receiving = async {
        let mut back = Vec::new();
        let read = link.reader.read_to_end(&mut back).await;
        read.expect("it comes back");
        back
    };
    let ((), back) = tokio::join!(sending, receiving);
    assert!(back == request, "as it was sent");
}

#[tokio::test]
async fn a_call_to_nobody_ends_in_time() {
    let (near, stranger) = (member().await, NodeKey::generate().id());
    let unknown = dial(&near, stranger, Plane::Control).await.err();
    assert_eq!(unknown, Some(DialError::NoAddress(stranger)));
    // Nobody listens there; all who call at once wait for one call.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let direct = vec![silent.local_addr().expect("its address")];
    near.learn(
        stranger,
        &PeerAddress {
            direct,
            relay: None,
        },
    );
    let began = Instant::now();
    let calls = (0..20).map(|_| dial(&near, stranger, Plane::Inference));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.err(), Some(DialError::Timeout(stranger)));
    }
    assert!(began.elapsed() < Duration::from_secs(6));
    let reach = near.reach(stranger);
    assert_eq!(reach.failure, Some(DialError::Timeout(stranger)));
    assert!(reach.path.is_none() && reach.no_route.is_empty());
}

#[tokio::test]
async fn all_who_wait_share_one_connection() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let gate: Gate = Arc::new(move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
        true
    });
    let (near, far) = (member().await, node(&NodeKey::generate(), gate).await);
    near.learn(far.node(), &far.address());
    let calls = (0..8).map(|_| opened(&near, far.node(), Plane::Control));
    let links = futures_util::future::join_all(calls).await;
    for _ in &links {
        taken(&far).await;
    }
    // The gate is asked for each connection of the control plane, not for its streams.
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    // There may be eight of them.
    let ninth = dial(&near, far.node(), Plane::Control).await.err();
    assert_eq!(ninth, Some(DialError::Timeout(far.node())));
    drop(links);
    dial(&near, far.node(), Plane::Control).await.expect("room");
}

#[tokio::test]
async fn a_node_that_moved_is_found_again() {
    let key = NodeKey::generate();
    let near = member().await;
    let before = node(&key, everybody()).await;
    near.learn(before.node(), &before.address());
    let mut link = opened(&near, before.node(), Plane::Inference).await;
    taken(&before).await;
    timeout(LONG, before.close()).await.expect("closed in time");
    assert!(link.reader.read(&mut [0]).await.is_err(), "broken off");
    assert!(before.accept().await.is_none());

    let after = node(&key, everybody()).await;
    assert_ne!(after.address(), before.address());
    near.learn(after.node(), &after.address());
    let began = Instant::now();
    let _link = opened(&near, after.node(), Plane::Inference).await;
    taken(&after).await;
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_node_that_crashed_and_calls_again_is_heard_and_answered() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let (here, there) = (runtime(), runtime());
    let key = NodeKey::generate();
    let near = here.block_on(member());
    let before = there.block_on(node(&key, everybody()));
    let address = before.address();
    here.block_on(async {
        near.learn(before.node(), &address);
        for plane in Plane::ALL {
            let link = opened(&near, before.node(), plane).await;
            std::mem::forget(link);
        }
    });
    // Its tasks are gone without a word, then its sockets.
    there.shutdown_timeout(Duration::from_secs(1));
    drop(before);

    let again = runtime();
    let mut config = loopback();
    config.port = address.direct[0].port();
    let after = again.block_on(IrohTransport::bind(&key, config, everybody()));
    let after = after.expect("the port is free again");
    again.block_on(async {
        after.learn(near.node(), &near.address());
        let link = opened(&after, near.node(), Plane::Control).await;
        std::mem::forget(link);
    });
    let began = std::cell::OnceCell::new();
    here.block_on(async {
        let began = began.get_or_init(Instant::now);
        taken(&near).await;
        loop {
            let link = dial(&near, after.node(), Plane::Inference).await;
            if let Ok(mut link) = link {
                let asked = link.writer.write_all(b"?").await.is_ok();
                let next = timeout(A_WHILE, after.accept());
                if asked && matches!(next.await, Ok(Some(_))) {
                    break;
                }
            }
            assert!(began.elapsed() < Duration::from_secs(3), "it is back");
        }
    });
}

#[tokio::test]
async fn a_peer_that_is_dropped_may_come_back() {
    let (near, far) = pair().await;
    let mut tasks = JoinSet::new();
    echoes(&far, &mut tasks);
    let mut link = dial(&near, far.node(), Plane::Inference)
        .await
        .expect("a stream");
    assert!(answers(&mut link, b"hello").await);
    near.drop_peer(far.node());
    assert_eq!(near.path(far.node()), None);
    assert!(!answers(&mut link, b"hello").await);
    let mut link = dial(&near, far.node(), Plane::Inference)
        .await
        .expect("a stream");
    assert!(answers(&mut link, b"hello").await);
}

#[tokio::test]
async fn after_closing_nothing_goes_on() {
    let (near, far) = pair().await;
    let _link = opened(&near, far.node(), Plane::Control).await;
    taken(&far).await;
    let waiting = near.accept();
    let (none, ()) = timeout(Duration::from_secs(4), async {
        tokio::join!(waiting, near.close())
    })
    .await
    .expect("closed in time");
    assert!(none.is_none());
    let refused = dial(&near, far.node(), Plane::Control).await.err();
    assert_eq!(refused, Some(DialError::Closed));
    assert!(near.accept().await.is_none());
}

#[tokio::test]
async fn the_doctor_says_how_things_are() {
    let (near, far) = pair().await;
    let mut config = loopback();
    config.advertise = vec![SocketAddr::from(([198, 51, 100, 7], 4242))];
    let stated = IrohTransport::bind(&NodeKey::generate(), config, everybody()).await;
    let told = stated.expect("listening").address().direct;
    assert!(
        told.contains(&SocketAddr::from(([198, 51, 100, 7], 4242))),
        "{told:?}"
    );

    let port = near.address().direct[0].port();
    let _link = opened(&near, far.node(), Plane::Control).await;
    let relay = Some("https://relay.example.org".to_owned());
    let elsewhere = NodeKey::generate().id();
    near.learn(
        elsewhere,
        &PeerAddress {
            direct: Vec::new(),
            relay,
        },
    );
    let findings = near.doctor();
    assert!(findings.iter().all(|found| found.grade != Grade::Bad));
    let sentences: Vec<_> = findings.into_iter().map(|found| found.says).collect();
    let sentences = sentences.join("\n");
    for expected in [
        &format!("It listens on UDP 127.0.0.1:{port}."),
        &format!("It tells others that it is at 127.0.0.1:{port} (lo"),
        "No relay is configured",
        "It does not look for members",
    ] {
        assert!(
            sentences.contains(expected),
            "no '{expected}' in\n{sentences}"
        );
    }
    let direct = near.reach(far.node());
    assert!(direct.path.is_some_and(|path| !path.relayed));
    let reach = near.reach(elsewhere);
    assert_eq!((reach.path, reach.relay), (None, None));
    assert!(reach.foreign_relay.is_some());
    assert_eq!(near.reach(NodeKey::generate().id()), Reach::default());
}

#[tokio::test]
async fn a_wrong_configuration_is_told() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let wrong = [
        (
            IrohConfig { port, ..loopback() },
            format!("UDP port {port}"),
        ),
        (
            IrohConfig {
                relays: vec!["relay".to_owned()],
                ..loopback()
            },
            "'relay' is no URL".to_owned(),
        ),
        (
            IrohConfig {
                bind: vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()],
                ..loopback()
            },
            "one address of each family".to_owned(),
        ),
    ];
    for (config, expected) in wrong {
        let result = IrohTransport::bind(&NodeKey::generate(), config, everybody()).await;
        let error = result.err().expect("refused").to_string();
        assert!(error.contains(&expected), "{error}");
    }
}
