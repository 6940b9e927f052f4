use axum::body::Body;
use axum::http::Request;
use kwaainet_core::{ApiKey, KeyRecord, Scope, Scopes};
use serde_json::json;

use crate::harness::{Answer, MODEL, TestNode, get, post};

async fn key(node: &TestNode, scopes: Scopes, expires_at_ms: Option<i64>) -> ApiKey {
    let key = ApiKey::generate();
    let record = KeyRecord {
        id: key.id().clone(),
        name: "test".into(),
        hash: key.hash(),
        scopes,
        created_at_ms: 1,
        expires_at_ms,
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    node.store.insert_key(&record).await.expect("it is stored");
    key
}

async fn list(node: &TestNode, path: &str, authorization: &str) -> Answer {
    let mut request = get(path);
    let value = authorization.parse().expect("a header");
    request.headers_mut().insert("authorization", value);
    node.ask(request).await
}

#[tokio::test]
async fn from_the_first_key_on_every_path_but_the_public_ones_needs_one() {
    let node = TestNode::new().await;
    assert_eq!(
        node.get("/v1/models").await.status,
        200,
        "open to its owner"
    );
    let key = key(&node, [Scope::Inference].into_iter().collect(), None).await;
    for path in [
        "/v1/models",
        "/v1/nowhere",
        "/metrics",
        "/docsx",
        "/openapi.json/x",
    ] {
        let answer = node.get(path).await;
        let (status, _, code, _) = answer.error();
        assert_eq!(
            (status, code.as_deref()),
            (401, Some("invalid_api_key")),
            "{path}"
        );
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs/"] {
        assert_eq!(node.get(path).await.status, 200, "{path}");
    }
    let secret = key.reveal();
    assert_eq!(
        list(&node, "/v1/models", &format!("Bearer {secret}"))
            .await
            .status,
        200
    );
    assert_eq!(
        list(&node, "/v1/models", &format!("bearer {secret}"))
            .await
            .status,
        200
    );
    for bad in [
        secret.clone(),
        format!("Basic {secret}"),
        "Bearer ".to_owned(),
        "Bearer sk-something".to_owned(),
        format!("Bearer {}x", &secret[..secret.len() - 1]),
    ] {
        assert_eq!(
            list(&node, "/v1/models", &bad).await.error().0,
            401,
            "{bad}"
        );
    }
    let scope = list(&node, "/metrics", &format!("Bearer {secret}")).await;
    assert_eq!(
        (scope.error().0, scope.error().2.as_deref()),
        (403, Some("insufficient_permissions"))
    );
}

#[tokio::test]
async fn a_revoked_or_expired_key_is_refused_at_once() {
    let node = TestNode::new().await;
    let revoked = key(&node, Scopes::ALL, None).await;
    let bearer = format!("Bearer {}", revoked.reveal());
    assert_eq!(list(&node, "/metrics", &bearer).await.status, 200);
    assert!(
        node.store
            .revoke_key(revoked.id(), 5)
            .await
            .expect("it answers")
    );
    assert_eq!(list(&node, "/metrics", &bearer).await.error().0, 401);

    let expired = key(&node, Scopes::ALL, Some(5)).await;
    let bearer = format!("Bearer {}", expired.reveal());
    assert_eq!(list(&node, "/v1/models", &bearer).await.error().0, 401);
}

#[tokio::test]
async fn work_with_a_key_is_written_to_it() {
    let node = TestNode::new().await;
    let key = key(&node, Scopes::ALL, None).await;
    let request = Request::post("/v1/completions")
        .header("authorization", format!("Bearer {}", key.reveal()))
        .header("content-type", "application/json")
        .body(Body::from(
            json!({"model": MODEL, "prompt": "x"}).to_string(),
        ))
        .expect("it is a request");
    assert_eq!(node.ask(request).await.status, 200);
    assert_eq!(node.settled().await, [1, 0, 0]);
    let stored = node
        .store
        .key(key.id())
        .await
        .expect("it answers")
        .expect("it is there");
    assert!(stored.last_used_at_ms.is_some());
}

#[tokio::test]
async fn an_open_node_answers_to_this_machine_only() {
    let node = TestNode::new().await;
    let asked = |headers: &[(&str, &str)]| {
        let mut request = Request::get("/v1/models");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        node.ask(request.body(Body::empty()).expect("it is a request"))
    };
    let here = ("host", "127.0.0.1:11435");
    assert_eq!(asked(&[here]).await.status, 200);
    assert_eq!(
        asked(&[here, ("origin", "http://localhost:5173")])
            .await
            .status,
        200
    );
    for headers in [
        &[][..],
        &[("host", "rebound.example")],
        &[here, ("origin", "https://page.example")],
        &[here, ("sec-fetch-site", "cross-site")],
    ] {
        let answer = asked(headers).await;
        assert_eq!(
            answer.error().2.as_deref(),
            Some("foreign_origin"),
            "{headers:?}"
        );
        assert_eq!(answer.status, 403);
    }
}

#[tokio::test]
async fn pages_of_this_machine_may_read_answers_and_others_may_not() {
    let node = TestNode::new().await;
    let preflight = |origin: &str| {
        let request = Request::options("/v1/chat/completions")
            .header("host", "localhost")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            );
        node.ask(request.body(Body::empty()).expect("it is a request"))
    };
    let ours = preflight("http://localhost:5173").await;
    assert_eq!(ours.status, 200);
    assert_eq!(
        ours.headers["access-control-allow-origin"],
        "http://localhost:5173"
    );
    assert_eq!(
        ours.headers["access-control-allow-headers"],
        "authorization,content-type"
    );
    let foreign = preflight("https://page.example").await;
    assert!(!foreign.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_backend_learns_whose_request_it_is() {
    let node = TestNode::new().await;
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]});
    let ask = |authorization: Option<String>| {
        let mut request = post("/v1/chat/completions", body.to_string());
        if let Some(value) = authorization {
            let value = value.parse().expect("a header");
            request.headers_mut().insert("authorization", value);
        }
        node.ask(request)
    };
    let owner = || {
        let asked = node.script.last_generate().expect("it was asked");
        asked.owner.to_string()
    };
    assert_eq!(ask(None).await.status, 200);
    assert_eq!(owner(), "owner");
    let key = key(&node, [Scope::Inference].into_iter().collect(), None).await;
    let answer = ask(Some(format!("Bearer {}", key.reveal()))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(owner(), format!("key:{}", key.id()));
}
