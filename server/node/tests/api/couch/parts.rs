//! Answers in parts, copies, and indexes that are taken back.

use super::*;

/// A request that accepts this.
fn accepting(mut request: Request<Body>, kind: &str) -> Request<Body> {
    let value = kind.parse().expect("a header");
    request.headers_mut().insert("accept", value);
    request
}

/// The parts of an answer, by a reader of our own that is tested with others' messages.
fn parts<'a>(kind: &str, text: &'a str) -> Vec<kwaainet_storage::Part<'a>> {
    let boundary = kwaainet_storage::boundary_of(kind).expect("it names its boundary");
    assert!(text.trim_end().ends_with(&format!("--{boundary}--")));
    kwaainet_storage::Multipart::new(text.as_bytes(), boundary).collect()
}

fn kind(headers: &[(String, String)]) -> String {
    let found = headers.iter().find(|(name, _)| name == "content-type");
    found.expect("a type").1.clone()
}

#[tokio::test]
async fn a_document_comes_in_parts_for_who_asks_for_them() {
    let node = node().await;
    let written = json!({"n": 1, "_attachments": {
        "a": {"content_type": "text/plain", "data": "Ynl0ZXM="},
        "b\"\r\n": {"content_type": "text/x", "data": ""},
    }});
    let first = rev(&node.put("/couch/notes/a", written).await);
    node.put("/couch/notes/bare", json!({"n": 2})).await;
    let path = "/couch/notes/a?attachments=true";
    let answer = node.ask(accepting(get(path), "multipart/related")).await;
    assert_eq!(answer.headers["etag"], format!("\"{first}\""));
    let of_answer = answer.headers["content-type"].to_str().expect("a text");
    assert!(of_answer.starts_with("multipart/related;"), "{of_answer}");
    let read = parts(of_answer, &answer.text);
    let document: Value = serde_json::from_slice(read[0].body).expect("it is JSON");
    assert_eq!(document["_attachments"]["a"]["follows"], true);
    assert_eq!(document["_attachments"]["a"]["length"], 5);
    let bodies: Vec<_> = read[1..].iter().map(|part| part.body).collect();
    assert_eq!(bodies, [&b"bytes"[..], b""]);
    assert_eq!(kind(&read[1].headers), "text/plain");
    // What came can be sent back as it is.
    let mut back = put("/couch/notes/a?new_edits=false", answer.text.clone());
    let of_back = of_answer.parse().expect("a header");
    back.headers_mut().insert("content-type", of_back);
    assert_eq!(node.ask(back).await.status, 201);
    for (path, accept) in [
        (path, "application/json, multipart/related"),
        ("/couch/notes/a", "multipart/related"),
        ("/couch/notes/bare?attachments=true", "multipart/related"),
    ] {
        let answer = node.ask(accepting(get(path), accept)).await;
        assert_eq!(answer.headers["content-type"], "application/json", "{path}");
    }

    let path = "/couch/notes/a?open_revs=%5B%22".to_owned() + &first + "%22,%229-x%22%5D";
    let answer = node.ask(accepting(get(&path), "multipart/mixed")).await;
    let read = parts(
        answer.headers["content-type"].to_str().expect("a text"),
        &answer.text,
    );
    assert_eq!(read.len(), 2);
    let inner = std::str::from_utf8(read[0].body).expect("text");
    assert_eq!(parts(&kind(&read[0].headers), inner).len(), 3);
    assert_eq!(kind(&read[1].headers), "application/json; error=\"true\"");
    assert_eq!(read[1].body, b"{\"missing\":\"9-x\"}");

    let wanted = json!({"docs": [{"id": "a"}, {"id": "bare"}, {"id": "none"}]}).to_string();
    let asked = post("/couch/notes/_bulk_get", wanted);
    let answer = node.ask(accepting(asked, "multipart/mixed")).await;
    let read = parts(
        answer.headers["content-type"].to_str().expect("a text"),
        &answer.text,
    );
    let kinds: Vec<_> = read.iter().map(|part| kind(&part.headers)).collect();
    assert_eq!(read.len(), 3);
    assert!(kinds[0].starts_with("multipart/related;"));
    assert_eq!(
        &kinds[1..],
        ["application/json", "application/json; error=\"true\""]
    );
    let id = ("x-doc-id".to_owned(), "bare".to_owned());
    assert!(read[1].headers.contains(&id));
}

#[tokio::test]
async fn an_index_is_taken_back() {
    let node = node().await;
    for name in ["one", "two"] {
        let index = json!({"index": {"fields": [name]}, "ddoc": "mine", "name": name});
        let made = node.post("/couch/notes/_index", index).await.json();
        assert_eq!(made["result"], "created");
    }
    let count = async || node.get("/couch/notes/_index").await.json()["total_rows"].clone();
    assert_eq!(count().await, 3);
    for (path, status) in [
        ("mine/json/one", 200),
        ("mine/json/one", 404),
        ("_design%2Fmine/json/two", 200),
        ("mine/json/two", 404),
        ("none/json/one", 404),
    ] {
        let gone = node.delete(&format!("/couch/notes/_index/{path}")).await;
        assert_eq!(gone.status.as_u16(), status, "{path}");
    }
    assert_eq!(count().await, 1);
    assert_eq!(node.get("/couch/notes/_design/mine").await.status, 404);
}

#[tokio::test]
async fn a_document_is_copied_with_what_hangs_on_it() {
    let node = node().await;
    let written = json!({"n": 1, "_attachments": {"a": {"data": "Ynl0ZXM="}}});
    node.put("/couch/notes/a", written).await;
    let copy = async |from: &str, to: &str| {
        let request = Request::builder()
            .method("COPY")
            .uri(from)
            .header("host", "localhost");
        let request = request.header("destination", to).body(Body::empty());
        node.ask(request.expect("a request")).await
    };
    let made = copy("/couch/notes/a", "b%2Fc+%C3%BC").await;
    assert_eq!(
        (made.status, made.json()["id"].as_str()),
        (StatusCode::CREATED, Some("b/c+ü"))
    );
    let copied = node
        .get("/couch/notes/b%2Fc+%C3%BC?attachments=true")
        .await
        .json();
    assert_eq!(
        (&copied["n"], &copied["_attachments"]["a"]["data"]),
        (&json!(1), &json!("Ynl0ZXM="))
    );
    for (from, to, status) in [
        ("/couch/notes/a", "b%2Fc+%C3%BC", 409),
        ("/couch/notes/none", "x", 404),
        ("/couch/notes/a", "_x", 400),
        ("/couch/notes/a", "", 400),
        ("/couch/notes/a?rev=9-x", "x", 404),
    ] {
        assert_eq!(copy(from, to).await.status.as_u16(), status, "{from} {to}");
    }
    let over = format!("b%2Fc+%C3%BC?rev={}", rev(&made));
    assert_eq!(copy("/couch/notes/a", &over).await.status, 201);
}
