//! The scripted backend does what its script says, and passes the suite.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use kwaainet_core::{
    Backend, BackendError, EmbedInput, EmbedRequest, Event, EventStream, FinishReason,
    GenerateParams, GenerateRequest, Message, PrincipalId, Prompt, Role, Usage,
};
use kwaainet_testkit::{
    Answer, EmbedSubject, Fault, GenerateSubject, Script, ScriptedBackend, Subject, conformance,
};

fn backend() -> ScriptedBackend {
    ScriptedBackend::builder("fake")
        .generator("talker", 64)
        .embedder("embedder", 16, 8)
        .build()
}

fn request(max_tokens: Option<u32>) -> GenerateRequest {
    GenerateRequest {
        model: "talker".into(),
        prompt: Prompt::Text("three little words".into()),
        params: GenerateParams {
            max_tokens,
            ..GenerateParams::default()
        },
        owner: PrincipalId::operator(),
        resume: None,
    }
}

async fn start(backend: &ScriptedBackend, request: GenerateRequest) -> EventStream {
    let started = backend.generate(request).await;
    started.unwrap_or_else(|error| panic!("{error}"))
}

/// The text of all choices in one, how the last of them ended, and the usage.
async fn answer(
    backend: &ScriptedBackend,
    request: GenerateRequest,
) -> (String, FinishReason, Usage) {
    let mut events = start(backend, request).await;
    let (mut text, mut last) = (String::new(), FinishReason::ContentFilter);
    while let Some(event) = events.next().await {
        match event.expect("nothing fails here") {
            Event::Started { .. } => {}
            Event::Delta(delta) => text.push_str(&delta.text),
            Event::Call(call) => text.push_str(&call.arguments),
            Event::Finished { reason, .. } => last = reason,
            Event::Done(usage) => return (text, last, usage),
        }
    }
    panic!("no Done");
}

#[tokio::test]
async fn it_passes_the_suite() {
    let backend = Arc::new(backend());
    let handle = backend.handle();
    let user = Message::new(Role::User, "hello there");
    let subject = Subject {
        generate: Some(GenerateSubject {
            model: "talker".into(),
            context: 64,
            prompts: vec![
                Prompt::Chat(vec![user].into()),
                Prompt::Text("once upon".into()),
            ],
            counts_tokens: true,
            logprobs: true,
            seed: true,
        }),
        embed: Some(EmbedSubject {
            model: "embedder".into(),
            context: 16,
            dimensions: true,
        }),
        tokenize: true,
        ..Subject::new(move || std::future::ready(handle.counts().alive == 0))
    };
    conformance(Arc::clone(&backend) as Arc<dyn Backend>, subject.clone()).await;

    let euro_and_smile = "a€ 😀 bc d€e fg hi jk lm".bytes().map(|byte| vec![byte]);
    backend.handle().set(Script {
        answer: Answer::Pieces(euro_and_smile.collect()),
        ..Script::default()
    });
    let mut bytes = subject;
    let generate = bytes.generate.as_mut().expect("set above");
    // Seeds do not change these pieces, and `seed: false` would have to be refused.
    bytes.embed = None;
    generate.prompts.truncate(1);
    let fails = std::panic::AssertUnwindSafe(conformance(backend, bytes));
    let message = fails
        .catch_unwind()
        .await
        .expect_err("all seeds say the same");
    let message = message.downcast_ref::<String>().expect("a formatted panic");
    assert!(
        message.contains("seeds 1 to 9 all gave one text"),
        "{message}"
    );
}

#[tokio::test]
async fn words_are_numbered_and_cut_at_max_tokens() {
    let backend = backend();
    let (text, reason, usage) = answer(&backend, request(Some(3))).await;
    assert_eq!((text.as_str(), reason), ("w0 w1 w2", FinishReason::Length));
    let expected = Usage {
        prompt_tokens: 3,
        cached_tokens: 0,
        completion_tokens: 3,
    };
    assert_eq!(usage, expected);
    backend.handle().set(Script::words(2));
    let (text, reason, _) = answer(&backend, request(None)).await;
    assert_eq!((text.as_str(), reason), ("w0 w1", FinishReason::Stop));
    backend.handle().set(Script::words(u32::MAX));
    let (_, reason, usage) = answer(&backend, request(None)).await;
    assert_eq!(reason, FinishReason::Length);
    assert_eq!(usage.completion_tokens, 61, "the context is full");
}

#[tokio::test]
async fn an_echoed_prompt_comes_first_and_counts_nothing() {
    let backend = backend();
    let mut echoing = request(Some(1));
    echoing.params.echo = true;
    echoing.params.logprobs = Some(1);
    echoing.params.n = 2;
    let events: Vec<_> = start(&backend, echoing.clone()).await.collect().await;
    for choice in 0..2 {
        let deltas = events.iter().filter_map(|event| match event {
            Ok(Event::Delta(delta)) if delta.choice == choice => Some(delta),
            _ => None,
        });
        let deltas: Vec<_> = deltas.collect();
        let texts: Vec<_> = deltas.iter().map(|delta| delta.text.as_str()).collect();
        assert_eq!(texts, ["three", " little", " words", "w0"]);
        let tokens: Vec<_> = deltas.iter().map(|delta| delta.tokens).collect();
        assert_eq!(tokens, [0, 0, 0, 1]);
        let first = &deltas[0].logprobs[0];
        assert!(first.chosen.logprob.is_nan() && first.top.is_empty());
        let later = deltas[1..].iter().flat_map(|delta| &delta.logprobs);
        assert!(later.into_iter().all(|token| token.chosen.logprob <= 0.0));
    }

    echoing.params.n = 1;
    echoing.params.max_tokens = Some(0);
    echoing.prompt = Prompt::Tokens(vec![7, 8]);
    let (text, reason, usage) = answer(&backend, echoing.clone()).await;
    assert_eq!((text.as_str(), reason), ("w7 w8", FinishReason::Length));
    assert_eq!(usage.completion_tokens, 0);

    echoing.prompt = Prompt::Chat(vec![Message::new(Role::User, "hi")].into());
    let refused = backend.generate(echoing).await.err();
    assert!(matches!(
        refused,
        Some(BackendError::Unsupported { param: "echo", .. })
    ));
}

#[tokio::test]
async fn the_handle_counts_and_remembers() {
    let backend = backend();
    let handle = backend.handle();
    let mut events = start(&backend, request(Some(3))).await;
    for _ in 0..3 {
        events.next().await;
    }
    let counts = handle.counts();
    assert_eq!((counts.started, counts.alive, counts.tokens), (1, 1, 2));
    drop(events);
    assert_eq!(handle.counts().alive, 0);

    let ended = start(&backend, request(Some(1))).await;
    let events: Vec<_> = ended.collect().await;
    assert_eq!(events.len(), 4);
    let counts = handle.counts();
    assert_eq!((counts.started, counts.alive, counts.tokens), (2, 0, 3));
    let last = handle.last_generate().expect("there was one");
    assert_eq!(last.params.max_tokens, Some(1));
}

#[tokio::test]
async fn a_stream_is_over_for_the_counts_before_its_last_event_is_read() {
    let backend = backend();
    let mut events = start(&backend, request(Some(1))).await;
    while let Some(event) = events.next().await {
        let over = matches!(event, Ok(Event::Done(_)));
        assert_eq!(backend.handle().counts().alive, u64::from(!over));
    }
}

#[tokio::test]
async fn faults_come_when_the_script_says() {
    let backend = backend();
    let handle = backend.handle();
    handle.set(Script::busy(Duration::from_secs(7)));
    let refused = backend.generate(request(None)).await.err();
    let Some(BackendError::Busy { retry_after, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(retry_after, Duration::from_secs(7));
    assert_eq!(handle.counts().started, 0);

    let error = BackendError::Internal("it broke".into());
    handle.set(Script::failing(Fault::FailAfter {
        tokens: 2,
        error: error.clone(),
    }));
    let events: Vec<_> = start(&backend, request(None)).await.collect().await;
    assert_eq!(events.len(), 4, "Started, two deltas, the error");
    assert_eq!(events[3], Err(error));
    assert_eq!(handle.counts().alive, 0);

    handle.set(Script::failing(Fault::HangAfter { tokens: 1 }));
    let mut events = start(&backend, request(None)).await;
    events.next().await;
    events.next().await;
    assert_eq!(events.next().now_or_never(), None);
    assert_eq!(handle.counts().alive, 1);
    drop(events);
    assert_eq!(handle.counts().alive, 0);
}

#[tokio::test(start_paused = true)]
async fn each_token_takes_its_time() {
    let backend = backend();
    backend.handle().set(Script {
        delay: Duration::from_millis(50),
        ..Script::words(4)
    });
    let begin = tokio::time::Instant::now();
    let mut request = request(Some(4));
    request.params.n = 2;
    answer(&backend, request).await;
    assert_eq!(begin.elapsed(), Duration::from_millis(8 * 50));
}

#[tokio::test]
async fn an_embedding_can_fail_and_hang_too() {
    let backend = backend();
    let ask = || {
        backend.embed(EmbedRequest {
            model: "embedder".into(),
            inputs: vec![EmbedInput::Text("w5".into()), EmbedInput::Tokens(vec![5])],
            dimensions: Some(2),
        })
    };
    let embeddings = ask().await.expect("it embeds");
    assert_eq!(
        embeddings.vectors[0], embeddings.vectors[1],
        "w5 has the id 5"
    );
    assert_eq!(embeddings.prompt_tokens, 2);

    let error = BackendError::Internal("it broke".into());
    let handle = backend.handle();
    handle.set(Script::failing(Fault::FailAfter {
        tokens: 0,
        error: error.clone(),
    }));
    assert_eq!(ask().await, Err(error));
    handle.set(Script::failing(Fault::HangAfter { tokens: 0 }));
    let mut hangs = ask();
    assert_eq!((&mut hangs).now_or_never(), None);
    assert_eq!(handle.counts().alive, 1);
    drop(hangs);
    assert_eq!(handle.counts().alive, 0);
}
