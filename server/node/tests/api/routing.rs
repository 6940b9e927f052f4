//! Where requests go, what they may demand of it, and what is told of it.

mod explained;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use clap::Parser;
use kwaainet::commands::Cli;
use kwaainet::config::Config;
use kwaainet_core::{
    BackendError, GridEvidence, GridIntensity, Load, NodeId, PeerFacts, Place, Tier,
};
use kwaainet_testkit::{Fault, Script, ScriptHandle, ScriptedBackend};
use serde_json::{Value, json};

use crate::files::upload;
use crate::harness::{Answer, CONTEXT, EMBEDDER, MODEL, SOON, TestNode, listening, post};
use crate::vector_stores::{create, read};

const CHAT: &str = "/v1/chat/completions";
const ROUTE: &str = "/v1/kwaai/route";
/// A model that only peers have.
const AFAR: &str = "afar";

fn load() -> Load {
    Load {
        prefill_rate: 1_000.0,
        decode_rate: 50.0,
        ..Load::default()
    }
}

fn facts(number: u8, tier: Tier) -> PeerFacts {
    PeerFacts {
        node: NodeId([number; 32]),
        tier,
        region: Some("eu-west".into()),
        price: Some(10),
        grid: Some(GridIntensity {
            g_per_kwh: 100.0,
            evidence: GridEvidence::Stated,
        }),
        watts: Some(36.0),
        rtt: Duration::from_millis(3),
        relayed: false,
        load: load(),
        ours: 0,
    }
}

/// A peer that has the node's own models and one more.
fn peer(number: u8, tier: Tier) -> (ScriptedBackend, ScriptHandle) {
    let script = Script {
        load: Some(load()),
        ..Script::words(4)
    };
    let backend = ScriptedBackend::builder(&format!("peer:{number}"))
        .generator(MODEL, CONTEXT)
        .generator(AFAR, CONTEXT * 4)
        .embedder(EMBEDDER, CONTEXT, 8)
        .script(script)
        .place(Place::Peer(Arc::new(facts(number, tier))))
        .build();
    let handle = backend.handle();
    (backend, handle)
}

fn upstream() -> ScriptedBackend {
    ScriptedBackend::builder("up")
        .generator(MODEL, CONTEXT)
        .generator(AFAR, CONTEXT)
        .place(Place::Upstream)
        .build()
}

/// A node with a peer of tier 1, one of tier 2 and an upstream.
async fn federated() -> (TestNode, [ScriptHandle; 2]) {
    let (friend, friends) = peer(1, Tier::T1);
    let (stranger, strangers) = peer(2, Tier::T2);
    let node = TestNode::beside(vec![friend, stranger, upstream()]).await;
    (node, [friends, strangers])
}

fn chat(model: &str, more: Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    let fields = body.as_object_mut().expect("a map");
    fields.extend(more.as_object().expect("a map").clone());
    body
}

fn served_by(answer: &Answer) -> &str {
    let header = answer.headers.get("x-kwaai-served-by");
    header.map_or("", |value| value.to_str().expect("it is text"))
}

fn with_headers(path: &str, body: &Value, headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = post(path, body.to_string());
    for (name, value) in headers {
        let value = value.parse().expect("it is a value");
        request.headers_mut().append(*name, value);
    }
    request
}

/// Waits until so many nodes are known to serve the model that only peers have.
async fn until_nodes(node: &TestNode, nodes: u32) {
    let path = format!("/v1/models/{AFAR}");
    let known = async {
        while node.get(&path).await.json()["kwaai"]["nodes"] != nodes {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, known)
        .await
        .expect("the snapshot is renewed");
}

fn id(number: u8) -> String {
    NodeId([number; 32]).to_string()
}

#[tokio::test]
async fn a_request_stays_here_unless_it_wants_more() {
    let (node, [friends, _]) = federated().await;
    let answer = node.post(CHAT, chat(MODEL, json!({}))).await;
    assert_eq!((answer.status.as_u16(), served_by(&answer)), (200, "local"));
    let stream = node.post(CHAT, chat(MODEL, json!({"stream": true}))).await;
    assert_eq!(served_by(&stream), "local");

    let there = json!({"kwaai": {"peers": [id(1)]}});
    for stream in [false, true] {
        let mut more = there.clone();
        more["stream"] = json!(stream);
        let answer = node.post(CHAT, chat(MODEL, more)).await;
        assert_eq!(
            (answer.status.as_u16(), served_by(&answer)),
            (200, id(1).as_str())
        );
    }
    assert_eq!(friends.counts().started, 2);
    let afar = node.post(CHAT, chat(AFAR, json!({}))).await;
    assert_eq!(afar.status, 200);
    assert_eq!(
        served_by(&afar).len(),
        64,
        "a peer comes before an upstream"
    );
    node.settled().await;
}

#[tokio::test]
async fn every_door_heeds_what_is_demanded() {
    let (node, [friends, strangers]) = federated().await;
    let there = json!({"peers": [id(2)]});
    let turns = json!([{"role": "user", "content": "hi"}]);
    for (path, body) in [
        (CHAT, json!({"messages": turns})),
        ("/v1/completions", json!({"prompt": "hi"})),
        ("/v1/responses", json!({"input": "hi"})),
        (
            "/v1/responses",
            json!({"input": "hi", "store": false, "stream": true}),
        ),
        ("/v1/messages", json!({"messages": turns, "max_tokens": 9})),
        ("/api/chat", json!({"messages": turns})),
        ("/api/chat", json!({"messages": turns, "stream": false})),
        ("/api/generate", json!({"prompt": "hi"})),
    ] {
        let before = strangers.counts().started;
        let mut body = body;
        body["model"] = json!(MODEL);
        let plain = body.clone();
        body["kwaai"] = there.clone();
        let answer = node.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!(served_by(&answer), id(2), "{path}");
        let request = with_headers(path, &plain, &[("x-kwaai-peers", &id(2))]);
        assert_eq!(served_by(&node.ask(request).await), id(2), "{path}");
        assert_eq!(strangers.counts().started, before + 2, "{path}");
    }
    for (path, input) in [
        ("/v1/embeddings", "input"),
        ("/api/embed", "input"),
        ("/api/embeddings", "prompt"),
    ] {
        let before = strangers.counts().started;
        let body = json!({"model": EMBEDDER, input: "hi", "kwaai": there});
        let answer = node.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!(served_by(&answer), id(2), "{path}");
        assert_eq!(strangers.counts().started, before + 1, "{path}");
    }
    let ranked = json!({"model": EMBEDDER, "query": "a", "documents": ["b"], "kwaai": there});
    let ranked = node.post("/v1/rerank", ranked).await;
    assert_eq!(
        (ranked.status.as_u16(), served_by(&ranked)),
        (200, id(2).as_str())
    );
    assert_eq!(
        (friends.counts().started, node.script.counts().started),
        (0, 0)
    );
    node.settled().await;
}

#[tokio::test]
async fn whoever_computes_vectors_here_is_told_too() {
    let (node, _) = federated().await;
    let embedded = json!({"model": EMBEDDER, "input": "hi"});
    assert_eq!(
        served_by(&node.post("/v1/embeddings", embedded).await),
        "local"
    );
    let nothing = json!({"model": EMBEDDER, "input": ""});
    assert_eq!(
        served_by(&node.post("/api/embed", nothing).await),
        "",
        "nobody did anything"
    );
    node.settled().await;
}

#[tokio::test]
async fn files_in_vector_stores_are_not_sent_to_peers() {
    let (node, [friends, strangers]) = federated().await;
    let reason = "it does not work here now".to_owned();
    let broken = Fault::Refuse(BackendError::Upstream { reason });
    node.script.set(Script::failing(broken));
    let file = upload(&node, "assistants", "diary.txt", b"nobody's business").await;
    let store = create(&node, json!({"file_ids": [file]})).await;
    let shown = read(&node, &store).await;
    assert_eq!(shown["file_counts"]["failed"], 1, "{shown}");
    assert_eq!(
        (friends.counts().started, strangers.counts().started),
        (0, 0)
    );
}

#[tokio::test]
async fn demands_that_nobody_fulfils_are_told_one_by_one() {
    let (node, handles) = federated().await;
    let demand = json!({"kwaai": {"tier_min": "t0", "region": "eu"}});
    let answer = node.post(CHAT, chat(MODEL, demand)).await;
    let (status, kind, code, param) = answer.error();
    assert_eq!((status, kind.as_str()), (503, "server_error"));
    assert_eq!(
        (code.as_deref(), param.as_deref()),
        (Some("no_route"), Some("kwaai"))
    );
    assert!(answer.headers.contains_key("retry-after"));
    let message = answer.json()["error"]["message"].to_string();
    for reason in [
        "scripted: its region is not known",
        "peer:1: its tier t1 is not good enough",
        "peer:2: its tier t2 is not good enough",
        "up: a server that is no node has no tier",
    ] {
        assert!(message.contains(reason), "{message}");
    }
    let cheap = json!({"kwaai": {"max_price": 9}});
    let answer = node.post(CHAT, chat(AFAR, cheap)).await;
    assert_eq!(answer.error().2.as_deref(), Some("no_route"));
    let started = handles.iter().map(|handle| handle.counts().started);
    assert_eq!(started.sum::<u64>() + node.script.counts().started, 0);
    node.settled().await;
}

#[tokio::test]
async fn what_is_confidential_is_not_even_counted_elsewhere() {
    let (node, [friends, strangers]) = federated().await;
    strangers.set(Script {
        load: Some(Load {
            decode_rate: 5_000.0,
            ..load()
        }),
        ..Script::words(4)
    });
    let secret = json!({"kwaai": {"data_class": "confidential", "prefer": "fast"}});
    for _ in 0..4 {
        let answer = node.post(CHAT, chat(AFAR, secret.clone())).await;
        assert_eq!(served_by(&answer), id(1), "{}", answer.text);
    }
    assert_eq!(friends.counts().started, 4);
    friends.set(Script {
        unavailable: Some("it rests".into()),
        ..Script::words(4)
    });
    until_nodes(&node, 1).await;
    let tokens = json!({"model": AFAR, "prompt": "hi", "kwaai": {"data_class": "confidential"}});
    let answer = node.post("/v1/tokenize", tokens).await;
    assert_eq!(
        answer.error().2.as_deref(),
        Some("no_route"),
        "{}",
        answer.text
    );
    assert_eq!(strangers.counts().started, 0);
    node.settled().await;
}

#[tokio::test]
async fn every_bad_demand_is_named() {
    let (node, _) = federated().await;
    for (kwaai, code, param) in [
        (json!("fast"), "invalid_type", "kwaai"),
        (json!({"prefer": "best"}), "invalid_value", "kwaai.prefer"),
        (json!({"prefer": 1}), "invalid_type", "kwaai.prefer"),
        (json!({"tier_min": "t4"}), "invalid_value", "kwaai.tier_min"),
        (json!({"region": []}), "invalid_value", "kwaai.region"),
        (json!({"region": 7}), "invalid_type", "kwaai.region"),
        (json!({"region": "a b"}), "invalid_value", "kwaai.region"),
        (
            json!({"max_gco2_per_1k": -1}),
            "invalid_value",
            "kwaai.max_gco2_per_1k",
        ),
        (json!({"max_price": -1}), "invalid_value", "kwaai.max_price"),
        (json!({"max_price": 1.5}), "invalid_type", "kwaai.max_price"),
        (
            json!({"data_class": "secret"}),
            "invalid_value",
            "kwaai.data_class",
        ),
        (
            json!({"max_ttft_ms": -5}),
            "invalid_value",
            "kwaai.max_ttft_ms",
        ),
        (json!({"peers": []}), "invalid_value", "kwaai.peers"),
        (json!({"peers": ["abc"]}), "invalid_value", "kwaai.peers"),
        (json!({"inexact": "yes"}), "invalid_type", "kwaai.inexact"),
        (
            json!({"preferr": "fast"}),
            "unknown_parameter",
            "kwaai.preferr",
        ),
    ] {
        let answer = node.post(CHAT, chat(MODEL, json!({"kwaai": kwaai}))).await;
        let (status, _, got, at) = answer.error();
        let expected = (400, Some(code), Some(param));
        assert_eq!((status, got.as_deref(), at.as_deref()), expected, "{kwaai}");
    }
    for (name, value, code) in [
        ("x-kwaai-prefer", "best", "invalid_value"),
        ("x-kwaai-max-price", "much", "invalid_value"),
        ("x-kwaai-max-gco2-per-1k", "NaN", "invalid_value"),
        ("x-kwaai-inexact", "1", "invalid_value"),
        ("x-kwaai-preferr", "fast", "unknown_parameter"),
    ] {
        let request = with_headers(CHAT, &chat(MODEL, json!({})), &[(name, value)]);
        let (status, _, got, at) = node.ask(request).await.error();
        assert_eq!(
            (status, got.as_deref(), at.as_deref()),
            (400, Some(code), Some(name))
        );
    }
    let nothing = json!({"kwaai": null});
    assert_eq!(node.post(CHAT, chat(MODEL, nothing)).await.status, 200);
    node.settled().await;
}

#[tokio::test]
async fn headers_and_body_may_say_the_same_but_not_two_things() {
    let (node, _) = federated().await;
    let body = chat(
        MODEL,
        json!({"kwaai": {"region": ["EU", "us"], "prefer": "fast"}}),
    );
    let same = [("x-kwaai-region", "us, eu"), ("x-kwaai-tier-min", "t1")];
    let answer = node.ask(with_headers(CHAT, &body, &same)).await;
    assert_eq!(served_by(&answer), id(1), "{}", answer.text);
    let other = [("x-kwaai-prefer", "green")];
    let (status, _, code, param) = node.ask(with_headers(CHAT, &body, &other)).await.error();
    assert_eq!((status, code.as_deref()), (400, Some("invalid_value")));
    assert_eq!(param.as_deref(), Some("kwaai.prefer"));
    let twice = [("x-kwaai-prefer", "green"), ("x-kwaai-prefer", "fast")];
    let request = with_headers(CHAT, &chat(MODEL, json!({})), &twice);
    assert_eq!(node.ask(request).await.error().0, 400);
    node.settled().await;
}

#[tokio::test]
async fn a_demand_is_never_overlooked() {
    let (node, _) = federated().await;
    let header = [("x-kwaai-data-class", "confidential")];
    for path in ["/v1/batches", "/v1/conversations", "/v1/vector_stores"] {
        let (status, _, code, param) = node
            .ask(with_headers(path, &json!({}), &header))
            .await
            .error();
        assert_eq!(
            (status, code.as_deref()),
            (400, Some("unsupported_parameter")),
            "{path}"
        );
        assert_eq!(param.as_deref(), Some("x-kwaai-data-class"));
    }
    let nowhere = node
        .ask(with_headers("/v1/nothing", &json!({}), &header))
        .await;
    assert_eq!(nowhere.status, 404);
}

#[tokio::test]
async fn models_say_where_they_are() {
    let (node, [friends, _]) = federated().await;
    let list = node.get("/v1/models").await.json();
    let places = |list: &Value, id: &str| {
        let mut models = list["data"].as_array().expect("a list").iter();
        models
            .find(|model| model["id"] == id)
            .map(|model| model["kwaai"].clone())
    };
    let everywhere = json!({"places": ["local", "peer", "upstream"], "nodes": 3});
    assert_eq!(places(&list, MODEL), Some(everywhere));
    let afar = json!({"places": ["peer", "upstream"], "nodes": 2});
    assert_eq!(places(&list, AFAR), Some(afar));
    friends.set(Script {
        unavailable: Some("it left".into()),
        ..Script::default()
    });
    until_nodes(&node, 1).await;
    assert_eq!(node.get("/v1/models/nobody-has-it").await.status, 404);
}

#[tokio::test]
async fn a_prompt_that_is_too_long_goes_where_there_is_more_room() {
    let small = ScriptedBackend::builder("small").generator(AFAR, 4).build();
    let (large, _) = peer(1, Tier::T1);
    let node = TestNode::beside(vec![small, large]).await;
    let said = |words: usize| {
        let text = "word ".repeat(words);
        json!({"model": AFAR, "messages": [{"role": "user", "content": text}]})
    };
    let answer = node.post(CHAT, said(20)).await;
    assert_eq!(served_by(&answer), id(1), "{}", answer.text);
    let (status, _, code, _) = node.post(CHAT, said(1_000)).await.error();
    assert_eq!(
        (status, code.as_deref()),
        (400, Some("context_length_exceeded"))
    );
    node.settled().await;
}

#[tokio::test]
async fn work_in_hand_keeps_all_from_going_to_one() {
    let slow = |number| {
        let (backend, handle) = peer(number, Tier::T1);
        handle.set(Script {
            fault: Some(Fault::HangAfter { tokens: 1 }),
            load: Some(load()),
            ..Script::words(4)
        });
        (backend, handle)
    };
    let (peers, handles): (Vec<_>, Vec<_>) = (1..=3).map(slow).unzip();
    let node = TestNode::beside(peers).await;
    let mut under_way = Vec::new();
    for _ in 0..12 {
        let request = post(CHAT, chat(AFAR, json!({"stream": true})).to_string());
        under_way.push(node.send(request).await);
    }
    let shares: Vec<_> = handles.iter().map(|handle| handle.counts().alive).collect();
    assert!(
        shares.iter().all(|share| (3..=5).contains(share)),
        "{shares:?}"
    );
    drop(under_way);
    node.settled().await;
    node.comes_to_rest().await;
    let alive = async {
        while handles.iter().any(|handle| handle.counts().alive > 0) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, alive).await.expect("all end");
}

#[tokio::test]
async fn a_conversation_goes_on_where_it_was_read() {
    let (peers, _handles): (Vec<_>, Vec<_>) = (1..=4).map(|n| peer(n, Tier::T1)).unzip();
    let node = TestNode::beside(peers).await;
    for number in 0..6 {
        // One word, so that it fits the scripted context.
        let mut turns = vec![json!({"role": "user", "content": number.to_string().repeat(40_000)})];
        let mut first = None;
        for _ in 0..3 {
            let body = json!({"model": AFAR, "messages": turns, "kwaai": {"prefer": "fast"}});
            let answer = node.post(CHAT, body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let place = served_by(&answer).to_owned();
            assert_eq!(first.get_or_insert_with(|| place.clone()), &place);
            turns.push(json!({"role": "assistant", "content": "w0 w1"}));
            turns.push(json!({"role": "user", "content": "and then?"}));
        }
    }
    node.settled().await;
}
