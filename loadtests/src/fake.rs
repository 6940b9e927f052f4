//! A server that costs nothing: it answers in OpenAI's shapes without computing anything.
//!
//! As the upstream of a node it shows what the node itself adds; asked directly it shows what this
//! load generator and the machine add. It listens on loopback only and takes any model name.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use data_encoding::BASE64;
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Tokens of an answer when the request does not say.
const TOKENS_DEFAULT: u32 = 16;
const TOKENS_MAX: u32 = 100_000;
const DIMENSIONS: usize = 384;

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub struct Fake {
    /// Waited before each token; zero gives all at once.
    pub gap: Duration,
}

impl Fake {
    /// Serves until the process is told to stop.
    ///
    /// # Errors
    /// For an address that is not loopback or not free.
    pub async fn serve(self, address: SocketAddr) -> anyhow::Result<()> {
        ensure!(
            address.ip().is_loopback(),
            "the fake server listens on loopback only"
        );
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        crate::terminal::note(format!("the fake server listens on http://{address}"));
        let listener = listener.tap_io(|socket| {
            // Without it small pieces could wait for the acknowledgement of those before.
            let _as_it_was = socket.set_nodelay(true);
        });
        let stopped = async {
            // Without a signal handler the process ends on the signal all the same.
            let _told = tokio::signal::ctrl_c().await;
        };
        tokio::select! {
            served = async { axum::serve(listener, self.router()).await } => Ok(served?),
            () = stopped => Ok(()),
        }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/v1/models", get(models))
            .route("/v1/chat/completions", post(chat))
            .route("/v1/embeddings", post(embeddings))
            .with_state(self)
    }
}

#[derive(Deserialize)]
struct ChatAsk {
    model: String,
    messages: Vec<Message>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    stream: bool,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

#[derive(Deserialize)]
struct EmbedAsk {
    model: String,
    input: Vec<String>,
    encoding_format: Option<String>,
}

async fn models() -> Json<Value> {
    let model = json!({"id": "fake", "object": "model", "created": 0, "owned_by": "kwaai-load"});
    Json(json!({"object": "list", "data": [model]}))
}

async fn chat(State(fake): State<Fake>, Json(ask): Json<ChatAsk>) -> Response {
    if !ask.stream {
        let error = json!({
            "message": "this server only streams", "type": "invalid_request_error",
            "param": "stream", "code": "unsupported_value",
        });
        return (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response();
    }
    let wanted = ask.max_completion_tokens.or(ask.max_tokens);
    let tokens = wanted.unwrap_or(TOKENS_DEFAULT).min(TOKENS_MAX);
    let prompt_tokens: usize = ask.messages.iter().map(|m| words(&m.content)).sum();
    let usage = json!({
        "prompt_tokens": prompt_tokens, "completion_tokens": tokens,
        "total_tokens": prompt_tokens + tokens as usize,
    });

    let model = ask.model;
    let word = chunk(
        &model,
        json!([choice(json!({"content": " word"}), None)]),
        None,
    );
    let first = chunk(
        &model,
        json!([choice(json!({"role": "assistant", "content": ""}), None)]),
        None,
    );
    let last = chunk(&model, json!([choice(json!({}), Some("length"))]), None);
    let counted = chunk(&model, json!([]), Some(usage));
    let words = stream::iter(0..tokens).then(move |_| {
        let word = word.clone();
        async move {
            if !fake.gap.is_zero() {
                tokio::time::sleep(fake.gap).await;
            }
            word
        }
    });
    let end = [last, counted, Bytes::from_static(b"data: [DONE]\n\n")];
    let events = stream::iter([first]).chain(words).chain(stream::iter(end));
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(events.map(Ok::<_, Infallible>))).into_response()
}

async fn embeddings(Json(ask): Json<EmbedAsk>) -> Json<Value> {
    let component = (DIMENSIONS as f32).sqrt().recip();
    let vector = match ask.encoding_format.as_deref() {
        Some("base64") => json!(BASE64.encode(&component.to_le_bytes().repeat(DIMENSIONS))),
        _ => json!(vec![component; DIMENSIONS]),
    };
    let one = |index| json!({"object": "embedding", "index": index, "embedding": vector});
    let data: Vec<_> = (0..ask.input.len()).map(one).collect();
    let tokens: usize = ask.input.iter().map(|text| words(text)).sum();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Json(json!({"object": "list", "model": ask.model, "data": data, "usage": usage}))
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn choice(delta: Value, finish_reason: Option<&str>) -> Value {
    json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason})
}

/// One event.
fn chunk(model: &str, choices: Value, usage: Option<Value>) -> Bytes {
    let chunk = json!({
        "id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": model,
        "choices": choices, "usage": usage,
    });
    Bytes::from(format!("data: {chunk}\n\n"))
}

/// For tests: the app on a free port of this machine, until the test's runtime ends.
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the test's runtime owns the task and ends it"
)]
pub(crate) async fn serve_in_background(app: Router) -> crate::target::Target {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    let address = format!("http://{address}");
    crate::target::Target::new(&address, None, false).expect("it is loopback")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_listens_on_loopback_only() {
        let gap = Duration::ZERO;
        let outside = SocketAddr::from(([0, 0, 0, 0], 0));
        let refused = Fake { gap }.serve(outside).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("loopback")));
    }

    #[tokio::test]
    async fn it_refuses_what_it_does_not_do() {
        let gap = Duration::ZERO;
        let target = serve_in_background(Fake { gap }.router()).await;
        let body = json!({"model": "m", "messages": [], "stream": false});
        let refused = target.post("chat/completions", &body).await;
        let failure = refused.expect_err("it does not stream");
        assert_eq!(failure.words(), "400 unsupported_value");
    }
}
