//! The engine with a tiny model of noise.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use kwaainet_core::{Event, FinishReason};

mod bench;
mod cache;
mod calls;
mod chaos;
mod drafts;
mod echo;
mod fairness;
mod grammar;
mod resume;
mod solo;
mod speculation;

use super::*;
use crate::testing::{END, Noise, Tiny};
use kwaainet_kernels::{KvFormat, PAGE, PageShape};

const CONTEXT: u32 = 256;

fn engine(limits: EngineLimits) -> Engine {
    let model = Tiny::new("llama").context(CONTEXT).load();
    Engine::start("tiny", model, CONTEXT as usize, &limits).expect("there is a thread")
}

fn request(prompt: u64, max_tokens: usize) -> Request {
    let mut noise = Noise(prompt);
    let len = 5 + noise.next() as usize % 40;
    Request {
        prompt: (0..len).map(|_| 3 + (noise.next() % 256) as u32).collect(),
        n: 1,
        max_tokens,
        stop: Vec::new(),
        logprobs: None,
        sampling: Sampling {
            temperature: 0.8,
            // Noise would end its texts at random.
            logit_bias: vec![(END, f32::NEG_INFINITY)],
            ..Sampling::default()
        },
        seed: prompt,
        owner: PrincipalId::operator(),
        priority: Priority::Interactive,
        grammar: None,
        calls: None,
        begun: Vec::new(),
        echo: None,
    }
}

/// What a stream said, choice by choice.
#[derive(Clone, Debug, Default, PartialEq)]
struct Said {
    texts: Vec<String>,
    tokens: Vec<u32>,
    reasons: Vec<Option<FinishReason>>,
}

async fn read(mut events: EventStream, n: usize) -> Said {
    let mut said = Said {
        texts: vec![String::new(); n],
        tokens: vec![0; n],
        reasons: vec![None; n],
    };
    while let Some(event) = events.next().await {
        match event.expect("the stream goes well") {
            Event::Delta(delta) => {
                said.texts[delta.choice as usize] += &delta.text;
                said.tokens[delta.choice as usize] += delta.tokens;
            }
            Event::Call(_) => panic!("there are no tools"),
            Event::Finished { choice, reason } => {
                said.reasons[choice as usize] = Some(reason);
            }
            Event::Done(usage) => {
                assert_eq!(usage.completion_tokens, said.tokens.iter().sum::<u32>());
            }
            Event::Started { .. } => {}
        }
    }
    assert!(
        said.reasons.iter().all(Option::is_some),
        "every choice ends"
    );
    said
}

async fn say(engine: &Engine, request: Request) -> Said {
    let n = request.n as usize;
    read(engine.submit(request).expect("there is room"), n).await
}

/// Waits until the engine's numbers are as they should be.
async fn settles(engine: &Engine, what: &str, holds: impl Fn(&EngineStats) -> bool) {
    for _ in 0..1_000 {
        if holds(&engine.stats()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {:?}", engine.stats());
}

fn is_idle(stats: &EngineStats) -> bool {
    (stats.running, stats.queued, stats.parked, stats.kv_tokens) == (0, 0, 0, 0)
}

#[tokio::test]
async fn streams_together_say_what_each_says_alone() {
    let engine = engine(EngineLimits::default());
    let mut alone = Vec::new();
    for prompt in 0..16 {
        alone.push(say(&engine, request(prompt, 40)).await);
    }
    let together = join_all((0..16).map(|prompt| say(&engine, request(prompt, 40)))).await;
    assert_eq!(together, alone);
    let texts: std::collections::HashSet<_> = alone.iter().map(|said| &said.texts).collect();
    assert_eq!(texts.len(), 16, "the prompts lead to different texts");
    settles(&engine, "idle", is_idle).await;
}

#[tokio::test]
async fn a_choice_ends_at_its_last_token() {
    let engine = engine(EngineLimits::default());
    let said = say(&engine, request(1, 7)).await;
    assert_eq!(said.tokens, [7]);
    assert_eq!(said.reasons, [Some(FinishReason::Length)]);
    let mut until_the_end = request(1, 40);
    until_the_end.sampling.logit_bias = vec![(END, f32::INFINITY)];
    let said = say(&engine, until_the_end).await;
    assert_eq!(said.reasons, [Some(FinishReason::Stop)]);
    assert_eq!((said.tokens[0], said.texts[0].as_str()), (0, ""));
}

#[tokio::test]
async fn a_stop_text_ends_a_choice_and_is_not_part_of_it() {
    let engine = engine(EngineLimits::default());
    let free = say(&engine, request(3, 60)).await.texts.remove(0);
    // From the middle of the text, and longer than a token.
    let (start, _) = free
        .char_indices()
        .nth(free.chars().count() / 2)
        .expect("it said a lot");
    let stop: String = free[start..].chars().take(3).collect();
    let mut stopped = request(3, 60);
    stopped.stop = vec![stop.clone()];
    let said = say(&engine, stopped).await;
    assert_eq!(said.reasons, [Some(FinishReason::Stop)]);
    let expected = free.split(&stop).next().expect("a split has a first part");
    assert_eq!(said.texts[0], expected);
}

#[tokio::test]
async fn dropped_streams_leave_nothing_behind() {
    let limits = EngineLimits {
        running: 8,
        ..EngineLimits::default()
    };
    let engine = engine(limits);
    let mut noise = Noise(11);
    let mut held = Vec::new();
    for prompt in 0..50 {
        // Some are dropped in the queue, some while they read, some while they generate.
        let mut events = engine.submit(request(prompt, 200)).expect("there is room");
        for _ in 0..noise.next() % 8 {
            events
                .next()
                .await
                .expect("it goes on")
                .expect("it goes well");
        }
        held.push(events);
        if noise.next().is_multiple_of(2) {
            let at = noise.next() as usize % held.len();
            drop(held.swap_remove(at));
        }
    }
    drop(held);
    settles(&engine, "idle", is_idle).await;
    assert_eq!(engine.places.available_permits(), 8 + limits.queued);
}

#[tokio::test]
async fn a_slow_reader_is_left_out_and_catches_up() {
    let engine = engine(EngineLimits {
        running: 1,
        ..EngineLimits::default()
    });
    let alone = say(&engine, request(1, 200)).await;
    let slow = engine.submit(request(1, 200)).expect("there is room");
    settles(&engine, "parked", |stats| stats.parked == 1).await;
    // The only place is not held by the one that is parked.
    assert_eq!(say(&engine, request(2, 100)).await.tokens, [100]);
    assert_eq!(engine.stats().parked, 1);
    assert_eq!(read(slow, 1).await, alone);
}

#[tokio::test]
async fn choices_share_the_reading_of_their_prompt() {
    let single = say(&engine(EngineLimits::default()), request(4, 30)).await;
    let engine = engine(EngineLimits::default());
    let mut three = request(4, 30);
    three.n = 3;
    let prompt = three.prompt.len() as u64;
    let said = say(&engine, three).await;
    assert_eq!(
        said.texts[0], single.texts[0],
        "the first is what it is alone"
    );
    assert!(said.texts[1] != said.texts[0] && said.texts[2] != said.texts[1]);
    assert_eq!(said.tokens, [30; 3]);
    // The others compute only the last token again, for its logits.
    assert_eq!(engine.stats().tokens_in, prompt + 2);
}

#[tokio::test]
async fn many_choices_come_through_few_places() {
    let engine = engine(EngineLimits {
        running: 2,
        ..EngineLimits::default()
    });
    let mut many = request(5, 10);
    many.n = 20;
    let said = say(&engine, many).await;
    assert_eq!(said.tokens, [10; 20]);
}

fn page_bytes() -> u64 {
    let page = PageShape {
        layers: 2,
        kv_heads: 2,
        head_dim: 16,
        format: KvFormat::F16,
    };
    page.page_bytes()
}

/// The memory that one sequence of the tiny model may need.
fn one_context() -> u64 {
    page_bytes() * u64::from(CONTEXT) / PAGE as u64
}

#[tokio::test]
async fn short_memory_slows_but_changes_nothing() {
    let plenty = engine(EngineLimits::default());
    // As much as one sequence may need; six want it.
    let scarce = engine(EngineLimits {
        kv_bytes: one_context(),
        ..EngineLimits::default()
    });
    assert_eq!(scarce.context(), CONTEXT as usize);
    let all = |engine| join_all((0..6).map(move |prompt| say(engine, request(prompt, 150))));
    assert_eq!(all(&scarce).await, all(&plenty).await);
    let (scarce, plenty) = (scarce.stats(), plenty.stats());
    assert!(
        scarce.tokens_in > plenty.tokens_in,
        "some were computed again"
    );
}

#[tokio::test]
async fn a_slow_reader_does_not_keep_memory_from_others() {
    let engine = engine(EngineLimits {
        kv_bytes: one_context(),
        ..EngineLimits::default()
    });
    let long = || {
        let mut long = request(1, 50);
        long.prompt = (0..200).map(|i| 3 + i % 256).collect();
        long
    };
    let alone = say(&engine, long()).await;
    let slow = engine.submit(long()).expect("there is room");
    settles(&engine, "parked", |stats| stats.parked == 1).await;
    assert_eq!(say(&engine, request(2, 100)).await.tokens, [100]);
    assert_eq!(read(slow, 1).await, alone);
}

#[tokio::test]
async fn memory_bounds_the_context() {
    let engine = engine(EngineLimits {
        kv_bytes: 1,
        ..EngineLimits::default()
    });
    assert_eq!(engine.context(), PAGE);
}

#[tokio::test]
async fn a_full_engine_turns_away() {
    let engine = engine(EngineLimits {
        running: 1,
        queued: 2,
        ..EngineLimits::default()
    });
    let held: Vec<_> = (0..3).map(|i| engine.submit(request(i, 200))).collect();
    assert!(held.iter().all(Result::is_ok));
    let refused = engine.submit(request(3, 200)).err();
    assert!(matches!(refused, Some(BackendError::Busy { .. })));
    drop(held);
    settles(&engine, "idle", is_idle).await;
    assert!(engine.submit(request(3, 1)).is_ok());
}

#[tokio::test]
async fn a_fault_ends_all_streams_with_an_error() {
    let engine = engine(EngineLimits::default());
    let mut bystander = engine.submit(request(1, 200)).expect("there is room");
    let mut broken = request(2, 5);
    broken.prompt = vec![1_000_000];
    let mut broken = engine.submit(broken).expect("it is not checked here");
    for events in [&mut broken, &mut bystander] {
        let mut last = None;
        while let Some(event) = events.next().await {
            last = Some(event);
        }
        assert!(matches!(last, Some(Err(BackendError::Internal(_)))));
    }
    assert!(!engine.is_alive());
    let refused = engine.submit(request(3, 5)).err();
    assert!(matches!(refused, Some(BackendError::Internal(_))));
}

#[tokio::test]
async fn the_end_of_the_engine_ends_its_streams() {
    let engine = engine(EngineLimits::default());
    let mut events = engine.submit(request(1, 200)).expect("there is room");
    drop(engine);
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(Err(BackendError::Internal(_)))));
}
