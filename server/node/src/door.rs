//! The HTTP door: turns requests into a principal and a job, and events into OpenAI's shapes.
//!
//! Every route is registered together with its documentation, authenticated unless it stands in
//! [`auth::PUBLIC`], and answers errors through [`ApiError`]. Nothing is computed here.

mod auth;
mod body;
mod chat;
mod completions;
mod conversations;
mod docs;
mod embeddings;
mod error;
mod health;
mod models;
mod params;
mod request_id;
mod responses;
mod stream;
mod tokenize;
mod tooling;
mod unsupported;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use kwaainet_core::{Clock, Hallway, is_loopback_origin};
use kwaainet_store::Store;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use docs::document;
pub use error::ApiError;
pub(crate) use params::CHOICES_MAX;
pub use responses::Background;
pub(crate) use responses::end_unfinished;

use crate::metrics::Metrics;

/// What the handlers need.
pub struct App {
    /// Where jobs go.
    pub hallway: Hallway,
    /// Where keys lie.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// Why the node is not ready; none once it is.
    pub not_ready: watch::Receiver<Option<String>>,
    /// Bytes of a request body.
    pub body_bytes_max: usize,
    /// Kibibytes of bodies that are read and parsed at once, whoever sends them.
    pub body_budget: Semaphore,
    /// Cancelled when running jobs have to end now; their clients are told.
    pub cut: CancellationToken,
    /// Responses that are made without their clients.
    pub background: Background,
    /// How long responses and conversations are kept.
    pub keep: Duration,
}

impl App {
    /// Until when something that is used now is kept: milliseconds since 1970.
    pub(crate) fn keeps_until_ms(&self) -> i64 {
        self.clock.unix_ms() + self.keep.as_millis() as i64
    }
}

/// All routes over this state.
pub fn router(app: Arc<App>) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .merge(docs::routes_of_docs())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), auth::authenticate))
        .layer(cors())
        .layer(from_fn_with_state(Arc::clone(&app), request_id::tag))
        .with_state(app)
}

fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(docs::base())
        .routes(routes!(chat::create))
        .routes(routes!(completions::create))
        .routes(routes!(embeddings::create))
        .routes(routes!(models::list))
        .routes(routes!(models::show))
        .routes(routes!(models::show_owned))
        .routes(routes!(tokenize::tokenize))
        .routes(routes!(tokenize::detokenize))
        .routes(routes!(responses::create))
        .routes(routes!(responses::input_tokens))
        .routes(routes!(responses::retrieve, responses::delete))
        .routes(routes!(responses::cancel))
        .routes(routes!(responses::input_items))
        .routes(routes!(conversations::create))
        .routes(routes!(
            conversations::retrieve,
            conversations::update,
            conversations::delete
        ))
        .routes(routes!(
            conversations::list_items,
            conversations::create_items
        ))
        .routes(routes!(
            conversations::retrieve_item,
            conversations::delete_item
        ))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
}

/// Pages that this machine itself serves may read answers; a browser keeps them from all others.
fn cors() -> CorsLayer {
    let ours = |origin: &HeaderValue, _: &Parts| origin.to_str().is_ok_and(is_loopback_origin);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(ours))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([request_id::HEADER, header::RETRY_AFTER])
}

async fn unknown_path(method: Method, uri: Uri) -> ApiError {
    let message = format!("Unknown URL: {method} {}", uri.path());
    ApiError::bad_request(StatusCode::NOT_FOUND, Some("unknown_url"), message)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    let code = Some("method_not_supported");
    ApiError::bad_request(StatusCode::METHOD_NOT_ALLOWED, code, message)
}
