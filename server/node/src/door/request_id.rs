//! Gives every request an id, a log span and its place in the metrics.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use kwaainet_core::random_id;
use tracing::Instrument;

use super::App;

/// Carries the id, in and out.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LENGTH_MAX: usize = 128;

/// A request's id, for answers that repeat it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

/// Takes the client's `x-request-id` if it is sane, makes one if not, and sends it back.
pub(crate) async fn tag(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(&HEADER)
        .filter(|id| is_sane(id))
        .cloned()
        .unwrap_or_else(|| {
            HeaderValue::from_str(&format!("req_{}", random_id()))
                .expect("letters and digits fit a header")
        });
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    // The route's pattern, not the path: a path is the client's own word and without bound.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unknown", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or(""), %method, route);
    let came = app.clock.monotonic();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = app.clock.monotonic().saturating_sub(came);
    app.metrics
        .request(&method, &route, response.status(), took);
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), "response head"));
    response.headers_mut().insert(HEADER, id);
    response
}

fn is_sane(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=LENGTH_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}
