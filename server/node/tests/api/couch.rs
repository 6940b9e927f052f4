//! CouchDB's HTTP API: what PouchDB does not ask for, and every refusal. What it does ask for is tested with
//! PouchDB itself (`tests/outside/js/couch.test.js`).

mod parts;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use data_encoding::BASE64;
use kwaainet::config::{Config, Storage};
use kwaainet_core::{ApiKey, KeyRecord, Scope};
use serde_json::{Value, json};

use crate::harness::{Answer, SOON, TestNode, get, post, put};

const DB: &str = "/couch/notes";

async fn node() -> TestNode {
    let node = TestNode::new().await;
    let made = node.put(DB, Value::Null).await;
    assert_eq!(
        (made.status, made.json()),
        (StatusCode::CREATED, json!({"ok": true}))
    );
    node
}

/// Status, error and reason.
fn refused(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    let fields = body.as_object().expect("an object");
    assert_eq!(fields.len(), 2, "{body}");
    assert!(!body["reason"].as_str().expect("a reason").is_empty());
    let error = body["error"].as_str().expect("an error").to_owned();
    (answer.status.as_u16(), error)
}

fn rev(answer: &Answer) -> String {
    let rev = answer.json()["rev"]
        .as_str()
        .expect("a revision")
        .to_owned();
    assert_eq!(answer.headers["etag"], format!("\"{rev}\""));
    rev
}

#[tokio::test]
async fn every_refusal_is_in_couchdbs_words_and_changes_nothing() {
    let node = node().await;
    let first = rev(&node.put("/couch/notes/a", json!({"n": 1})).await);
    node.put("/couch/notes/_design/x", json!({"views": []}))
        .await;
    let before = node.get(DB).await.json();
    let index = json!({"index": {"fields": ["n"]}, "ddoc": "x", "name": "n"});
    let table = [
        (
            node.post("/couch/notes/_index", index).await,
            400,
            "bad_request",
        ),
        (node.put(DB, Value::Null).await, 412, "file_exists"),
        (
            node.put("/couch/Notes", Value::Null).await,
            400,
            "illegal_database_name",
        ),
        (
            node.put("/couch/x?mode=secret", Value::Null).await,
            400,
            "bad_request",
        ),
        (node.get("/couch/nothing").await, 404, "not_found"),
        (node.get("/couch/nothing/a").await, 404, "not_found"),
        (node.get("/couch/notes/b").await, 404, "not_found"),
        (node.get("/couch/notes/a?rev=9-x").await, 404, "not_found"),
        (node.get("/couch/notes/a?rev=x").await, 400, "bad_request"),
        (
            node.get("/couch/notes/a?revs=maybe").await,
            400,
            "bad_request",
        ),
        (node.get("/couch/notes/a/b/c/d").await, 404, "not_found"),
        (
            node.put("/couch/notes/a", json!({"n": 2})).await,
            409,
            "conflict",
        ),
        (
            node.put("/couch/notes/a?rev=1-x", json!({})).await,
            409,
            "conflict",
        ),
        (
            node.put("/couch/notes/b?rev=1-x", json!({})).await,
            409,
            "conflict",
        ),
        (
            node.put("/couch/notes/a", json!({"_id": "b"})).await,
            400,
            "bad_request",
        ),
        (
            node.put("/couch/notes/b", json!([1])).await,
            400,
            "bad_request",
        ),
        (
            node.put("/couch/notes/b", json!({"_mine": 1})).await,
            400,
            "doc_validation",
        ),
        (
            node.put("/couch/notes/_b", json!({})).await,
            400,
            "illegal_docid",
        ),
        (
            node.put("/couch/notes/b?new_edits=false", json!({})).await,
            400,
            "bad_request",
        ),
        (node.delete("/couch/notes/a").await, 409, "conflict"),
        (
            node.delete("/couch/notes/b?rev=1-x").await,
            404,
            "not_found",
        ),
        (
            node.delete("/couch/notes?rev=1-x").await,
            400,
            "bad_request",
        ),
        (
            node.post("/couch/notes/_bulk_docs", json!({})).await,
            400,
            "bad_request",
        ),
        (
            node.post("/couch/notes/_find", json!({"selector": {"a": {"$no": 1}}}))
                .await,
            400,
            "invalid_selector",
        ),
        (
            node.post("/couch/notes/_find", json!({"selector": {}, "sort": [1]}))
                .await,
            400,
            "invalid_sort_json",
        ),
        (
            node.get("/couch/notes/_changes?feed=x").await,
            400,
            "bad_request",
        ),
        (
            node.get("/couch/notes/_changes?since=x").await,
            400,
            "bad_request",
        ),
        (
            node.get("/couch/notes/_changes?filter=mine/own").await,
            400,
            "bad_request",
        ),
        (
            node.put("/couch/notes/_local/a", json!({"_rev": "0-7"}))
                .await,
            409,
            "conflict",
        ),
        (node.get("/couch/notes/_local/a").await, 404, "not_found"),
        (node.get("/couch/_nothing/x/y/z").await, 404, "not_found"),
        (
            node.post("/couch/_all_dbs", json!({})).await,
            405,
            "method_not_allowed",
        ),
    ];
    for (n, (answer, status, error)) in table.into_iter().enumerate() {
        assert_eq!(refused(&answer), (status, error.to_owned()), "line {n}");
    }
    let form = Request::post("/couch/notes/_bulk_docs")
        .header("host", "localhost")
        .header("origin", "http://localhost:3000")
        .header("content-type", "text/plain")
        .body(Body::from("{\"docs\": []}"));
    let answer = node.ask(form.expect("a request")).await;
    assert_eq!(refused(&answer), (400, "bad_content_type".into()));
    assert_eq!(node.get(DB).await.json(), before, "nothing has changed");
    assert_eq!(node.get("/couch/notes/a").await.json()["_rev"], first);
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let config = Config {
        storage: Storage {
            document_mib: 1,
            attachment_mib: 1,
            body_mib: 2,
            key_mib: 1,
            ..Storage::default()
        },
        ..Config::default()
    };
    let node = TestNode::with(config).await;
    node.put(DB, Value::Null).await;
    let text = |bytes: usize| json!({"text": "x".repeat(bytes)});
    let answer = node.put("/couch/notes/a", text((1 << 20) + 1)).await;
    assert_eq!(refused(&answer), (413, "document_too_large".into()));
    let answer = node.put("/couch/notes/a", text(2 << 20)).await;
    assert_eq!(refused(&answer), (413, "too_large".into()));
    let half = node.put("/couch/notes/a", text(600 << 10)).await;
    assert_eq!(half.status, 201);
    let answer = node.put("/couch/notes/b", text(600 << 10)).await;
    assert_eq!(refused(&answer), (413, "quota_exceeded".into()));
    let large = put("/couch/notes/c/file", vec![7; (1 << 20) + 1]);
    let answer = node.ask(large).await;
    assert_eq!(refused(&answer), (413, "document_too_large".into()));
    // What is long is fetched by itself, and comes all the same.
    for path in ["_all_docs", "_changes"] {
        let path = format!("/couch/notes/{path}?include_docs=true");
        let listed = node.get(&path).await.json();
        let rows = listed.get("rows").or(listed.get("results"));
        let text = rows.and_then(|rows| rows[0]["doc"]["text"].as_str());
        assert_eq!(text.map(str::len), Some(600 << 10), "{path}");
    }
    let usage = node.get("/v1/storage/usage").await.json();
    let overhead = 128 + kwaainet_store::Body::SEALED_OVERHEAD;
    assert_eq!(
        usage["bytes"],
        (600 << 10) + r#"{"text":""}"#.len() + overhead
    );
}

#[tokio::test]
async fn attachments_come_as_multipart_and_stay_as_stubs() {
    let node = node().await;
    let document = json!({"_attachments": {
        "a.txt": {"follows": true, "content_type": "text/plain", "length": 3},
        "b": {"follows": true, "content_type": "x/y", "length": 2},
    }});
    let message = format!(
        "--cut\r\nContent-Type: application/json\r\n\r\n{document}\r\n--cut\r\n\r\nabc\r\n--cut\r\n\r\nde\r\n--cut--"
    );
    let mut request = put("/couch/notes/m", message);
    let kind = "multipart/related; boundary=\"cut\""
        .parse()
        .expect("a header");
    request.headers_mut().insert("content-type", kind);
    let written = node.ask(request).await;
    assert_eq!(written.status, 201, "{}", written.text);
    let first = rev(&written);
    let said = node.get("/couch/notes/m").await.json();
    assert_eq!(said["_attachments"]["a.txt"]["length"], 3);
    assert_eq!(said["_attachments"]["a.txt"]["stub"], true);
    let file = node.get("/couch/notes/m/a.txt").await;
    assert_eq!(
        (file.text.as_str(), &file.headers["content-type"]),
        ("abc", &"text/plain".parse().expect("it is"))
    );
    assert_eq!(file.headers["content-security-policy"], "sandbox");
    let etag = file.headers["etag"].clone();
    let mut again = get("/couch/notes/m/a.txt");
    again.headers_mut().insert("if-none-match", etag);
    assert_eq!(node.ask(again).await.status, 304);
    for (range, status, text) in [
        ("bytes=1-1", 206, "b"),
        ("bytes=-2", 206, "bc"),
        ("bytes=0-0,2-2", 200, "abc"),
    ] {
        let mut request = get("/couch/notes/m/a.txt");
        request
            .headers_mut()
            .insert("range", range.parse().expect("a header"));
        let part = node.ask(request).await;
        assert_eq!(
            (part.status.as_u16(), part.text.as_str()),
            (status, text),
            "{range}"
        );
    }
    let mut request = get("/couch/notes/m/a.txt");
    request
        .headers_mut()
        .insert("range", "bytes=9-".parse().expect("a header"));
    let answer = node.ask(request).await;
    assert_eq!(
        refused(&answer),
        (416, "requested_range_not_satisfiable".into())
    );

    let stub = json!({"_rev": first, "_attachments": {"nothing": {"stub": true}}});
    let answer = node.put("/couch/notes/m", stub).await;
    assert_eq!(refused(&answer), (412, "missing_stub".into()));
    let gone = node.delete(&format!("/couch/notes/m/b?rev={first}")).await;
    assert_eq!(gone.status, 200);
    let said = node.get("/couch/notes/m?attachments=true").await.json();
    assert_eq!(
        said["_attachments"],
        json!({"a.txt": {"content_type": "text/plain", "revpos": 1,
        "digest": "md5-kAFQmDzST7DWlj99KOF/cg==", "data": "YWJj"}})
    );
}

#[tokio::test]
async fn changes_come_in_every_shape_and_a_number_of_another_database_begins_anew() {
    let node = node().await;
    for n in 0..5 {
        node.put(&format!("/couch/notes/d{n}"), json!({"n": n}))
            .await;
    }
    let all = node.get("/couch/notes/_changes").await.json();
    let seqs: Vec<&str> = all["results"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|row| row["seq"].as_str().expect("a text"))
        .collect();
    assert_eq!(seqs.len(), 5);
    assert_eq!(all["last_seq"], seqs[4]);
    let some = node
        .get(&format!("/couch/notes/_changes?since={}&limit=2", seqs[1]))
        .await
        .json();
    assert_eq!(some["results"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&some["last_seq"], &some["pending"]),
        (&json!(seqs[3]), &json!(1))
    );
    let other = node
        .get("/couch/notes/_changes?since=4-ffffffff")
        .await
        .json();
    assert_eq!(other["results"].as_array().map(Vec::len), Some(5));
    let lines = node
        .get("/couch/notes/_changes?feed=continuous&timeout=50&include_docs=true")
        .await;
    let lines: Vec<Value> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!((lines.len(), &lines[4]["doc"]["n"]), (6, &json!(4)));
    assert_eq!(lines[5]["last_seq"], seqs[4]);
    let polled = node
        .get("/couch/notes/_changes?feed=longpoll&timeout=50&since=now")
        .await
        .json();
    assert_eq!(polled["results"], json!([]));
    let sealed = json!({"selector": {"n": {"$gte": 3}}});
    let some = node
        .post("/couch/notes/_changes?filter=_selector", sealed)
        .await
        .json();
    assert_eq!(some["results"].as_array().map(Vec::len), Some(2));
    let gone = node.delete(DB).await;
    assert_eq!(gone.status, 200);
    assert_eq!(node.get(DB).await.status, 404);
}

#[tokio::test]
async fn an_encrypted_database_takes_envelopes_and_nothing_else() {
    let node = TestNode::new().await;
    assert_eq!(
        node.put("/couch/sealed?mode=e2ee", Value::Null)
            .await
            .status,
        201
    );
    let answer = node.put("/couch/sealed/a", json!({"text": "plain"})).await;
    assert_eq!(refused(&answer), (403, "forbidden".into()));
    let docs = json!({"docs": [{"_id": "b", "_rev": "1-a", "text": "plain"}], "new_edits": false});
    let bulk = node.post("/couch/sealed/_bulk_docs", docs).await.json();
    assert_eq!(bulk[0]["error"], "forbidden");
    let answer = node.ask(put("/couch/sealed/a/file", "bytes")).await;
    assert_eq!(refused(&answer), (403, "forbidden".into()));
    let answer = node
        .post("/couch/sealed/_find", json!({"selector": {}}))
        .await;
    assert_eq!(refused(&answer), (400, "bad_request".into()));
    let id = "A".repeat(43);
    let envelope = json!({"v": 1, "alg": "XC20P", "kid": "k", "epoch": 0, "parent": null,
        "nonce": "A".repeat(32), "ct": "A".repeat(24)});
    let written = node
        .put(&format!("/couch/sealed/{id}"), envelope.clone())
        .await;
    assert_eq!(written.status, 201, "{}", written.text);
    let answer = node.put("/couch/sealed/readable-id", envelope).await;
    assert_eq!(refused(&answer), (403, "forbidden".into()));
    let plain = node.put("/couch/sealed/_local/a", json!({"text": "plain"}));
    assert_eq!(refused(&plain.await), (403, "forbidden".into()));
    let checkpoint = json!({"session_id": "a", "last_seq": 1, "history": [{"last_seq": 1}]});
    let written = node.put("/couch/sealed/_local/b", checkpoint).await;
    assert_eq!(written.status, 201);
    let info = node.get("/couch/sealed").await.json();
    assert_eq!(
        (&info["doc_count"], &info["mode"]),
        (&json!(1), &json!("e2ee"))
    );
}

/// A key with this scope, as it is presented.
async fn key(node: &TestNode, scope: Scope) -> (ApiKey, String) {
    let key = ApiKey::generate();
    let record = KeyRecord {
        id: key.id().clone(),
        name: "test".into(),
        hash: key.hash(),
        scopes: [scope].into_iter().collect(),
        created_at_ms: 0,
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    node.store.insert_key(&record).await.expect("it is kept");
    let bearer = format!("Bearer {}", key.reveal());
    (key, bearer)
}

fn by(mut request: Request<Body>, authorization: &str) -> Request<Body> {
    let value = authorization.parse().expect("a header");
    request.headers_mut().insert("authorization", value);
    request
}

#[tokio::test]
async fn who_may_not_learns_nothing_and_who_is_let_in_may_write() {
    let node = TestNode::new().await;
    let (_, ada) = key(&node, Scope::Storage).await;
    let (bob_key, bob) = key(&node, Scope::Storage).await;
    let (_, chat) = key(&node, Scope::Inference).await;
    let ask = async |request: Request<Body>, who: &str| node.ask(by(request, who)).await;
    assert_eq!(ask(put(DB, ""), &ada).await.status, 201);
    assert_eq!(
        ask(put("/couch/notes/a", "{\"n\":1}"), &ada).await.status,
        201
    );
    assert_eq!(refused(&node.get(DB).await), (401, "unauthorized".into()));
    assert_eq!(
        refused(&ask(get(DB), &chat).await),
        (403, "forbidden".into())
    );
    for path in [
        DB,
        "/couch/notes/a",
        "/couch/notes/_changes",
        "/couch/notes/_security",
    ] {
        assert_eq!(
            refused(&ask(get(path), &bob).await),
            (404, "not_found".into()),
            "{path}"
        );
    }
    let pair = basic(&bob_key.reveal());
    assert_eq!(
        refused(&ask(get(DB), &pair).await),
        (404, "not_found".into())
    );
    let elsewhere = ask(get("/v1/models"), &pair).await;
    assert_eq!(elsewhere.status, 401, "other paths know no such scheme");

    let members = json!({"members": {"names": [format!("key:{}", bob_key.id())]}}).to_string();
    assert_eq!(
        ask(put("/couch/notes/_security", members), &ada)
            .await
            .status,
        200
    );
    assert_eq!(ask(get("/couch/notes/a"), &pair).await.status, 200);
    assert_eq!(ask(put("/couch/notes/b", "{}"), &bob).await.status, 201);
    for request in [
        get("/couch/notes/_security"),
        put("/couch/notes/_security", "{}"),
        delete_of(DB),
    ] {
        assert_eq!(
            refused(&ask(request, &bob).await),
            (403, "forbidden".into())
        );
    }
    assert_eq!(
        ask(put("/couch/open?mode=public", ""), &ada).await.status,
        201
    );
    assert_eq!(ask(get("/couch/open"), &bob).await.status, 200);
    assert_eq!(
        refused(&ask(put("/couch/open/x", "{}"), &bob).await),
        (403, "forbidden".into())
    );
    let listed = ask(get("/couch/_all_dbs"), &bob).await.json();
    assert_eq!(listed, json!(["notes"]));

    // A feed ends with the right to read it.
    let feed = get("/couch/notes/_changes?feed=continuous&heartbeat=100&since=now");
    let feed = async { node.ask(by(feed, &bob)).await.text };
    let revoked = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let revoked = node.store.revoke_key(bob_key.id(), 1).await;
        assert!(revoked.expect("it answers"));
    };
    let both = async { tokio::join!(feed, revoked) };
    let (said, ()) = tokio::time::timeout(SOON, both).await.expect("it ends");
    assert!(said.trim_start().starts_with("{\"last_seq\""), "{said}");
}

fn delete_of(path: &str) -> Request<Body> {
    crate::harness::delete(path)
}

/// `Basic`, with a user's name that means nothing.
fn basic(password: &str) -> String {
    let pair = format!("anybody:{password}");
    format!("Basic {}", BASE64.encode(pair.as_bytes()))
}
