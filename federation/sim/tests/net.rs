//! What the simulated network promises to those who test on it.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_federation::{Incoming, Link, PeerTransport, Plane};
use kwaainet_sim::{Net, SimTransport, Weather, node_id, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(60);

fn two(net: &Net) -> [Arc<SimTransport>; 2] {
    let nodes = [0, 1].map(|n| net.join(node_id(n)));
    nodes[0].learn(node_id(1), &Net::address_of(node_id(1)));
    nodes[1].learn(node_id(0), &Net::address_of(node_id(0)));
    nodes
}

/// A stream from the first to the second, with one byte on it.
async fn stream(nodes: &[Arc<SimTransport>; 2]) -> (Link, Link) {
    let dialed = nodes[0].dial(node_id(1), Plane::Inference).await;
    let mut near = dialed.expect("a stream");
    near.writer.write_all(&[7]).await.expect("written");
    let incoming = nodes[1].accept().await.expect("it is open");
    let Incoming { peer, plane, link } = incoming;
    assert_eq!((peer, plane), (node_id(0), Plane::Inference));
    let mut far = link;
    assert_eq!(far.reader.read_u8().await.expect("a byte"), 7);
    (near, far)
}

#[test]
fn bytes_come_whole_and_in_order_through_any_weather() {
    for (seed, weather) in [(1, Weather::LAN), (2, Weather::LOSSY), (3, Weather::WAN)] {
        run(seed, async |seed| {
            let net = Net::new(seed, weather);
            let (mut near, mut far) = stream(&two(&net)).await;
            let sent: Vec<u8> = (0..500_000_u32).map(|n| (n % 251) as u8).collect();
            let sending = async {
                for part in sent.chunks(1000) {
                    near.writer.write_all(part).await.expect("written");
                }
                near.writer.shutdown().await.expect("ended");
            };
            let mut got = Vec::new();
            let (read, ()) = tokio::join!(far.reader.read_to_end(&mut got), sending);
            read.expect("whole");
            assert!(got == sent, "seed {seed}");
        });
    }
}

#[test]
fn whoever_does_not_read_holds_back_whoever_writes() {
    run(1, async |seed| {
        let net = Net::new(seed, Weather::LAN);
        let (mut near, mut far) = stream(&two(&net)).await;
        let mut written = 0;
        while let Ok(wrote) = timeout(SOON, near.writer.write(&[0; 1000])).await {
            written += wrote.expect("written");
        }
        assert!((100_000..200_000).contains(&written), "{written}");
        let mut some = vec![0; 5000];
        far.reader.read_exact(&mut some).await.expect("read");
        let wrote = timeout(SOON, near.writer.write(&[0; 1000])).await;
        assert_eq!(wrote.expect("there is room").expect("written"), 1000);
    });
}

#[test]
fn a_dropped_half_is_noticed() {
    run(1, async |seed| {
        let net = Net::new(seed, Weather::LAN);
        let nodes = two(&net);
        let (mut near, far) = stream(&nodes).await;
        drop(far.reader);
        near.writer
            .write_all(&[0; 10])
            .await
            .expect_err("nobody reads");
        drop(far.writer);
        assert_eq!(near.reader.read(&mut [0]).await.expect("the end"), 0);
        let (mut near, mut far) = stream(&nodes).await;
        nodes[0].drop_peer(node_id(1));
        far.reader.read_u8().await.expect_err("it was broken off");
        near.writer
            .write_all(&[0])
            .await
            .expect_err("it was broken off");
        assert_eq!(nodes[0].path(node_id(1)), None);
    });
}

#[test]
fn a_dead_node_says_nothing() {
    run(1, async |seed| {
        let net = Net::new(seed, Weather::LAN);
        let nodes = two(&net);
        let (mut near, mut far) = stream(&nodes).await;
        far.writer.write_all(&[1]).await.expect("written");
        net.crash(node_id(1));
        assert_eq!(near.reader.read_u8().await.expect("it was on its way"), 1);
        drop(far);
        let silence = timeout(LONG, near.reader.read_u8()).await;
        silence.expect_err("not even an end");
        let began = Instant::now();
        let dialed = nodes[0].dial(node_id(1), Plane::Control).await;
        assert!(dialed.is_err() && began.elapsed() < Duration::from_secs(6));
        // It comes again as another run, which knows nothing of the stream.
        let again = net.join(node_id(1));
        let silence = timeout(LONG, near.reader.read_u8()).await;
        silence.expect_err("that one is gone");
        nodes[0].drop_peer(node_id(1));
        let (_near, _far) = stream(&[Arc::clone(&nodes[0]), again]).await;
    });
}

#[test]
fn what_was_cut_goes_on_later() {
    run(1, async |seed| {
        let net = Net::new(seed, Weather::LAN);
        let (mut near, mut far) = stream(&two(&net)).await;
        net.cut(node_id(0), node_id(1), true);
        near.writer.write_all(&[2]).await.expect("written");
        timeout(LONG, far.reader.read_u8()).await.expect_err("cut");
        far.writer.write_all(&[3]).await.expect("written");
        assert_eq!(near.reader.read_u8().await.expect("the other way"), 3);
        net.cut(node_id(0), node_id(1), false);
        assert_eq!(far.reader.read_u8().await.expect("healed"), 2);
    });
}

#[test]
fn streams_are_bounded() {
    run(1, async |seed| {
        let net = Net::new(seed, Weather::LAN);
        let nodes = two(&net);
        let mut open = Vec::new();
        while let Ok(dialed) = timeout(SOON, nodes[0].dial(node_id(1), Plane::Inference)).await {
            open.push(dialed.expect("a stream"));
        }
        assert_eq!(open.len(), 128);
        open.pop();
        drop(nodes[1].accept().await);
        let dialed = nodes[0].dial(node_id(1), Plane::Inference).await;
        dialed.expect("there is room again");
    });
}

#[test]
fn what_one_side_broke_off_unheard_the_other_side_can_break_off_too() {
    run(1, async |seed| {
        let net = Net::new(seed, Weather::LAN);
        let nodes = two(&net);
        let [(mut near, mut far), (mut near_too, mut far_too)] = {
            let first = stream(&nodes).await;
            let back = [Arc::clone(&nodes[1]), Arc::clone(&nodes[0])];
            let dialed = back[0].dial(node_id(0), Plane::Control).await;
            let mut link = dialed.expect("a stream");
            link.writer.write_all(&[7]).await.expect("written");
            let taken = back[1].accept().await.expect("it is open");
            [first, (taken.link, link)]
        };
        assert_eq!(near_too.reader.read_u8().await.expect("a byte"), 7);
        net.part(&[node_id(0)], &[node_id(1)], true);
        nodes[0].drop_peer(node_id(1));
        for link in [&mut near, &mut near_too] {
            link.reader.read_u8().await.expect_err("it was broken off");
        }
        for link in [&mut far, &mut far_too] {
            let silence = timeout(SOON, link.reader.read_u8()).await;
            silence.expect_err("nothing gets here");
        }
        nodes[1].drop_peer(node_id(0));
        for link in [&mut far, &mut far_too] {
            let broken = timeout(SOON, link.reader.read_u8()).await;
            broken.expect("at once").expect_err("it was broken off");
        }
        net.part(&[node_id(0)], &[node_id(1)], false);
        let (_near, _far) = stream(&nodes).await;
    });
}
