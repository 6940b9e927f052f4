//! Both sides count alike and sign alike, however a request ends.

use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{Backend, BackendError, EmbedInput, EmbedRequest, Usage};
use kwaainet_testkit::{Answer, Fault, Script, ScriptedCall};

use super::harness::{Asker, EMBEDDER, SOON, Server, TOOK, collect, pair, request};

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
