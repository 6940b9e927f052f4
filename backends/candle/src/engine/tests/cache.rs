//! Prompts that begin alike, within and across requests.

use kwaainet_core::Usage;

use super::*;

/// Everything that a stream said, and what it was told to have cost.
async fn all(engine: &Engine, request: Request) -> (Vec<Event>, Usage) {
    let mut events = engine.submit(request).expect("there is room");
    let mut said = Vec::new();
    let mut cached = None;
    while let Some(event) = events.next().await {
        match event.expect("the stream goes well") {
            Event::Started { cached_tokens, .. } => cached = Some(cached_tokens),
            Event::Done(usage) => {
                assert_eq!(cached, Some(usage.cached_tokens));
                return (said, usage);
            }
            event => said.push(event),
        }
    }
    panic!("the stream has an end");
}

fn long(len: u32, max_tokens: usize) -> Request {
    let mut request = request(1, max_tokens);
    request.prompt = (0..len).map(|i| 3 + i * i % 251).collect();
    request.logprobs = Some(3);
    request
}

async fn cold(request: Request) -> Vec<Event> {
    let engine = engine(EngineLimits::default());
    let (said, usage) = all(&engine, request).await;
    assert_eq!(usage.cached_tokens, 0);
    said
}

#[tokio::test]
async fn a_known_prompt_is_not_computed_again_and_gets_the_same_bits() {
    let engine = engine(EngineLimits::default());
    let (first, usage) = all(&engine, long(150, 40)).await;
    assert_eq!(usage.cached_tokens, 0);
    let before = engine.stats();
    let (second, usage) = all(&engine, long(150, 40)).await;
    assert_eq!(usage.cached_tokens, 149, "all but the last");
    assert!(second == first, "log-probabilities and all");
    let after = engine.stats();
    assert_eq!(after.tokens_in - before.tokens_in, 1);
    assert_eq!(after.cached_tokens - before.cached_tokens, 149);
    assert!(after.cached_pages >= 150 / PAGE);
}

#[tokio::test]
async fn a_prefix_counts_to_the_token_wherever_it_ends() {
    let engine = engine(EngineLimits::default());
    all(&engine, long(150, 2)).await;
    for shared in [1, 31, 32, 33, 64, 100, 149] {
        let mut other = long(150, 12);
        for token in &mut other.prompt[shared..] {
            *token = 3 + (*token + shared as u32) % 256;
        }
        let mut again = long(150, 12);
        again.prompt = other.prompt.clone();
        let (said, usage) = all(&engine, other).await;
        assert!(usage.cached_tokens as usize >= shared);
        assert!(said == cold(again).await, "{shared} in common");
    }
}

#[tokio::test]
async fn an_answer_is_known_when_the_conversation_goes_on() {
    let engine = engine(EngineLimits::default());
    let mut first = long(60, 40);
    first.sampling.temperature = 0.0;
    let (said, _) = all(&engine, first).await;
    let answer = said.iter().filter_map(|event| match event {
        Event::Delta(delta) => delta.logprobs.first(),
        _ => None,
    });
    // The model's tokens for bytes.
    let answer = answer.filter_map(|token| match token.chosen.bytes.as_slice() {
        [byte] => Some(3 + u32::from(*byte)),
        _ => None,
    });
    let mut second = long(60, 10);
    second.prompt.extend(answer.take(10));
    let (_, usage) = all(&engine, second).await;
    assert!(usage.cached_tokens >= 60, "{}", usage.cached_tokens);
}

#[tokio::test]
async fn owners_share_nothing() {
    let engine = engine(EngineLimits::default());
    all(&engine, long(150, 2)).await;
    let mut foreign = long(150, 20);
    foreign.owner = PrincipalId::new("somebody else");
    let (said, usage) = all(&engine, foreign).await;
    assert_eq!(usage.cached_tokens, 0);
    assert!(said == cold(long(150, 20)).await);
}

#[tokio::test]
async fn prompts_that_begin_alike_and_come_together_are_read_once() {
    let engine = engine(EngineLimits::default());
    let with_end = |end: u32| {
        let mut request = long(150, 20);
        request.prompt.push(3 + end);
        request
    };
    let together = join_all((0..6).map(|end| all(&engine, with_end(end)))).await;
    let read = engine.stats().tokens_in;
    assert!(read <= 151 + 5 * 2, "{read} of 6 times 151");
    for ((said, _), end) in together.into_iter().zip(0..) {
        assert!(said == cold(with_end(end)).await);
    }
}

#[tokio::test]
async fn the_cache_gives_way_to_whoever_runs() {
    let scarce = engine(EngineLimits {
        kv_bytes: one_context(),
        ..EngineLimits::default()
    });
    let pages_max = one_context() / page_bytes();
    for seed in 0..6 {
        let mut fills = request(seed, 200);
        fills.logprobs = Some(1);
        let mut again = request(seed, 200);
        again.logprobs = Some(1);
        let (said, _) = all(&scarce, fills).await;
        assert!(said == cold(again).await);
        let stats = scarce.stats();
        assert!(stats.cached_pages as u64 <= pages_max, "{stats:?}");
    }
    assert!(scarce.stats().cached_pages > 0);
}

#[tokio::test]
async fn a_cancelled_request_leaves_what_it_has_computed() {
    let engine = engine(EngineLimits::default());
    let mut events = engine.submit(long(150, 100)).expect("there is room");
    while !matches!(events.next().await, Some(Ok(Event::Delta(_)))) {}
    drop(events);
    settles(&engine, "idle", is_idle).await;
    let (_, usage) = all(&engine, long(150, 5)).await;
    assert_eq!(usage.cached_tokens, 149);
}

#[tokio::test]
async fn in_eight_bits_too_what_is_cached_changes_nothing() {
    let engine = || {
        let mut model = Tiny::new("llama").context(CONTEXT).load();
        model.decoder = model.decoder.with_kv(KvFormat::Q8);
        let limits = EngineLimits::default();
        Engine::start("tiny", model, CONTEXT as usize, &limits).expect("there is a thread")
    };
    let (fresh, warm) = (engine(), engine());
    all(&warm, long(140, 5)).await;
    let (said, usage) = all(&warm, long(150, 30)).await;
    assert!(usage.cached_tokens >= 139, "{usage:?}");
    assert!(said == all(&fresh, long(150, 30)).await.0);
    assert!(
        said != cold(long(150, 30)).await,
        "half floats say something else"
    );
}
