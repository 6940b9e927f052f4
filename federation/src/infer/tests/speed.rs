//! How fast the protocol itself is: a backend that costs nothing, one stream or many, pipes in memory. To be run
//! by hand with optimisation, and without other load:
//! `cargo test --release -p kwaainet-federation speed -- --ignored --nocapture`.

use std::io::Write;

use futures_util::StreamExt;
use kwaainet_core::{Backend, Event};
use kwaainet_testkit::{Script, ScriptedBackend};
use tokio::time::Instant;

use super::harness::{Asker, MODEL, Server, pair_of, request};

const TOKENS: u32 = 100_000;

async fn drain(backend: &dyn Backend) -> u32 {
    let mut events = backend.generate(request(None)).await.expect("accepted");
    let mut count = 0;
    while let Some(event) = events.next().await {
        count += u32::from(matches!(event.expect("a good one"), Event::Delta(_)));
    }
    count
}

fn endless(context: u32) -> ScriptedBackend {
    ScriptedBackend::builder("scripted")
        .generator(MODEL, context)
        .script(Script::words(TOKENS))
        .build()
}

/// A first token, over and over.
async fn first_tokens(asker: &Asker, rounds: u32) -> std::time::Duration {
    let began = Instant::now();
    for _ in 0..rounds {
        let mut events = asker.start(request(Some(1))).await;
        events.next().await.expect("an event").expect("a good one");
        while events.next().await.is_some() {}
    }
    began.elapsed() / rounds
}

#[tokio::test]
#[ignore = "a measure, to be run by hand"]
async fn speed() {
    let mut out = std::io::stdout();
    for keeps_books in [false, true] {
        let direct = endless(1 << 20);
        let began = Instant::now();
        assert_eq!(drain(&direct).await, TOKENS);
        let alone = began.elapsed();

        let server = Server::of(endless(1 << 20));
        let (asker, mut server) = pair_of(server, 1 << 17, keeps_books);
        let began = Instant::now();
        assert_eq!(drain(asker.backend.as_ref()).await, TOKENS);
        let through = began.elapsed();
        let frames = server.books.served();
        drop(frames);
        let added = (through.saturating_sub(alone)).as_secs_f64() * 1e6 / f64::from(TOKENS);
        let rate = f64::from(TOKENS) / through.as_secs_f64();
        let first = first_tokens(&asker, 2_000).await;
        server.rests().await;
        writeln!(
            out,
            "books {keeps_books}: {rate:.0} events/s, {added:.2} us added per token, \
             {first:?} for a whole request of one token"
        )
        .expect("written");
    }
}
