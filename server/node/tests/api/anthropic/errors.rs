use std::time::Duration;

use axum::http::Request;
use kwaainet::config::{Config, Limits};
use kwaainet_core::{ApiKey, BackendError, KeyRecord, Scope};
use kwaainet_testkit::{Fault, Script};
use serde_json::{Value, json};

use super::{PATH, ask, error, events, weather};
use crate::harness::{CONTEXT, TestNode, get, post};

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_by_name() {
    let node = TestNode::new().await;
    let content = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    let source = json!({"type": "base64", "media_type": "image/png", "data": ""});
    let tool = |more: Value| {
        let mut tool = weather();
        let fields = more.as_object().expect("an object").clone();
        tool.as_object_mut().expect("an object").extend(fields);
        json!({"tools": [tool]})
    };
    let result = json!({"type": "tool_result", "tool_use_id": "t9", "content": "x"});
    for (more, named) in [
        (json!({"max_tokens": null}), "max_tokens"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"model": null}), "model"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": null}), "messages"),
        (json!({"temperature": 1.5}), "temperature"),
        (json!({"top_p": -0.1}), "top_p"),
        (json!({"top_k": -1}), "top_k"),
        (json!({"stop_sequences": [""]}), "stop_sequences"),
        (json!({"stop_sequences": "x"}), "stop_sequences"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
            "thinking",
        ),
        (json!({"thinking": {"type": "adaptive"}}), "thinking"),
        (json!({"service_tier": "flex"}), "service_tier"),
        (json!({"container": "c"}), "container"),
        (json!({"mcp_servers": [{}]}), "mcp_servers"),
        (
            json!({"output_config": {"effort": "low"}}),
            "output_config.effort",
        ),
        (
            json!({"output_config": {"format": {"type": "xml"}}}),
            "output_config.format.type",
        ),
        (
            json!({"output_format": {"type": "json_schema", "schema": 1}}),
            "output_format.schema",
        ),
        (
            json!({"metadata": {"user_id": "u".repeat(257)}}),
            "metadata.user_id",
        ),
        (
            content(json!({"type": "image", "source": source})),
            "messages[0].content[0]",
        ),
        (
            content(json!({"type": "document", "source": source})),
            "messages[0].content[0]",
        ),
        (
            content(json!({"type": "mystery"})),
            "messages[0].content[0].type",
        ),
        (
            content(json!({"type": "text"})),
            "messages[0].content[0].text",
        ),
        (content(result), "messages[0].content[0].tool_use_id"),
        (
            json!({"messages": [{"role": "user"}]}),
            "messages[0].content",
        ),
        (
            json!({"messages": [{"role": "tool", "content": "x"}]}),
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"},
                                {"role": "assistant", "content": "The answer is ("}]}),
            "messages",
        ),
        (json!({"system": 7}), "system"),
        (tool(json!({"type": "bash_20250124"})), "tools[0].type"),
        (
            tool(json!({"type": "web_search_20250305"})),
            "tools[0].type",
        ),
        (
            tool(json!({"input_schema": {"type": "array"}})),
            "tools[0].input_schema",
        ),
        (tool(json!({"name": "a b"})), "tools[0].name"),
        (
            tool(json!({"defer_loading": true})),
            "tools[0].defer_loading",
        ),
        (
            tool(json!({"allowed_callers": ["code_execution_20250825"]})),
            "tools[0].allowed_callers",
        ),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice"),
        (
            json!({"tools": [weather()], "tool_choice": {"type": "tool"}}),
            "tool_choice.name",
        ),
        (
            json!({"tools": [weather()], "tool_choice": {"type": "all"}}),
            "tool_choice.type",
        ),
    ] {
        let answer = node.post(PATH, ask(more.clone())).await;
        let (status, kind, message) = error(&answer);
        assert_eq!(
            (status, kind.as_str()),
            (400, "invalid_request_error"),
            "{more}"
        );
        assert!(message.contains(named), "{more}: {message}");
    }
    assert_eq!(node.script.counts().started, 0);
}

#[tokio::test]
async fn errors_have_anthropics_types_and_statuses() {
    let node = TestNode::new().await;
    let unknown = node.post(PATH, ask(json!({"model": "nobody"}))).await;
    let (status, kind, message) = error(&unknown);
    assert_eq!((status, kind.as_str()), (404, "not_found_error"));
    assert!(message.contains("nobody"));

    let (status, kind, _) = error(&node.get("/v1/messages/batches").await);
    assert_eq!((status, kind.as_str()), (404, "not_found_error"));
    let (status, kind, _) = error(&node.get(PATH).await);
    assert_eq!((status, kind.as_str()), (405, "invalid_request_error"));
    let (status, kind, _) = error(&node.ask(post(PATH, "{")).await);
    assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));

    let long = vec!["word"; CONTEXT as usize + 1].join(" ");
    let long = ask(json!({"messages": [{"role": "user", "content": long}]}));
    let (status, kind, message) = error(&node.post(PATH, long).await);
    assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
    assert!(message.starts_with("messages: "), "{message}");

    let busy = Script::busy(Duration::from_secs(7));
    let timeout = BackendError::Timeout { reason: "x".into() };
    let upstream = BackendError::Upstream { reason: "x".into() };
    let internal = BackendError::Internal("a secret of ours".into());
    for (script, expected) in [
        (busy, (529, "overloaded_error")),
        (
            Script::failing(Fault::Refuse(timeout)),
            (504, "timeout_error"),
        ),
        (Script::failing(Fault::Refuse(upstream)), (502, "api_error")),
        (Script::failing(Fault::Refuse(internal)), (500, "api_error")),
    ] {
        node.script.set(script);
        let answer = node.post(PATH, ask(json!({}))).await;
        let (status, kind, message) = error(&answer);
        assert_eq!((status, kind.as_str()), expected);
        assert!(!message.contains("secret"));
        if status == 529 {
            assert_eq!(answer.headers["retry-after"], "7");
        }
    }
    node.settled().await;
}

#[tokio::test]
async fn a_body_too_large_and_a_key_with_too_much_under_way_have_their_types() {
    let node = TestNode::with(Config {
        limits: Limits {
            body_bytes: 1_000,
            per_key: 1,
            ..Limits::default()
        },
        ..Config::default()
    })
    .await;
    let long = ask(json!({"system": "x".repeat(1_000)}));
    let (status, kind, _) = error(&node.post(PATH, long).await);
    assert_eq!((status, kind.as_str()), (413, "request_too_large"));

    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 1 }));
    let hanging = post(PATH, ask(json!({"stream": true})).to_string());
    let hanging = node.send(hanging).await;
    let (status, kind, _) = error(&node.post(PATH, ask(json!({}))).await);
    assert_eq!((status, kind.as_str()), (429, "rate_limit_error"));
    drop(hanging);
    node.settled().await;
}

#[tokio::test]
async fn n14_a_failure_in_the_stream_is_its_last_event() {
    let node = TestNode::new().await;
    node.script.set(Script::failing(Fault::FailAfter {
        tokens: 1,
        error: BackendError::Internal("a secret of ours".into()),
    }));
    let answer = node.post(PATH, ask(json!({"stream": true}))).await;
    assert_eq!(answer.status, 200, "the head was sent before");
    assert!(!answer.text.contains("secret"), "{}", answer.text);
    let events = events(&answer);
    let last = events.last().expect("there are events");
    assert_eq!(last["type"], "error");
    assert_eq!(last["error"]["type"], "api_error");
    assert!(events.iter().all(|event| event["type"] != "message_stop"));
    assert_eq!(node.settled().await, [0, 1, 0]);
}

#[tokio::test]
async fn a_key_may_come_as_anthropics_clients_send_it() {
    let node = TestNode::new().await;
    let key = ApiKey::generate();
    let record = KeyRecord {
        id: key.id().clone(),
        name: "test".into(),
        hash: key.hash(),
        scopes: [Scope::Inference].into_iter().collect(),
        created_at_ms: 1,
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    node.store.insert_key(&record).await.expect("it is stored");
    let with = |headers: &[(&'static str, String)]| {
        let mut request: Request<axum::body::Body> = post(PATH, ask(json!({})).to_string());
        for (name, value) in headers {
            let value = value.parse().expect("a header");
            request.headers_mut().insert(*name, value);
        }
        node.ask(request)
    };
    let (status, kind, _) = error(&with(&[]).await);
    assert_eq!((status, kind.as_str()), (401, "authentication_error"));
    let (status, kind, _) = error(&with(&[("x-api-key", "sk-ant-x".into())]).await);
    assert_eq!((status, kind.as_str()), (401, "authentication_error"));
    let good = [
        ("x-api-key", key.reveal()),
        ("anthropic-version", "2023-06-01".to_owned()),
    ];
    assert_eq!(with(&good).await.status, 200);
    let bearer = ("authorization", format!("Bearer {}", key.reveal()));
    assert_eq!(with(&[bearer]).await.status, 200);
    // Other doors take it too; and a foreign page gets no further than before.
    let mut request = get("/v1/models");
    let value = key.reveal().parse().expect("a header");
    request.headers_mut().insert("x-api-key", value);
    assert_eq!(node.ask(request).await.status, 200);
    assert_eq!(node.settled().await, [2, 0, 0]);
}
