//! `GET /healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kwaainet_openapi::{Health, Readiness};

use super::App;

/// Whether the process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "node",
    operation_id = "healthz",
    responses((status = 200, description = "It lives.", body = Health))
)]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health {
        status: "ok",
        version: crate::VERSION,
    })
}

/// Whether requests are served: the models that were named are loaded, and the node is not
/// shutting down.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "node",
    operation_id = "readyz",
    responses(
        (status = 200, description = "It is ready.", body = Readiness),
        (status = 503, description = "It is not, or not any more.", body = Readiness),
    )
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Readiness>) {
    let reason = if app.hallway.admission().is_draining() {
        Some("the node is shutting down".to_owned())
    } else {
        app.not_ready.borrow().clone()
    };
    let ready = reason.is_none();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, reason }))
}

/// What is counted, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "node",
    operation_id = "metrics",
    responses((status = 200, description = "Prometheus' text format.", body = String,
        content_type = "text/plain"))
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.render(app.hallway.admission());
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
