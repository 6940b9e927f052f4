use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use kwaainet::config::Config;
use kwaainet_core::BackendError;
use kwaainet_testkit::{Fault, Script};
use serde_json::{Value, json};

use crate::harness::{EMBEDDER, LISTENER, MODEL, TestNode, get, post};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn every_bad_field_is_named_with_its_code() {
    let node = TestNode::new().await;
    let user = json!([{"role": "user", "content": "x"}]);
    for (more, code, param) in [
        (
            json!({"model": null}),
            "missing_required_parameter",
            "model",
        ),
        (json!({"model": 7}), "invalid_type", "model"),
        (
            json!({"messages": null}),
            "missing_required_parameter",
            "messages",
        ),
        (json!({"messages": []}), "empty_array", "messages"),
        (
            json!({"messages": [{}]}),
            "missing_required_parameter",
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "king", "content": "x"}]}),
            "invalid_value",
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "tool", "content": "x"}]}),
            "missing_required_parameter",
            "messages[0].tool_call_id",
        ),
        (
            json!({"messages": [{"role": "user"}]}),
            "missing_required_parameter",
            "messages[0].content",
        ),
        (
            json!({"messages": [{"role": "user", "content": 5}]}),
            "invalid_type",
            "messages[0].content",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}),
            "unsupported_value",
            "messages[0].content[0]",
        ),
        (
            json!({"temperature": -0.5}),
            "decimal_below_min_value",
            "temperature",
        ),
        (
            json!({"temperature": 2.5}),
            "decimal_above_max_value",
            "temperature",
        ),
        (json!({"temperature": "hot"}), "invalid_type", "temperature"),
        (json!({"top_p": 1.5}), "decimal_above_max_value", "top_p"),
        (json!({"n": 0}), "integer_below_min_value", "n"),
        (
            json!({"max_tokens": -5}),
            "integer_below_min_value",
            "max_tokens",
        ),
        (
            json!({"max_tokens": 1, "max_completion_tokens": 1}),
            "invalid_value",
            "max_tokens",
        ),
        (
            json!({"stop": ["a", "b", "c", "d", "e"]}),
            "array_above_max_length",
            "stop",
        ),
        (json!({"top_logprobs": 2}), "invalid_value", "top_logprobs"),
        (
            json!({"logprobs": true, "top_logprobs": 21}),
            "integer_above_max_value",
            "top_logprobs",
        ),
        (
            json!({"stream_options": {}}),
            "invalid_value",
            "stream_options",
        ),
        (
            json!({"logit_bias": {"x": 1}}),
            "invalid_value",
            "logit_bias",
        ),
        (
            json!({"tools": [{"type": "function"}]}),
            "missing_required_parameter",
            "tools[0].function",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": 7}}]}),
            "invalid_type",
            "tools[0].function.name",
        ),
        (
            json!({"response_format": {"type": "xml"}}),
            "invalid_value",
            "response_format.type",
        ),
        (
            json!({"response_format": "json"}),
            "invalid_type",
            "response_format",
        ),
        (json!({"metadata": {"a": 1}}), "invalid_type", "metadata.a"),
        (
            json!({"prediction": {"type": "text", "content": "x"}}),
            "invalid_value",
            "prediction.type",
        ),
        (
            json!({"reasoning_effort": "high"}),
            "unsupported_parameter",
            "reasoning_effort",
        ),
        (json!({"store": true}), "unsupported_parameter", "store"),
        (json!({"stream": "yes"}), "invalid_type", "stream"),
    ] {
        let mut body = json!({"model": MODEL, "messages": user});
        body.as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        let answer = node.post(CHAT, body).await;
        let (status, kind, got, at) = answer.error();
        assert_eq!(
            (status, kind.as_str()),
            (400, "invalid_request_error"),
            "{more}"
        );
        assert_eq!(
            (got.as_deref(), at.as_deref()),
            (Some(code), Some(param)),
            "{more}"
        );
    }
    assert_eq!(
        node.script.counts().started,
        0,
        "no work was done for any of them"
    );

    let unknown = json!({"model": MODEL, "messages": user, "new_in_2030": {"deep": true}});
    assert_eq!(node.post(CHAT, unknown).await.status, 200);
    node.settled().await;
}

#[tokio::test]
async fn every_bad_field_of_a_completion_is_named_with_its_code() {
    let node = TestNode::new().await;
    for (more, code, param) in [
        (json!({"echo": "yes"}), "invalid_type", "echo"),
        (
            json!({"max_tokens": 0}),
            "integer_below_min_value",
            "max_tokens",
        ),
        (json!({"suffix": 1}), "invalid_type", "suffix"),
        (
            json!({"suffix": "b", "prompt": [1, 2]}),
            "invalid_value",
            "suffix",
        ),
        (
            json!({"suffix": "b", "echo": true}),
            "invalid_value",
            "echo",
        ),
        (json!({"best_of": 1, "n": 2}), "invalid_value", "best_of"),
        (
            json!({"best_of": 2, "stream": true}),
            "invalid_value",
            "best_of",
        ),
        (
            json!({"best_of": 129}),
            "integer_above_max_value",
            "best_of",
        ),
        (
            json!({"logprobs": 6}),
            "integer_above_max_value",
            "logprobs",
        ),
        (
            json!({"guided_regex": "a", "guided_choice": ["b"]}),
            "invalid_value",
            "guided_choice",
        ),
        (json!({"tools": [{}]}), "unsupported_parameter", "tools"),
    ] {
        let mut body = json!({"model": MODEL, "prompt": "x"});
        body.as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        let (status, kind, got, at) = node.post("/v1/completions", body).await.error();
        assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
        assert_eq!(
            (got.as_deref(), at.as_deref()),
            (Some(code), Some(param)),
            "{more}"
        );
    }
    assert_eq!(node.script.counts().started, 0);
    node.settled().await;
}

#[tokio::test]
async fn what_of_openai_is_not_here_is_an_unknown_url() {
    let node = TestNode::new().await;
    for path in [
        "/v1/assistants",
        "/v1/threads",
        "/v1/threads/thread_1/runs",
        "/v1/fine_tuning/jobs",
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/audio/speech",
        "/v1/moderations",
        "/v1/realtime/sessions",
        "/v1/uploads",
        "/v1/evals",
        "/v1/containers",
        "/v1/videos",
        "/v1/organization/usage/completions",
        "/v1/chat/completions/chatcmpl-1",
        "/v1/chat/completions/chatcmpl-1/messages",
    ] {
        for answer in [node.get(path).await, node.post(path, json!({})).await] {
            let expected = (
                404,
                "invalid_request_error".to_owned(),
                Some("unknown_url".to_owned()),
                None,
            );
            assert_eq!(answer.error(), expected, "{path}");
            let message = answer.json()["error"]["message"].to_string();
            assert!(message.contains(path), "{message}");
        }
    }
}

#[tokio::test]
async fn what_is_no_request_gets_an_error_object_too() {
    let node = TestNode::new().await;
    let plain = |answer: crate::harness::Answer| {
        let (status, kind, code, param) = answer.error();
        assert_eq!((kind.as_str(), param), ("invalid_request_error", None));
        (status, code)
    };
    for body in ["", "{", "hello", "{\"model\": \"\u{0}"] {
        assert_eq!(
            plain(node.ask(post(CHAT, body)).await),
            (400, None),
            "{body}"
        );
    }
    let not_utf8 = node
        .ask(post(CHAT, &b"{\"model\": \"\xff\xfe\"}"[..]))
        .await;
    assert_eq!(plain(not_utf8), (400, None));

    let code = |code: &str| Some(code.to_owned());
    assert_eq!(
        plain(node.get("/v1/nowhere").await),
        (404, code("unknown_url"))
    );
    assert_eq!(
        plain(node.get(CHAT).await),
        (405, code("method_not_supported"))
    );
    let form = Request::post(CHAT).header("host", "localhost");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let form = node
        .ask(form.body(Body::from("a=1")).expect("it is one"))
        .await;
    assert_eq!(plain(form), (400, code("unsupported_content_type")));
    let large = post(CHAT, vec![b' '; Config::default().limits.body_bytes + 1]);
    assert_eq!(
        plain(node.ask(large).await),
        (413, code("request_too_large"))
    );
}

#[tokio::test]
async fn models_are_found_or_not() {
    let node = TestNode::new().await;
    let list = node.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let ids: Vec<_> = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| &m["id"])
        .collect();
    assert_eq!(ids, [MODEL, EMBEDDER, LISTENER]);
    let one = node.get(&format!("/v1/models/{MODEL}")).await.json();
    assert_eq!(
        (&one["object"], &one["owned_by"]),
        (&json!("model"), &json!("scripted"))
    );

    let not_found = (
        404,
        "invalid_request_error".to_owned(),
        Some("model_not_found".to_owned()),
        Some("model".to_owned()),
    );
    assert_eq!(node.get("/v1/models/none").await.error(), not_found);
    let body = json!({"model": "none", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(node.post(CHAT, body).await.error(), not_found);
    let body = json!({"model": "none", "prompt": "x"});
    assert_eq!(node.post("/v1/tokenize", body).await.error(), not_found);
    let body = json!({"model": EMBEDDER, "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(node.post(CHAT, body).await.error().0, 400);
    assert_eq!(
        node.settled().await,
        [0, 0, 0],
        "what has no route takes no place"
    );
    assert_eq!(node.get("/v1/models/some/thing").await.error(), not_found);
    assert_eq!(node.get("/v1/models/%FF").await.error().0, 400);
}

#[tokio::test]
async fn a_backends_failures_have_their_own_status() {
    let node = TestNode::new().await;
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "x"}]});
    let reason = || "it is down".to_owned();
    for (error, status, code) in [
        (
            BackendError::Upstream { reason: reason() },
            502,
            "upstream_error",
        ),
        (
            BackendError::Timeout { reason: reason() },
            504,
            "upstream_timeout",
        ),
        (BackendError::Internal(reason()), 500, "internal_error"),
        (
            BackendError::Busy {
                reason: reason(),
                retry_after: Duration::from_secs(7),
            },
            503,
            "overloaded",
        ),
        (
            BackendError::Invalid {
                param: "prompt",
                reason: reason(),
            },
            400,
            "invalid_value",
        ),
    ] {
        node.script.set(Script::failing(Fault::Refuse(error)));
        for stream in [false, true] {
            let mut body = body.clone();
            body["stream"] = json!(stream);
            let answer = node.post(CHAT, body).await;
            assert_eq!(
                (answer.error().0, answer.error().2.as_deref()),
                (status, Some(code))
            );
            let retry_after = answer
                .headers
                .get("retry-after")
                .map(|v| v.to_str().expect("text"));
            assert_eq!(retry_after, (status == 503).then_some("7"));
        }
    }
    node.settled().await;
}

#[tokio::test]
async fn a_full_node_says_when_to_come_again() {
    let mut config = Config::default();
    config.limits.slots = 1;
    config.limits.waiting = 0;
    let node = TestNode::with(config).await;
    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 1 }));
    let body = json!({
        "model": MODEL, "messages": [{"role": "user", "content": "x"}], "stream": true,
    });
    let held = node.send(post(CHAT, body.to_string())).await;
    let refused = node.post(CHAT, body).await;
    assert_eq!(
        refused.error(),
        (503, "server_error".into(), Some("overloaded".into()), None)
    );
    assert!(refused.headers.contains_key("retry-after"));
    drop(held);
    assert_eq!(node.settled().await, [0, 0, 1]);
}

#[tokio::test]
async fn one_caller_cannot_take_every_place() {
    let mut config = Config::default();
    config.limits.per_key = 1;
    let node = TestNode::with(config).await;
    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 1 }));
    let body = json!({"model": MODEL, "prompt": "x", "stream": true});
    let held = node.send(post("/v1/completions", body.to_string())).await;
    let refused = node.post("/v1/completions", body).await;
    let expected = (
        429,
        "requests".to_owned(),
        Some("rate_limit_exceeded".to_owned()),
        None,
    );
    assert_eq!(refused.error(), expected);
    assert!(refused.headers.contains_key("retry-after"));
    drop(held);
    node.settled().await;
}

#[tokio::test]
async fn tokens_are_counted_and_turned_back() {
    let node = TestNode::new().await;
    let body = json!({"model": MODEL, "prompt": "one two three"});
    let tokens = node.post("/v1/tokenize", body).await.json();
    assert_eq!(tokens["count"], 3);
    assert_eq!(tokens["max_model_len"], 100);
    let body = json!({"model": MODEL, "tokens": tokens["tokens"]});
    let text = node.post("/v1/detokenize", body).await.json();
    assert_eq!(text["prompt"], "one two three");
    for (path, body) in [
        (
            "/v1/tokenize",
            json!({"model": MODEL, "prompt": "x", "add_generation_prompt": false}),
        ),
        ("/v1/tokenize", json!({"model": MODEL})),
        (
            "/v1/tokenize",
            json!({"model": MODEL, "prompt": "x", "messages": []}),
        ),
        ("/v1/detokenize", json!({"model": MODEL})),
        ("/v1/detokenize", json!({"model": MODEL, "tokens": "x"})),
    ] {
        assert_eq!(node.post(path, body).await.error().0, 400);
    }
}

#[tokio::test]
async fn request_ids_go_in_and_out() {
    let node = TestNode::new().await;
    let mut request = get("/healthz");
    request
        .headers_mut()
        .insert("x-request-id", "abc-1".parse().expect("a header"));
    assert_eq!(node.ask(request).await.headers["x-request-id"], "abc-1");
    let made = node.get("/v1/nowhere").await.headers["x-request-id"].clone();
    assert!(made.to_str().expect("text").starts_with("req_"));
    let mut odd = get("/healthz");
    odd.headers_mut()
        .insert("x-request-id", "a b".parse().expect("a header"));
    assert_ne!(node.ask(odd).await.headers["x-request-id"], "a b");
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let node = TestNode::new().await;
    assert_eq!(node.get("/healthz").await.json()["status"], "ok");
    let expected = json!({"ready": true, "reason": Value::Null});
    assert_eq!(node.get("/readyz").await.json(), expected);
    let body = json!({"model": MODEL, "prompt": "x"});
    assert_eq!(node.post("/v1/completions", body).await.status, 200);
    node.settled().await;
    let metrics = node.get("/metrics").await.text;
    for name in [
        "kwaainet_http_requests_total{method=\"POST\",route=\"/v1/completions\",status=\"200\"}",
        "kwaainet_jobs_total{work=\"generate\",outcome=\"done\"}",
        "kwaainet_job_seconds_bucket",
        "kwaainet_jobs_running 0",
    ] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    node.admission().drain();
    assert_eq!(node.get("/readyz").await.status, 503);
    let body = json!({"model": MODEL, "prompt": "x"});
    assert_eq!(node.post("/v1/completions", body).await.error().0, 503);
}

#[tokio::test]
async fn a_connection_whose_request_was_not_read_is_announced_to_end() {
    let node = TestNode::new().await;
    let body = || json!({"model": MODEL, "prompt": "x"}).to_string();
    let is_announced = |answer: &crate::harness::Answer| {
        answer
            .headers
            .get("connection")
            .map(|value| value == "close")
            == Some(true)
    };
    let unread = node.ask(post("/v1/nowhere", body())).await;
    assert_eq!(unread.status, 404);
    assert!(is_announced(&unread));
    for answer in [
        node.ask(post("/v1/completions", body())).await,
        node.ask(post("/v1/completions", "{}")).await,
        node.get("/v1/nowhere").await,
    ] {
        assert!(!is_announced(&answer), "{}", answer.text);
    }
    node.settled().await;
}
