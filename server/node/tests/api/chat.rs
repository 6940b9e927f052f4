use kwaainet_core::{Prompt, Role};
use kwaainet_testkit::{Answer, Fault, Script};
use serde_json::{Value, json};

use crate::harness::{CONTEXT, MODEL, TestNode};

const PATH: &str = "/v1/chat/completions";

fn ask(more: Value) -> Value {
    let mut body = json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": "hi there"}],
        "temperature": 0,
    });
    let fields = more.as_object().expect("it is an object").clone();
    body.as_object_mut()
        .expect("it is an object")
        .extend(fields);
    body
}

#[tokio::test]
async fn a_whole_answer_has_every_field_of_openai() {
    let node = TestNode::new().await;
    let answer = node.post(PATH, ask(json!({"n": 2}))).await;
    assert_eq!(answer.status, 200);
    let mut body = answer.json();
    assert!(body["id"].as_str().expect("an id").starts_with("chatcmpl-"));
    assert!(body["created"].as_i64().expect("a time") > 1_700_000_000);
    assert!(
        body["system_fingerprint"]
            .as_str()
            .expect("one")
            .starts_with("fp_")
    );
    for volatile in ["id", "created", "system_fingerprint"] {
        body[volatile] = Value::Null;
    }
    let choice = |index| {
        json!({
            "index": index,
            "message": {
                "role": "assistant", "content": "w0 w1 w2 w3", "refusal": null, "annotations": [],
            },
            "logprobs": null,
            "finish_reason": "stop",
        })
    };
    let expected = json!({
        "id": null, "object": "chat.completion", "created": null, "model": MODEL,
        "choices": [choice(0), choice(1)],
        "usage": {
            "prompt_tokens": body["usage"]["prompt_tokens"],
            "completion_tokens": 8,
            "total_tokens": body["usage"]["prompt_tokens"].as_u64().expect("a count") + 8,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default", "system_fingerprint": null,
    });
    assert_eq!(body, expected);
    assert_eq!(node.settled().await, [1, 0, 0]);
}

#[tokio::test]
async fn a_stream_opens_with_the_role_and_ends_with_reason_and_done() {
    let node = TestNode::new().await;
    let answer = node.post(PATH, ask(json!({"stream": true}))).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert_eq!(answer.headers["cache-control"], "no-cache");
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    let chunks = answer.chunks();
    let opening = json!({"role": "assistant", "content": "", "refusal": null});
    assert_eq!(chunks[0]["choices"][0]["delta"], opening);
    let mut text = String::new();
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], chunks[0]["id"]);
        assert_eq!(chunk["created"], chunks[0]["created"]);
        assert_eq!(
            chunk["choices"].as_array().expect("a list").len(),
            1,
            "nobody asked for usage"
        );
        assert_eq!(chunk.get("usage"), None);
        text += chunk["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or("");
    }
    assert_eq!(text, "w0 w1 w2 w3");
    let last = chunks.last().expect("there are chunks");
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    node.settled().await;
}

#[tokio::test]
async fn usage_comes_in_a_last_chunk_without_choices_when_asked_for() {
    let node = TestNode::new().await;
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = node.post(PATH, ask(options)).await.chunks();
    let (last, before) = chunks.split_last().expect("there are chunks");
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 4);
    assert!(before.iter().all(|chunk| chunk["usage"] == Value::Null));
    assert!(before.iter().all(|chunk| chunk.get("usage").is_some()));
    node.settled().await;
}

#[tokio::test]
async fn logprobs_have_tokens_bytes_and_alternatives() {
    let node = TestNode::new().await;
    let body = ask(json!({"logprobs": true, "top_logprobs": 2}));
    let answer = node.post(PATH, body).await.json();
    let content = answer["choices"][0]["logprobs"]["content"].clone();
    let content = content.as_array().expect("a list");
    assert_eq!(content.len(), 4);
    assert_eq!(content[1]["token"], " w1");
    assert_eq!(content[1]["bytes"], json!([32, 119, 49]));
    assert!(content[1]["logprob"].as_f64().expect("a number") <= 0.0);
    assert_eq!(
        content[1]["top_logprobs"].as_array().expect("a list").len(),
        2
    );
    assert_eq!(answer["choices"][0]["logprobs"]["refusal"], Value::Null);
    node.settled().await;
}

#[tokio::test]
async fn roles_and_parts_reach_the_backend_in_the_domains_words() {
    let node = TestNode::new().await;
    let body = ask(json!({"messages": [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [
            {"type": "text", "text": "one "}, {"type": "text", "text": "two"},
        ], "name": "ann"},
        {"role": "assistant", "content": "three", "tool_calls": null, "refusal": null},
        {"role": "user", "content": ""},
    ], "max_completion_tokens": 2, "seed": -1, "stop": ["x"], "top_k": 5}));
    let answer = node.post(PATH, body).await.json();
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 2);
    let asked = node.script.last_generate().expect("it was asked");
    let Prompt::Chat(chat) = asked.prompt else {
        panic!("a conversation stays one");
    };
    let said: Vec<_> = chat
        .messages
        .iter()
        .map(|m| (m.role, m.content.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            (Role::System, "be brief"),
            (Role::User, "one two"),
            (Role::Assistant, "three"),
            (Role::User, ""),
        ]
    );
    assert_eq!(chat.messages[1].name.as_deref(), Some("ann"));
    assert_eq!(asked.params.sampling.seed, Some(u64::MAX));
    assert_eq!(asked.params.sampling.top_k, 5);
    assert_eq!(asked.params.stop, ["x"]);
    node.settled().await;
}

#[tokio::test]
async fn n14_a_failure_in_the_stream_is_its_last_event() {
    let node = TestNode::new().await;
    node.script.set(Script::failing(Fault::FailAfter {
        tokens: 2,
        error: kwaainet_core::BackendError::Internal("a secret of ours".into()),
    }));
    let answer = node.post(PATH, ask(json!({"stream": true}))).await;
    assert_eq!(answer.status, 200, "the head was sent before");
    let events = answer.events();
    let last: Value = serde_json::from_str(events.last().expect("events")).expect("JSON");
    assert_eq!(last["error"]["type"], "server_error");
    assert_eq!(last["error"]["code"], "internal_error");
    assert!(!answer.text.contains("secret"), "{}", answer.text);
    assert!(!answer.text.contains("[DONE]"));

    let whole = node.post(PATH, ask(json!({}))).await;
    assert_eq!(whole.error().0, 500);
    assert_eq!(node.settled().await, [0, 2, 0]);
}

#[tokio::test]
async fn n13_a_dropped_stream_stops_the_work_and_settles_as_cancelled() {
    let node = TestNode::new().await;
    node.script.set(Script {
        answer: Answer::Words(90),
        delay: std::time::Duration::from_millis(20),
        ..Script::default()
    });
    let body = ask(json!({"stream": true})).to_string();
    let mut response = node.send(crate::harness::post(PATH, body)).await;
    for _ in 0..3 {
        let frame = http_body_util::BodyExt::frame(response.body_mut()).await;
        assert!(frame.is_some_and(|frame| frame.is_ok()));
    }
    assert_eq!(node.script.counts().alive, 1);
    drop(response);
    assert_eq!(node.settled().await, [0, 0, 1]);
    assert!(
        node.script.counts().tokens < 90,
        "the rest was never computed"
    );
}

#[tokio::test]
async fn n10_what_does_not_fit_is_refused_before_any_work() {
    let node = TestNode::new().await;
    let long = vec!["word"; CONTEXT as usize + 1].join(" ");
    for stream in [false, true] {
        let messages = json!([{"role": "user", "content": long}]);
        let answer = node
            .post(PATH, ask(json!({"messages": messages, "stream": stream})))
            .await;
        let (status, kind, code, _) = answer.error();
        assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
        assert_eq!(code.as_deref(), Some("context_length_exceeded"));
    }
    let answer = node.post(PATH, ask(json!({"max_tokens": 1_000_000}))).await;
    assert_eq!(answer.error().3.as_deref(), Some("max_tokens"));
    assert_eq!(node.script.counts().tokens, 0);
    node.settled().await;
}
