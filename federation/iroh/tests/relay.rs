//! Two nodes that meet at a relay only: one speaks IPv4, the other IPv6, and neither the other's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwaainet_core::NodeId;
use kwaainet_federation::{DialError, PeerAddress, PeerTransport, Plane};
use kwaainet_identity::NodeKey;
use kwaainet_iroh::{Gate, IrohConfig, IrohTransport, Relay, RelayConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

const LONG: Duration = Duration::from_secs(20);

async fn relay(gate: Gate) -> (Relay, String) {
    let config = RelayConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        bytes_per_second: NonZeroU32::new(64 << 20).expect("not nothing"),
    };
    let relay = Relay::start(config, gate).await.expect("it listens");
    let url = format!("http://{}/", relay.address());
    (relay, url)
}

async fn node(key: &NodeKey, ip: IpAddr, url: &str) -> IrohTransport {
    let config = IrohConfig {
        bind: vec![ip],
        relays: vec![url.to_owned()],
        ..IrohConfig::default()
    };
    let node = IrohTransport::bind(key, config, Arc::new(|_| true)).await;
    node.expect("loopback can be listened on")
}

/// Waits until the doctor says it.
async fn says(transport: &IrohTransport, words: &str) {
    let began = Instant::now();
    while !transport.doctor().join("\n").contains(words) {
        let sentences = transport.doctor().join("\n");
        assert!(began.elapsed() < LONG, "no '{words}' in\n{sentences}");
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
    let (relay, url) = relay(gate).await;
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
