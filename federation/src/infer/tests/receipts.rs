//! Both sides count alike and sign alike, however a request ends.

use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{Backend, BackendError, EmbedInput, EmbedRequest, Event, EventStream, Usage};
use kwaainet_testkit::{Answer, Fault, Script, ScriptedCall};

use crate::PeerState;

use super::harness::{Asker, EMBEDDER, SOON, Server, TOOK, collect, pair, pair_of, request};

/// Waits until so many receipts are signed by both sides, and gives the last.
async fn settled(asker: &Asker, server: &mut Server, count: usize) -> crate::Service {
    let settling = async {
        while asker.books.signed() < count || server.books.signed() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let settled = tokio::time::timeout(SOON, settling).await;
    settled.unwrap_or_else(|_| panic!("{count} are signed: {:?}", server.books.served()));
    let theirs = server
        .books
        .signed
        .lock()
        .expect("no holder panics")
        .clone();
    let ours = asker.books.signed.lock().expect("no holder panics").clone();
    assert_eq!(theirs, ours);
    let served = server.books.served();
    assert_eq!(served.len(), count);
    server.rests().await;
    served.into_iter().next_back().expect("there is one")
}

#[tokio::test]
async fn what_was_served_is_signed_twice() {
    let (asker, mut server) = pair(1 << 16, true);
    collect(asker.start(request(Some(5))).await).await;
    let first = settled(&asker, &mut server, 1).await;
    assert!(first.complete);
    let usage = Usage {
        prompt_tokens: 4,
        cached_tokens: 0,
        completion_tokens: 5,
    };
    assert_eq!(first.usage, usage);
    let energy = (first.energy_mj, first.energy_method);
    assert_eq!(energy, (TOOK.energy_uj / 1_000, "measured"));

    let call = ScriptedCall::new("f", &["{}"]);
    server.script.set(Script {
        answer: Answer::Calls(vec![call]),
        ..Script::default()
    });
    collect(asker.start(request(None)).await).await;
    let second = settled(&asker, &mut server, 2).await;
    assert_ne!(second.request, first.request);
    assert_ne!(second.request_hash, first.request_hash);
    assert_ne!(second.transcript_hash, first.transcript_hash);

    let vectors = asker.backend.embed(EmbedRequest {
        model: EMBEDDER.into(),
        inputs: vec![EmbedInput::Text("three words here".into())],
        dimensions: None,
    });
    vectors.await.expect("vectors");
    let third = settled(&asker, &mut server, 3).await;
    assert_eq!((third.usage.prompt_tokens, third.complete), (3, true));
    assert_eq!(third.energy_mj, TOOK.energy_uj / 1_000);
}

#[tokio::test]
async fn what_failed_is_signed_as_far_as_it_went() {
    let (asker, mut server) = pair(1 << 16, true);
    server.script.set(Script::failing(Fault::FailAfter {
        tokens: 3,
        error: BackendError::Internal("broken".into()),
    }));
    collect(asker.start(request(None)).await).await;
    let last = settled(&asker, &mut server, 1).await;
    assert_eq!((last.usage.completion_tokens, last.complete), (3, false));
}

#[tokio::test]
async fn what_was_stopped_is_signed_as_far_as_it_went() {
    let (asker, mut server) = pair(512, true);
    for (count, read) in [(1, 0), (2, 1), (3, 5), (4, 30)] {
        server.script.set(Script {
            delay: Duration::from_millis(u64::from(read > 1)),
            ..Script::words(50)
        });
        let mut events = asker.start(request(None)).await;
        for _ in 0..read {
            events.next().await.expect("an event").expect("a good one");
        }
        drop(events);
        let last = settled(&asker, &mut server, count).await;
        assert!(last.usage.completion_tokens <= 50);
    }
}

#[tokio::test]
async fn what_was_refused_leaves_no_receipt() {
    let (asker, mut server) = pair(1 << 16, true);
    server.script.set(Script::busy(Duration::from_secs(1)));
    asker.refused(request(None)).await;
    server.rests().await;
    assert_eq!(server.books.served().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_long_stream_is_signed_while_it_runs() {
    // Slow: each two seconds; fast: each 256 tokens.
    for (delay_ms, tokens, expected) in [(50, 210, 5), (2, 2_000, 7), (1, 200, 0)] {
        let (asker, mut server) = pair_of(Server::new(1 << 20), 1 << 16, true);
        server.script.set(Script {
            delay: Duration::from_millis(delay_ms),
            ..Script::words(tokens)
        });
        collect_all(asker.start(request(None)).await).await;
        let last = settled(&asker, &mut server, 1).await;
        assert_eq!(
            (last.usage.completion_tokens, last.complete),
            (tokens, true)
        );
        let made = server.books.checkpoints();
        assert_eq!(made.len(), expected, "{tokens} tokens");
        let signed = asker.books.checkpoints();
        assert_eq!(signed.len(), expected);
        let kept = *server.books.checkpoints_signed.lock().expect("no panic");
        assert_eq!(kept, expected);
        let counts: Vec<_> = made.iter().map(|m| m.usage.completion_tokens).collect();
        assert!(counts.is_sorted_by(|a, b| a < b) && !counts.contains(&0));
        assert!(
            made.iter()
                .all(|made| !made.complete && made.request == last.request)
        );
        assert!(asker.books.claims().is_empty());
    }
}

/// As slow as it likes.
async fn collect_all(events: EventStream) {
    let all: Vec<_> = events.collect().await;
    assert!(all.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn what_broke_off_is_noted_and_what_was_left_is_not() {
    let (asker, mut server) = pair_of(Server::new(1 << 20), 1 << 16, true);
    server.script.set(Script {
        delay: Duration::from_millis(50),
        ..Script::words(1_000)
    });
    let mut events = asker.start(request(None)).await;
    let mut read = 0;
    while read < 100 {
        if let Event::Delta(delta) = next(&mut events).await.expect("good") {
            read += delta.tokens;
        }
    }
    asker.learn(|view| view.state = PeerState::Down);
    while next(&mut events).await.is_ok() {
        read += 1;
    }
    drop(events);
    server.rests().await;
    let claims = asker.books.claims();
    let [claim] = claims.as_slice() else {
        panic!("one is noted: {claims:?}");
    };
    assert_eq!(
        (claim.usage.completion_tokens, claim.complete),
        (read, false)
    );
    let checkpoints = asker.books.checkpoints();
    assert_eq!(checkpoints.len(), 2, "in five seconds");
    assert!(checkpoints.iter().all(|made| made.request == claim.request));
    let served = server.books.served();
    assert_eq!((served.len(), served[0].complete), (1, false));
    assert!(served[0].usage.completion_tokens >= read);

    asker.learn(|view| view.state = PeerState::Alive);
    let mut events = asker.start(request(None)).await;
    next(&mut events).await.expect("good");
    drop(events);
    server.rests().await;
    while asker.books.signed() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(asker.books.claims().len(), 1);
}

async fn next(events: &mut EventStream) -> Result<Event, BackendError> {
    events.next().await.expect("it has not ended well")
}
