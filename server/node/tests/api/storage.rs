//! Storage in plain JSON: documents with ETags, blobs, uploads that resume, erasure.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::harness::{Answer, TestNode, delete, get, post, put};

const DBS: &str = "/v1/storage/databases";
const BLOBS: &str = "/v1/storage/blobs";
const UPLOADS: &str = "/v1/storage/uploads";

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    let value = value.parse().expect("a header");
    request.headers_mut().insert(name, value);
    request
}

fn etag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().expect("a text").to_owned()
}

fn code(answer: &Answer) -> (u16, String) {
    let (status, _, code, _) = answer.error();
    (status, code.expect("a code"))
}

#[tokio::test]
async fn a_document_is_written_by_who_has_seen_it() {
    let node = TestNode::new().await;
    let made = node.post(DBS, json!({"name": "notes"})).await;
    assert_eq!(
        (made.status.as_u16(), &made.json()["mode"]),
        (201, &json!("private"))
    );
    let again = node.post(DBS, json!({"name": "notes"})).await;
    assert_eq!(code(&again), (409, "database_exists".into()));
    let wrong = node.post(DBS, json!({"name": "Notes"})).await;
    assert_eq!(code(&wrong), (400, "invalid_value".into()));

    let doc = "/v1/storage/databases/notes/docs/a%2Fb";
    let first = node.put(doc, json!({"n": 1})).await;
    assert_eq!(first.status, 201);
    let shown = node.get(doc).await;
    assert_eq!(
        (shown.json(), etag(&shown)),
        (json!({"n": 1}), etag(&first))
    );
    let unchanged = node
        .ask(with(get(doc), "if-none-match", &etag(&first)))
        .await;
    assert_eq!(unchanged.status, 304);
    let blind = node.put(doc, json!({"n": 2})).await;
    assert_eq!(code(&blind), (412, "revision_mismatch".into()));
    let second = node
        .ask(with(put(doc, "{\"n\":2}"), "if-match", &etag(&first)))
        .await;
    assert_eq!(second.status, 201);
    let late = node
        .ask(with(put(doc, "{\"n\":3}"), "if-match", &etag(&first)))
        .await;
    assert_eq!(code(&late), (412, "revision_mismatch".into()));
    let special = node
        .put("/v1/storage/databases/notes/docs/c", json!({"_id": "d"}))
        .await;
    assert_eq!(code(&special), (400, "invalid_value".into()));
    assert_eq!(
        code(&node.delete(doc).await),
        (400, "missing_required_parameter".into())
    );
    // What hangs on it stays when it is edited here.
    let hung = format!(
        "/couch/notes/a%2Fb/file?rev={}",
        etag(&second).trim_matches('"')
    );
    let hung = node.ask(put(&hung, "bytes")).await;
    let third = node
        .ask(with(put(doc, "{\"n\":3}"), "if-match", &etag(&hung)))
        .await;
    assert_eq!(third.status, 201);
    assert_eq!(node.get("/couch/notes/a%2Fb/file").await.text, "bytes");
    let listed = node.get("/v1/storage/databases/notes/docs").await.json();
    assert_eq!(listed["data"][0]["id"], "a/b");
    let lines = node.get("/v1/storage/databases/notes/export").await.text;
    let line: Value = serde_json::from_str(lines.trim_end()).expect("one line");
    assert_eq!(line["_attachments"]["file"]["data"], "Ynl0ZXM=");
    let gone = node.ask(with(delete(doc), "if-match", &etag(&third))).await;
    assert_eq!(gone.status, 200);
    assert_eq!(
        code(&node.get(doc).await),
        (404, "document_not_found".into())
    );
    assert_eq!(
        code(&node.get("/v1/storage/databases/no").await),
        (404, "database_not_found".into())
    );
}

#[tokio::test]
async fn what_is_erased_is_in_no_file_any_more() {
    const CANARY: &str = "canary-5e1d77";
    let node = TestNode::new().await;
    node.post(DBS, json!({"name": "notes"})).await;
    let doc = "/v1/storage/databases/notes/docs/secret";
    let first = node.put(doc, json!({"text": CANARY})).await;
    node.ask(with(
        put(doc, format!("{{\"text\":\"{CANARY}2\"}}")),
        "if-match",
        &etag(&first),
    ))
    .await;
    node.put("/v1/storage/databases/notes/docs/kept", json!({"n": 1}))
        .await;
    let erased = node
        .post(
            "/v1/storage/databases/notes/erase",
            json!({"ids": ["secret", "nothing"]}),
        )
        .await;
    let mut said = erased.json();
    for varies in ["id", "created_at", "completed_at"] {
        let said = said.as_object_mut().expect("an object");
        assert!(!said.remove(varies).expect(varies).is_null());
    }
    let expected = json!({
        "object": "storage.erasure", "database": "notes", "documents": 1, "revisions": 1,
        "overwritten": true, "complete": true, "replicas": [],
    });
    assert_eq!(said, expected);
    assert_eq!(
        node.get("/v1/storage/databases/notes/docs/kept")
            .await
            .status,
        200
    );
    for entry in std::fs::read_dir(node.data_dir()).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.is_file() {
            let bytes = std::fs::read(&path).expect("it can be read");
            let mut windows = bytes.windows(CANARY.len());
            assert!(
                !windows.any(|window| window == CANARY.as_bytes()),
                "{}",
                path.display()
            );
        }
    }
}

#[tokio::test]
async fn a_blob_comes_in_parts_and_proves_that_it_is_here() {
    let node = TestNode::new().await;
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let hash = blake3::hash(&bytes);
    let begun = node.post(UPLOADS, json!({"bytes": bytes.len()})).await;
    assert_eq!(begun.status, 201);
    let id = begun.json()["id"].as_str().expect("an id").to_owned();
    let upload = format!("{UPLOADS}/{id}");
    let part = |from: usize, to: usize| {
        let request = put(&upload, bytes[from..to].to_vec());
        with(request, "upload-offset", &from.to_string())
    };
    assert_eq!(node.ask(part(0, 40_000)).await.json()["offset"], 40_000);
    assert_eq!(
        code(&node.ask(part(0, 40_000)).await),
        (409, "upload_conflict".into())
    );
    assert_eq!(
        code(&node.ask(put(&upload, "x")).await),
        (400, "invalid_value".into())
    );
    let node = node.restarted().await;
    let shown = node.get(&upload).await.json();
    assert_eq!(
        (&shown["offset"], &shown["hash"]),
        (&json!(40_000), &Value::Null)
    );
    let whole = node.ask(part(40_000, 100_000)).await.json();
    assert_eq!(whole["hash"], hash.to_hex().as_str());
    assert_eq!(
        code(&node.get(&upload).await),
        (404, "upload_not_found".into())
    );

    let path = format!("{BLOBS}/{}", hash.to_hex());
    let part = node
        .send(with(get(&path), "range", "bytes=65530-65540"))
        .await;
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 65530-65540/100000");
    let part = http_body_util::BodyExt::collect(part.into_body())
        .await
        .expect("it is whole");
    assert_eq!(part.to_bytes(), &bytes[65_530..65_541]);
    let proof = node.get(&format!("{path}/proof?offset=70000")).await.json();
    let siblings = proof["siblings"].as_array().expect("an array").iter();
    let siblings = siblings.map(|one| {
        let hash = blake3::Hash::from_hex(one.as_str().expect("a text"));
        *hash.expect("it is one").as_bytes()
    });
    let at = proof["offset"].as_u64().expect("a number") as usize;
    let proof = kwaainet_storage::Proof {
        offset: at as u64,
        slice: bytes[at..at + 16_384].to_vec(),
        siblings: siblings.collect(),
    };
    assert!(kwaainet_storage::verify(&hash, 100_000, 70_000, &proof));

    // The same bytes at once, which cost nothing again.
    let request = post(BLOBS, bytes.clone());
    assert_eq!(
        node.ask(request).await.json()["hash"],
        hash.to_hex().as_str()
    );
    let usage = node.get("/v1/storage/usage").await.json();
    assert_eq!(usage["bytes"], 100_000);
    assert_eq!(node.get(BLOBS).await.json()["data"][0]["bytes"], 100_000);
    assert_eq!(node.delete(&path).await.status, 200);
    assert_eq!(code(&node.get(&path).await), (404, "blob_not_found".into()));
    let files = std::fs::read_dir(node.data_dir().join("blobs")).expect("it is there");
    assert_eq!(files.count(), 0);
}
