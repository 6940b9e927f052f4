//! Responses that are made without their clients.

use std::time::Duration;

use http_body_util::BodyExt;
use kwaainet::config::Config;
use kwaainet_testkit::{Answer as Says, Fault, Script, ScriptHandle};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{MODEL, SOON, TestNode, listening, post};
use crate::responses::kept::id_of;
use crate::responses::streams::assert_fixture;
use crate::responses::{PATH, ask, events};

fn slow(words: u32) -> Script {
    Script {
        answer: Says::Words(words),
        delay: Duration::from_millis(10),
        ..Script::default()
    }
}

async fn start(node: &TestNode) -> String {
    let answer = node.post(PATH, ask(json!({"background": true}))).await;
    assert_eq!(answer.json()["status"], "queued");
    assert_eq!(answer.json()["background"], true);
    id_of(&answer)
}

async fn until(node: &TestNode, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let response = node.get(&format!("{PATH}/{id}")).await.json();
            if holds(&response) {
                return response;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("it comes")
}

async fn running(script: &ScriptHandle) {
    let waiting = async {
        while script.counts().tokens < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("it runs");
}

fn is(status: &'static str) -> impl Fn(&Value) -> bool {
    move |response| response["status"] == status
}

#[tokio::test]
async fn a_background_response_is_made_without_its_client() {
    let node = TestNode::new().await;
    node.script.set(slow(4));
    let id = start(&node).await;
    let early = node.get(&format!("{PATH}/{id}")).await.json();
    assert_eq!(early["output"], json!([]));
    let next = ask(json!({"previous_response_id": id}));
    let refused = node.post(PATH, next).await.error();
    assert_eq!(refused.2.as_deref(), Some("response_not_finished"));
    let whole = until(&node, &id, is("completed")).await;
    assert_eq!(whole["output"][0]["content"][0]["text"], "w0 w1 w2 w3");
    assert_eq!(whole["usage"]["output_tokens"], 4);
    // Cancelling what is over changes nothing.
    let cancelled = node.post(&format!("{PATH}/{id}/cancel"), json!({})).await;
    assert_eq!(cancelled.json(), whole);
    assert_eq!(node.settled().await, [1, 0, 0]);
}

#[tokio::test]
async fn n19_its_events_can_be_heard_from_any_of_them_on_while_it_runs_and_after() {
    let node = TestNode::new().await;
    node.script.set(slow(4));
    let body = ask(json!({"background": true, "stream": true})).to_string();
    let mut response = node.send(post(PATH, body)).await;
    let head = response.body_mut().frame().await;
    let head = head.expect("a frame").expect("whole").into_data();
    let head = String::from_utf8(head.expect("data").to_vec()).expect("text");
    let created = head
        .lines()
        .nth(1)
        .and_then(|line| line.strip_prefix("data: "));
    let created: Value = serde_json::from_str(created.expect("data")).expect("JSON");
    let id = created["response"]["id"].as_str().expect("an id");
    // The client leaves, the work goes on; others listen.
    drop(response);
    let path = format!("{PATH}/{id}?stream=true");
    let tail = format!("{path}&starting_after=5");
    let (all, tail) = tokio::join!(node.get(&path), node.get(&tail));
    let told = events(&all);
    assert_fixture(&told, "responses_background");
    assert_eq!(events(&tail), told[6..]);
    until(&node, id, is("completed")).await;
    assert_eq!(events(&node.get(&path).await), told, "word for word");
    assert_eq!(node.settled().await, [1, 0, 0]);
}

#[tokio::test]
async fn it_is_cancelled_and_says_so_to_those_who_listen() {
    let node = TestNode::new().await;
    node.script.set(Script {
        fault: Some(Fault::HangAfter { tokens: 2 }),
        ..slow(9)
    });
    let id = start(&node).await;
    until(&node, &id, is("in_progress")).await;
    let path = format!("{PATH}/{id}?stream=true");
    let listening = node.get(&path);
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        node.post(&format!("{PATH}/{id}/cancel"), json!({})).await
    };
    let (told, cancelled) = tokio::join!(listening, cancelling);
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert_eq!(cancelled.json()["error"], Value::Null);
    let told = events(&told);
    let last = told.last().expect("events");
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["response"], cancelled.json());
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "w0 w1");
    assert_eq!(events(&node.get(&path).await), told, "word for word");
    assert_eq!(node.settled().await, [0, 0, 1]);
}

#[tokio::test]
async fn erasing_it_stops_it() {
    let node = TestNode::new().await;
    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 2 }));
    let id = start(&node).await;
    until(&node, &id, is("in_progress")).await;
    let path = format!("{PATH}/{id}");
    assert_eq!(node.delete(&path).await.json()["deleted"], true);
    assert_eq!(node.script.counts().alive, 0);
    assert_eq!(node.get(&path).await.status, 404);
    assert_eq!(node.get(&format!("{path}?stream=true")).await.status, 404);
    assert_eq!(node.settled().await, [0, 0, 1]);
}

#[tokio::test]
async fn what_it_could_not_be_told_at_once_it_tells_as_its_error() {
    let node = TestNode::new().await;
    node.script.set(Script::busy(Duration::from_secs(1)));
    let id = start(&node).await;
    let failed = until(&node, &id, is("failed")).await;
    assert_eq!(failed["error"]["code"], "rate_limit_exceeded");
    let long = vec!["word"; 200].join(" ");
    node.script.set(Script::words(4));
    let answer = node
        .post(PATH, ask(json!({"background": true, "input": long})))
        .await;
    let failed = until(&node, &id_of(&answer), is("failed")).await;
    assert_eq!(failed["error"]["code"], "invalid_prompt");
    let told = events(&node.get(&format!("{PATH}/{id}?stream=true")).await);
    assert_eq!(told.len(), 4);
    node.settled().await;
}

#[tokio::test]
async fn they_are_bounded_in_number() {
    let node = TestNode::new().await;
    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 1 }));
    let mut ids = Vec::new();
    for _ in 0..32 {
        ids.push(start(&node).await);
    }
    let refused = node.post(PATH, ask(json!({"background": true}))).await;
    assert_eq!(refused.error().0, 429);
    assert!(refused.headers.contains_key("retry-after"));
    // The last one waits for its turn, however long that takes.
    let last = node.get(&format!("{PATH}/{}", ids[31])).await.json();
    assert_eq!(last["status"], "queued");
    assert!(node.admission().load().running <= 8);
    for id in ids {
        let cancelled = node.post(&format!("{PATH}/{id}/cancel"), json!({})).await;
        assert_eq!(cancelled.json()["status"], "cancelled");
    }
    start(&node).await;
    node.script.set(Script::words(1));
    let last = start(&node).await;
    until(&node, &last, is("completed")).await;
    node.stop_background().await;
}

#[tokio::test]
async fn a_stopping_node_ends_it_and_says_so() {
    let mut config = Config::default();
    config.limits.drain_s = 0;
    let (node, script, dir) = listening(config).await;
    script.set(Script::failing(Fault::HangAfter { tokens: 2 }));
    let body = json!({"model": MODEL, "input": "x", "background": true, "stream": true});
    let body = body.to_string();
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let client = tokio::net::TcpStream::connect(node.address()).await;
    let mut client = client.expect("it connects");
    client
        .write_all(request.as_bytes())
        .await
        .expect("it is sent");
    running(&script).await;
    let mut answer = String::new();
    let (_, read) = tokio::join!(node.shutdown(), client.read_to_string(&mut answer));
    read.expect("it is text");
    assert!(answer.contains("event: response.failed"), "{answer}");
    assert!(answer.contains("the node was stopped"), "{answer}");
    assert_eq!(script.counts().alive, 0);
    let id = answer.split("\"id\":\"resp_").nth(1).expect("an id");
    let id = format!("resp_{}", id.split('"').next().expect("its end"));

    let store = kwaainet_store::Store::open(&dir.path().join("node.db")).await;
    let store = store.expect("it opens");
    let unfinished = store.unfinished_responses().await.expect("it answers");
    assert_eq!(unfinished, [], "nothing is left in progress");
    let owner = kwaainet_core::PrincipalId::operator();
    let who = kwaainet_store::Seeker {
        principal: &owner,
        now_ms: 0,
    };
    let kept = store.response(who, &id).await.expect("it answers");
    assert!(kept.expect("it is kept").body.contains("\"failed\""));
    store.close().await;
}

#[tokio::test]
async fn a_stopping_node_lets_it_finish() {
    let (node, script, dir) = listening(Config::default()).await;
    script.set(slow(20));
    let router = kwaainet::door::router(std::sync::Arc::clone(node.app()));
    let request = post(PATH, ask(json!({"background": true})).to_string());
    let answer = tower::ServiceExt::oneshot(router, request).await;
    let answer = crate::harness::read(answer.expect("the router never fails")).await;
    let id = id_of(&answer);
    running(&script).await;
    node.shutdown().await;
    let store = kwaainet_store::Store::open(&dir.path().join("node.db")).await;
    let store = store.expect("it opens");
    let owner = kwaainet_core::PrincipalId::operator();
    let who = kwaainet_store::Seeker {
        principal: &owner,
        now_ms: 0,
    };
    let kept = store.response(who, &id).await.expect("it answers");
    assert!(kept.expect("it is kept").body.contains("\"completed\""));
    store.close().await;
}
