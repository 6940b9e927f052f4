//! How fast the protocol itself is: a backend that costs nothing, one stream or many, pipes in memory. To be run
//! by hand with optimisation, and without other load:
//! `cargo test --release -p kwaainet-federation speed -- --ignored --nocapture`.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{
    Backend, BackendError, BackendId, BackendReport, BoxFuture, EmbedRequest, Embeddings, Event,
    EventStream, GenerateRequest, ModelId, TextTokens, Tier, Tokenized,
};
use kwaainet_testkit::{Script, ScriptedBackend};
use tokio::time::Instant;

use super::super::wire::asks::{Ask, ask};
use super::super::wire::request as opening;
use super::super::wire::request::Wanted;
use super::super::wire::says::{Say, say};
use super::harness::{Asker, MODEL, Raw, Server, link, pair_of, request};
use super::samples;

const TOKENS: u32 = 100_000;

/// A backend whose events are never there before they are asked for, so that each is a frame of its own.
struct OneByOne(ScriptedBackend);

impl Backend for OneByOne {
    fn id(&self) -> &BackendId {
        self.0.id()
    }

    fn report(&self) -> BackendReport {
        self.0.report()
    }

    fn generate(
        &self,
        request: GenerateRequest,
    ) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(async move {
            let events = self.0.generate(request).await?;
            let late = events.then(async |event| {
                tokio::task::yield_now().await;
                event
            });
            Ok(Box::pin(late) as EventStream)
        })
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        self.0.embed(request)
    }

    fn tokenize(
        &self,
        model: ModelId,
        text: Tokenized,
    ) -> BoxFuture<'_, Result<TextTokens, BackendError>> {
        self.0.tokenize(model, text)
    }

    fn detokenize(
        &self,
        model: ModelId,
        tokens: Vec<u32>,
    ) -> BoxFuture<'_, Result<String, BackendError>> {
        self.0.detokenize(model, tokens)
    }
}

fn scripted() -> ScriptedBackend {
    ScriptedBackend::builder("scripted")
        .generator(MODEL, 1 << 20)
        .script(Script::words(TOKENS))
        .build()
}

/// A server of either kind, and its backend alone.
fn server(one_by_one: bool) -> (Server, Arc<dyn Backend>) {
    let backend = scripted();
    let script = backend.handle();
    let backend: Arc<dyn Backend> = match one_by_one {
        true => Arc::new(OneByOne(backend)),
        false => Arc::new(backend),
    };
    (Server::behind(Arc::clone(&backend), script), backend)
}

/// How long a whole answer takes.
async fn drain(backend: &dyn Backend) -> Duration {
    let began = Instant::now();
    let mut events = backend.generate(request(None)).await.expect("accepted");
    let mut count = 0;
    while let Some(event) = events.next().await {
        count += u32::from(matches!(event.expect("a good one"), Event::Delta(_)));
    }
    assert_eq!(count, TOKENS);
    began.elapsed()
}

/// How many frames a server writes for a whole answer, and how fast, to an asker who does nothing with them.
async fn frames(server: &Server) -> (u32, Duration) {
    let mut wanted = samples::generation();
    if let Wanted::Generate { params, .. } = &mut wanted.work {
        params.max_tokens = None;
    }
    let (near, far) = link(1 << 17);
    let began = Instant::now();
    server.take(far, Tier::T1);
    let mut raw = Raw::from(near);
    let open = ask::Kind::Open(opening::write(wanted).into());
    raw.writer.send(&Ask::from(open)).await.expect("sent");
    let mut count = 0;
    loop {
        let said = raw.reader.next::<Say>().await.expect("whole");
        match said.and_then(|say| say.kind) {
            Some(say::Kind::Events(_)) => count += 1,
            Some(say::Kind::End(_)) => return (count, began.elapsed()),
            Some(_) => {}
            None => panic!("it broke off"),
        }
    }
}

/// A whole request of one token, over and over.
async fn short_requests(asker: &Asker, rounds: u32) -> Duration {
    let began = Instant::now();
    for _ in 0..rounds {
        let mut events = asker.start(request(Some(1))).await;
        while events.next().await.is_some() {}
    }
    began.elapsed() / rounds
}

#[tokio::test]
#[ignore = "a measure; run by `cargo test -p kwaainet-federation --lib speed -- --ignored --nocapture`"]
async fn speed() {
    let mut out = std::io::stdout();
    for (one_by_one, keeps_books) in [(false, false), (true, false), (true, true)] {
        let (served, backend) = server(one_by_one);
        let alone = drain(backend.as_ref()).await;
        let (asker, mut served) = pair_of(served, 1 << 17, keeps_books);
        let through = drain(asker.backend.as_ref()).await;
        let (count, took) = frames(&served).await;
        let short = short_requests(&asker, 2_000).await;
        served.rests().await;
        let added = through.saturating_sub(alone).as_secs_f64() * 1e6 / f64::from(TOKENS);
        let events = f64::from(TOKENS) / through.as_secs_f64();
        let frames = f64::from(count) / took.as_secs_f64();
        writeln!(
            out,
            "one by one {one_by_one}, books {keeps_books}: {events:.0} events/s, {added:.2} us added \
             per token, {frames:.0} frames/s ({count} frames), {short:?} for a request of one token"
        )
        .expect("written");
    }
}
