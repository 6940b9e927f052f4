//! Small servers that say exactly what a test wants, and a client for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Response, header};
use axum::routing::post;
use futures_util::{Stream, StreamExt, stream};
use kwaainet_core::{
    Backend, BackendError, Event, EventStream, GenerateParams, GenerateRequest, Message, ModelId,
    PrincipalId, Prompt, Role,
};
use kwaainet_http::{HttpBackend, HttpConfig};

/// Serves until the test ends, and gives the base URL.
#[expect(
    clippy::disallowed_methods,
    reason = "it lives as long as its test's runtime"
)]
pub(crate) async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("the loopback interface has a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async { axum::serve(listener, router).await });
    format!("http://{address}/v1")
}

/// A client with one model, `ours`, which the server calls `theirs`.
pub(crate) fn config(base_url: &str) -> HttpConfig {
    let mut config = HttpConfig::new("up", base_url);
    config.models.insert(ModelId::new("ours"), "theirs".into());
    config
}

pub(crate) fn backend(config: HttpConfig) -> HttpBackend {
    HttpBackend::new(config).expect("the configuration is good")
}

/// A server that answers every chat with what this function makes, and a client for it.
pub(crate) async fn answering<F>(answer: F) -> HttpBackend
where
    F: Fn() -> Response<Body> + Clone + Send + Sync + 'static,
{
    let chat = post(move || std::future::ready(answer()));
    let url = serve(Router::new().route("/v1/chat/completions", chat)).await;
    backend(config(&url))
}

/// An event stream of these pieces, each sent by itself.
pub(crate) fn events<S>(pieces: S) -> Response<Body>
where
    S: Stream<Item = Bytes> + Send + 'static,
{
    // A pause lets each piece out before the next is there.
    let pieces = pieces.then(|piece| async {
        tokio::task::yield_now().await;
        Ok::<_, std::convert::Infallible>(piece)
    });
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(Body::from_stream(pieces))
        .expect("the response is well-formed")
}

/// Pieces of this size, and then the end.
pub(crate) fn pieces(text: &str, size: usize) -> impl Stream<Item = Bytes> + Send + 'static {
    let pieces: Vec<Bytes> = text
        .as_bytes()
        .chunks(size)
        .map(Bytes::copy_from_slice)
        .collect();
    stream::iter(pieces)
}

/// These bytes and then silence. The flag turns true when the client has left.
pub(crate) fn then_silence(
    text: &str,
    left: &Arc<AtomicBool>,
) -> impl Stream<Item = Bytes> + Send + 'static {
    struct Leaving(Arc<AtomicBool>);
    impl Drop for Leaving {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let guard = Leaving(Arc::clone(left));
    let silence = stream::once(async move {
        let _guard = guard;
        std::future::pending::<Bytes>().await
    });
    pieces(text, text.len().max(1)).chain(silence)
}

/// These bytes and then, for ever, the others at short intervals.
pub(crate) fn then_again(
    text: &str,
    again: &'static str,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let repeats = stream::repeat(again).then(|again| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Bytes::from_static(again.as_bytes())
    });
    pieces(text, text.len().max(1)).chain(repeats)
}

/// One line of a chat's stream.
pub(crate) fn line(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

/// The end of a chat's stream.
pub(crate) const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\
     \"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

pub(crate) fn chat() -> GenerateRequest {
    GenerateRequest {
        model: "ours".into(),
        prompt: Prompt::Chat(vec![Message::new(Role::User, "hello")].into()),
        params: GenerateParams::default(),
        owner: PrincipalId::operator(),
        resume: None,
    }
}

pub(crate) async fn start(backend: &HttpBackend) -> EventStream {
    let started = backend.generate(chat()).await;
    started.unwrap_or_else(|error| panic!("it was refused: {error}"))
}

/// Why a chat was refused before any event.
pub(crate) async fn refusal(backend: &HttpBackend) -> BackendError {
    let refused = backend.generate(chat()).await;
    refused.err().expect("it has to be refused")
}

/// The text of a chat, and its last item.
pub(crate) async fn read(mut stream: EventStream) -> (String, Result<Event, BackendError>) {
    let mut text = String::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
        match next
            .expect("it does not hang")
            .expect("it ends with Done or an error")
        {
            Ok(Event::Delta(delta)) => text.push_str(&delta.text),
            Ok(Event::Started { .. } | Event::Finished { .. }) => {}
            last => {
                assert!(stream.next().await.is_none(), "nothing follows the end");
                return (text, last);
            }
        }
    }
}
