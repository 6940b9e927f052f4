//! Upstreams that fail before the first word: the error comes at once, in the right words, and
//! shows neither address nor key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use axum::routing::{any, post};
use kwaainet_core::{Backend, BackendError, EmbedInput, EmbedRequest};
use kwaainet_http::Secret;

use crate::server::{answering, backend, config, events, pieces, refusal, serve, then_silence};

fn status(status: u16, body: &'static str) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("retry-after", "7")
        .body(Body::from(body))
        .expect("the response is well-formed")
}

fn upstream(error: &BackendError) -> &str {
    match error {
        BackendError::Upstream { reason } => reason,
        other => panic!("it is no fault of the upstream: {other:?}"),
    }
}

#[tokio::test]
async fn a_status_becomes_the_right_error() {
    let refused = refusal(&answering(|| status(401, "boom")).await).await;
    assert_eq!(upstream(&refused), "it refused our credentials");
    let refused = refusal(&answering(|| status(500, "boom")).await).await;
    assert_eq!(upstream(&refused), "it reported an error (status 500)");
    let refused = refusal(&answering(|| status(404, "")).await).await;
    assert_eq!(refused, BackendError::ModelNotFound("ours".into()));
    let refused = refusal(&answering(|| status(429, "")).await).await;
    let BackendError::Busy { retry_after, .. } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(retry_after, Duration::from_secs(7));
    let body = r#"{"error":{"message":"too hot","param":"temperature"}}"#;
    let refused = refusal(&answering(move || status(400, body)).await).await;
    let too_hot = BackendError::Invalid {
        param: "temperature",
        reason: "too hot".into(),
    };
    assert_eq!(refused, too_hot);
}

#[tokio::test]
async fn an_error_that_is_the_first_word_can_still_be_rerouted() {
    let body = "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\"}}\n\n";
    let refused = refusal(&answering(move || events(pieces(body, 64))).await).await;
    assert_eq!(upstream(&refused), "it reported an error (status 500)");
    let refused = refusal(&answering(|| events(pieces("", 1))).await).await;
    assert_eq!(
        upstream(&refused),
        "its stream ended before the answer was complete"
    );
    let json = || {
        let mut response = status(200, r#"{"error":{"message":"x","code":"model_not_found"}}"#);
        let kind = "application/json".parse().expect("it is a header");
        response.headers_mut().insert("content-type", kind);
        response
    };
    let refused = refusal(&answering(json).await).await;
    assert_eq!(refused, BackendError::ModelNotFound("ours".into()));
}

#[tokio::test]
async fn nobody_there_is_said_without_an_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let backend = backend(config(&format!("http://{address}/v1")));
    let refused = refusal(&backend).await;
    assert_eq!(upstream(&refused), "it cannot be reached");
    assert!(refused.is_retryable());
    backend.refresh().await;
    let unavailable = backend.report().unavailable.expect("it is down");
    assert_eq!(
        unavailable,
        "the upstream server failed: it cannot be reached"
    );
}

#[tokio::test]
async fn waiting_has_an_end() {
    let left = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&left);
    let router = Router::new()
        .route(
            "/v1/chat/completions",
            post(move || std::future::ready(events(then_silence(": soon\n\n", &flag)))),
        )
        .route("/v1/embeddings", any(std::future::pending::<()>))
        .route("/v1/models", any(std::future::pending::<()>));
    let mut config = config(&serve(router).await);
    config.first_byte_timeout = Duration::from_millis(50);
    let backend = backend(config);
    let timeout = BackendError::Timeout {
        reason: "we waited 50 ms for its first words".into(),
    };
    assert_eq!(refusal(&backend).await, timeout);
    let request = EmbedRequest {
        model: "ours".into(),
        inputs: vec![EmbedInput::Text("x".into())],
        dimensions: None,
    };
    let refused = backend.embed(request).await;
    assert!(
        matches!(refused, Err(BackendError::Timeout { .. })),
        "{refused:?}"
    );
    backend.refresh().await;
    let unavailable = backend.report().unavailable.expect("it hangs");
    assert!(
        unavailable.contains("did not answer in time"),
        "{unavailable}"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_stays_here() {
    let seen = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&seen);
    let elsewhere = any(move || {
        flag.store(true, Ordering::SeqCst);
        std::future::ready(())
    });
    let elsewhere = serve(Router::new().fallback(elsewhere)).await;
    let redirect = move || {
        let mut response = status(307, "");
        let location = elsewhere.parse().expect("it is a header");
        response.headers_mut().insert("location", location);
        response
    };
    let refused = refusal(&answering(redirect).await).await;
    assert_eq!(
        upstream(&refused),
        "it redirects elsewhere, which is not followed"
    );
    assert!(!seen.load(Ordering::SeqCst));
}

#[tokio::test]
async fn the_key_is_sent_and_never_said() {
    let says_key = post(|headers: HeaderMap| async move {
        let key = headers["authorization"]
            .to_str()
            .expect("it is text")
            .to_owned();
        let body = serde_json::json!({"error": {"message": format!("bad key {key}")}});
        (axum::http::StatusCode::BAD_REQUEST, body.to_string())
    });
    let url = serve(Router::new().route("/v1/chat/completions", says_key)).await;
    let mut config = config(&url);
    config.api_key = Some(Secret::new("sk-secret"));
    let refused = refusal(&backend(config)).await;
    assert_eq!(refused.to_string(), "bad key Bearer …");
}

#[tokio::test]
async fn an_endless_line_is_cut_off() {
    let endless = || {
        events(futures_util::stream::repeat_with(|| {
            vec![b'x'; 64 << 10].into()
        }))
    };
    let refused = refusal(&answering(endless).await).await;
    assert_eq!(upstream(&refused), "an event is longer than 1048576 bytes");
}
