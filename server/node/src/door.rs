//! The HTTP door: turns requests into a principal and a job, and events into OpenAI's shapes, or
//! those of the other protocols ([`dialect`]).
//!
//! Every route is registered together with its documentation, authenticated unless it stands in
//! [`auth::PUBLIC`], and answers errors through [`ApiError`]. Nothing is computed here.

mod anthropic;
mod audio;
mod audit;
mod auth;
mod batches;
mod body;
mod carbon;
mod chat;
mod completions;
mod constraints;
mod conversations;
mod couch;
mod credentials;
mod dialect;
mod docs;
mod doctor;
mod embeddings;
mod emissions;
mod error;
mod files;
mod footprint;
mod form;
mod format;
mod health;
mod identity;
mod logs;
mod membership;
mod models;
mod objects;
mod ollama;
mod paging;
mod params;
mod path;
mod peers;
mod privacy;
mod range;
mod recorded;
mod request_id;
mod rerank;
mod responses;
mod rewards;
mod route;
mod sign_in;
mod storage;
mod stream;
mod tokenize;
mod tooling;
mod unread;
mod unsupported;
mod vector_stores;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use kwaainet_audit::Holder;
use kwaainet_core::{Clock, Hallway, NodeId, is_loopback_origin};
use kwaainet_federation::PeerView;
use kwaainet_identity::NodeKey;
use kwaainet_store::Store;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use audio::RECORDINGS_AT_ONCE;
pub(crate) use auth::{returning, returning_for};
pub(crate) use batches::answer as batch_answer;
pub(crate) use body::to_value;
pub(crate) use couch::inside as couch_for;
pub use docs::document;
pub(crate) use doctor::report as doctor_report;
pub use error::ApiError;
pub(crate) use params::CHOICES_MAX;
pub use responses::Background;
pub(crate) use responses::end_unfinished;

use crate::audit::Audit;
use crate::bell::Bells;
use crate::carbon::CarbonDesk;
use crate::doctor::Network;
use crate::identity::Desk;
use crate::metrics::Metrics;
use crate::rewards::Paying;
use crate::shelf::Shelf;
use crate::storage::Storage;
use crate::vault::Vault;

/// What the handlers need.
pub struct App {
    /// Where jobs go.
    pub hallway: Arc<Hallway>,
    /// Where keys lie.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The models of this machine, where it has an engine.
    pub shelf: Option<Arc<Shelf>>,
    /// What is counted.
    pub metrics: Metrics,
    /// Why the node is not ready; none once it is.
    pub not_ready: watch::Receiver<Option<String>>,
    /// Bytes of a request body.
    pub body_bytes_max: usize,
    /// Kibibytes of bodies that are read and parsed at once, whoever sends them.
    pub body_budget: Semaphore,
    /// Where the bytes of files lie.
    pub vault: Arc<Vault>,
    /// Databases of documents.
    pub storage: Storage,
    /// Wake those who work in the background.
    pub bells: Bells,
    /// Searches in vector stores at once. Few, since each reads a whole store.
    pub searches: Semaphore,
    /// Recordings in memory at once.
    pub recordings: Semaphore,
    /// Bytes of a recording.
    pub recording_bytes_max: usize,
    /// Cancelled when running jobs have to end now; their clients are told.
    pub cut: CancellationToken,
    /// Responses that are made without their clients.
    pub background: Background,
    /// How long responses and conversations are kept.
    pub keep: Duration,
    /// How many bytes of them for each principal; the oldest go first.
    pub keep_bytes_max: i64,
    /// What signing in and credentials need.
    pub desk: Arc<Desk>,
    /// This node's name, if it takes part in a federation.
    pub node: Option<NodeId>,
    /// This node's key, unless it is sealed.
    pub key: Option<NodeKey>,
    /// Who is paid for what.
    pub paying: Paying,
    /// Where it is recorded who touched what.
    pub audit: Audit,
    /// Who of this node holds what about whom.
    pub holders: Vec<Arc<dyn Holder>>,
    /// The other members.
    pub peers: Option<watch::Receiver<Arc<Vec<PeerView>>>>,
    /// The way to them, for whoever looks after this node.
    pub network: Network,
    /// Energy and carbon.
    pub carbon: Arc<CarbonDesk>,
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
    let router = router
        .merge(docs::routes_of_docs())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(constraints::guard))
        .layer(from_fn(auth::permit))
        .layer(from_fn_with_state(Arc::clone(&app), recorded::record))
        .layer(from_fn_with_state(Arc::clone(&app), auth::authenticate))
        .layer(from_fn(dialect::speak))
        .layer(cors())
        .layer(from_fn(unread::announce))
        .layer(from_fn_with_state(Arc::clone(&app), request_id::tag))
        .with_state(app);
    // What comes before a path is matched cannot be a layer.
    let router = router.map_request(path::without_last_slash);
    Router::new().fallback_service(router.map_request(path::copy_as_post))
}

fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(docs::base())
        .routes(routes!(chat::create))
        .routes(routes!(completions::create))
        .routes(routes!(embeddings::create))
        .routes(routes!(audio::transcribe))
        .routes(routes!(audio::translate))
        .routes(routes!(rerank::create))
        .routes(routes!(rerank::create_v2))
        .routes(routes!(rerank::create_bare))
        .routes(routes!(files::list, files::create))
        .routes(routes!(files::show, files::delete))
        .routes(routes!(files::content))
        .routes(routes!(batches::list, batches::create))
        .routes(routes!(batches::show))
        .routes(routes!(batches::cancel))
        .routes(routes!(vector_stores::list, vector_stores::create))
        .routes(routes!(
            vector_stores::show,
            vector_stores::update,
            vector_stores::delete
        ))
        .routes(routes!(vector_stores::search::create))
        .routes(routes!(
            vector_stores::files::list,
            vector_stores::files::create
        ))
        .routes(routes!(
            vector_stores::files::show,
            vector_stores::files::update,
            vector_stores::files::delete
        ))
        .routes(routes!(vector_stores::files::content))
        .routes(routes!(vector_stores::batches::create))
        .routes(routes!(vector_stores::batches::show))
        .routes(routes!(vector_stores::batches::cancel))
        .routes(routes!(vector_stores::batches::list_files))
        .routes(routes!(models::list))
        .routes(routes!(models::show))
        .routes(routes!(models::show_owned))
        .routes(routes!(route::explain))
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
        .routes(routes!(peers::list))
        .routes(routes!(doctor::examine))
        .routes(routes!(carbon::node))
        .routes(routes!(carbon::request))
        .routes(routes!(carbon::report::report))
        .routes(routes!(carbon::best_window))
        .routes(routes!(emissions::by_location))
        .routes(routes!(emissions::by_locations))
        .routes(routes!(emissions::best))
        .routes(routes!(emissions::forecasts::current))
        .routes(routes!(emissions::forecasts::batch))
        .routes(routes!(emissions::average))
        .routes(routes!(emissions::average_batch))
        .merge(identity_routes())
        .routes(routes!(anthropic::create))
        .routes(routes!(anthropic::count_tokens))
        .merge(ollama::routes())
        .merge(audit::routes())
        .merge(privacy::routes())
        .merge(rewards::routes())
        .merge(couch::routes())
        .merge(storage::routes())
}

fn identity_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(sign_in::challenge))
        .routes(routes!(sign_in::verify))
        .routes(routes!(sign_in::sessions::list))
        .routes(routes!(sign_in::sessions::end))
        .routes(routes!(sign_in::capabilities::create))
        .routes(routes!(sign_in::capabilities::revoke))
        .routes(routes!(sign_in::passkeys::begin_registration))
        .routes(routes!(sign_in::passkeys::complete_registration))
        .routes(routes!(sign_in::passkeys::begin_login))
        .routes(routes!(sign_in::passkeys::complete_login))
        .routes(routes!(identity::node))
        .routes(routes!(identity::history))
        .routes(routes!(identity::well_known))
        .routes(routes!(identity::resolve))
        .routes(routes!(identity::me))
        .routes(routes!(identity::show_credential))
        .routes(routes!(identity::prepare))
        .routes(routes!(identity::links::list, identity::links::create))
        .routes(routes!(identity::links::delete))
        .routes(routes!(identity::links::succeed))
        .routes(routes!(credentials::issue))
        .routes(routes!(credentials::verify))
        .routes(routes!(credentials::verify_presentation))
        .routes(routes!(credentials::present))
        .routes(routes!(credentials::status))
        .routes(routes!(credentials::status_list))
}

/// Pages that this machine itself serves may read answers; a browser keeps them from all others.
fn cors() -> CorsLayer {
    let ours = |origin: &HeaderValue, _: &Parts| origin.to_str().is_ok_and(is_loopback_origin);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(ours))
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
        ])
        // PouchDB asks for it always. Nothing here lives on a cookie.
        .allow_credentials(true)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(
            [
                request_id::HEADER,
                dialect::REQUEST_ID,
                header::RETRY_AFTER,
                header::ETAG,
                header::CONTENT_RANGE,
                stream::JOB,
                stream::SERVED_BY,
                stream::CONTINUED,
                stream::INEXACT,
            ]
            .into_iter()
            .chain(footprint::HEADERS)
            .collect::<Vec<_>>(),
        )
}

async fn unknown_path(method: Method, uri: Uri) -> ApiError {
    let message = match ollama::absent(&method, uri.path()) {
        Some(message) => message.to_owned(),
        None => format!("Unknown URL: {method} {}", uri.path()),
    };
    ApiError::refused(StatusCode::NOT_FOUND, Some("unknown_url"), message)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    let code = Some("method_not_supported");
    ApiError::refused(StatusCode::METHOD_NOT_ALLOWED, code, message)
}
