//! What is served: by the map, or by the upstream's own list.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use kwaainet_core::{Backend, BackendError, ModelId, ModelKind};
use kwaainet_http::{HttpBackend, HttpConfig};

use crate::server::{backend, chat, config, serve};

const LIST: &str = r#"{"object":"list","data":[
    {"id":"theirs","object":"model","created":1700000000,"max_model_len":4096},
    {"id":"other/model","created":null,"context_length":4e9,"context_window":[]},
    {"object":"nameless"},7]}"#;

async fn listing(status: u16, body: &'static str) -> String {
    let status = StatusCode::from_u16(status).expect("it is a status");
    let list = get(move || std::future::ready((status, body)));
    serve(Router::new().route("/v1/models", list)).await
}

fn names(backend: &HttpBackend) -> Vec<String> {
    let models = backend.report().models.into_iter();
    models.map(|model| model.id.to_string()).collect()
}

#[tokio::test]
async fn without_a_map_all_that_is_listed_is_served() {
    let backend = backend(HttpConfig::new("up", listing(200, LIST).await));
    assert!(
        backend.report().unavailable.is_some(),
        "nobody has asked yet"
    );
    let unknown = backend.generate(chat()).await.err();
    assert_eq!(unknown, Some(BackendError::ModelNotFound("ours".into())));
    backend.refresh().await;
    let report = backend.report();
    assert_eq!(report.unavailable, None);
    assert_eq!(names(&backend), ["theirs", "other/model"]);
    let facts = &report.models[0];
    assert_eq!(
        (facts.kind, facts.context),
        (ModelKind::Unknown, Some(4_096))
    );
    assert_eq!(facts.created, 1_700_000_000);
}

#[tokio::test]
async fn with_a_map_only_its_names_are_served_and_the_list_adds_facts() {
    let mut config = config(&listing(200, LIST).await);
    config
        .models
        .insert(ModelId::new("absent"), "unlisted".into());
    let backend = backend(config);
    assert_eq!(names(&backend), ["absent", "ours"]);
    assert_eq!(backend.report().unavailable, None);
    backend.refresh().await;
    let models = backend.report().models;
    assert_eq!(models[1].id, ModelId::new("ours"));
    assert_eq!(models[1].context, Some(4_096));
    assert_eq!(models[0].context, None);
}

#[tokio::test]
async fn a_list_that_cannot_be_had_makes_it_unavailable() {
    for (status, body) in [(500, ""), (200, "no list"), (401, "{}"), (404, "")] {
        let backend = backend(HttpConfig::new("up", listing(status, body).await));
        backend.refresh().await;
        assert!(backend.report().unavailable.is_some(), "{status} {body}");
    }
    let backend = backend(config(&listing(404, "").await));
    backend.refresh().await;
    assert_eq!(backend.report().unavailable, None, "a map needs no list");
}
