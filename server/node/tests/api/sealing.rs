//! Private databases: encrypted on the disk, opened by the keys of those who may, and by nothing else.

use axum::body::Body;
use axum::http::Request;
use kwaainet::config::Config;
use kwaainet_core::{ApiKey, KeyRecord};
use kwaainet_identity::{Allowance, Capabilities, Minter, NodeKey};
use kwaainet_storage::Mode;
use kwaainet_store::NewDatabase;
use serde_json::{Value, json};

use crate::harness::{Answer, TestNode, delete, get, post, put};

const DB: &str = "/couch/notes";
const WORDS: [&str; 4] = [
    "kanarienvogel-text",
    "kanarienvogel-anhang",
    "kanarienvogel-name",
    "kanarienvogel-lokal",
];
const NONE: [String; 0] = [];

fn by(mut request: Request<Body>, key: &str) -> Request<Body> {
    let value = format!("Bearer {key}").parse().expect("a header");
    request.headers_mut().insert("authorization", value);
    request
}

/// As whoever shows this key.
async fn ask(node: &TestNode, request: Request<Body>, key: &str) -> Answer {
    node.ask(by(request, key)).await
}

fn id(key: &str) -> String {
    let key: ApiKey = key.parse().expect("it is a key");
    format!("key:{}", key.id())
}

fn error(answer: &Answer) -> (u16, String) {
    let said = answer.json();
    let word = said["error"].as_str().or(said["error"]["code"].as_str());
    (answer.status.as_u16(), word.expect("a word").to_owned())
}

/// The node's files in which a word is found.
fn found(node: &TestNode, word: &str) -> Vec<String> {
    let mut folders = vec![node.data_dir().to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("it can be read");
            let mut windows = bytes.windows(word.len());
            if windows.any(|window| window == word.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Documents with attachments, and a local one, in every way in which they come.
async fn fill(node: &TestNode, key: &str) {
    let [text, attachment, name, local] = WORDS;
    let data = "a2FuYXJpZW52b2dlbC1hbmhhbmc=";
    let one = json!({"_id": "one", "text": text, "_attachments": {name: {"data": data}}});
    let two = json!({"_id": "two", "_rev": "1-a", "text": text});
    for (docs, new_edits) in [(json!([one]), true), (json!([two]), false)] {
        let bulk = json!({"docs": docs, "new_edits": new_edits}).to_string();
        let written = ask(node, post("/couch/notes/_bulk_docs", bulk), key).await;
        assert_eq!(written.status, 201, "{}", written.text);
    }
    let three = json!({ "text": text }).to_string();
    let path = "/v1/storage/databases/notes/docs/three";
    assert_eq!(ask(node, put(path, three), key).await.status, 201);
    let hang = put(
        &format!("/couch/notes/four/{name}"),
        attachment.repeat(20_000),
    );
    assert_eq!(ask(node, hang, key).await.status, 201);
    let said = json!({ "text": local }).to_string();
    let path = "/couch/notes/_local/here";
    assert_eq!(ask(node, put(path, said), key).await.status, 201);
}

/// Sees that all that [`fill`] wrote is there.
async fn check(node: &TestNode, key: &str) {
    let [text, attachment, name, local] = WORDS;
    let all = get("/couch/notes/_all_docs?include_docs=true&attachments=true");
    let all = ask(node, all, key).await.json();
    let texts: Vec<&Value> = all["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| &row["doc"]["text"])
        .collect();
    assert_eq!(
        texts,
        [&Value::Null, &json!(text), &json!(text), &json!(text)]
    );
    let hanging = ask(node, get(&format!("/couch/notes/one/{name}")), key).await;
    assert_eq!(hanging.text, attachment);
    let whole = ask(node, get(&format!("/couch/notes/four/{name}")), key).await;
    assert!(whole.text == attachment.repeat(20_000));
    let mut part = get(&format!("/couch/notes/four/{name}"));
    let range = "bytes=131070-131079".parse().expect("a header");
    part.headers_mut().insert("range", range);
    let part = ask(node, part, key).await;
    let expected = &attachment.repeat(20_000)[131_070..131_080];
    assert_eq!((part.status.as_u16(), part.text.as_str()), (206, expected));
    let found = json!({"selector": {"text": text}}).to_string();
    let found = ask(node, post("/couch/notes/_find", found), key).await;
    assert_eq!(found.json()["docs"].as_array().expect("docs").len(), 3);
    let changes = get("/couch/notes/_changes?include_docs=true");
    let changes = ask(node, changes, key).await.json();
    assert_eq!(changes["results"][0]["doc"]["text"], text);
    let here = ask(node, get("/couch/notes/_local/here"), key).await;
    assert_eq!(here.json()["text"], local);
}

#[tokio::test]
async fn nothing_of_a_private_database_can_be_read_on_the_disk() {
    let node = TestNode::new().await;
    let (ada, eve) = (node.key("storage").await, node.key("storage").await);
    assert_eq!(ask(&node, put(DB, ""), &ada).await.status, 201);
    let shown = ask(&node, get(DB), &ada).await.json();
    assert_eq!(
        (&shown["mode"], &shown["encrypted"]),
        (&json!("private"), &json!(true))
    );
    fill(&node, &ada).await;
    check(&node, &ada).await;
    for word in WORDS {
        assert_eq!(found(&node, word), NONE, "while it runs");
    }
    let secret = ada.rsplit('_').next().expect("a secret");
    assert_eq!(found(&node, secret), NONE, "what opens it is not here");

    let node = node.restarted().await;
    for word in WORDS {
        assert_eq!(found(&node, word), NONE, "after its end");
    }
    check(&node, &ada).await;
    for path in [DB, "/couch/notes/one", "/couch/notes/_local/here"] {
        let refused = ask(&node, get(path), &eve).await;
        assert_eq!(error(&refused), (404, "not_found".into()), "{path}");
    }
    // Compaction, erasing and deleting need no more than before.
    let compacted = ask(&node, post("/couch/notes/_compact", "{}"), &ada).await;
    assert_eq!(compacted.status, 202);
    check(&node, &ada).await;
    let erase = post("/v1/storage/databases/notes/erase", r#"{"ids":["four"]}"#);
    assert_eq!(ask(&node, erase, &ada).await.json()["documents"], 1);
    let all = ask(&node, get("/couch/notes/_all_docs"), &ada).await.json();
    assert_eq!(all["total_rows"], 3);
    assert_eq!(ask(&node, delete(DB), &ada).await.status, 200);
    assert_eq!(
        error(&ask(&node, get(DB), &ada).await),
        (404, "not_found".into())
    );

    // The search finds what is not private.
    assert_eq!(
        ask(&node, put("/couch/notes?mode=public", ""), &ada)
            .await
            .status,
        201
    );
    let shown = ask(&node, get("/v1/storage/databases/notes"), &ada)
        .await
        .json();
    assert_eq!(shown["encrypted"], false);
    fill(&node, &ada).await;
    check(&node, &ada).await;
    for word in WORDS {
        assert_ne!(found(&node, word), NONE);
    }
}

#[tokio::test]
async fn members_open_it_with_keys_of_their_own() {
    let node = TestNode::new().await;
    let (ada, bob) = (node.key("storage").await, node.key("storage").await);
    // A key of before: nothing is known of it that one could encrypt for.
    let carl = ApiKey::generate();
    let record = KeyRecord {
        id: carl.id().clone(),
        name: "of before".to_owned(),
        hash: carl.hash(),
        scopes: "storage".parse().expect("it is a scope"),
        created_at_ms: 1,
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    node.store.insert_key(&record).await.expect("it is stored");
    let carl = carl.reveal();
    assert_eq!(ask(&node, put(DB, ""), &ada).await.status, 201);
    fill(&node, &ada).await;
    let members = json!({"members": {"names": [id(&bob), id(&carl), "someone of CouchDB's"]}});
    let secure = put("/couch/notes/_security", members.to_string());
    assert_eq!(ask(&node, secure, &ada).await.status, 200);
    check(&node, &bob).await;

    let early = ask(&node, get("/couch/notes/one"), &carl).await;
    assert_eq!(error(&early), (403, "forbidden".into()));
    let said = early.json()["reason"].as_str().expect("a text").to_owned();
    assert!(said.contains("not shared with you yet"), "{said}");
    let early = ask(&node, get("/v1/storage/databases/notes"), &carl).await;
    assert_eq!(error(&early), (403, "database_sealed".into()));
    assert_eq!(ask(&node, get(DB), &bob).await.status, 200);
    check(&node, &carl).await;

    let node = node.restarted().await;
    check(&node, &bob).await;
    check(&node, &carl).await;
    let edit = put("/couch/notes/bobs", r#"{"text":"more"}"#);
    assert_eq!(ask(&node, edit, &bob).await.status, 201);
    let nobody = put("/couch/notes/_security", "{}");
    assert_eq!(ask(&node, nobody, &ada).await.status, 200);
    for key in [&bob, &carl] {
        let out = ask(&node, get("/couch/notes/one"), key).await;
        assert_eq!(error(&out), (404, "not_found".into()));
    }
    let read = ask(&node, get("/couch/notes/bobs"), &ada).await.json();
    assert_eq!(read["text"], "more");
}

#[tokio::test]
async fn a_capability_opens_what_its_maker_opens() {
    let node = TestNode::new().await;
    let ada = node.key("storage identity").await;
    assert_eq!(ask(&node, put(DB, ""), &ada).await.status, 201);
    let open = put("/couch/open?mode=public", "");
    assert_eq!(ask(&node, open, &ada).await.status, 201);
    let wanted = json!({"scopes": ["storage"], "expires_in": 60}).to_string();
    let made = ask(&node, post("/v1/auth/capabilities", wanted), &ada).await;
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    fill(&node, &token).await;
    check(&node, &ada).await;
    let node = node.restarted().await;
    check(&node, &token).await;
    // One of before carries nothing that opens.
    let key: ApiKey = ada.parse().expect("it is a key");
    let allowance = Allowance {
        scopes: "storage".parse().expect("it is a scope"),
        paths: Vec::new(),
        expires_at_ms: i64::MAX / 2,
        sharing: None,
    };
    let own = Capabilities::new(&NodeKey::from_seed(&[7; 32]));
    let token = own.mint(&Minter::Key(key.id().clone()), &allowance);
    assert_eq!(ask(&node, get("/couch/open"), &token).await.status, 200);
    let refused = ask(&node, get(DB), &token).await;
    assert_eq!(error(&refused), (403, "forbidden".into()));
    let said = refused.json()["reason"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(said.contains("make a new one"), "{said}");
}

#[tokio::test]
async fn the_owner_at_his_own_machine_needs_no_key_but_the_nodes() {
    let node = TestNode::new().await;
    assert_eq!(node.ask(put(DB, "")).await.status, 201);
    assert_eq!(
        node.ask(put("/couch/notes/a", r#"{"n":1}"#)).await.status,
        201
    );
    let node = node.restarted().await;
    assert_eq!(node.get("/couch/notes/a").await.json()["n"], 1);
    let node = TestNode::locked(Config::default()).await;
    let refused = node.ask(put(DB, "")).await;
    assert_eq!(error(&refused), (503, "identity_locked".into()));
    assert_eq!(
        node.ask(put("/couch/open?mode=public", "")).await.status,
        201
    );
}

#[tokio::test]
async fn a_database_of_before_is_encrypted_by_its_next_compaction() {
    let node = TestNode::new().await;
    let ada = node.key("storage").await;
    let new = NewDatabase {
        owner: id(&ada).as_str().into(),
        name: "notes".parse().expect("it is a name"),
        mode: Mode::Private,
        created_at_ms: 1,
        wrap: None,
    };
    let documents = node.documents().await;
    assert!(documents.create_database(&new).await.expect("it answers"));
    fill(&node, &ada).await;
    check(&node, &ada).await;
    let shown = ask(&node, get(DB), &ada).await.json();
    assert_eq!(shown["encrypted"], false);
    assert_ne!(found(&node, WORDS[0]), NONE);
    let compacted = ask(&node, post("/couch/notes/_compact", "{}"), &ada).await;
    assert_eq!(compacted.status, 202, "{}", compacted.text);
    let shown = ask(&node, get(DB), &ada).await.json();
    assert_eq!(shown["encrypted"], true);
    for word in WORDS {
        assert_eq!(found(&node, word), NONE);
    }
    check(&node, &ada).await;
}
