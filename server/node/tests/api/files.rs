//! `/v1/files`.

use axum::body::Body;
use axum::http::Request;
use kwaainet::config::Config;
use kwaainet_core::{ApiKey, KeyRecord, Scopes};
use serde_json::{Value, json};

use crate::harness::{Answer, TestNode, get};

const PATH: &str = "/v1/files";
const BOUNDARY: &str = "----boundary";

/// A form with these fields and one file.
pub(crate) fn form(fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Request<Body> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(format!("{head}{value}\r\n").as_bytes());
    }
    if let Some((name, bytes)) = file {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    Request::post(PATH)
        .header("host", "localhost")
        .header(
            "content-type",
            format!("multipart/form-data; boundary={BOUNDARY}"),
        )
        .body(body.into())
        .expect("it is a request")
}

/// Uploads a file and gives its id.
/// Fills a key's mebibyte but for so many bytes.
pub(crate) async fn fill(node: &TestNode, left: usize) -> String {
    upload(node, "user_data", "filler", &vec![b'x'; (1 << 20) - left]).await
}

pub(crate) async fn upload(node: &TestNode, purpose: &str, name: &str, bytes: &[u8]) -> String {
    let answer = node
        .ask(form(&[("purpose", purpose)], Some((name, bytes))))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["id"].as_str().expect("an id").to_owned()
}

pub(crate) async fn delete(node: &TestNode, path: &str) -> Answer {
    let request = Request::delete(path).header("host", "localhost");
    let request = request.body(Body::empty()).expect("it is a request");
    node.ask(request).await
}

/// A key that is good for everything; from then on the node needs one.
pub(crate) async fn key(node: &TestNode) -> ApiKey {
    let key = ApiKey::generate();
    let record = KeyRecord {
        id: key.id().clone(),
        name: "test".into(),
        hash: key.hash(),
        scopes: Scopes::ALL,
        created_at_ms: 1,
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    node.store.insert_key(&record).await.expect("it is stored");
    key
}

pub(crate) fn with_key(mut request: Request<Body>, key: &ApiKey) -> Request<Body> {
    let value = format!("Bearer {}", key.reveal());
    let value = value.parse().expect("a header");
    request.headers_mut().insert("authorization", value);
    request
}

/// The names in the node's folder of files.
fn on_disk(node: &TestNode) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(node.data_dir().join("files")) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.expect("it can be read").file_name());
    names
        .map(|name| name.into_string().expect("text"))
        .collect()
}

#[tokio::test]
async fn a_file_comes_back_as_it_was() {
    let node = TestNode::new().await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    let fields = [
        ("purpose", "user_data"),
        ("expires_after[anchor]", "created_at"),
        ("expires_after[seconds]", "3600"),
        ("unknown", "passes"),
    ];
    let made = node
        .ask(form(&fields, Some(("dir\\näme.bin", &bytes))))
        .await
        .json();
    let id = made["id"].as_str().expect("an id");
    assert!(id.starts_with("file-"));
    let created = made["created_at"].as_i64().expect("a time");
    let expected = json!({
        "id": id, "object": "file", "bytes": 300_000, "created_at": created,
        "expires_at": created + 3_600, "filename": "näme.bin", "purpose": "user_data",
        "status": "processed", "status_details": null,
    });
    assert_eq!(made, expected);
    assert_eq!(on_disk(&node), [id], "under a name of ours");
    assert_eq!(node.get(&format!("{PATH}/{id}")).await.json(), expected);

    let response = node.send(get(&format!("{PATH}/{id}/content"))).await;
    assert_eq!(
        response.headers()["content-type"],
        "application/octet-stream"
    );
    assert_eq!(response.headers()["content-length"], "300000");
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
    assert!(body.expect("it is whole") == bytes);

    let gone = delete(&node, &format!("{PATH}/{id}")).await.json();
    assert_eq!(gone, json!({"id": id, "object": "file", "deleted": true}));
    assert!(on_disk(&node).is_empty());
    for path in [format!("{PATH}/{id}"), format!("{PATH}/{id}/content")] {
        let (status, kind, code, param) = node.get(&path).await.error();
        assert_eq!((status, kind.as_str()), (404, "invalid_request_error"));
        assert_eq!(code.as_deref(), Some("file_not_found"));
        assert_eq!(param.as_deref(), Some("id"));
    }
    assert_eq!(delete(&node, &format!("{PATH}/{id}")).await.status, 404);
}

#[tokio::test]
async fn files_are_listed_in_pages() {
    let node = TestNode::new().await;
    let mut ids = Vec::new();
    for (purpose, name) in [("batch", "a"), ("assistants", "b"), ("batch", "c")] {
        ids.push(upload(&node, purpose, name, b"x").await);
    }
    let list = async |query: &str| {
        let page = node.get(&format!("{PATH}?{query}")).await.json();
        assert_eq!(page["object"], "list");
        let data = page["data"].as_array().expect("a list").clone();
        let found: Vec<_> = data.iter().map(|file| file["id"].clone()).collect();
        assert_eq!(
            page["first_id"],
            found.first().cloned().unwrap_or(Value::Null)
        );
        assert_eq!(
            page["last_id"],
            found.last().cloned().unwrap_or(Value::Null)
        );
        (found, page["has_more"].as_bool().expect("a flag"))
    };
    let pick = |picked: &[usize]| picked.iter().map(|i| json!(ids[*i])).collect::<Vec<_>>();
    assert_eq!(list("").await, (pick(&[2, 1, 0]), false));
    assert_eq!(list("purpose=batch").await, (pick(&[2, 0]), false));
    assert_eq!(list("limit=2").await, (pick(&[2, 1]), true));
    let after = format!("limit=2&order=asc&after={}", ids[0]);
    assert_eq!(list(&after).await, (pick(&[1, 2]), false));
    assert_eq!(list("purpose=user_data").await, (vec![], false));
    for (query, param) in [
        ("limit=0", "limit"),
        ("order=x", "order"),
        ("after=file-x", "after"),
    ] {
        let (status, _, code, at) = node.get(&format!("{PATH}?{query}")).await.error();
        assert_eq!((status, code.as_deref()), (400, Some("invalid_value")));
        assert_eq!(at.as_deref(), Some(param));
    }
}

#[tokio::test]
async fn bad_uploads_are_named_and_leave_nothing() {
    let node = TestNode::new().await;
    let file = Some(("a.txt", b"x".as_slice()));
    let batch = ("purpose", "batch");
    let anchor = ("expires_after[anchor]", "created_at");
    for (fields, file, code, param) in [
        (vec![], file, "missing_required_parameter", "purpose"),
        (vec![batch], None, "missing_required_parameter", "file"),
        (
            vec![batch],
            Some(("", b"x".as_slice())),
            "invalid_value",
            "file",
        ),
        (
            vec![("purpose", "fine-tune")],
            file,
            "unsupported_value",
            "purpose",
        ),
        (
            vec![("purpose", "evals")],
            file,
            "unsupported_value",
            "purpose",
        ),
        (
            vec![("purpose", "vision")],
            file,
            "unsupported_value",
            "purpose",
        ),
        (vec![("purpose", "fun")], file, "invalid_value", "purpose"),
        (
            vec![batch, anchor],
            file,
            "missing_required_parameter",
            "expires_after[seconds]",
        ),
        (
            vec![batch, ("expires_after[seconds]", "3600")],
            file,
            "missing_required_parameter",
            "expires_after[anchor]",
        ),
        (
            vec![batch, anchor, ("expires_after[seconds]", "3599")],
            file,
            "integer_below_min_value",
            "expires_after[seconds]",
        ),
        (
            vec![batch, anchor, ("expires_after[seconds]", "soon")],
            file,
            "invalid_type",
            "expires_after[seconds]",
        ),
    ] {
        let (status, _, got, at) = node.ask(form(&fields, file)).await.error();
        assert_eq!(
            (status, got.as_deref(), at.as_deref()),
            (400, Some(code), Some(param))
        );
    }
    let request = crate::harness::post(PATH, "{}");
    let (status, _, code, _) = node.ask(request).await.error();
    assert_eq!(
        (status, code.as_deref()),
        (400, Some("unsupported_content_type"))
    );
    let mut cut = form(&[batch], file);
    let body = std::mem::take(cut.body_mut());
    let body = axum::body::to_bytes(body, 1 << 20)
        .await
        .expect("it is whole");
    *cut.body_mut() = Body::from(body.slice(..body.len() - 9));
    assert_eq!(node.ask(cut).await.error().0, 400);
    assert!(on_disk(&node).is_empty());
    assert_eq!(node.get(PATH).await.json()["data"], json!([]));
}

#[tokio::test]
async fn files_have_a_size_and_a_sum() {
    let mut config = Config::default();
    config.files.file_mib = 1;
    config.files.key_mib = 2;
    let node = TestNode::with(config).await;
    let mib = vec![b'x'; 1 << 20];
    let larger = vec![b'x'; (1 << 20) + 1];
    let purpose = [("purpose", "user_data")];
    for bytes in [&larger, &vec![b'x'; 3 << 20]] {
        let (status, _, code, _) = node.ask(form(&purpose, Some(("a", bytes)))).await.error();
        assert_eq!((status, code.as_deref()), (413, Some("request_too_large")));
    }
    let first = upload(&node, "user_data", "a", &mib).await;
    upload(&node, "user_data", "b", &mib).await;
    let (status, _, code, param) = node.ask(form(&purpose, Some(("c", b"x")))).await.error();
    assert_eq!(
        (status, code.as_deref()),
        (400, Some("storage_limit_exceeded"))
    );
    assert_eq!(param.as_deref(), Some("file"));
    assert_eq!(on_disk(&node).len(), 2);
    assert_eq!(delete(&node, &format!("{PATH}/{first}")).await.status, 200);
    upload(&node, "user_data", "c", b"x").await;
}

#[tokio::test]
async fn another_keys_files_are_not_there() {
    let node = TestNode::new().await;
    let owners = upload(&node, "user_data", "a", b"x").await;
    let (one, two) = (key(&node).await, key(&node).await);
    let request = form(&[("purpose", "user_data")], Some(("b", b"y")));
    let made = node.ask(with_key(request, &one)).await.json();
    let ones = made["id"].as_str().expect("an id").to_owned();
    for id in [&owners, &ones, &"file-none".to_owned()] {
        let shown = node.ask(with_key(get(&format!("{PATH}/{id}")), &two)).await;
        let message = format!("No such File object: {id}");
        assert_eq!(shown.json()["error"]["message"], message);
        let content = get(&format!("{PATH}/{id}/content"));
        assert_eq!(node.ask(with_key(content, &two)).await.error().0, 404);
        let delete = Request::delete(format!("{PATH}/{id}")).body(Body::empty());
        let delete = with_key(delete.expect("it is a request"), &two);
        assert_eq!(node.ask(delete).await.error().0, 404);
    }
    let listed = node.ask(with_key(get(PATH), &two)).await.json();
    assert_eq!(listed["data"], json!([]));
    let listed = node.ask(with_key(get(PATH), &one)).await.json();
    assert_eq!(listed["data"][0]["id"], json!(ones));
    assert_eq!(on_disk(&node).len(), 2);
}

#[tokio::test]
async fn what_a_crash_left_is_swept_at_the_start() {
    let node = TestNode::new().await;
    let id = upload(&node, "user_data", "a", b"x").await;
    for name in ["new-half", "file-without-a-row"] {
        let path = node.data_dir().join("files").join(name);
        std::fs::write(path, "x").expect("it is written");
    }
    let node = node.restarted().await;
    assert_eq!(on_disk(&node), [id.as_str()]);
    assert_eq!(node.get(&format!("{PATH}/{id}/content")).await.text, "x");
}
