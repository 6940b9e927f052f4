//! What only shows on a real socket: clients that leave, and a node that stops.

use std::time::Duration;

use kwaainet::config::Config;
use kwaainet::node::{Node, StartError};
use kwaainet_core::AdmissionLoad;
use kwaainet_testkit::{Answer, Script};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{MODEL, SOON, listening, parts};

fn chat(stream: bool) -> Vec<u8> {
    let body = json!({
        "model": MODEL, "stream": stream, "messages": [{"role": "user", "content": "x"}],
    });
    let body = body.to_string();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

fn slow() -> Script {
    Script {
        answer: Answer::Words(90),
        delay: Duration::from_millis(20),
        ..Script::default()
    }
}

#[tokio::test]
async fn n13_a_client_that_leaves_frees_its_place_streaming_or_not() {
    let (node, script, _dir) = listening(Config::default()).await;
    script.set(slow());
    for stream in [true, false] {
        let before = script.counts();
        let mut client = TcpStream::connect(node.address())
            .await
            .expect("it connects");
        client.write_all(&chat(stream)).await.expect("it is sent");
        until("the job runs", || {
            script.counts().tokens > before.tokens + 1
        })
        .await;
        drop(client);
        until("nothing runs", || script.counts().alive == 0).await;
        assert!(script.counts().tokens < before.tokens + 90);
    }
    let idle = AdmissionLoad {
        running: 0,
        waiting: 0,
    };
    assert_eq!(node.app().hallway.admission().load(), idle);
    node.shutdown().await;
}

#[tokio::test]
async fn a_stopping_node_finishes_what_it_began() {
    let (node, script, _dir) = listening(Config::default()).await;
    script.set(Script {
        answer: Answer::Words(20),
        ..slow()
    });
    let address = node.address();
    let mut client = TcpStream::connect(address).await.expect("it connects");
    client.write_all(&chat(true)).await.expect("it is sent");
    until("the job runs", || script.counts().tokens > 1).await;
    let store = node.app().store.clone();
    let mut answer = String::new();
    let (_, read) = tokio::join!(node.shutdown(), client.read_to_string(&mut answer));
    read.expect("it is text");
    assert!(answer.contains("w19"), "{answer}");
    assert!(answer.contains("data: [DONE]"));
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
    assert!(
        store.receipt_counts().await.is_err(),
        "the database is closed"
    );
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_cut_when_the_node_stops() {
    let mut config = Config::default();
    config.limits.drain_s = 0;
    let (node, script, _dir) = listening(config).await;
    script.set(slow());
    let mut client = TcpStream::connect(node.address())
        .await
        .expect("it connects");
    client.write_all(&chat(true)).await.expect("it is sent");
    until("the job runs", || script.counts().tokens > 1).await;
    let mut answer = String::new();
    let (_, read) = tokio::join!(node.shutdown(), client.read_to_string(&mut answer));
    read.expect("it is text");
    assert!(answer.contains("the node is shutting down"), "{answer}");
    assert!(!answer.contains("[DONE]"));
    assert_eq!(script.counts().alive, 0);
}

#[tokio::test]
async fn a_taken_port_and_an_open_door_are_refused() {
    let (node, _, _dir) = listening(Config::default()).await;
    let (mut second, _, _dir) = parts(Config::default()).await;
    second.config.listen = node.address();
    let error = Node::start(second).await.err().expect("the port is taken");
    assert!(matches!(error, StartError::Listen { .. }));
    assert!(error.to_string().contains("--listen"), "{error}");
    node.shutdown().await;

    let (mut open, _, _dir) = parts(Config::default()).await;
    open.config.listen = "0.0.0.0:0".parse().expect("an address");
    let error = Node::start(open).await.err().expect("there is no key");
    assert!(
        error.to_string().contains("kwaainet keys create"),
        "{error}"
    );
}
