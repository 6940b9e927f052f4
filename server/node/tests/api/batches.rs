//! `/v1/batches`, from the file that goes in to the files that come out.

use std::time::Duration;

use kwaainet::config::Config;
use kwaainet_core::{BackendError, Usage};
use kwaainet_store::{BatchCounts, BatchRecord, BatchStatus};
use kwaainet_testkit::{Fault, Script};
use serde_json::{Value, json};

use crate::files::{delete, fill, form, key, upload, with_key};
use crate::harness::{EMBEDDER, MODEL, SOON, TestNode, get, post};

const PATH: &str = "/v1/batches";
const CHAT: &str = "/v1/chat/completions";

fn line(id: &str, url: &str, body: Value) -> String {
    json!({"custom_id": id, "method": "POST", "url": url, "body": body}).to_string()
}

fn chat(id: &str) -> String {
    let message = json!({"role": "user", "content": "hi"});
    line(
        id,
        CHAT,
        json!({"model": MODEL, "messages": [message], "max_tokens": 3}),
    )
}

fn chats(count: usize) -> String {
    let lines: Vec<_> = (0..count).map(|i| chat(&format!("r{i}"))).collect();
    lines.join("\n")
}

async fn create(node: &TestNode, endpoint: &str, input: &str) -> Value {
    let file = upload(node, "batch", "in.jsonl", input.as_bytes()).await;
    let body = json!({
        "input_file_id": file, "endpoint": endpoint, "completion_window": "24h",
        "metadata": {"who": "me"},
    });
    let answer = node.post(PATH, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// Waits until the batch has one of these statuses.
async fn until(node: &TestNode, id: &Value, wanted: &[&str]) -> Value {
    let path = format!("{PATH}/{}", id.as_str().expect("an id"));
    let seen = async {
        loop {
            let batch = node.get(&path).await.json();
            if wanted.contains(&batch["status"].as_str().expect("a status")) {
                return batch;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, seen)
        .await
        .expect("it comes to it")
}

/// The lines of a file that a batch made, by their custom ids.
async fn lines(node: &TestNode, id: &Value) -> Vec<(String, Value)> {
    let id = id.as_str().expect("there is a file");
    let answer = node.get(&format!("/v1/files/{id}/content")).await;
    assert!(answer.text.ends_with('\n'));
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("lines are JSON");
        let name = line["custom_id"].as_str().expect("a name").to_owned();
        (name, line)
    };
    answer.text.lines().map(line).collect()
}

#[tokio::test]
async fn every_line_gets_the_answer_that_its_endpoint_gives() {
    let node = TestNode::new().await;
    let bad = line("bad", CHAT, json!({"model": MODEL, "messages": [], "n": 1}));
    let lost = line(
        "lost",
        CHAT,
        json!({"model": "nobody", "messages": [{"role": "user", "content": "x"}]}),
    );
    let stream = chat("stream").replace("\"max_tokens\"", "\"stream\":true,\"max_tokens\"");
    let input = [chat("one"), bad, lost, stream, String::new(), chat("two")].join("\n");
    let made = create(&node, CHAT, &input).await;
    assert_eq!(made["object"], "batch");
    assert_eq!(made["status"], "validating");
    assert_eq!(made["metadata"], json!({"who": "me"}));
    assert_eq!(
        made["expires_at"].as_i64(),
        made["created_at"].as_i64().map(|at| at + 86_400)
    );
    let batch = until(&node, &made["id"], &["completed"]).await;
    let counts = json!({"total": 5, "completed": 2, "failed": 3});
    assert_eq!(batch["request_counts"], counts);
    assert_eq!(batch["usage"]["output_tokens"], 6);
    assert_eq!(batch["errors"], Value::Null);
    for at in ["in_progress_at", "finalizing_at", "completed_at"] {
        assert!(batch[at].is_i64(), "{at}");
    }
    for at in ["failed_at", "expired_at", "cancelled_at", "cancelling_at"] {
        assert!(batch[at].is_null(), "{at}");
    }

    let good = lines(&node, &batch["output_file_id"]).await;
    let names: Vec<_> = good.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["one", "two"], "in the order of the input");
    let (_, first) = &good[0];
    assert!(
        first["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("batch_req_"))
    );
    assert_eq!(first["error"], Value::Null);
    assert_eq!(first["response"]["status_code"], 200);
    assert!(first["response"]["request_id"].is_string());
    let mut body = first["response"]["body"].clone();
    let live =
        json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3});
    let mut live = node.post(CHAT, live).await.json();
    for volatile in ["id", "created"] {
        body[volatile] = Value::Null;
        live[volatile] = Value::Null;
    }
    assert_eq!(body, live);

    let refused = lines(&node, &batch["error_file_id"]).await;
    let seen: Vec<_> = refused
        .iter()
        .map(|(name, line)| {
            let response = &line["response"];
            let error = &response["body"]["error"];
            (
                name.as_str(),
                response["status_code"].as_u64(),
                error["param"].as_str(),
            )
        })
        .collect();
    let expected = [
        ("bad", Some(400), Some("messages")),
        ("lost", Some(404), Some("model")),
        ("stream", Some(400), Some("stream")),
    ];
    assert_eq!(seen, expected);
    let file = batch["output_file_id"].as_str().expect("a file");
    let file = node.get(&format!("/v1/files/{file}")).await.json();
    assert_eq!(file["purpose"], "batch_output");
    assert_eq!(node.settled().await, [3, 0, 0]);
}

#[tokio::test]
async fn responses_run_too_and_are_kept_as_asked() {
    let node = TestNode::new().await;
    let url = "/v1/responses";
    let ask = |id: &str, more: Value| {
        let mut body = json!({"model": MODEL, "input": "hi", "max_output_tokens": 3});
        let fields = more.as_object().expect("an object").clone();
        body.as_object_mut().expect("an object").extend(fields);
        line(id, url, body)
    };
    let input = [
        ask("kept", json!({})),
        ask("gone", json!({"store": false})),
        ask("stream", json!({"stream": true})),
        ask("background", json!({"background": true})),
    ];
    let made = create(&node, url, &input.join("\n")).await;
    let batch = until(&node, &made["id"], &["completed", "failed"]).await;
    assert_eq!(batch["errors"], Value::Null);
    let counts = json!({"total": 4, "completed": 2, "failed": 2});
    assert_eq!(batch["request_counts"], counts);
    assert_eq!(batch["usage"]["input_tokens"], 4);
    assert_eq!(batch["usage"]["output_tokens"], 6);
    assert_eq!(batch["usage"]["total_tokens"], 10);
    for (name, line) in lines(&node, &batch["output_file_id"]).await {
        let body = &line["response"]["body"];
        assert_eq!(body["object"], "response");
        assert_eq!(body["output"][0]["content"][0]["text"], "w0 w1 w2");
        let id = body["id"].as_str().expect("an id");
        let shown = node.get(&format!("{url}/{id}")).await;
        match name.as_str() {
            "kept" => assert_eq!(shown.json(), *body),
            _ => assert_eq!(shown.status, 404),
        }
    }
    for (name, line) in lines(&node, &batch["error_file_id"]).await {
        let response = &line["response"];
        assert_eq!(response["status_code"], 400);
        assert_eq!(response["body"]["error"]["param"], json!(name));
        assert_eq!(response["body"]["error"]["code"], "unsupported_value");
    }
    node.settled().await;
}

#[tokio::test]
async fn embeddings_and_completions_run_too() {
    let node = TestNode::new().await;
    let url = "/v1/embeddings";
    let input = line("e", url, json!({"model": EMBEDDER, "input": ["a", "b c"]}));
    let made = create(&node, url, &input).await;
    let batch = until(&node, &made["id"], &["completed"]).await;
    assert_eq!(batch["usage"]["input_tokens"], 3);
    let found = lines(&node, &batch["output_file_id"]).await;
    let data = &found[0].1["response"]["body"]["data"];
    assert_eq!(data[1]["embedding"].as_array().map(Vec::len), Some(8));
    assert_eq!(batch["error_file_id"], Value::Null);

    // So many that they are embedded in parts.
    let inputs: Vec<_> = (0..21).map(|i| format!("w{i} x")).collect();
    let body = json!({"model": EMBEDDER, "input": inputs});
    let made = create(&node, url, &line("many", url, body.clone())).await;
    let batch = until(&node, &made["id"], &["completed"]).await;
    let found = lines(&node, &batch["output_file_id"]).await;
    let live = node.post(url, body).await.json();
    assert_eq!(found[0].1["response"]["body"], live);

    let url = "/v1/completions";
    let input = line(
        "c",
        url,
        json!({"model": MODEL, "prompt": "x", "max_tokens": 2}),
    );
    let made = create(&node, url, &input).await;
    let batch = until(&node, &made["id"], &["completed"]).await;
    let found = lines(&node, &batch["output_file_id"]).await;
    let body = &found[0].1["response"]["body"];
    assert_eq!(body["choices"][0]["text"], "w0 w1");
    node.settled().await;
}

#[tokio::test]
async fn input_that_is_not_sound_fails_with_line_numbers() {
    let node = TestNode::new().await;
    let input = [
        chat("a"),
        "{not json".to_owned(),
        chat("a"),
        line("b", "/v1/embeddings", json!({})),
        json!({"method": "POST", "url": CHAT, "body": {}}).to_string(),
    ];
    let made = create(&node, CHAT, &input.join("\n")).await;
    let batch = until(&node, &made["id"], &["failed"]).await;
    assert!(batch["failed_at"].is_i64());
    assert_eq!(batch["errors"]["object"], "list");
    let errors = batch["errors"]["data"].as_array().expect("a list");
    let seen: Vec<_> = errors
        .iter()
        .map(|error| {
            assert!(error["message"].is_string());
            let code = error["code"].as_str().expect("a code");
            (code, error["line"].as_u64(), error["param"].as_str())
        })
        .collect();
    let expected = [
        ("invalid_json_line", Some(2), None),
        ("duplicate_custom_id", Some(3), Some("custom_id")),
        ("invalid_url", Some(4), Some("url")),
        ("missing_required_parameter", Some(5), Some("custom_id")),
    ];
    assert_eq!(seen, expected);
    let made = create(&node, CHAT, "\n \n").await;
    let batch = until(&node, &made["id"], &["failed"]).await;
    assert_eq!(batch["errors"]["data"][0]["code"], "empty_file");
    assert_eq!(batch["errors"]["data"][0]["line"], Value::Null);
    assert_eq!(node.settled().await, [0, 0, 0], "nothing ran");
}

#[tokio::test]
async fn bad_batches_are_named() {
    let node = TestNode::new().await;
    let file = upload(&node, "batch", "in.jsonl", b"{}").await;
    let other = upload(&node, "user_data", "in.jsonl", b"{}").await;
    for (field, value, status, code) in [
        (
            "input_file_id",
            Value::Null,
            400,
            "missing_required_parameter",
        ),
        ("input_file_id", json!("file-none"), 404, "file_not_found"),
        ("input_file_id", json!(other), 400, "invalid_value"),
        ("endpoint", Value::Null, 400, "missing_required_parameter"),
        ("endpoint", json!("/v1/moderations"), 400, "invalid_value"),
        (
            "completion_window",
            Value::Null,
            400,
            "missing_required_parameter",
        ),
        ("completion_window", json!("1h"), 400, "invalid_value"),
        ("metadata", json!(7), 400, "invalid_type"),
    ] {
        let mut body = json!({
            "input_file_id": file, "endpoint": CHAT, "completion_window": "24h",
        });
        body[field] = value;
        let (got, _, code_got, param) = node.post(PATH, body).await.error();
        assert_eq!((got, code_got.as_deref()), (status, Some(code)), "{field}");
        assert_eq!(param.as_deref(), Some(field));
    }
    let mut body = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"});
    body["output_expires_after"] = json!({"anchor": "created_at", "seconds": 1});
    let (_, _, _, param) = node.post(PATH, body).await.error();
    assert_eq!(param.as_deref(), Some("output_expires_after.seconds"));
    for path in [
        format!("{PATH}/batch_none"),
        format!("{PATH}?after=batch_none"),
    ] {
        assert!(node.get(&path).await.status.is_client_error());
    }
    let path = format!("{PATH}/batch_none/cancel");
    assert_eq!(node.post(&path, json!({})).await.error().0, 404);
}

#[tokio::test]
async fn a_batch_that_is_called_off_keeps_what_is_done() {
    let node = TestNode::new().await;
    node.script.set(Script {
        delay: Duration::from_millis(30),
        ..Script::words(3)
    });
    let made = create(&node, CHAT, &chats(200)).await;
    let some_are_done = async {
        loop {
            let batch = until(&node, &made["id"], &["validating", "in_progress"]).await;
            if batch["request_counts"]["completed"].as_u64() >= Some(2) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, some_are_done)
        .await
        .expect("lines run");
    let path = format!("{PATH}/{}/cancel", made["id"].as_str().expect("an id"));
    let answer = node.post(&path, json!({})).await.json();
    assert_eq!(answer["status"], "cancelling");
    let batch = until(&node, &made["id"], &["cancelled"]).await;
    assert!(batch["cancelling_at"].is_i64() && batch["cancelled_at"].is_i64());
    let done = batch["request_counts"]["completed"]
        .as_u64()
        .expect("a count");
    assert!((2..200).contains(&done), "{done}");
    let kept = lines(&node, &batch["output_file_id"]).await;
    assert_eq!(kept.len() as u64, done);
    let (status, ..) = node.post(&path, json!({})).await.error();
    assert_eq!(status, 409);
    let [_, errors, _] = node.settled().await;
    assert_eq!(errors, 0, "what ran was stopped, and nothing failed");
}

#[tokio::test]
async fn a_batch_goes_on_after_a_restart_and_nothing_comes_twice() {
    let node = TestNode::new().await;
    let slow = Script {
        delay: Duration::from_millis(5),
        ..Script::words(3)
    };
    node.script.set(slow.clone());
    let made = create(&node, CHAT, &chats(40)).await;
    let mut node = node;
    for least in [5, 15] {
        let far = async {
            loop {
                let path = format!("{PATH}/{}", made["id"].as_str().expect("an id"));
                let batch = node.get(&path).await.json();
                if batch["request_counts"]["completed"].as_u64() >= Some(least) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(SOON, far).await.expect("lines run");
        node = node.restarted().await;
        node.script.set(slow.clone());
    }
    let batch = until(&node, &made["id"], &["completed"]).await;
    let counts = json!({"total": 40, "completed": 40, "failed": 0});
    assert_eq!(batch["request_counts"], counts);
    let found = lines(&node, &batch["output_file_id"]).await;
    let names: Vec<_> = found.into_iter().map(|(name, _)| name).collect();
    let expected: Vec<_> = (0..40).map(|i| format!("r{i}")).collect();
    assert_eq!(names, expected, "every line once and in order");
    node.comes_to_rest().await;
}

#[tokio::test]
async fn a_batch_whose_key_is_revoked_fails() {
    let node = TestNode::new().await;
    let (one, two) = (key(&node).await, key(&node).await);
    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 0 }));
    let request = form(&[("purpose", "batch")], Some(("in", chats(2).as_bytes())));
    let file = node.ask(with_key(request, &one)).await.json()["id"].clone();
    let body = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"});
    let foreign = node.ask(with_key(post(PATH, body.to_string()), &two)).await;
    assert_eq!(foreign.error().0, 404, "it is another key's file");
    let made = node
        .ask(with_key(post(PATH, body.to_string()), &one))
        .await
        .json();
    let path = format!("{PATH}/{}", made["id"].as_str().expect("an id"));
    assert_eq!(node.ask(with_key(get(&path), &two)).await.error().0, 404);
    let cancel = post(&format!("{path}/cancel"), "{}");
    assert_eq!(node.ask(with_key(cancel, &two)).await.error().0, 404);
    let listed = node.ask(with_key(get(PATH), &two)).await.json();
    assert_eq!(listed["data"], json!([]));

    let owner = node.script.clone();
    let asked = async {
        while owner.last_generate().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, asked)
        .await
        .expect("a line runs");
    let asked = owner.last_generate().expect("it was asked");
    assert_eq!(asked.owner.to_string(), format!("key:{}", one.id()));
    assert_eq!(asked.params.priority, kwaainet_core::Priority::Batch);
    assert!(
        node.store
            .revoke_key(one.id(), 5)
            .await
            .expect("it answers")
    );
    let principal = format!("key:{}", one.id()).as_str().into();
    let id = made["id"].as_str().expect("an id");
    let failed = async {
        loop {
            let batch = node.store.batch(&principal, id).await;
            let batch = batch.expect("it answers").expect("it is there");
            if batch.status == BatchStatus::Failed {
                return batch.errors.expect("it says why");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let why = tokio::time::timeout(SOON, failed).await.expect("it fails");
    assert!(why.contains("invalid_api_key"), "{why}");
    node.settled().await;
}

#[tokio::test]
async fn a_batch_takes_no_place_from_those_who_wait_for_an_answer() {
    let mut config = kwaainet::config::Config::default();
    config.limits.slots = 1;
    config.limits.waiting = 0;
    config.limits.per_key = 1;
    let node = TestNode::with(config).await;
    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 1 }));
    let made = create(&node, CHAT, &chats(3)).await;
    let begun = async {
        while node.script.counts().alive == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, begun)
        .await
        .expect("a line runs");
    node.script.set(Script::words(2));
    let live = json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(node.post(CHAT, live).await.status, 200, "the slot is free");
    let path = format!("{PATH}/{}/cancel", made["id"].as_str().expect("an id"));
    node.post(&path, json!({})).await;
    until(&node, &made["id"], &["cancelled"]).await;
    node.settled().await;
}

#[tokio::test]
async fn a_node_that_is_full_is_asked_again() {
    let node = TestNode::new().await;
    node.script.set(Script::busy(Duration::from_millis(1)));
    let made = create(&node, CHAT, &chats(2)).await;
    let refused = async {
        while node.script.last_generate().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, refused)
        .await
        .expect("it is asked");
    node.script.set(Script::words(2));
    let batch = until(&node, &made["id"], &["completed"]).await;
    assert_eq!(batch["request_counts"]["completed"], 2);
    node.script
        .set(Script::failing(Fault::Refuse(BackendError::Internal(
            "broken".into(),
        ))));
    let made = create(&node, CHAT, &chats(1)).await;
    let batch = until(&node, &made["id"], &["completed"]).await;
    assert_eq!(batch["request_counts"]["failed"], 1);
    assert_eq!(batch["output_file_id"], Value::Null);
    let errors = lines(&node, &batch["error_file_id"]).await;
    assert_eq!(errors[0].1["response"]["status_code"], 500);
    node.settled().await;
}

#[tokio::test]
async fn a_batch_whose_input_or_time_is_gone_says_so() {
    let node = TestNode::new().await;
    node.script.set(Script::busy(Duration::from_millis(1)));
    let input = upload(&node, "batch", "in.jsonl", chats(3).as_bytes()).await;
    let batch = |id: &str, input: &str| BatchRecord {
        id: id.to_owned(),
        principal: "owner".into(),
        key: None,
        endpoint: CHAT.to_owned(),
        input_file: input.to_owned(),
        metadata: None,
        output_expires_s: None,
        status: BatchStatus::Validating,
        counts: BatchCounts::default(),
        usage: Usage::default(),
        errors: None,
        output_file: None,
        error_file: None,
        created_at_ms: 1,
        expires_at_ms: 2,
        in_progress_at_ms: None,
        finalizing_at_ms: None,
        cancelling_at_ms: None,
        ended_at_ms: None,
    };
    for record in [
        batch("batch_late", &input),
        batch("batch_lost", "file-none"),
    ] {
        let inserted = node.store.insert_batch(&record, 9, 9).await;
        assert!(inserted.expect("it answers"));
    }
    // The batches were left by a node that was stopped long ago.
    let node = node.restarted().await;
    let late = until(&node, &json!("batch_late"), &["expired"]).await;
    assert!(late["expired_at"].is_i64());
    assert_eq!(
        late["request_counts"],
        json!({"total": 3, "completed": 0, "failed": 3})
    );
    let given_up = lines(&node, &late["error_file_id"]).await;
    assert_eq!(given_up.len(), 3);
    assert_eq!(given_up[0].1["response"], Value::Null);
    assert_eq!(given_up[0].1["error"]["code"], "batch_expired");
    let lost = until(&node, &json!("batch_lost"), &["failed"]).await;
    assert_eq!(lost["errors"]["data"][0]["code"], "input_file_not_found");

    assert_eq!(
        delete(&node, &format!("/v1/files/{input}")).await.status,
        200
    );
    let page = node.get(&format!("{PATH}?limit=1")).await.json();
    assert_eq!(page["data"][0]["id"], "batch_lost");
    assert_eq!(page["has_more"], true);
    let page = node
        .get(&format!("{PATH}?limit=1&after=batch_lost"))
        .await
        .json();
    assert_eq!(page["data"][0]["id"], "batch_late");
    assert_eq!(page["has_more"], false);
    node.comes_to_rest().await;
}

#[tokio::test]
async fn answers_find_room_or_say_that_there_is_none() {
    let mut config = Config::default();
    config.files.key_mib = 1;
    let node = TestNode::with(config).await;
    let input = chats(20);
    let filler = fill(&node, input.len() + 100).await;
    let made = create(&node, CHAT, &input).await;
    let batch = until(&node, &made["id"], &["completed"]).await;
    let counts = &batch["request_counts"];
    assert_eq!(counts["total"], 20);
    let good = counts["completed"].as_u64().expect("a count");
    assert!((1..=8).contains(&good), "{counts}");
    assert!(batch["finalizing_at"].is_i64());
    let bad = lines(&node, &batch["error_file_id"]).await;
    assert_eq!(bad.len() as u64, 20 - good);
    for (_, line) in &bad {
        assert_eq!(line["error"]["code"], "storage_limit_exceeded");
        assert_eq!(line["response"], Value::Null);
    }
    // Whoever is over the bound begins nothing more, until there is room.
    let body = json!({"input_file_id": batch["input_file_id"], "endpoint": CHAT,
        "completion_window": "24h"});
    let refused = node.post(PATH, body.clone()).await.error();
    let expected = Some("storage_limit_exceeded");
    assert_eq!((refused.0, refused.2.as_deref()), (400, expected));
    assert_eq!(refused.3.as_deref(), Some("input_file_id"));
    let path = format!("/v1/files/{filler}");
    assert_eq!(delete(&node, &path).await.status, 200);
    let made = node.post(PATH, body).await.json();
    let batch = until(&node, &made["id"], &["completed"]).await;
    assert_eq!(batch["request_counts"]["completed"], 20);
    node.settled().await;
}
