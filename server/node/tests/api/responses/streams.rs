//! The events of a response as it is made.

use std::collections::HashMap;

use kwaainet_core::BackendError;
use kwaainet_testkit::{Answer as Says, Fault, Script, ScriptedCall};
use serde_json::{Value, json};

use super::{PATH, ask, events, tools};
use crate::harness::TestNode;

/// The same with what differs from run to run made equal, and of the response only what changes.
pub(crate) fn plain(events: &[Value]) -> Value {
    let mut names = HashMap::new();
    let mut events = json!(events);
    for event in events.as_array_mut().expect("a list") {
        if let Some(response) = event.get_mut("response") {
            let mut brief = json!({});
            for field in [
                "completed_at",
                "error",
                "id",
                "incomplete_details",
                "output",
                "status",
                "usage",
            ] {
                brief[field] = response[field].take();
            }
            *response = brief;
        }
        make_equal(event, &mut names);
    }
    events
}

fn make_equal(value: &mut Value, names: &mut HashMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Number(_) if name == "completed_at" => *value = json!(0),
                    Value::String(id) if name == "id" || name == "item_id" => {
                        let next = format!("id{}", names.len());
                        *value = json!(names.entry(id.clone()).or_insert(next));
                    }
                    value => make_equal(value, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| make_equal(item, names)),
        _ => {}
    }
}

pub(crate) fn assert_fixture(events: &[Value], name: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/fixtures");
    let text = std::fs::read_to_string(format!("{folder}/{name}.json"));
    let expected: Value = serde_json::from_str(&text.expect("the fixture is there")).expect("JSON");
    let said = plain(events);
    let lines = said.as_array().expect("a list").iter();
    let lines: Vec<String> = lines.map(Value::to_string).collect();
    assert_eq!(said, expected, "[{}]", lines.join(",\n"));
    let numbers = events.iter().map(|event| event["sequence_number"].as_u64());
    assert!(numbers.eq((0..).take(events.len()).map(Some)));
}

fn calls() -> Script {
    Script {
        answer: Says::Calls(vec![
            ScriptedCall::new("weather", &["{\"city\"", ":\"Oslo\"}"]),
            ScriptedCall::new("time", &["{}"]),
        ]),
        ..Script::default()
    }
}

#[tokio::test]
async fn n19_the_events_of_a_text() {
    let node = TestNode::new().await;
    let answer = node.post(PATH, ask(json!({"stream": true}))).await;
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    assert_fixture(&events(&answer), "responses_text");
    assert!(!answer.text.contains("[DONE]"));
    node.settled().await;
}

#[tokio::test]
async fn n19_the_events_of_calls() {
    let node = TestNode::new().await;
    node.script.set(calls());
    let more = json!({"stream": true, "tools": tools()});
    let events = events(&node.post(PATH, ask(more)).await);
    assert_fixture(&events, "responses_calls");
    let whole = node.post(PATH, ask(json!({"tools": tools()}))).await.json();
    assert_eq!(whole["output"][0]["arguments"], "{\"city\":\"Oslo\"}");
    assert_eq!(whole["output"][1]["call_id"], "call_scripted01");
    assert_eq!(whole["status"], "completed");
    node.settled().await;
}

#[tokio::test]
async fn n19_what_is_cut_is_incomplete_with_its_reason() {
    let node = TestNode::new().await;
    let more = json!({"stream": true, "max_output_tokens": 2});
    let told = events(&node.post(PATH, ask(more)).await);
    assert_fixture(&told, "responses_cut");
    node.script.set(calls());
    let more = json!({"stream": true, "max_output_tokens": 2, "tools": tools()});
    let told = events(&node.post(PATH, ask(more)).await);
    assert_fixture(&told, "responses_cut_call");
    let whole = node.post(PATH, ask(json!({"max_output_tokens": 2, "tools": tools()})));
    let whole = whole.await.json();
    assert_eq!(whole["status"], "incomplete");
    let details = json!({"reason": "max_output_tokens"});
    assert_eq!(whole["incomplete_details"], details);
    assert_eq!(whole["output"][0]["status"], "incomplete");
    assert_eq!(whole["completed_at"], Value::Null);
    node.settled().await;
}

#[tokio::test]
async fn n19_saying_nothing_is_a_message_too() {
    let node = TestNode::new().await;
    node.script.set(Script::words(0));
    let told = events(&node.post(PATH, ask(json!({"stream": true}))).await);
    assert_fixture(&told, "responses_nothing");
    node.settled().await;
}

#[tokio::test]
async fn n19_log_probabilities_come_with_the_deltas_and_again_at_the_end() {
    let node = TestNode::new().await;
    let include = json!([
        "message.output_text.logprobs",
        "reasoning.encrypted_content"
    ]);
    let more = json!({"stream": true, "include": include, "top_logprobs": 2});
    let told = events(&node.post(PATH, ask(more)).await);
    let of = |kind: &str| {
        let of_kind = told.iter().filter(|event| event["type"] == kind);
        of_kind.cloned().collect::<Vec<_>>()
    };
    let deltas = of("response.output_text.delta");
    let each: Vec<&Value> = deltas
        .iter()
        .flat_map(|delta| delta["logprobs"].as_array().expect("a list"))
        .collect();
    assert_eq!(each.len(), 4);
    assert_eq!(each[1]["token"], " w1");
    assert_eq!(each[1]["bytes"], json!([32, 119, 49]));
    assert_eq!(each[1]["top_logprobs"].as_array().expect("a list").len(), 2);
    let all = json!(each);
    assert_eq!(of("response.output_text.done")[0]["logprobs"], all);
    let end = &of("response.completed")[0]["response"];
    assert_eq!(end["output"][0]["content"][0]["logprobs"], all);
    assert_eq!(end["top_logprobs"], 2);
    // Told again, each delta has its own.
    let id = end["id"].as_str().expect("an id");
    let again = node.get(&format!("{PATH}/{id}?stream=true")).await;
    assert_eq!(events(&again), told);
    node.settled().await;
}

#[tokio::test]
async fn n14_a_failure_in_the_stream_is_its_last_event() {
    let node = TestNode::new().await;
    node.script.set(Script::failing(Fault::FailAfter {
        tokens: 2,
        error: BackendError::Internal("a secret of ours".into()),
    }));
    let answer = node.post(PATH, ask(json!({"stream": true}))).await;
    assert!(!answer.text.contains("secret"), "{}", answer.text);
    let told = events(&answer);
    assert_fixture(&told, "responses_failed");
    let id = told[0]["response"]["id"].as_str().expect("an id");
    let kept = node.get(&format!("{PATH}/{id}")).await.json();
    assert_eq!(kept, told.last().expect("events")["response"]);
    let again = node.get(&format!("{PATH}/{id}?stream=true")).await;
    assert_eq!(events(&again), told);

    let whole = node.post(PATH, ask(json!({}))).await;
    assert_eq!(whole.error().0, 500);
    assert_eq!(node.settled().await, [0, 2, 0]);
}

#[tokio::test]
async fn n13_a_client_that_leaves_stops_the_work() {
    let node = TestNode::new().await;
    node.script.set(Script {
        answer: Says::Words(90),
        delay: std::time::Duration::from_millis(20),
        ..Script::default()
    });
    let body = ask(json!({"stream": true})).to_string();
    let mut response = node.send(crate::harness::post(PATH, body)).await;
    for _ in 0..8 {
        let frame = http_body_util::BodyExt::frame(response.body_mut()).await;
        assert!(frame.is_some_and(|frame| frame.is_ok()));
    }
    assert_eq!(node.script.counts().alive, 1);
    drop(response);
    assert_eq!(node.settled().await, [0, 0, 1]);
    assert!(node.script.counts().tokens < 90);
}
