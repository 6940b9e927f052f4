//! Leave to use a database for a while: what it opens, what it does not, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use kwaainet_core::{Clock, ManualClock};
use serde_json::{Value, json};

use crate::harness::{Answer, TestNode, delete, get, post, put};

const DBS: &str = "/v1/storage/databases";
const GRANTS: &str = "/v1/storage/databases/notes/grants";

/// A node with an owner and somebody else, each with a key.
struct Two {
    node: TestNode,
    clock: Arc<ManualClock>,
    owner: String,
    other: String,
}

impl Two {
    async fn new(mode: &str) -> Self {
        let clock = Arc::new(ManualClock::default());
        let node = TestNode::at(Arc::clone(&clock)).await;
        let two = Self {
            owner: node.key("storage").await,
            other: node.key("storage").await,
            clock,
            node,
        };
        let made = two
            .post(&two.owner, DBS, json!({"name": "notes", "mode": mode}))
            .await;
        assert_eq!(made.status, 201);
        two
    }

    async fn ask(&self, key: &str, mut request: Request<Body>) -> Answer {
        let value = format!("Bearer {key}").parse().expect("a header");
        request.headers_mut().insert("authorization", value);
        self.node.ask(request).await
    }

    async fn post(&self, key: &str, path: &str, body: Value) -> Answer {
        self.ask(key, post(path, body.to_string())).await
    }

    async fn put(&self, key: &str, path: &str, body: Value) -> u16 {
        let answer = self.ask(key, put(path, body.to_string())).await;
        answer.status.as_u16()
    }

    async fn get(&self, key: &str, path: &str) -> u16 {
        self.ask(key, get(path)).await.status.as_u16()
    }

    fn whom(&self) -> String {
        let id = self.other.split('_').nth(1).expect("a key has an id");
        format!("key:{id}")
    }

    /// Gives the other one leave for a minute.
    async fn grant(&self, access: &str, documents: Value) -> Value {
        let now = self.clock.unix_ms() / 1_000;
        let asked = json!({
            "to": self.whom(), "access": access, "purpose": "the tax return",
            "documents": documents, "expires_at": now + 60,
        });
        let made = self.post(&self.owner, GRANTS, asked).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()
    }
}

#[tokio::test]
async fn leave_opens_what_it_says_until_its_time_is_over() {
    let two = Two::new("private").await;
    let (owner, other) = (&two.owner, &two.other);
    assert_eq!(two.put(owner, "/couch/notes/a", json!({"n": 1})).await, 201);
    assert_eq!(two.get(other, "/couch/notes/a").await, 404);
    let grant = two.grant("read", Value::Null).await;
    assert_eq!(
        (&grant["purpose"], &grant["to"], &grant["documents"]),
        (&json!("the tax return"), &json!(two.whom()), &Value::Null)
    );
    for path in [
        "/couch/notes/a",
        "/couch/notes/_all_docs",
        "/couch/notes/_changes",
        "/v1/storage/databases/notes/docs/a",
        "/v1/storage/databases/notes/export",
    ] {
        assert_eq!(two.get(other, path).await, 200, "{path}");
    }
    let listed = two.ask(other, get(DBS)).await.json();
    assert_eq!(listed["data"][0]["name"], "notes");
    assert_eq!(
        two.ask(other, get("/couch/_all_dbs")).await.json(),
        json!(["notes"])
    );
    // No more than that.
    assert_eq!(two.put(other, "/couch/notes/b", json!({})).await, 403);
    assert_eq!(two.get(other, GRANTS).await, 403);
    assert_eq!(two.get(other, "/couch/notes/_security").await, 403);
    two.grant("write", Value::Null).await;
    assert_eq!(two.put(other, "/couch/notes/b", json!({})).await, 201);
    assert_eq!(two.ask(other, delete("/couch/notes")).await.status, 403);
    two.clock.advance(Duration::from_secs(61));
    assert_eq!(two.get(other, "/couch/notes/a").await, 404);
    assert_eq!(two.put(other, "/couch/notes/c", json!({})).await, 404);
    let left = two.ask(owner, get(GRANTS)).await.json();
    assert_eq!(left["data"], json!([]));
}

#[tokio::test]
async fn leave_for_some_documents_shows_no_others_and_no_lists() {
    let two = Two::new("private").await;
    let (owner, other) = (&two.owner, &two.other);
    for id in ["a", "b"] {
        let path = format!("/couch/notes/{id}");
        assert_eq!(two.put(owner, &path, json!({"n": 1})).await, 201);
    }
    two.grant("write", json!(["a"])).await;
    assert_eq!(two.get(other, "/couch/notes/a").await, 200);
    assert_eq!(
        two.get(other, "/v1/storage/databases/notes/docs/a").await,
        200
    );
    assert_eq!(
        two.put(other, "/couch/notes/a/file", json!(1)).await,
        409,
        "it needs a rev"
    );
    for path in [
        "/couch/notes/b",
        "/couch/notes/b/file",
        "/couch/notes",
        "/couch/notes/_all_docs",
        "/couch/notes/_changes",
        "/couch/notes/_local/x",
        "/v1/storage/databases/notes",
        "/v1/storage/databases/notes/docs",
        "/v1/storage/databases/notes/docs/b",
        "/v1/storage/databases/notes/export",
        "/v1/storage/databases/notes/changes",
    ] {
        assert_eq!(two.get(other, path).await, 403, "{path}");
    }
    for (path, body) in [
        ("_bulk_get", json!({"docs": [{"id": "a"}]})),
        ("_bulk_docs", json!({"docs": [{"_id": "a"}]})),
        ("_find", json!({"selector": {}})),
        ("_revs_diff", json!({"a": ["1-x"]})),
        ("_purge", json!({"a": ["1-x"]})),
    ] {
        let answer = two.post(other, &format!("/couch/notes/{path}"), body).await;
        assert_eq!(answer.status, 403, "{path}");
    }
    assert_eq!(two.ask(other, get(DBS)).await.json()["data"], json!([]));
}

#[tokio::test]
async fn leave_is_taken_back_at_once_and_only_by_who_may() {
    let two = Two::new("public").await;
    let (owner, other) = (&two.owner, &two.other);
    let grant = two.grant("write", Value::Null).await;
    let path = format!("{GRANTS}/{}", grant["id"].as_str().expect("an id"));
    assert_eq!(two.put(other, "/couch/notes/a", json!({})).await, 201);
    assert_eq!(two.ask(other, delete(&path)).await.status, 403);
    assert_eq!(two.ask(owner, delete(&path)).await.status, 200);
    assert_eq!(two.ask(owner, delete(&path)).await.status, 404);
    assert_eq!(two.put(other, "/couch/notes/b", json!({})).await, 403);
    assert_eq!(two.get(other, "/couch/notes/a").await, 200, "it is public");
    let now = two.clock.unix_ms() / 1_000;
    let sound = json!({"to": "key:x", "access": "read", "purpose": "p", "expires_at": now + 1});
    for (field, wrong) in [
        ("to", json!("")),
        ("purpose", json!("")),
        ("purpose", json!("x".repeat(1_025))),
        ("expires_at", json!(now)),
        ("expires_at", json!(i64::MAX)),
        ("documents", json!([])),
        ("documents", json!(["_no"])),
        ("access", json!("admin")),
    ] {
        let mut asked = sound.clone();
        asked[field] = wrong;
        let answer = two.post(owner, GRANTS, asked).await;
        let (status, _, _, param) = answer.error();
        assert_eq!(
            (status, param.as_deref()),
            (400, Some(field)),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn leave_for_a_sealed_database_does_not_open_it() {
    let two = Two::new("e2ee").await;
    two.grant("write", Value::Null).await;
    let plain = two.put(&two.other, "/couch/notes/a", json!({"n": 1})).await;
    assert_eq!(plain, 403, "only envelopes are taken");
    assert_eq!(two.get(&two.other, "/couch/notes/_all_docs").await, 200);
}
