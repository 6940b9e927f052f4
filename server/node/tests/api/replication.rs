//! Replications that a node drives, between a node in this process and one on a socket.

use kwaainet::config::Config;
use kwaainet::node::Node;
use kwaainet_core::{ApiKey, KeyRecord};
use serde_json::{Value, json};

use crate::harness::{Answer, SOON, TestNode, listening};

const REPLICATIONS: &str = "/v1/storage/replications";

/// Another node of the same owner, who shows a key there.
struct Other {
    node: Node,
    key: String,
    client: reqwest::Client,
    _dir: tempfile::TempDir,
}

impl Other {
    async fn new() -> Self {
        let (node, _, dir) = listening(Config::default()).await;
        let key = ApiKey::generate();
        let record = KeyRecord {
            id: key.id().clone(),
            name: "the other node".to_owned(),
            hash: key.hash(),
            scopes: "storage".parse().expect("it is a scope"),
            created_at_ms: 1,
            expires_at_ms: None,
            revoked_at_ms: None,
            last_used_at_ms: None,
        };
        let stored = node.app().store.insert_key(&record).await;
        stored.expect("it is stored");
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // It fails only if there is one by now, which is as good.
            let _installed = rustls::crypto::ring::default_provider().install_default();
        }
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        Self {
            node,
            key: key.reveal(),
            client: client.build().expect("a client"),
            _dir: dir,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.node.address())
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let request = self.client.request(method, self.url(path));
        let request = request.bearer_auth(&self.key).json(&body);
        let answer = request.send().await.expect("it answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("it is JSON"))
    }

    async fn make(&self, mode: &str) {
        let path = format!("/couch/notes?mode={mode}");
        assert_eq!(self.ask("PUT", &path, Value::Null).await.0, 201);
    }
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let seen = tokio::time::timeout(SOON, looking).await;
    seen.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Two nodes, each with a database of the same name.
async fn two(mode: &str) -> (TestNode, Other) {
    let here = TestNode::new().await;
    let made = here
        .put(&format!("/couch/notes?mode={mode}"), Value::Null)
        .await;
    assert_eq!(made.status, 201);
    let there = Other::new().await;
    there.make(mode).await;
    (here, there)
}

async fn replicate(here: &TestNode, there: &Other, direction: &str, live: bool) -> Value {
    let asked = json!({
        "database": "notes", "url": there.url("/couch/notes"), "token": there.key,
        "direction": direction, "live": live,
    });
    let made = here.post(REPLICATIONS, asked).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert!(!made.text.contains(&there.key));
    made.json()
}

/// Waits until a replication is what it is to be.
async fn becomes(here: &TestNode, id: &Value, state: &str) -> Value {
    let path = format!("{REPLICATIONS}/{}", id.as_str().expect("an id"));
    eventually(state, async || {
        let shown = here.get(&path).await.json();
        (shown["state"] == state).then_some(shown)
    })
    .await
}

fn documents() -> Value {
    let history = |ids: &[&str]| json!({"start": ids.len(), "ids": ids});
    json!({"new_edits": false, "docs": [
        {"_id": "plain", "_rev": "1-a", "n": 1},
        {"_id": "fought", "_rev": "2-b", "_revisions": history(&["b", "a"]), "n": 2},
        {"_id": "fought", "_rev": "2-c", "_revisions": history(&["c", "a"]), "n": 3},
        {"_id": "gone", "_rev": "2-d", "_revisions": history(&["d", "a"]), "_deleted": true},
        {"_id": "a/b ü?", "_rev": "1-e", "_attachments": {
            "dir/file +1.txt": {"content_type": "text/plain", "data": "Ynl0ZXM="},
            "empty": {"content_type": "text/plain", "data": ""},
        }},
        {"_id": "_design/d", "_rev": "1-f", "_attachments": {"x": {"data": "eA=="}}},
    ]})
}

/// Every leaf with its history and what hangs on it.
fn leaves(got: &Value) -> Vec<String> {
    let results = got["results"].as_array().expect("results");
    let docs = results
        .iter()
        .flat_map(|one| one["docs"].as_array().expect("docs"));
    let mut leaves: Vec<String> = docs.map(|doc| doc["ok"].to_string()).collect();
    leaves.sort();
    leaves
}

fn wanted() -> Value {
    let ids = ["plain", "fought", "gone", "a/b ü?", "_design/d", "theirs"];
    json!({"docs": ids.map(|id| json!({"id": id}))})
}

const EVERYTHING: &str = "/couch/notes/_bulk_get?revs=true&attachments=true";

#[tokio::test]
async fn both_sides_become_equal_with_conflicts_tombstones_and_attachments() {
    let (here, there) = two("private").await;
    let written = here.post("/couch/notes/_bulk_docs", documents()).await;
    assert_eq!(written.json(), json!([]));
    let theirs = json!({"new_edits": false, "docs": [
        {"_id": "theirs", "_rev": "1-a", "n": 9},
        {"_id": "fought", "_rev": "3-z", "_revisions": {"start": 3, "ids": ["z", "y", "a"]}, "n": 4},
    ]});
    there.ask("POST", "/couch/notes/_bulk_docs", theirs).await;
    let made = replicate(&here, &there, "both", false).await;
    let done = becomes(&here, &made["id"], "completed").await;
    assert_eq!(done["pull"]["docs_written"], 2, "{done}");
    assert!(done["push"]["docs_written"].as_u64() >= Some(6), "{done}");
    assert_eq!(done["push"]["doc_write_failures"], 0);
    assert_eq!(done["last_error"], Value::Null);
    let ours = leaves(&here.post(EVERYTHING, wanted()).await.json());
    let (_, theirs) = there.ask("POST", EVERYTHING, wanted()).await;
    assert_eq!(ours, leaves(&theirs));
    assert_eq!(ours.len(), 8);
    // Nothing is done twice.
    let again = replicate(&here, &there, "both", false).await;
    assert_eq!(
        again["id"], made["id"],
        "it takes the place of the one before"
    );
    let again = becomes(&here, &made["id"], "completed").await;
    assert_eq!(again["push"]["docs_read"], done["push"]["docs_read"]);
    assert_eq!(again["pull"]["docs_read"], done["pull"]["docs_read"]);
    there.node.shutdown().await;
}

#[tokio::test]
async fn a_live_one_goes_on_after_a_restart_where_it_was() {
    let (here, there) = two("private").await;
    let docs: Vec<_> = (0..1_200)
        .map(|n| json!({"_id": format!("d{n}"), "n": n}))
        .collect();
    here.post("/couch/notes/_bulk_docs", json!({"docs": docs}))
        .await;
    let made = replicate(&here, &there, "both", true).await;
    let path = format!("{REPLICATIONS}/{}", made["id"].as_str().expect("an id"));
    let count = async || there.ask("GET", "/couch/notes", Value::Null).await.1["doc_count"].clone();
    eventually("all are there", async || {
        (count().await == 1_200).then_some(())
    })
    .await;
    here.put("/couch/notes/later", json!({"n": 1})).await;
    eventually("the later one is there", async || {
        (count().await == 1_201).then_some(())
    })
    .await;
    there
        .ask("PUT", "/couch/notes/theirs", json!({"n": 2}))
        .await;
    let comes = async |here: &TestNode, id: &str| {
        let path = format!("/couch/notes/{id}");
        eventually(id, async || {
            (here.get(&path).await.status == 200).then_some(())
        })
        .await;
    };
    comes(&here, "theirs").await;
    let before = eventually("it is written down", async || {
        let shown = here.get(&path).await.json();
        (shown["push"]["docs_written"] == 1_201).then_some(shown)
    });
    assert_eq!(before.await["state"], "running");
    let here = here.restarted().await;
    there.ask("PUT", "/couch/notes/more", json!({"n": 3})).await;
    comes(&here, "more").await;
    here.put("/couch/notes/last", json!({"n": 4})).await;
    eventually("the last one is there", async || {
        (count().await == 1_204).then_some(())
    })
    .await;
    let shown = eventually("it is counted", async || {
        let shown = here.get(&path).await.json();
        (shown["push"]["docs_written"] == 1_202).then_some(shown)
    });
    let shown = shown.await;
    assert_eq!(shown["push"]["docs_read"], 1_202, "nothing was sent twice");
    // Once it is ended nothing goes on.
    assert_eq!(here.delete(&path).await.status, 200);
    assert_eq!(here.get(&path).await.status, 404);
    here.put("/couch/notes/kept", json!({})).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(count().await, 1_204);
    there.node.shutdown().await;
}

#[tokio::test]
async fn sealed_databases_replicate_and_refuse_the_rest() {
    let (here, there) = two("e2ee").await;
    let id = "A".repeat(43);
    let envelope = json!({
        "_id": id, "v": 1, "alg": "XC20P", "kid": "k", "epoch": 0, "parent": null,
        "nonce": data_encoding::BASE64URL_NOPAD.encode(&[7; 24]),
        "ct": data_encoding::BASE64URL_NOPAD.encode(&[9; 32]),
    });
    let path = format!("/couch/notes/{id}");
    assert_eq!(here.put(&path, envelope).await.status, 201);
    let made = replicate(&here, &there, "push", false).await;
    becomes(&here, &made["id"], "completed").await;
    assert_eq!(there.ask("GET", &path, Value::Null).await.0, 200);
    there.node.shutdown().await;
}

fn refused(answer: &Answer) -> (u16, Option<String>) {
    let (status, _, code, _) = answer.error();
    (status, code)
}

#[tokio::test]
async fn only_the_owner_and_only_to_where_he_may() {
    let (here, there) = two("private").await;
    let url = there.url("/couch/notes");
    let ask = async |url: &str, token: &str| {
        let asked = json!({"database": "notes", "url": url, "token": token, "direction": "push"});
        refused(&here.post(REPLICATIONS, asked).await)
    };
    for wrong in [
        "notes",
        "ftp://127.0.0.1/couch/notes",
        "http://a:b@127.0.0.1/couch/notes",
        "http://127.0.0.1/notes",
        "http://127.0.0.1/couch/notes?x=1",
        "http://1.1.1.1/couch/notes",
    ] {
        assert_eq!(
            ask(wrong, "t").await,
            (400, Some("invalid_value".into())),
            "{wrong}"
        );
    }
    assert_eq!(ask(&url, "").await.0, 400);
    assert_eq!(ask(&url, "a\nb").await.0, 400);
    let missing = json!({"database": "no", "url": url, "token": "t", "direction": "push"});
    assert_eq!(refused(&here.post(REPLICATIONS, missing).await).0, 404);
    // A token that is no good is tried again, and nobody sees it.
    let asked = json!({"database": "notes", "url": url, "token": "kw_wrong_x", "direction": "pull", "live": true});
    let made = here.post(REPLICATIONS, asked).await.json();
    let failed = becomes(&here, &made["id"], "retrying").await;
    assert_eq!(
        failed["last_error"],
        "the other node refused with the status 401"
    );
    assert!(!failed.to_string().contains("kw_wrong"));
    // Whoever has a key of this node's sees no replication of others, and does not look into the owner's network.
    let key = here.key("storage").await;
    let with_key = async |method: &str, path: &str, body: Value| {
        let request = axum::http::Request::builder().method(method).uri(path);
        let request = request
            .header("host", "localhost")
            .header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {key}"));
        let body = axum::body::Body::from(body.to_string());
        here.ask(request.body(body).expect("a request")).await
    };
    let path = format!("{REPLICATIONS}/{}", made["id"].as_str().expect("an id"));
    let shown = with_key("GET", &path, Value::Null);
    assert_eq!(shown.await.status, 404);
    assert_eq!(
        with_key("GET", REPLICATIONS, Value::Null).await.json()["data"],
        json!([])
    );
    assert_eq!(with_key("PUT", "/couch/own", Value::Null).await.status, 201);
    let asked = json!({"database": "own", "url": "https://127.0.0.1/couch/x", "token": "t", "direction": "pull"});
    let answer = with_key("POST", REPLICATIONS, asked).await;
    assert_eq!(
        refused(&answer),
        (403, Some("insufficient_permissions".into()))
    );
    // The secret is in no file.
    for file in std::fs::read_dir(here.folder()).expect("it is there") {
        let path = file.expect("it can be read").path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        assert!(
            !bytes.windows(10).any(|part| part == b"kw_wrong_x"),
            "{}",
            path.display()
        );
    }
    there.node.shutdown().await;
}

#[tokio::test]
async fn erasing_reaches_the_replica_and_nothing_brings_it_back() {
    let (here, there) = two("private").await;
    for id in ["secret", "kept"] {
        here.put(&format!("/couch/notes/{id}"), json!({"n": 1}))
            .await;
    }
    let made = replicate(&here, &there, "push", false).await;
    becomes(&here, &made["id"], "completed").await;
    // There it is edited, and then cannot be reached for a while.
    let (_, theirs) = there.ask("GET", "/couch/notes/secret", Value::Null).await;
    let edited = there
        .ask(
            "PUT",
            "/couch/notes/secret",
            json!({"_rev": theirs["_rev"], "n": 2}),
        )
        .await;
    assert_eq!(edited.0, 201);
    let other = replicate(&here, &there, "pull", false).await;
    assert_eq!(other["id"], made["id"]);
    becomes(&here, &made["id"], "completed").await;
    assert_eq!(
        there.ask("DELETE", "/couch/notes", Value::Null).await.0,
        200
    );

    let erased = here
        .post(
            "/v1/storage/databases/notes/erase",
            json!({"ids": ["secret"]}),
        )
        .await;
    let erased = erased.json();
    assert_eq!(
        (&erased["documents"], &erased["complete"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(erased["replicas"][0]["state"], "pending");
    assert_eq!(here.get("/couch/notes/secret").await.status, 404);
    let path = format!(
        "/v1/storage/erasures/{}",
        erased["id"].as_str().expect("an id")
    );
    let tried = eventually("it was tried", async || {
        let shown = here.get(&path).await.json();
        (shown["replicas"][0]["tries"].as_u64() > Some(0)).then_some(shown)
    });
    let tried = tried.await;
    assert_eq!(tried["complete"], false);
    assert_eq!(
        tried["replicas"][0]["last_error"],
        "the other node refused with the status 404"
    );

    // It is back, with what it had.
    there.make("private").await;
    let old = json!({"new_edits": false, "docs": [
        {"_id": "secret", "_rev": "2-old", "_revisions": {"start": 2, "ids": ["old", "x"]}, "n": 2}]});
    there
        .ask("POST", "/couch/notes/_bulk_docs", old.clone())
        .await;
    let pulled = replicate(&here, &there, "both", false).await;
    becomes(&here, &pulled["id"], "completed").await;
    assert_eq!(
        here.get("/couch/notes/secret").await.status,
        404,
        "it does not come back"
    );
    let complete = eventually("it is acknowledged", async || {
        let shown = here.get(&path).await.json();
        (shown["complete"] == true).then_some(shown)
    });
    let complete = complete.await;
    assert_eq!(complete["replicas"][0]["state"], "acknowledged");
    assert!(complete["completed_at"].is_u64());
    assert_eq!(
        there.ask("GET", "/couch/notes/secret", Value::Null).await.0,
        404
    );
    let told = there.ask("POST", "/couch/notes/_bulk_docs", old).await;
    assert_eq!(told, (201, json!([])), "it is passed over");
    assert_eq!(
        there.ask("GET", "/couch/notes/secret", Value::Null).await.0,
        404
    );

    // The id can be used again, and what is made anew is replicated.
    let anew = here.put("/couch/notes/secret", json!({"n": 3})).await;
    let rev = anew.json()["rev"].as_str().expect("a revision").to_owned();
    assert!(rev.starts_with("1025-"), "{rev}");
    let pushed = replicate(&here, &there, "both", false).await;
    becomes(&here, &pushed["id"], "completed").await;
    let (status, theirs) = there.ask("GET", "/couch/notes/secret", Value::Null).await;
    assert_eq!((status, &theirs["_rev"]), (200, &json!(rev)));
    there.node.shutdown().await;
}

#[tokio::test]
async fn an_erasure_comes_home_to_nobody_twice() {
    let node = TestNode::new().await;
    for name in ["notes", "others"] {
        node.put(&format!("/couch/{name}"), Value::Null).await;
    }
    let asked = json!({"ids": ["a"], "erasure": "e-1"});
    let erase = "/v1/storage/databases/notes/erase";
    assert_eq!(node.post(erase, asked.clone()).await.json()["id"], "e-1");
    node.put("/couch/notes/a", json!({})).await;
    let again = node.post(erase, asked.clone()).await.json();
    assert_eq!(again["documents"], 1, "it is carried out again");
    node.put("/couch/others/a", json!({})).await;
    let foreign = node.post("/v1/storage/databases/others/erase", asked).await;
    assert_eq!(refused(&foreign), (409, Some("erasure_exists".into())));
    assert_eq!(
        node.get("/couch/others/a").await.status,
        200,
        "nothing was done"
    );
    let wrong = node
        .post(erase, json!({"ids": ["a"], "erasure": "no words"}))
        .await;
    assert_eq!(refused(&wrong).0, 400);
    assert_eq!(refused(&node.get("/v1/storage/erasures/none").await).0, 404);
}

#[tokio::test]
async fn couchdbs_replicate_is_the_same() {
    let (here, there) = two("private").await;
    here.put("/couch/notes/a", json!({"n": 1})).await;
    let address = there.node.address();
    let remote = format!("http://me:{}@{address}/couch/notes", there.key);
    let asked = json!({"source": "notes", "target": remote});
    let ran = here.post("/couch/_replicate", asked.clone()).await;
    let said = ran.json();
    assert_eq!(
        (ran.status.as_u16(), &said["ok"]),
        (200, &json!(true)),
        "{said}"
    );
    assert_eq!(said["history"][0]["docs_written"], 1);
    assert!(!ran.text.contains(&there.key));
    let again = here.post("/couch/_replicate", asked).await.json();
    assert_eq!(again["no_changes"], true);
    there.ask("PUT", "/couch/notes/b", json!({"n": 2})).await;
    let authorization = format!("Bearer {}", there.key);
    let source =
        json!({"url": there.url("/couch/notes"), "headers": {"Authorization": authorization}});
    let pull = json!({"source": source, "target": "fresh", "create_target": true});
    assert_eq!(here.post("/couch/_replicate", pull).await.status, 200);
    assert_eq!(here.get("/couch/fresh/b").await.json()["n"], 2);
    // Who was given a copy is known.
    let all = here.get(REPLICATIONS).await.json();
    assert_eq!(all["data"][0]["direction"], "push");

    let live = json!({"source": "notes", "target": remote, "continuous": true});
    let begun = here.post("/couch/_replicate", live.clone()).await;
    assert_eq!(begun.status, 202);
    here.put("/couch/notes/c", json!({"n": 3})).await;
    eventually("it is there", async || {
        let (status, _) = there.ask("GET", "/couch/notes/c", Value::Null).await;
        (status == 200).then_some(())
    })
    .await;
    let mut cancel = live;
    cancel["cancel"] = Value::Bool(true);
    let cancelled = here.post("/couch/_replicate", cancel.clone()).await;
    assert_eq!(cancelled.json()["_local_id"], begun.json()["_local_id"]);
    assert_eq!(here.post("/couch/_replicate", cancel).await.status, 404);
    for (asked, status) in [
        (json!({"source": "notes", "target": "others"}), 400),
        (
            json!({"source": "notes", "target": there.url("/couch/notes")}),
            400,
        ),
        (
            json!({"source": "notes", "target": remote, "doc_ids": ["a"]}),
            400,
        ),
        (json!({"source": "none", "target": remote}), 404),
        (
            json!({"source": "notes", "target": format!("http://x:{}@{address}/couch/none", there.key)}),
            404,
        ),
        (
            json!({"source": "notes", "target": format!("http://x:kw_a_b@{address}/couch/notes")}),
            401,
        ),
    ] {
        let answer = here.post("/couch/_replicate", asked).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert!(answer.json()["reason"].is_string());
    }
    there.node.shutdown().await;
}
