//! Guesses change nothing but the number of steps.

use super::*;

pub(super) async fn events(engine: &Engine, request: Request) -> Vec<Event> {
    let events = engine.submit(request).expect("there is room");
    let events: Vec<_> = events.collect().await;
    let good = events.into_iter().map(|event| event.expect("it goes well"));
    // What is in the cache is another test's matter.
    good.filter(|event| !matches!(event, Event::Started { .. } | Event::Done(_)))
        .collect()
}

/// A prompt that goes round in circles, under a model that is made to say a few tokens only, so that
/// what was said before is said again.
pub(super) fn repetitive(seed: u64) -> Request {
    let mut request = request(seed, 150);
    request.prompt = [3, 50, 60, 60, 50, 60, 60, 50, 60].to_vec();
    request.logprobs = Some(2);
    for token in [50, 60] {
        request.sampling.logit_bias.push((token, 60.0));
    }
    request
}

/// Requests in which guesses are often right, of all kinds.
pub(super) fn kinds() -> Vec<(&'static str, Request)> {
    let with = |name, change: fn(&mut Request)| {
        let mut request = repetitive(7);
        change(&mut request);
        (name, request)
    };
    vec![
        with("greedy", |r| r.sampling.temperature = 0.0),
        with("sampling", |r| r.sampling.temperature = 0.7),
        with("penalties", |r| {
            r.sampling.frequency_penalty = 0.3;
            r.sampling.presence_penalty = 0.2;
            r.sampling.repetition_penalty = 1.1;
        }),
        with("cut off", |r| {
            r.sampling.top_p = 0.9;
            r.sampling.top_k = 3;
        }),
        with("few tokens", |r| {
            r.sampling.temperature = 0.0;
            r.max_tokens = 21;
        }),
        with("no log-probabilities", |r| {
            r.sampling.temperature = 0.0;
            r.logprobs = None;
        }),
        with("choices", |r| r.n = 3),
        with("an end among the guesses", |r| {
            r.sampling.temperature = 0.0;
            r.prompt = [50, END, 50, END, 50].repeat(5);
            r.sampling.logit_bias = vec![(50, 60.0), (END, 59.0)];
        }),
    ]
}

pub(super) fn with_guesses(speculate: bool) -> Engine {
    engine(EngineLimits {
        speculate,
        ..EngineLimits::default()
    })
}

#[tokio::test]
async fn guesses_change_no_event() {
    let (on, off) = (with_guesses(true), with_guesses(false));
    let mut right = 0;
    for ((name, with), (_, without)) in kinds().into_iter().zip(kinds()) {
        let several = with.n > 1;
        let (mut with, mut without) = (events(&on, with).await, events(&off, without).await);
        if several {
            // Choices may overtake one another; each is as it was.
            let choice = |event: &Event| match event {
                Event::Delta(delta) => delta.choice,
                Event::Finished { choice, .. } => *choice,
                _ => u32::MAX,
            };
            with.sort_by_key(choice);
            without.sort_by_key(choice);
        }
        assert!(with == without, "{name}");
        assert!(with.len() > 20 || name.starts_with("an end"), "{name}");
        let stats = on.stats();
        if !name.starts_with("an end") {
            assert!(stats.accepted > right, "{name}: {stats:?}");
        }
        right = stats.accepted;
    }
    assert_eq!(off.stats().drafted, 0);
    assert!(on.stats().drafted > right, "some were wrong");
}

#[tokio::test]
async fn a_stop_text_among_guesses_cuts_at_the_same_place() {
    let (on, off) = (with_guesses(true), with_guesses(false));
    let request = || {
        let mut request = repetitive(3);
        request.sampling.temperature = 0.7;
        request
    };
    let text = |events: &[Event]| -> String {
        let texts = events.iter().filter_map(|event| match event {
            Event::Delta(delta) => Some(delta.text.as_str()),
            _ => None,
        });
        texts.collect()
    };
    let free = text(&events(&off, request()).await);
    for at in [5, 20, 41, 77] {
        let stopped = || {
            let mut request = request();
            request.stop = vec![free.chars().skip(at).take(4).collect()];
            request
        };
        let with = events(&on, stopped()).await;
        assert!(with == events(&off, stopped()).await, "{at}");
        assert!(text(&with).len() < free.len());
    }
    assert!(on.stats().accepted > 0);
}

#[tokio::test]
async fn guesses_live_with_short_memory_slow_readers_and_company() {
    let plenty = with_guesses(false);
    let scarce = engine(EngineLimits {
        kv_bytes: one_context(),
        ..EngineLimits::default()
    });
    let all = |engine| join_all((0..5).map(move |seed| events(engine, repetitive(seed))));
    assert!(all(&scarce).await == all(&plenty).await);
    assert!(scarce.stats().accepted > 0);

    let slow = scarce.submit(repetitive(1)).expect("there is room");
    settles(&scarce, "parked", |stats| stats.parked == 1).await;
    let said = read(slow, 1).await;
    assert_eq!(said, say(&plenty, repetitive(1)).await);
}

#[tokio::test]
async fn many_streams_leave_no_room_for_guesses() {
    let engine = with_guesses(true);
    let together = join_all((0..16).map(|seed| {
        let mut request = repetitive(seed);
        request.max_tokens = 10;
        events(&engine, request)
    }));
    together.await;
    let stats = engine.stats();
    assert!(stats.drafted < 16 * 10, "{stats:?}");
}
