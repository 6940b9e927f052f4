//! The two ends with each other: the suite that every backend passes, stopping, holding back, errors.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{
    Backend, BackendError, Conversation, Event, FinishReason, Message, PrincipalId, Prompt, Role,
};
use kwaainet_testkit::{
    Answer, EmbedSubject, Fault, GenerateSubject, Script, ScriptedBackend, ScriptedCall, Subject,
    conformance,
};
use tokio::time::{Instant, sleep};

use super::harness::{
    CONTEXT, EMBEDDER, MODEL, SOON, Server, collect, pair, pair_of, request, text_of,
};

#[tokio::test]
async fn a_peer_passes_the_suite_of_all_backends() {
    for keeps_books in [false, true] {
        let (asker, mut server) = pair(1 << 16, keeps_books);
        let (hall, script) = (Arc::clone(&server.hall), server.script.clone());
        let idle = move || {
            let idle = hall.admission().load().running == 0 && script.counts().alive == 0;
            std::future::ready(idle)
        };
        let chat = vec![Message::new(Role::User, "hello there")];
        let prompts = vec![
            Prompt::Text("once upon".into()),
            Prompt::Chat(Conversation::from(chat)),
            Prompt::Infill {
                prefix: "a b".into(),
                suffix: "c".into(),
            },
            Prompt::Tokens(vec![1, 2, 3]),
        ];
        let subject = Subject {
            generate: Some(GenerateSubject {
                model: MODEL.into(),
                context: CONTEXT,
                prompts,
                counts_tokens: true,
                logprobs: true,
                seed: true,
            }),
            embed: Some(EmbedSubject {
                model: EMBEDDER.into(),
                context: 16,
                dimensions: true,
            }),
            tokenize: true,
            ..Subject::new(idle)
        };
        conformance(asker.backend.clone(), subject).await;
        let receipts = server.rests().await as u64;
        assert_eq!(receipts, server.hall.admission().admitted());
        assert_eq!(asker.backend.report().load.expect("known").running, 0);
    }
}

#[tokio::test]
async fn events_come_as_they_were_made_to_the_bit() {
    let (asker, mut server) = pair(1 << 16, true);
    let mut asked = request(Some(8));
    asked.params.echo = true;
    asked.params.logprobs = Some(3);
    asked.params.n = 3;
    let there = collect(asker.start(asked).await).await;
    // Not a number is equal to none, so the words for it are compared.
    let said = format!("{there:?}");
    assert!(said.contains("NaN"), "the first token of an echo has none");
    assert_eq!(there.len(), 1 + 3 * 4 + 3 * 8 + 3 + 1);
    server.rests().await;

    let calls = vec![
        ScriptedCall::new("f", &["{\"a\":", "1}"]),
        ScriptedCall::new("g", &["{}"]),
    ];
    server.script.set(Script {
        answer: Answer::Calls(calls),
        ..Script::default()
    });
    let events = collect(asker.start(request(None)).await).await;
    let last: Vec<_> = events.iter().rev().take(2).collect();
    let reason = FinishReason::ToolCalls;
    assert_eq!(last[1], &Ok(Event::Finished { choice: 0, reason }));
    let begun = events.iter().filter_map(|event| match event {
        Ok(Event::Call(call)) => call.start.as_ref(),
        _ => None,
    });
    let names: Vec<_> = begun.map(|start| start.name.as_str()).collect();
    assert_eq!(names, ["f", "g"]);
    server.rests().await;
}

#[tokio::test]
async fn what_is_too_long_for_a_frame_comes_whole() {
    let (asker, mut server) = pair_of(Server::new(1 << 20), 1 << 16, true);
    let mut asked = request(Some(1));
    let word = "é".repeat(200_000);
    let prompt = format!("{word} {word}");
    asked.prompt = Prompt::Text(prompt.clone());
    asked.params.echo = true;
    let there = collect(asker.start(asked.clone()).await).await;
    assert!(
        matches!(there.last(), Some(Ok(Event::Done(_)))),
        "{:?}",
        there.last()
    );
    assert_eq!(text_of(&there), format!("{prompt}w0"));

    let call = ScriptedCall::new("f", &["1", &"é".repeat(400_000), "2"]);
    server.script.set(Script {
        answer: Answer::Calls(vec![call]),
        ..Script::default()
    });
    asked.params.echo = false;
    asked.params.max_tokens = Some(4);
    let events = collect(asker.start(asked).await).await;
    let arguments: String = events
        .iter()
        .filter_map(|event| match event {
            Ok(Event::Call(call)) => Some(call.arguments.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(arguments.len(), 2 + 2 * 400_000);
    server.rests().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_reaches_the_server_within_a_step() {
    const STEP: Duration = Duration::from_millis(50);
    for keeps_books in [false, true] {
        let (asker, server) = pair(1 << 16, keeps_books);
        server.script.set(Script {
            delay: STEP,
            ..Script::words(1_000)
        });
        let mut events = asker.start(request(None)).await;
        for _ in 0..4 {
            events.next().await.expect("an event").expect("a good one");
        }
        let made = server.script.counts().tokens;
        let asked = Instant::now();
        drop(events);
        while !server.is_idle() {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(asked.elapsed() < STEP, "{:?}", asked.elapsed());
        assert!(server.script.counts().tokens <= made + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_yet_accepted_can_be_stopped_too() {
    let (asker, mut server) = pair(1 << 16, true);
    server
        .script
        .set(Script::failing(Fault::HangAfter { tokens: 0 }));
    let embedding = asker.backend.embed(kwaainet_core::EmbedRequest {
        model: EMBEDDER.into(),
        inputs: vec![kwaainet_core::EmbedInput::Text("x".into())],
        dimensions: None,
    });
    let given_up = tokio::time::timeout(Duration::from_secs(30), embedding).await;
    assert!(given_up.is_err(), "progress keeps it waiting");
    server.rests().await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_server_back_and_loses_nothing() {
    let (asker, mut server) = pair_of(Server::new(1 << 20), 256, true);
    server.script.set(Script::words(20_000));
    let mut events = asker.start(request(None)).await;
    for _ in 0..10 {
        events.next().await.expect("an event").expect("a good one");
    }
    let mut before = 0;
    let mut now = server.script.counts().tokens;
    while now != before {
        sleep(Duration::from_millis(50)).await;
        (before, now) = (now, server.script.counts().tokens);
    }
    assert!(now < 2_000, "{now} tokens were made for a reader of ten");
    let rest = collect(events).await;
    assert!(
        matches!(rest.last(), Some(Ok(Event::Done(usage))) if usage.completion_tokens == 20_000)
    );
    server.rests().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_stops_for_a_minute_goes_on() {
    let (asker, mut server) = pair_of(Server::new(1 << 20), 1 << 15, true);
    server.script.set(Script::words(20_000));
    let mut events = asker.start(request(None)).await;
    events.next().await.expect("an event").expect("a good one");
    sleep(Duration::from_secs(60)).await;
    assert!(server.script.counts().tokens < 10_000, "it was parked");
    // In the middle of waiting, too.
    assert!(futures_util::poll!(events.next()).is_ready());
    while futures_util::poll!(events.next()).is_ready() {}
    sleep(Duration::from_secs(60)).await;
    let rest = collect(events).await;
    assert!(
        matches!(rest.last(), Some(Ok(Event::Done(_)))),
        "{:?}",
        rest.last()
    );
    server.rests().await;
}

#[tokio::test]
async fn every_error_survives_the_trip() {
    let reason = || "it is so".to_owned();
    let errors = [
        BackendError::ModelNotFound(MODEL.into()),
        BackendError::ContextOverflow {
            prompt_tokens: 1,
            max_tokens: 2,
            context: 3,
            param: "max_completion_tokens",
        },
        BackendError::InputTooLong {
            param: "messages",
            bytes_max: 4,
        },
        BackendError::AudioTooLong { seconds_max: 5 },
        BackendError::Unsupported {
            param: "logprobs",
            reason: reason(),
        },
        BackendError::Invalid {
            param: "a door of a newer version",
            reason: reason(),
        },
        BackendError::Busy {
            reason: reason(),
            retry_after: Duration::from_millis(1_234),
        },
        BackendError::Upstream { reason: reason() },
        BackendError::Timeout { reason: reason() },
        BackendError::Internal(reason()),
    ];
    let (asker, mut server) = pair(1 << 16, true);
    for error in errors {
        let mut asked = request(None);
        if let BackendError::Invalid { param, .. } = &error {
            asked.params.max_tokens_param = param;
        }
        let fault = Fault::Refuse(error.clone());
        server.script.set(Script::failing(fault));
        assert_eq!(asker.refused(asked.clone()).await, error);

        let tokens = 3;
        server.script.set(Script::failing(Fault::FailAfter {
            tokens,
            error: error.clone(),
        }));
        let events = collect(asker.start(asked).await).await;
        assert_eq!(events.last(), Some(&Err(error)));
        assert_eq!(text_of(&events), "w0 w1 w2");
    }
    server.rests().await;
}

#[tokio::test]
async fn principals_of_the_asker_are_told_apart_and_not_named() {
    let (asker, mut server) = pair(1 << 16, false);
    let mut owner_there = async |name: &str| {
        let mut asked = request(Some(1));
        asked.owner = PrincipalId::new(name);
        collect(asker.start(asked).await).await;
        let seen = server.script.last_generate().expect("it was asked").owner;
        server.rests().await;
        seen.as_str().to_owned()
    };
    let alice = owner_there("key:alice").await;
    assert_eq!(owner_there("key:alice").await, alice);
    assert_ne!(owner_there("key:bob").await, alice);
    assert!(alice.starts_with("peer:") && !alice.contains("alice"));
}

#[tokio::test]
async fn many_streams_at_once_do_not_mix() {
    let backend = ScriptedBackend::builder("scripted")
        .generator(MODEL, 4_096)
        .build();
    let (asker, mut server) = pair_of(Server::of(backend), 512, true);
    server.script.set(Script::words(200));
    let streams = (0..32_u64).map(async |seed| {
        let mut asked = request(Some(100));
        asked.params.sampling.temperature = 0.7;
        asked.params.sampling.seed = Some(seed);
        let events = asker.start(asked.clone()).await;
        (asked, text_of(&collect(events).await))
    });
    let together = tokio::time::timeout(SOON, futures_util::future::join_all(streams));
    for (asked, text) in together.await.expect("soon") {
        let alone = collect(asker.start(asked).await).await;
        assert_eq!(text_of(&alone), text);
    }
    assert_eq!(server.rests().await, 64);
}
