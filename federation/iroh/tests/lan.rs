//! Two nodes that find each other on the local network.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_federation::{PeerTransport, Plane};
use kwaainet_identity::NodeKey;
use kwaainet_iroh::{IrohConfig, IrohTransport};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

async fn node() -> IrohTransport {
    let config = IrohConfig {
        lan: true,
        ..IrohConfig::default()
    };
    let node = IrohTransport::bind(&NodeKey::generate(), config, Arc::new(|_| true)).await;
    node.expect("it listens")
}

/// Where the machine's network has no multicast, or to let nothing out, in one of its own (BINARY is what
/// `cargo test -p kwaainet-iroh --test lan --no-run` names): `unshare -rn sh -c 'ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo && BINARY --ignored'`.
#[tokio::test]
#[ignore = "needs a network with multicast; run by `cargo test -p kwaainet-iroh --test lan -- --ignored`"]
async fn nodes_find_each_other_without_an_address() {
    let (near, far) = tokio::join!(node(), node());
    let meet = async {
        let mut link = loop {
            if let Ok(link) = near.dial(far.node(), Plane::Control).await {
                break link;
            }
        };
        link.writer.write_all(b"?").await.expect("written");
        far.accept().await.expect("a stream")
    };
    let incoming = timeout(Duration::from_secs(20), meet).await;
    assert_eq!(incoming.expect("found").peer, near.node());
}
