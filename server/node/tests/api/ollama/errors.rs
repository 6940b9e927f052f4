use std::time::Duration;

use axum::http::Request;
use kwaainet_core::BackendError;
use kwaainet_testkit::{Fault, Script};
use serde_json::{Value, json};

use super::{CHAT, GENERATE, ask, error, lines};
use crate::harness::{CONTEXT, MODEL, TestNode, post};

#[tokio::test]
async fn curl_needs_no_content_type_but_a_browser_does() {
    let node = TestNode::new().await;
    let form = "application/x-www-form-urlencoded";
    let body = || json!({"model": MODEL, "prompt": "hi", "stream": false}).to_string();
    for (path, kind, origin, status) in [
        (GENERATE, Some(form), None, 200),
        (GENERATE, Some("text/plain"), None, 200),
        (GENERATE, None, None, 200),
        (GENERATE, Some(form), Some("http://localhost"), 400),
        (GENERATE, Some(form), Some("https://evil.example"), 403),
        ("/v1/completions", Some(form), None, 400),
        ("/v1/messages", Some(form), None, 400),
    ] {
        let mut request = Request::post(path).header("host", "localhost");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request = request.body(body().into()).expect("it is a request");
        let answer = node.ask(request).await;
        assert_eq!(answer.status, status, "{path} {kind:?} {origin:?}");
    }
    node.settled().await;
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_by_name() {
    let node = TestNode::new().await;
    let said = |message: Value| json!({"messages": [message]});
    for (more, named) in [
        (json!({"model": ""}), "model"),
        (json!({"think": true}), "think"),
        (json!({"think": "high"}), "think"),
        (json!({"format": "xml"}), "format"),
        (json!({"keep_alive": []}), "keep_alive"),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (json!({"options": {"mirostat": 2}}), "options.mirostat"),
        (
            json!({"options": {"temperature": "hot"}}),
            "options.temperature",
        ),
        (json!({"options": {"top_p": 2}}), "options.top_p"),
        (
            json!({"options": {"num_predict": 0}}),
            "options.num_predict",
        ),
        (
            said(json!({"role": "user", "content": "x", "images": ["aGk="]})),
            "messages[0].images",
        ),
        (
            said(json!({"role": "wizard", "content": "x"})),
            "messages[0].role",
        ),
        (
            said(json!({"role": "user", "content": []})),
            "messages[0].content",
        ),
        (
            json!({"tools": [{"type": "function"}]}),
            "tools[0].function",
        ),
        (json!({"tools": [{"type": "code"}]}), "tools[0].type"),
        (
            json!({"tools": [{"function": {"name": "a b"}}]}),
            "tools[0].function.name",
        ),
    ] {
        let (status, message) = error(&node.post(CHAT, ask(more.clone())).await);
        assert_eq!(status, 400, "{more}");
        assert!(message.contains(named), "{more}: {message}");
    }
    for (more, named) in [
        (json!({"images": ["aGk="]}), "images"),
        (json!({"template": "{{ .Prompt }}"}), "template"),
        (json!({"context": [1, 2]}), "context"),
        (json!({"raw": true, "system": "x"}), "system"),
        (json!({"raw": true, "suffix": "x"}), "suffix"),
        (json!({"width": 64}), "width"),
    ] {
        let mut body = more;
        body["model"] = json!(MODEL);
        body["prompt"] = json!("x");
        let (status, message) = error(&node.post(GENERATE, body.clone()).await);
        assert_eq!(status, 400, "{body}");
        assert!(message.contains(named), "{body}: {message}");
    }
    assert_eq!(node.script.counts().started, 0);
}

#[tokio::test]
async fn errors_have_ollamas_shape() {
    let node = TestNode::new().await;
    let (status, message) = error(&node.post(CHAT, ask(json!({"model": "nobody:7b"}))).await);
    assert_eq!(status, 404);
    assert!(message.contains("nobody:7b"));
    assert_eq!(error(&node.get("/api/nothing").await).0, 404);
    assert_eq!(error(&node.get(CHAT).await).0, 405);
    assert_eq!(error(&node.ask(post(CHAT, "{")).await).0, 400);
    for path in ["/api/create", "/api/copy", "/api/push"] {
        let (status, message) = error(&node.post(path, json!({"model": MODEL})).await);
        assert_eq!(status, 404);
        assert!(message.contains("catalogue"), "{message}");
    }
    let delete = Request::delete("/api/delete").header("host", "localhost");
    let delete = delete.body(json!({"model": MODEL}).to_string().into());
    let (status, message) = error(&node.ask(delete.expect("a request")).await);
    assert_eq!(status, 404);
    assert!(message.contains("catalogue"), "{message}");

    let long = vec!["word"; CONTEXT as usize + 1].join(" ");
    let long = json!({"messages": [{"role": "user", "content": long}]});
    assert_eq!(error(&node.post(CHAT, ask(long)).await).0, 400);
    node.script.set(Script::busy(Duration::from_secs(7)));
    let busy = node.post(CHAT, ask(json!({}))).await;
    assert_eq!(error(&busy).0, 503);
    assert_eq!(busy.headers["retry-after"], "7");
    node.settled().await;
}

#[tokio::test]
async fn n14_a_failure_in_the_stream_is_its_last_line() {
    let node = TestNode::new().await;
    node.script.set(Script::failing(Fault::FailAfter {
        tokens: 1,
        error: BackendError::Internal("a secret of ours".into()),
    }));
    let answer = node.post(CHAT, ask(json!({}))).await;
    assert_eq!(answer.status, 200, "the head was sent before");
    assert!(!answer.text.contains("secret"), "{}", answer.text);
    let lines = lines(&answer);
    assert_eq!(lines.len(), 2);
    assert!(lines[1]["error"].is_string());
    assert_eq!(lines[1].as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(node.settled().await, [0, 1, 0]);
}
