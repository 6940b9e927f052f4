mod errors;
mod pull;

use std::sync::Arc;

use axum::http::Request;
use kwaainet::config::Config;
use kwaainet::node::{Assembled, Parts};
use kwaainet_core::{GrammarKind, Prompt, Role};
use kwaainet_testkit::{Answer, Script, ScriptedBackend, ScriptedCall};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{self, CONTEXT, EMBEDDER, MODEL, TestNode, post};

const CHAT: &str = "/api/chat";
const GENERATE: &str = "/api/generate";

fn ask(more: Value) -> Value {
    let mut body = json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": "hi there"}],
    });
    let fields = more.as_object().expect("it is an object").clone();
    body.as_object_mut()
        .expect("it is an object")
        .extend(fields);
    body
}

fn weather() -> Value {
    json!({"type": "function", "function": {
        "name": "weather", "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }})
}

fn pieces(pieces: &[&str]) -> Script {
    Script {
        answer: Answer::Pieces(
            pieces
                .iter()
                .map(|piece| piece.as_bytes().to_vec())
                .collect(),
        ),
        ..Script::default()
    }
}

fn lines(answer: &harness::Answer) -> Vec<Value> {
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let lines = answer.text.strip_suffix('\n').expect("whole lines").lines();
    let parse = |line| serde_json::from_str(line).expect("it is JSON");
    lines.map(parse).collect()
}

/// Takes out what differs from run to run, after a look at it.
fn steady(mut line: Value) -> Value {
    let time = line["created_at"].as_str().expect("a time");
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    let fields = line.as_object_mut().expect("an object");
    fields.remove("created_at");
    if fields["done"] == true && fields.contains_key("total_duration") {
        let mut ns = |name: &str| {
            let value = fields.remove(name).expect("a duration");
            value.as_u64().expect("a whole number")
        };
        let total = ns("total_duration");
        let parts = ["load_duration", "prompt_eval_duration", "eval_duration"].map(&mut ns);
        assert_eq!(parts.iter().sum::<u64>(), total);
        let prompt = fields.remove("prompt_eval_count").expect("a count");
        assert!(prompt.as_u64().expect("a whole number") > 0);
    }
    line
}

/// Status and sentence of an error in Ollama's shape.
fn error(answer: &harness::Answer) -> (u16, String) {
    let body = answer.json();
    let message = body["error"].as_str().expect("a sentence");
    assert_eq!(body, json!({"error": message}));
    assert_eq!(answer.headers["content-type"], "application/json");
    (answer.status.as_u16(), message.to_owned())
}

#[tokio::test]
async fn a_chat_is_a_stream_of_lines_unless_told_otherwise() {
    let node = TestNode::new().await;
    node.script.set(pieces(&["Hel", "lo"]));
    let streamed = lines(&node.post(CHAT, ask(json!({}))).await);
    let said = |text: &str| json!({"model": MODEL, "message": {"role": "assistant", "content": text}, "done": false});
    let end = json!({
        "model": MODEL, "message": {"role": "assistant", "content": ""},
        "done": true, "done_reason": "stop", "eval_count": 2,
    });
    let expected = [said("Hel"), said("lo"), end.clone()];
    let streamed: Vec<_> = streamed.into_iter().map(steady).collect();
    assert_eq!(streamed, expected);

    let whole = node.post(CHAT, ask(json!({"stream": false}))).await;
    assert_eq!(whole.headers["content-type"], "application/json");
    let mut expected = end;
    expected["message"]["content"] = json!("Hello");
    assert_eq!(steady(whole.json()), expected);
    assert_eq!(node.settled().await, [2, 0, 0]);
}

#[tokio::test]
async fn calls_come_whole() {
    let node = TestNode::new().await;
    node.script.set(Script {
        answer: Answer::Calls(vec![
            ScriptedCall::new("weather", &["{\"city\":", "\"Rome\"}"]),
            ScriptedCall::new("weather", &[]),
        ]),
        ..Script::default()
    });
    let call = |index: u32, arguments: Value| {
        json!({"id": format!("call_scripted0{index}"), "function": {
            "index": index, "name": "weather", "arguments": arguments,
        }})
    };
    let (first, second) = (call(0, json!({"city": "Rome"})), call(1, json!({})));
    let said = |call: &Value| {
        json!({"model": MODEL, "done": false,
            "message": {"role": "assistant", "content": "", "tool_calls": [call]}})
    };
    let streamed = lines(&node.post(CHAT, ask(json!({"tools": [weather()]}))).await);
    let streamed: Vec<_> = streamed.into_iter().map(steady).collect();
    assert_eq!(streamed[..2], [said(&first), said(&second)]);
    assert_eq!(streamed[2]["done_reason"], "stop");
    assert_eq!(streamed.len(), 3);

    let whole = ask(json!({"tools": [weather()], "stream": false}));
    let whole = node.post(CHAT, whole).await.json();
    assert_eq!(whole["message"]["tool_calls"], json!([first, second]));

    let cut = ask(json!({"tools": [weather()], "options": {"num_predict": 2}}));
    let cut = lines(&node.post(CHAT, cut).await);
    assert_eq!(cut.len(), 1, "half a call is not said");
    assert_eq!(cut[0]["done_reason"], "length");
    node.settled().await;
}

#[tokio::test]
async fn roles_calls_and_options_reach_the_backend_in_the_domains_words() {
    let node = TestNode::new().await;
    let call = json!({"function": {"name": "weather", "arguments": {"city": "Rome"}}});
    let body = ask(json!({
        "model": format!("{MODEL}:latest"),
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "weather?", "images": []},
            {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call]},
            {"role": "tool", "content": "sun", "tool_name": "weather"},
        ],
        "tools": [weather()], "stream": false, "keep_alive": "5m", "think": false,
        "format": {"type": "object"},
        "options": {"num_predict": 3, "seed": 7, "temperature": 0, "top_k": 5, "top_p": 0.5,
            "min_p": 0.25, "stop": ["x"], "repeat_penalty": 1.5, "presence_penalty": 1,
            "frequency_penalty": -1, "num_ctx": 4096},
    }));
    let answer = node.post(CHAT, body).await;
    assert_eq!(
        answer.json()["model"],
        format!("{MODEL}:latest"),
        "as it was asked for"
    );
    node.settled().await;
    let asked = node.script.last_generate().expect("it was asked");
    assert_eq!(asked.model.as_str(), MODEL);
    let Prompt::Chat(chat) = asked.prompt else {
        panic!("a conversation stays one");
    };
    let roles: Vec<_> = chat.messages.iter().map(|message| message.role).collect();
    assert_eq!(
        roles,
        [Role::System, Role::User, Role::Assistant, Role::Tool]
    );
    let made = &chat.messages[2].tool_calls[0];
    assert_eq!(made.arguments, "{\"city\":\"Rome\"}");
    assert_eq!(chat.messages[3].tool_call_id.as_ref(), Some(&made.id));
    assert_eq!(chat.tools[0].name, "weather");
    let params = asked.params;
    assert_eq!(params.max_tokens, Some(3));
    assert_eq!(params.stop, ["x"]);
    let grammar = params.grammar.expect("a form");
    assert!(grammar.kind == GrammarKind::JsonSchema(json!({"type": "object"})));
    let sampling = params.sampling;
    assert_eq!(sampling.seed, Some(7));
    assert_eq!(
        (sampling.temperature, sampling.top_k, sampling.top_p),
        (0.0, 5, 0.5)
    );
    assert_eq!((sampling.min_p, sampling.repetition_penalty), (0.25, 1.5));
    assert_eq!(
        (sampling.presence_penalty, sampling.frequency_penalty),
        (1.0, -1.0)
    );
}

#[tokio::test]
async fn a_text_is_answered_continued_or_filled_in() {
    let node = TestNode::new().await;
    let chat = |messages: &[(Role, &str)]| {
        let message = |(role, text): &(Role, &str)| kwaainet_core::Message::new(*role, *text);
        Prompt::Chat(messages.iter().map(message).collect::<Vec<_>>().into())
    };
    for (fields, expected) in [
        (json!({"prompt": "one"}), chat(&[(Role::User, "one")])),
        (
            json!({"prompt": "one", "system": "two"}),
            chat(&[(Role::System, "two"), (Role::User, "one")]),
        ),
        (
            json!({"prompt": "one", "raw": true}),
            Prompt::Text("one".into()),
        ),
        (
            json!({"prompt": "one", "suffix": "two"}),
            Prompt::Infill {
                prefix: "one".into(),
                suffix: "two".into(),
            },
        ),
    ] {
        let mut body = fields;
        body["model"] = json!(MODEL);
        body["options"] = json!({"num_predict": 2});
        let streamed = lines(&node.post(GENERATE, body.clone()).await);
        let streamed: Vec<_> = streamed.into_iter().map(steady).collect();
        let said = |text: &str| json!({"model": MODEL, "response": text, "done": false});
        let end = json!({"model": MODEL, "response": "", "done": true, "done_reason": "length",
            "eval_count": 2});
        assert_eq!(streamed, [said("w0"), said(" w1"), end]);
        node.settled().await;
        let asked = node.script.last_generate().expect("it was asked");
        assert_eq!(asked.prompt, expected);
        body["stream"] = json!(false);
        body["format"] = json!("json");
        assert_eq!(node.post(GENERATE, body).await.json()["response"], "w0 w1");
        node.settled().await;
        let asked = node.script.last_generate().expect("it was asked");
        let grammar = asked.params.grammar.expect("a form");
        assert!(grammar.kind == GrammarKind::JsonObject);
    }
}

#[tokio::test]
async fn a_question_of_nothing_loads_the_model() {
    let node = TestNode::new().await;
    let chat = node.post(CHAT, json!({"model": MODEL})).await.json();
    let expected = json!({"model": MODEL, "message": {"role": "assistant", "content": ""},
        "done": true, "done_reason": "load"});
    assert_eq!(steady(chat), expected);
    let text = node
        .post(GENERATE, json!({"model": MODEL, "prompt": ""}))
        .await;
    let expected = json!({"model": MODEL, "response": "", "done": true, "done_reason": "load"});
    assert_eq!(steady(text.json()), expected);
    let unload = json!({"model": MODEL, "keep_alive": 0});
    for path in [CHAT, GENERATE] {
        let (status, message) = error(&node.post(path, unload.clone()).await);
        assert_eq!(status, 400);
        assert!(message.contains("keep_alive"));
        let (status, _) = error(&node.post(path, json!({"model": "nobody"})).await);
        assert_eq!(status, 404);
    }
    for path in [CHAT, GENERATE] {
        let wrong = json!({"model": MODEL, "options": {"top_p": 2}});
        let (status, message) = error(&node.post(path, wrong).await);
        assert_eq!(status, 400, "its other fields are read all the same");
        assert!(message.contains("options.top_p"));
    }
    assert_eq!(node.settled().await, [0, 0, 0], "that is no job");
}

#[tokio::test]
async fn log_probabilities_have_tokens_bytes_and_alternatives() {
    let node = TestNode::new().await;
    let body = ask(json!({"stream": false, "logprobs": true, "top_logprobs": 2}));
    let whole = node.post(CHAT, body).await.json();
    let logprobs = whole["logprobs"].as_array().expect("a list");
    assert_eq!(logprobs.len(), 4);
    assert_eq!(logprobs[1]["token"], " w1");
    assert_eq!(logprobs[1]["bytes"], json!([32, 119, 49]));
    assert_eq!(
        logprobs[1]["top_logprobs"].as_array().map(Vec::len),
        Some(2)
    );
    let body = json!({"model": MODEL, "prompt": "x", "logprobs": true});
    let streamed = lines(&node.post(GENERATE, body).await);
    assert_eq!(streamed[1]["logprobs"][0]["token"], " w1");
    assert_eq!(streamed[1]["logprobs"][0]["top_logprobs"], json!([]));
    node.settled().await;
}

#[tokio::test]
async fn texts_become_vectors_under_both_names() {
    let node = TestNode::new().await;
    let embed = |input: Value| json!({"model": EMBEDDER, "input": input, "truncate": true});
    let two = node.post("/api/embed", embed(json!(["a b", "c"]))).await;
    let two = two.json();
    assert_eq!(two["model"], EMBEDDER);
    assert_eq!(two["embeddings"].as_array().map(Vec::len), Some(2));
    assert_eq!(two["embeddings"][0].as_array().map(Vec::len), Some(8));
    assert_eq!(two["prompt_eval_count"], 3);
    assert!(two["total_duration"].is_u64());
    let one = node.post("/api/embed", embed(json!("c"))).await.json();
    assert_eq!(one["embeddings"][0], two["embeddings"][1]);
    let body = json!({"model": EMBEDDER, "prompt": "c"});
    let old = node.post("/api/embeddings", body).await.json();
    assert_eq!(old, json!({"embedding": two["embeddings"][1]}));
    let mut small = embed(json!("c"));
    small["dimensions"] = json!(4);
    let small = node.post("/api/embed", small).await.json();
    assert_eq!(small["embeddings"][0].as_array().map(Vec::len), Some(4));
    assert_eq!(node.settled().await, [4, 0, 0]);

    for nothing in [json!(""), json!([])] {
        let nothing = node.post("/api/embed", embed(nothing)).await.json();
        assert_eq!(nothing["embeddings"], json!([]));
    }
    let long = vec!["word"; CONTEXT as usize + 1].join(" ");
    for (body, status) in [
        (embed(json!(long)), 400),
        (embed(json!(7)), 400),
        (embed(json!(["a", ""])), 400),
        (json!({"model": EMBEDDER}), 400),
        (json!({"model": MODEL, "input": "a"}), 400),
        (json!({"model": "nobody", "input": "a"}), 404),
        (json!({"model": "nobody", "input": ""}), 404),
    ] {
        assert_eq!(error(&node.post("/api/embed", body).await).0, status);
    }
    node.settled().await;
}

#[tokio::test]
async fn models_are_listed_and_shown() {
    let node = TestNode::new().await;
    let digest = "0".repeat(64);
    let details = json!({"parent_model": "", "format": "", "family": "", "families": [],
        "parameter_size": "", "quantization_level": ""});
    let model = |name: &str| {
        json!({"name": name, "model": name, "modified_at": "2023-11-14T22:13:20.000Z", "size": 0,
            "digest": digest, "details": details})
    };
    let tags = node.get("/api/tags").await.json();
    assert_eq!(tags, json!({"models": [model(MODEL), model(EMBEDDER)]}));
    let ps = node.get("/api/ps").await.json();
    let mut loaded = model(MODEL);
    loaded["expires_at"] = json!("9999-12-31T23:59:59Z");
    loaded["size_vram"] = json!(0);
    loaded["context_length"] = json!(CONTEXT);
    assert_eq!(ps["models"][0], loaded);

    for name in ["model", "name"] {
        let shown = node
            .post("/api/show", json!({name: format!("{MODEL}:latest")}))
            .await;
        let expected = json!({
            "license": "", "modelfile": "", "parameters": "", "template": "", "details": details,
            "model_info": {"general.architecture": "unknown", "unknown.context_length": CONTEXT},
            "capabilities": ["completion", "tools"], "modified_at": "2023-11-14T22:13:20.000Z",
        });
        assert_eq!(shown.json(), expected);
    }
    let shown = node
        .post("/api/show", json!({"model": EMBEDDER}))
        .await
        .json();
    assert_eq!(shown["capabilities"], json!(["embedding"]));
    assert_eq!(
        error(&node.post("/api/show", json!({"model": "nobody"})).await).0,
        404
    );
    assert_eq!(error(&node.post("/api/show", json!({})).await).0, 400);
    let version = node.get("/api/version").await.json();
    assert!(
        version["version"]
            .as_str()
            .is_some_and(|v| v.split('.').count() == 3)
    );

    let running = node.get("/").await;
    assert_eq!(running.text, "Ollama is running");
    let probe = Request::head("/").header("host", "localhost");
    let probe = node
        .ask(probe.body(axum::body::Body::empty()).expect("a request"))
        .await;
    assert_eq!((probe.status.as_u16(), probe.text.as_str()), (200, ""));
}

#[tokio::test]
async fn the_default_tag_goes_without_saying_in_either_direction() {
    let (parts, _, _dir) = harness::parts(Config::default()).await;
    let backend = ScriptedBackend::builder("tagged")
        .generator("far:latest", CONTEXT)
        .generator("near", CONTEXT)
        .build();
    let parts = Parts {
        backends: vec![Arc::new(backend)],
        ..parts
    };
    let node = Assembled::new(parts).await;
    for (name, status) in [
        ("far", 200),
        ("far:latest", 200),
        ("near", 200),
        ("near:latest", 200),
        ("near:7b", 404),
    ] {
        let body = ask(json!({"model": name, "stream": false})).to_string();
        let answer = node.router.clone().oneshot(post(CHAT, body)).await;
        assert_eq!(answer.expect("it never fails").status(), status, "{name}");
    }
    node.close().await;
}
