//! Two nodes that meet at a relay only: one speaks IPv4, the other IPv6, and neither the other's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwaainet_core::NodeId;
use kwaainet_federation::{DialError, PeerAddress, PeerTransport, Plane};
use kwaainet_identity::NodeKey;
use kwaainet_iroh::{
    Gate, IrohConfig, IrohTransport, Relay, RelayConfig, RelayError, RelayTls, RelayToken,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

const LONG: Duration = Duration::from_secs(20);

fn config() -> RelayConfig {
    RelayConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        bytes_per_second: NonZeroU32::new(64 << 20).expect("not nothing"),
        tls: None,
        token: None,
    }
}

async fn relay(config: RelayConfig, gate: Gate) -> (Relay, String) {
    let relay = Relay::start(config, gate).await.expect("it listens");
    let url = format!("{}://{}/", relay.scheme(), relay.address());
    (relay, url)
}

fn token(text: &str) -> Option<RelayToken> {
    Some(RelayToken::new(text).expect("it is long enough"))
}

async fn node(key: &NodeKey, ip: IpAddr, url: &str) -> IrohTransport {
    node_with(key, ip, url, IrohConfig::default()).await
}

async fn node_with(key: &NodeKey, ip: IpAddr, url: &str, with: IrohConfig) -> IrohTransport {
    let config = IrohConfig {
        bind: vec![ip],
        relays: vec![url.to_owned()],
        ..with
    };
    let node = IrohTransport::bind(key, config, Arc::new(|_| true)).await;
    node.expect("loopback can be listened on")
}

/// Waits until the doctor says it.
async fn says(transport: &IrohTransport, words: &str) {
    let began = Instant::now();
    loop {
        let findings = transport.doctor();
        if findings.iter().any(|found| found.says.contains(words)) {
            return;
        }
        assert!(began.elapsed() < LONG, "no '{words}' in {findings:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn members_meet_at_the_relay_and_nobody_else_does() {
    let keys = [NodeKey::generate(), NodeKey::generate()];
    let members = Arc::new(Mutex::new(vec![keys[0].id(), keys[1].id()]));
    let gate: Gate = {
        let members = Arc::clone(&members);
        Arc::new(move |node: NodeId| members.lock().expect("no panic").contains(&node))
    };
    let (relay, url) = relay(config(), gate).await;
    let near = node(&keys[0], Ipv4Addr::LOCALHOST.into(), &url).await;
    let far = node(&keys[1], Ipv6Addr::LOCALHOST.into(), &url).await;
    let stranger = node(&NodeKey::generate(), Ipv4Addr::LOCALHOST.into(), &url).await;
    let connected = format!("It is connected to the relay {url}.");
    tokio::join!(says(&near, &connected), says(&far, &connected));
    assert_eq!(far.address().relay.as_deref(), Some(url.as_str()));

    let address = PeerAddress {
        direct: Vec::new(),
        relay: Some(url.clone()),
    };
    near.learn(far.node(), &address);
    let echo = async {
        let incoming = far.accept().await.expect("a stream");
        let mut link = incoming.link;
        let _ = tokio::io::copy(&mut link.reader, &mut link.writer).await;
    };
    let ask = async {
        let dialed = timeout(LONG, near.dial(far.node(), Plane::Inference)).await;
        let mut link = dialed.expect("in time").expect("through the relay");
        link.writer.write_all(b"hello").await.expect("written");
        let mut back = [0; 5];
        let read = timeout(LONG, link.reader.read_exact(&mut back)).await;
        read.expect("in time").expect("echoed");
        assert_eq!(&back, b"hello");
        assert!(near.path(far.node()).expect("connected").relayed);
    };
    tokio::join!(echo, ask);

    says(&stranger, "does not let this node in").await;
    // A relay that is not configured is not called, whoever names it.
    let elsewhere = PeerAddress {
        direct: Vec::new(),
        relay: Some("http://127.0.0.1:9/".to_owned()),
    };
    let unknown = NodeKey::generate().id();
    near.learn(unknown, &elsewhere);
    let nowhere = near.dial(unknown, Plane::Control).await.err();
    assert_eq!(nowhere, Some(DialError::NoAddress(unknown)));

    members
        .lock()
        .expect("no panic")
        .retain(|node| *node != keys[1].id());
    says(&far, "does not let this node in").await;
    timeout(LONG, relay.close()).await.expect("closed in time");
    says(&near, "cannot be reached").await;
}

#[tokio::test]
async fn whoever_shows_the_token_is_let_in_and_nobody_who_guesses() {
    let secret = "a secret that is long enough".replace(' ', "-");
    let config = RelayConfig {
        token: token(&secret),
        ..config()
    };
    let (relay, url) = relay(config, Arc::new(|_| false)).await;
    let showing = |shown: Option<RelayToken>| IrohConfig {
        relay_token: shown,
        ..IrohConfig::default()
    };
    let (key, here) = (NodeKey::generate, Ipv4Addr::LOCALHOST.into());
    let knowing = node_with(&key(), here, &url, showing(token(&secret))).await;
    let other = token("another-secret-of-some-length");
    let guessing = node_with(&key(), here, &url, showing(other)).await;
    let silent = node(&key(), here, &url).await;
    says(&knowing, "It is connected to the relay").await;
    for node in [&guessing, &silent] {
        says(node, "for those who have its token").await;
    }
    // Longer than it takes to look who is no member any more.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    says(&knowing, "It is connected to the relay").await;
    relay.close().await;
    assert!(RelayToken::new("short").is_none());
    assert!(RelayToken::new("with a space in the middle").is_none());
    assert_eq!(format!("{:?}", token(&secret)), "Some(RelayToken)");
}

#[tokio::test]
async fn a_relay_with_a_certificate_speaks_https() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let config = RelayConfig {
        tls: Some(RelayTls {
            cert: cert.clone(),
            key: key.clone(),
        }),
        ..config()
    };
    let everybody: Gate = Arc::new(|_| true);
    let (secure, url) = relay(config.clone(), Arc::clone(&everybody)).await;
    assert!(url.starts_with("https://"));
    let trusting = IrohConfig {
        relay_roots: Some(cert.clone()),
        ..IrohConfig::default()
    };
    let here = Ipv4Addr::LOCALHOST.into();
    let trusting = node_with(&NodeKey::generate(), here, &url, trusting).await;
    let strict = node(&NodeKey::generate(), here, &url).await;
    says(&trusting, "It is connected to the relay").await;
    says(&strict, "has answered yet").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    says(&strict, "has answered yet").await;
    secure.close().await;

    // A key is no certificate, and nothing is neither.
    let missing = dir.path().join("missing");
    for (cert, key) in [(&key, &key), (&cert, &cert), (&missing, &key)] {
        let tls = Some(RelayTls {
            cert: cert.clone(),
            key: key.clone(),
        });
        let started = Relay::start(
            RelayConfig {
                tls,
                ..config.clone()
            },
            Arc::clone(&everybody),
        );
        let error = started.await.err();
        assert!(matches!(error, Some(RelayError::Tls { .. })), "{error:?}");
    }
    let roots = IrohConfig {
        relay_roots: Some(key),
        ..IrohConfig::default()
    };
    let bound = IrohTransport::bind(&NodeKey::generate(), roots, everybody).await;
    assert!(bound.is_err(), "a key is no root");
}

#[tokio::test]
async fn connections_from_one_place_are_bounded() {
    let (relay, _) = relay(config(), Arc::new(|_| true)).await;
    let mut open = Vec::new();
    for _ in 0..200 {
        let stream = tokio::net::TcpStream::connect(relay.address()).await;
        open.push(stream.expect("the system takes it"));
    }
    // Those that were refused are closed at once, the others wait for what comes.
    let mut closed = 0;
    for stream in &mut open {
        let read = timeout(Duration::from_millis(50), stream.read(&mut [0])).await;
        closed += usize::from(read.is_ok());
    }
    assert!(closed >= 200 - 64, "{closed} were refused");
    relay.close().await;
}
