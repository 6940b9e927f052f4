//! `/v1/audio/transcriptions` and `/v1/audio/translations`.

use axum::body::Body;
use axum::http::Request;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kwaainet::config::Config;
use kwaainet_core::{BackendError, SpeechTask};
use kwaainet_testkit::{Fault, Script};
use serde_json::json;

use crate::files::form;
use crate::harness::{LISTENER, MODEL, TestNode};

const TRANSCRIBE: &str = "/v1/audio/transcriptions";
const TRANSLATE: &str = "/v1/audio/translations";

fn ask(path: &str, fields: &[(&str, &str)], file: Option<&[u8]>) -> Request<Body> {
    let mut request = form(fields, file.map(|bytes| ("speech.wav", bytes)));
    *request.uri_mut() = path.parse().expect("it is a path");
    request
}

#[tokio::test]
async fn a_recording_becomes_json_text_or_subtitles() {
    let node = TestNode::new().await;
    node.script.set(Script::words(5));
    let model = ("model", LISTENER);
    let answer = node.ask(ask(TRANSCRIBE, &[model], Some(b"sound"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let usage = json!({"type": "duration", "seconds": 6});
    assert_eq!(
        answer.json(),
        json!({"text": "w0 w1 w2 w3 w4", "usage": usage})
    );

    for (format, expected) in [
        ("text", "w0 w1 w2 w3 w4\n"),
        (
            "srt",
            "1\n00:00:00,000 --> 00:00:04,000\nw0 w1 w2 w3\n\n2\n00:00:04,000 --> 00:00:05,000\nw4\n\n",
        ),
        (
            "vtt",
            "WEBVTT\n\n00:00:00.000 --> 00:00:04.000\nw0 w1 w2 w3\n\n00:00:04.000 --> 00:00:05.000\nw4\n\n",
        ),
    ] {
        let fields = [model, ("response_format", format)];
        let answer = node.ask(ask(TRANSCRIBE, &fields, Some(b"sound"))).await;
        assert_eq!(answer.text, expected);
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.headers["x-kwaai-served-by"], "local");
    }
    assert_eq!(node.settled().await, [4, 0, 0]);
}

#[tokio::test]
async fn what_is_asked_reaches_the_backend() {
    let node = TestNode::new().await;
    let fields = [
        ("model", LISTENER),
        ("language", "fr"),
        ("prompt", "Names: <|endoftext|>"),
        ("temperature", "0.5"),
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "segment"),
        ("chunking_strategy", "auto"),
        ("stream", "false"),
        ("nobody_knows", "this"),
    ];
    let answer = node
        .ask(ask(TRANSCRIBE, &fields, Some(b"\0\xffsound")))
        .await;
    let answer = answer.json();
    assert_eq!(
        (&answer["task"], &answer["language"]),
        (&json!("transcribe"), &json!("fr"))
    );
    assert_eq!(answer["duration"], 4.5);
    let segment = json!({
        "id": 0, "seek": 0, "start": 0.0, "end": 4.0, "text": " w0 w1 w2 w3", "tokens": [0, 1, 2, 3],
        "temperature": 0.5, "avg_logprob": -0.25, "compression_ratio": 1.5, "no_speech_prob": 0.0,
    });
    assert_eq!(answer["segments"], json!([segment]));
    let speech = node.script.last_transcribe().expect("it came").speech;
    assert_eq!(&*speech.audio, b"\0\xffsound");
    assert_eq!(speech.task, SpeechTask::Transcribe);
    assert_eq!(speech.prompt.as_deref(), Some("Names: <|endoftext|>"));
    assert_eq!(speech.temperature, 0.5);

    let fields = [("model", LISTENER), ("response_format", "verbose_json")];
    let answer = node
        .ask(ask(TRANSLATE, &fields, Some(b"sound")))
        .await
        .json();
    assert_eq!(
        (&answer["task"], &answer["language"]),
        (&json!("translate"), &json!("german"))
    );
    let speech = node.script.last_transcribe().expect("it came").speech;
    assert_eq!(
        (speech.task, speech.language),
        (SpeechTask::Translate, None)
    );
    assert_eq!(node.settled().await, [2, 0, 0]);
}

#[tokio::test]
async fn bad_fields_are_named() {
    let node = TestNode::new().await;
    let long = "x".repeat(20_000);
    for (name, value, code) in [
        ("response_format", "xml", "invalid_value"),
        ("response_format", "diarized_json", "unsupported_parameter"),
        ("temperature", "hot", "invalid_type"),
        ("temperature", "1.5", "decimal_above_max_value"),
        ("stream", "true", "unsupported_parameter"),
        ("stream", "maybe", "invalid_type"),
        ("chunking_strategy", "server_vad", "unsupported_parameter"),
        (
            "chunking_strategy[type]",
            "server_vad",
            "unsupported_parameter",
        ),
        ("include[]", "logprobs", "unsupported_parameter"),
        ("known_speaker_names[]", "ann", "unsupported_parameter"),
        ("timestamp_granularities[]", "word", "unsupported_parameter"),
        ("timestamp_granularities[]", "letter", "invalid_value"),
        ("timestamp_granularities[]", "segment", "invalid_value"),
        ("prompt", &long, "invalid_value"),
    ] {
        let fields = [("model", LISTENER), (name, value)];
        let answer = node.ask(ask(TRANSCRIBE, &fields, Some(b"sound"))).await;
        let (status, _, got, param) = answer.error();
        assert_eq!(
            (status, got.as_deref()),
            (400, Some(code)),
            "{name}={value:.20}"
        );
        let expected = name.trim_end_matches("[]");
        assert_eq!(param.expect("a name").trim_end_matches("[]"), expected);
    }
    for (fields, file, param) in [
        (&[("model", LISTENER)][..], None, "file"),
        (&[("model", LISTENER)], Some(&b""[..]), "file"),
        (&[], Some(b"sound"), "model"),
    ] {
        let answer = node.ask(ask(TRANSLATE, fields, file)).await;
        let (status, _, _, at) = answer.error();
        assert_eq!((status, at.as_deref()), (400, Some(param)));
    }
    let answer = node.post(TRANSCRIBE, json!({"model": LISTENER})).await;
    assert_eq!(
        answer.error().2.as_deref(),
        Some("unsupported_content_type")
    );
    assert_eq!(node.settled().await, [0, 0, 0], "none of it was a job");
}

#[tokio::test]
async fn models_that_are_not_there_or_cannot_hear_are_refused() {
    let node = TestNode::new().await;
    let answer = node
        .ask(ask(TRANSCRIBE, &[("model", "whisper-1")], Some(b"sound")))
        .await;
    let (status, _, code, param) = answer.error();
    assert_eq!((status, code.as_deref()), (404, Some("model_not_found")));
    assert_eq!(param.as_deref(), Some("model"));
    let answer = node
        .ask(ask(TRANSCRIBE, &[("model", MODEL)], Some(b"sound")))
        .await;
    assert_eq!(
        (answer.error().0, answer.error().3.as_deref()),
        (400, Some("model"))
    );
    let body = json!({"model": LISTENER, "input": "text"});
    let answer = node.post("/v1/embeddings", body).await;
    assert_eq!(
        (answer.error().0, answer.error().3.as_deref()),
        (400, Some("model"))
    );
    let shown = node.get(&format!("/v1/models/{LISTENER}")).await.json();
    assert_eq!(shown["kind"], "transcribe");
}

#[tokio::test]
async fn what_the_backend_says_of_a_recording_is_told() {
    let node = TestNode::new().await;
    let fields = [("model", LISTENER)];
    let unreadable = BackendError::Invalid {
        param: "file",
        reason: "it is no recording".into(),
    };
    let unknown = BackendError::Invalid {
        param: "language",
        reason: "no such language".into(),
    };
    let long = BackendError::AudioTooLong { seconds_max: 60 };
    for (error, status, code, param) in [
        (unreadable, 400, "invalid_value", "file"),
        (unknown, 400, "invalid_value", "language"),
        (long, 413, "audio_too_long", "file"),
    ] {
        node.script.set(Script::failing(Fault::Refuse(error)));
        let answer = node.ask(ask(TRANSCRIBE, &fields, Some(b"sound"))).await;
        let (got, _, said, at) = answer.error();
        assert_eq!(
            (got, said.as_deref(), at.as_deref()),
            (status, Some(code), Some(param))
        );
    }
    assert_eq!(node.settled().await, [0, 3, 0]);
}

#[tokio::test]
async fn large_recordings_and_too_many_are_turned_away() {
    let mut config = Config::default();
    config.audio.file_mib = 1;
    config.limits.slots = 16;
    let node = TestNode::with(config).await;
    let large = vec![7; (1 << 20) + 1];
    let fields = [("model", LISTENER)];
    let answer = node.ask(ask(TRANSCRIBE, &fields, Some(&large))).await;
    let (status, _, code, _) = answer.error();
    assert_eq!((status, code.as_deref()), (413, Some("request_too_large")));
    let fits = node.ask(ask(TRANSCRIBE, &fields, Some(&large[1..]))).await;
    assert_eq!(fits.status, 200);

    // One that left would else go on; the harness checks that none does.
    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 0 }));
    let many = (0..9).map(|_| node.ask(ask(TRANSCRIBE, &fields, Some(b"sound"))));
    let mut many: FuturesUnordered<_> = many.collect();
    let refused = many.next().await.expect("one of them");
    assert_eq!(refused.error().0, 503);
    let others = tokio::time::timeout(std::time::Duration::from_millis(300), many.next());
    assert!(others.await.is_err(), "eight hear on");
    assert_eq!(node.script.counts().alive, 8);
    drop(many);
    assert_eq!(node.settled().await, [1, 0, 8]);
}
