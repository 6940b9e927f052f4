//! Those who are not let in, or not far, and those who want too much.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kwaainet_federation::{DialError, PeerTransport, Plane};
use kwaainet_identity::NodeKey;
use kwaainet_iroh::Gate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{A_WHILE, LONG, answers, dial, echoes, member, nobody, node, opened, pair, taken};

#[tokio::test]
async fn only_members_ask_for_inference() {
    let far = node(&NodeKey::generate(), nobody()).await;
    let near = member().await;
    near.learn(far.node(), &far.address());
    let refused = dial(&near, far.node(), Plane::Inference).await.err();
    let Some(DialError::Unreachable { reason, .. }) = refused else {
        panic!("refused, not {refused:?}");
    };
    assert!(reason.contains("no member"), "{reason}");
    let nothing = timeout(A_WHILE, far.accept()).await;
    assert!(nothing.is_err(), "no stream comes through");
}

#[tokio::test]
async fn a_member_who_was_removed_opens_no_more_streams() {
    let is_member = Arc::new(AtomicBool::new(true));
    let gate: Gate = {
        let is_member = Arc::clone(&is_member);
        Arc::new(move |_| is_member.load(Ordering::Relaxed))
    };
    let (near, far) = (member().await, node(&NodeKey::generate(), gate).await);
    near.learn(far.node(), &far.address());
    let mut link = opened(&near, far.node(), Plane::Inference).await;
    let _incoming = taken(&far).await;
    is_member.store(false, Ordering::Relaxed);
    let mut other = opened(&near, far.node(), Plane::Inference).await;
    for link in [&mut link, &mut other] {
        let read = timeout(LONG, link.reader.read(&mut [0])).await;
        assert!(read.expect("broken off").is_err());
    }
    assert!(timeout(A_WHILE, far.accept()).await.is_err());
}

#[tokio::test]
async fn a_stranger_may_say_hello_once_and_more_when_he_is_let_in() {
    let is_member = Arc::new(AtomicBool::new(false));
    let gate: Gate = {
        let is_member = Arc::clone(&is_member);
        Arc::new(move |_| is_member.load(Ordering::Relaxed))
    };
    let (near, far) = (member().await, node(&NodeKey::generate(), gate).await);
    near.learn(far.node(), &far.address());
    let _hello = opened(&near, far.node(), Plane::Control).await;
    let incoming = taken(&far).await;
    let second = dial(&near, far.node(), Plane::Control).await.err();
    assert_eq!(second, Some(DialError::Timeout(far.node())));
    is_member.store(true, Ordering::Relaxed);
    let _second = opened(&near, far.node(), Plane::Control).await;
    taken(&far).await;
    drop(incoming);
}

#[tokio::test]
async fn strangers_are_few_and_do_not_stay() {
    let far = node(&NodeKey::generate(), nobody()).await;
    let mut strangers = Vec::new();
    for _ in 0..12 {
        let stranger = member().await;
        stranger.learn(far.node(), &far.address());
        strangers.push(stranger);
    }
    let began = Instant::now();
    let calls = strangers
        .iter()
        .map(|it| dial(it, far.node(), Plane::Control));
    let results = futures_util::future::join_all(calls).await;
    let mut came: Vec<_> = results.into_iter().flatten().collect();
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(came.len(), 8, "from one address");
    for link in &mut came {
        let read = timeout(LONG, link.reader.read(&mut [0])).await;
        assert!(read.expect("not for ever").is_err());
    }
}

#[tokio::test]
async fn streams_that_are_not_taken_hold_back_only_who_opens_them() {
    let far = member().await;
    let (greedy, modest) = (member().await, member().await);
    for near in [&greedy, &modest] {
        near.learn(far.node(), &far.address());
    }
    // Far more than there may be, each seen by its first byte.
    let mut opening = JoinSet::new();
    for _ in 0..3_000 {
        let (greedy, node) = (Arc::clone(&greedy), far.node());
        opening.spawn(async move {
            let mut link = greedy.dial(node, Plane::Inference).await?;
            let _ = link.writer.write_all(b"?").await;
            Ok::<_, DialError>(link)
        });
    }
    let mut open = Vec::new();
    while let Some(result) = timeout(LONG, opening.join_next()).await.expect("bounded") {
        match result.expect("no panic") {
            Ok(link) => open.push(link),
            Err(error) => assert_eq!(error, DialError::Timeout(far.node())),
        }
    }
    assert_eq!(open.len(), 256, "as many as one may have");
    let mut asking = opened(&modest, far.node(), Plane::Inference).await;
    let mut before = 0;
    let mut incoming = taken(&far).await;
    while incoming.peer != modest.node() {
        before += 1;
        incoming = taken(&far).await;
    }
    assert!(before <= 8, "{before} of the greedy one's came before");
    let written = incoming.link.writer.write_all(b"!").await;
    written.expect("written");
    let mut first = [0];
    let read = asking.reader.read_exact(&mut first).await;
    read.expect("an answer");
}

#[tokio::test]
async fn a_flood_of_datagrams_does_not_hold_up_members() {
    let (near, far) = pair().await;
    let mut tasks = JoinSet::new();
    echoes(&far, &mut tasks);
    let mut link = dial(&near, far.node(), Plane::Inference)
        .await
        .expect("a stream");
    let to = far.address().direct[0];
    let flood = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for at in 0..20_000_u32 {
        let mut datagram = [0; 1200];
        for byte in &mut datagram {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        // As a first packet of QUIC version 1, or as anything.
        if at % 2 == 0 {
            datagram[..6].copy_from_slice(&[0xC3, 0, 0, 0, 1, 8]);
        }
        let _ = flood.send_to(&datagram, to);
        if at % 1_000 == 0 {
            assert!(answers(&mut link, b"are you there?").await);
        }
    }
    assert!(answers(&mut link, b"and now?").await);
}
