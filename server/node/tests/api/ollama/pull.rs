use std::sync::Arc;

use axum::http::Request;
use kwaainet::config::Config;
use kwaainet::node::{Assembled, Parts};
use kwaainet::shelf::Shelf;
use kwaainet_core::{ApiKey, KeyRecord, Scope, Scopes};
use kwaainet_models::{Catalogue, Sources};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{error, lines};
use crate::harness::{self, MODEL, TestNode, get, post};

/// Of the text `weights`.
const SHA256: &str = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c";

/// A node with a catalogue of one model, whose file is on this machine.
async fn with_catalogue(sha256: &str) -> (Assembled, tempfile::TempDir, tempfile::TempDir) {
    let (mut parts, _, dir) = harness::parts(Config::default()).await;
    let own = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(own.path().join("here.gguf"), b"weights").expect("it can be written");
    let catalogue = own.path().join("mine.toml");
    let entry = format!(
        "[[model]]\nname = \"mine\"\narchitecture = \"llama\"\nkind = \"generate\"\ncontext = 64\n\
         licence = \"MIT\"\ndescription = \"Mine\"\n\
         [[model.file]]\nname = \"mine.Q4_1.gguf\"\nsha256 = \"{sha256}\"\nbytes = 7\n\
         [[model.file.source]]\npath = \"here.gguf\"\n"
    );
    std::fs::write(&catalogue, entry).expect("it can be written");
    parts.config.cache_dir = own.path().join("cache");
    let catalogue = Catalogue::load(Some(&catalogue)).expect("it is sound");
    let shelf = Shelf::new(&parts.config, catalogue, Sources::default());
    let parts = Parts {
        shelf: Some(Arc::new(shelf)),
        key: None,
        history: kwaainet_identity::KeyHistory::default(),
        federation: None,
        ..parts
    };
    (Assembled::new(parts).await, dir, own)
}

async fn pull(node: &Assembled, body: Value) -> harness::Answer {
    let router = node.router.clone();
    let answer = router.oneshot(post("/api/pull", body.to_string())).await;
    harness::read(answer.expect("the router never fails")).await
}

#[tokio::test]
async fn a_model_of_the_catalogue_is_pulled_with_progress() {
    let (node, _dir, own) = with_catalogue(SHA256).await;
    let answer = pull(&node, json!({"model": "mine:latest"})).await;
    assert_eq!(answer.status, 200);
    let expected = [
        json!({"status": "pulling manifest"}),
        json!({"status": format!("pulling {}", &SHA256[..12]),
            "digest": format!("sha256:{SHA256}"), "total": 7, "completed": 7}),
        json!({"status": "verifying sha256 digest"}),
        json!({"status": "success"}),
    ];
    assert_eq!(lines(&answer), expected);
    let file = own.path().join("cache/models/mine/mine.Q4_1.gguf");
    assert_eq!(std::fs::read(file).expect("it is here"), b"weights");

    let again = pull(&node, json!({"name": "mine", "stream": false})).await;
    assert_eq!(again.json(), json!({"status": "success"}));
    let served = pull(&node, json!({"model": MODEL, "stream": false})).await;
    assert_eq!(
        served.json(),
        json!({"status": "success"}),
        "it is here already"
    );
    let unknown = pull(&node, json!({"model": "llama3"})).await;
    assert_eq!(error(&unknown).0, 404);
}

#[tokio::test]
async fn a_pull_that_fails_says_why_and_leaves_nothing() {
    let (node, _dir, own) = with_catalogue(&"0".repeat(64)).await;
    let streamed = lines(&pull(&node, json!({"model": "mine"})).await);
    let last = streamed.last().expect("there are lines");
    assert!(
        last["error"]
            .as_str()
            .is_some_and(|error| error.contains("mine"))
    );
    let whole = pull(&node, json!({"model": "mine", "stream": false})).await;
    assert_eq!(error(&whole).0, 502);
    assert!(!own.path().join("cache/models/mine/mine.Q4_1.gguf").exists());
}

#[tokio::test]
async fn one_model_is_pulled_at_a_time() {
    let (node, _dir, _own) = with_catalogue(SHA256).await;
    let request = post("/api/pull", json!({"model": "mine"}).to_string());
    let router = node.router.clone();
    let first = router.oneshot(request).await.expect("it never fails");
    let busy = pull(&node, json!({"model": "mine"})).await;
    assert_eq!(error(&busy).0, 503);
    assert!(busy.headers.contains_key("retry-after"));
    drop(first);
    let answer = pull(&node, json!({"model": "mine", "stream": false})).await;
    assert_eq!(answer.json(), json!({"status": "success"}));
}

#[tokio::test]
async fn pulling_needs_a_scope_of_its_own() {
    let node = TestNode::new().await;
    let make = async |scopes: Scopes| {
        let key = ApiKey::generate();
        let record = KeyRecord {
            id: key.id().clone(),
            name: "test".into(),
            hash: key.hash(),
            scopes,
            created_at_ms: 1,
            expires_at_ms: None,
            revoked_at_ms: None,
            last_used_at_ms: None,
        };
        node.store.insert_key(&record).await.expect("it is stored");
        key.reveal()
    };
    let guest = make([Scope::Inference].into_iter().collect()).await;
    let owner = make(Scopes::ALL).await;
    let with = |mut request: Request<axum::body::Body>, key: &str| {
        let value = format!("Bearer {key}").parse().expect("a header");
        request.headers_mut().insert("authorization", value);
        node.ask(request)
    };
    let body = || post("/api/pull", json!({"model": "nobody"}).to_string());
    let (status, message) = error(&with(body(), &guest).await);
    assert_eq!(status, 403);
    assert!(message.contains("models"), "{message}");
    assert_eq!(error(&with(body(), &owner).await).0, 404);
    assert_eq!(with(get("/api/tags"), &guest).await.status, 200);
    assert_eq!(error(&node.get("/api/tags").await).0, 401);
}
