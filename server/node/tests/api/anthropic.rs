mod errors;

use std::time::Duration;

use kwaainet_core::{GrammarKind, Message, Prompt, Role, ToolMode};
use kwaainet_testkit::{Answer, Fault, Script, ScriptedCall};
use serde_json::{Value, json};

use crate::harness::{self, MODEL, SOON, TestNode, post};

const PATH: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";

fn ask(more: Value) -> Value {
    let mut body = json!({
        "model": MODEL,
        "max_tokens": 20,
        "messages": [{"role": "user", "content": "hi there"}],
    });
    let fields = more.as_object().expect("it is an object").clone();
    body.as_object_mut()
        .expect("it is an object")
        .extend(fields);
    body
}

fn weather() -> Value {
    json!({
        "name": "weather", "description": "Tells the weather.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    })
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

fn calls(calls: Vec<ScriptedCall>) -> Script {
    Script {
        answer: Answer::Calls(calls),
        ..Script::default()
    }
}

/// The events of a stream: each one's name is its type. Comments are passed over.
fn events(answer: &harness::Answer) -> Vec<Value> {
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').expect("a name and data");
        let name = name.strip_prefix("event: ").expect("a name");
        let data = data.strip_prefix("data: ").expect("data");
        let data: Value = serde_json::from_str(data).expect("it is JSON");
        assert_eq!(data["type"], name);
        data
    };
    let body = answer.text.strip_suffix("\n\n").expect("a whole event");
    let blocks = body.split("\n\n").filter(|block| !block.starts_with(':'));
    blocks.map(event).collect()
}

/// Status, type and message of an error in Anthropic's shape.
fn error(answer: &harness::Answer) -> (u16, String, String) {
    let body = answer.json();
    let id = answer.headers["request-id"].to_str().expect("text");
    let (kind, message) = (&body["error"]["type"], &body["error"]["message"]);
    let expected = json!({
        "type": "error", "error": {"type": kind, "message": message}, "request_id": id,
    });
    assert_eq!(body, expected);
    assert_eq!(answer.headers["content-type"], "application/json");
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    (answer.status.as_u16(), text(kind), text(message))
}

async fn prompt(node: &TestNode) -> kwaainet_core::Conversation {
    node.settled().await;
    let asked = node.script.last_generate().expect("it was asked");
    match asked.prompt {
        Prompt::Chat(chat) => chat,
        other => panic!("a conversation stays one: {other:?}"),
    }
}

#[tokio::test]
async fn a_whole_answer_has_every_field_of_anthropic() {
    let node = TestNode::new().await;
    let answer = node.post(PATH, ask(json!({}))).await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains_key("request-id"));
    let mut body = answer.json();
    assert!(body["id"].as_str().expect("an id").starts_with("msg_"));
    body["id"] = Value::Null;
    let expected = json!({
        "id": null, "type": "message", "role": "assistant", "model": MODEL,
        "content": [{"type": "text", "text": "w0 w1 w2 w3"}],
        "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {
            "input_tokens": body["usage"]["input_tokens"], "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0, "output_tokens": 4,
        },
    });
    assert_eq!(body, expected);
    assert!(body["usage"]["input_tokens"].as_u64().expect("a count") > 0);
    assert_eq!(node.settled().await, [1, 0, 0]);
}

#[tokio::test]
async fn a_stream_has_the_events_in_their_order() {
    let node = TestNode::new().await;
    node.script.set(pieces(&["Hel", "lo"]));
    let answer = node.post(PATH, ask(json!({"stream": true}))).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let mut events = events(&answer);
    let input = events[0]["message"]["usage"]["input_tokens"].clone();
    assert!(input.as_u64().expect("a count") > 0);
    assert!(
        events[0]["message"]["id"]
            .as_str()
            .expect("an id")
            .starts_with("msg_")
    );
    events[0]["message"]["id"] = Value::Null;
    let usage = |output: u32| {
        json!({
            "input_tokens": input, "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0, "output_tokens": output,
        })
    };
    let text = |text: &str| {
        json!({
            "type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": text},
        })
    };
    let expected = [
        json!({"type": "message_start", "message": {
            "id": null, "type": "message", "role": "assistant", "model": MODEL, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage(0),
        }}),
        json!({"type": "content_block_start", "index": 0,
            "content_block": {"type": "text", "text": ""}}),
        text("Hel"),
        text("lo"),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": usage(2)}),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(events, expected);
    assert_eq!(node.settled().await, [1, 0, 0]);
}

#[tokio::test]
async fn n03_each_call_is_a_block_with_an_id_and_its_input_comes_in_pieces() {
    let node = TestNode::new().await;
    node.script.set(calls(vec![
        ScriptedCall::new("weather", &["{\"city\":", "\"Rome\"}"]),
        ScriptedCall::new("weather", &["{}"]),
    ]));
    let body = ask(json!({"stream": true, "tools": [weather()]}));
    let events = events(&node.post(PATH, body.clone()).await);
    let start = |index: u32| {
        json!({"type": "content_block_start", "index": index, "content_block": {
            "type": "tool_use", "id": format!("call_scripted0{index}"), "name": "weather",
            "input": {},
        }})
    };
    let more = |index: u32, json: &str| {
        json!({"type": "content_block_delta", "index": index,
            "delta": {"type": "input_json_delta", "partial_json": json}})
    };
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let expected = [
        start(0),
        more(0, "{\"city\":"),
        more(0, "\"Rome\"}"),
        stop(0),
        start(1),
        more(1, "{}"),
        stop(1),
    ];
    assert_eq!(events[1..8], expected);
    // n05: a call never ends with a stop of another kind.
    assert_eq!(events[8]["delta"]["stop_reason"], "tool_use");
    assert_eq!(events[9], json!({"type": "message_stop"}));

    let mut body = body;
    body["stream"] = json!(false);
    let whole = node.post(PATH, body).await.json();
    assert_eq!(whole["stop_reason"], "tool_use");
    assert_eq!(
        whole["content"],
        json!([
            {"type": "tool_use", "id": "call_scripted00", "name": "weather",
             "input": {"city": "Rome"}},
            {"type": "tool_use", "id": "call_scripted01", "name": "weather", "input": {}},
        ])
    );
    node.settled().await;
}

#[tokio::test]
async fn a_call_that_is_cut_says_so_and_has_no_input_that_could_be_used() {
    let node = TestNode::new().await;
    let call = ScriptedCall::new("weather", &["{\"city\":", "\"Rome\"}"]);
    node.script.set(calls(vec![call]));
    let body = ask(json!({"tools": [weather()], "max_tokens": 2}));
    let whole = node.post(PATH, body).await.json();
    assert_eq!(whole["stop_reason"], "max_tokens");
    assert_eq!(whole["content"][0]["input"], json!({}));
    node.settled().await;
}

#[tokio::test]
async fn a_stop_sequence_is_told_by_its_text() {
    let node = TestNode::new().await;
    node.script.set(pieces(&["one ST", "OP two"]));
    let stops = json!({"stop_sequences": ["XX", "STOP"]});
    let whole = node.post(PATH, ask(stops.clone())).await.json();
    assert_eq!(whole["content"][0]["text"], "one ");
    assert_eq!(whole["stop_reason"], "stop_sequence");
    assert_eq!(whole["stop_sequence"], "STOP");

    let mut body = ask(stops);
    body["stream"] = json!(true);
    let events = events(&node.post(PATH, body).await);
    let expected = json!({"stop_reason": "stop_sequence", "stop_sequence": "STOP"});
    assert_eq!(events[events.len() - 2]["delta"], expected);

    let long = node.post(PATH, ask(json!({"max_tokens": 1}))).await.json();
    assert_eq!(long["stop_reason"], "max_tokens");
    assert_eq!(long["stop_sequence"], Value::Null);
    node.settled().await;
}

#[tokio::test]
async fn an_answer_of_nothing_has_one_block_of_nothing() {
    let node = TestNode::new().await;
    node.script.set(pieces(&[]));
    let whole = node.post(PATH, ask(json!({}))).await.json();
    assert_eq!(whole["content"], json!([{"type": "text", "text": ""}]));
    let events = events(&node.post(PATH, ask(json!({"stream": true}))).await);
    let kinds: Vec<_> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(kinds, expected);
    node.settled().await;
}

#[tokio::test]
async fn n16_turns_blocks_and_results_reach_the_backend_in_the_domains_words() {
    let node = TestNode::new().await;
    let body = ask(json!({
        "system": [{"type": "text", "text": "be", "cache_control": {"type": "ephemeral"}},
                   {"type": "text", "text": "brief"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "one"},
                                         {"type": "text", "text": "two"}]},
            {"role": "user", "content": "three"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "t2", "name": "weather", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "sun"},
                {"type": "tool_result", "tool_use_id": "t2", "is_error": true,
                 "content": [{"type": "text", "text": "no city"}]},
                {"type": "text", "text": "and?"}]},
        ],
        "tools": [weather()],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "stop_sequences": ["x"], "temperature": 0.5, "top_p": 0.5, "top_k": 5,
        "metadata": {"user_id": "u"}, "thinking": {"type": "disabled"},
    }));
    let answer = node.post(PATH, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let chat = prompt(&node).await;
    let said = |m: &Message| (m.role, m.content.clone(), m.tool_call_id.clone());
    let expected = [
        (Role::System, "be\n\nbrief", None),
        (Role::User, "one\n\ntwo\n\nthree", None),
        (Role::Assistant, "I look.", None),
        (Role::Tool, "sun", Some("t1")),
        (Role::Tool, "Error: no city", Some("t2")),
        (Role::User, "and?", None),
    ];
    let expected = expected.map(|(role, text, id)| (role, text.to_owned(), id.map(str::to_owned)));
    assert_eq!(chat.messages.iter().map(said).collect::<Vec<_>>(), expected);
    let calls = &chat.messages[2].tool_calls;
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (calls[0].id.as_str(), calls[0].name.as_str()),
        ("t1", "weather")
    );
    assert_eq!(calls[0].arguments, "{\"city\":\"Rome\"}");
    assert_eq!(chat.tools[0].name, "weather");
    assert_eq!(chat.tool_choice.mode, ToolMode::Required);
    assert!(!chat.parallel_calls);
    let params = node.script.last_generate().expect("it was asked").params;
    assert_eq!(params.max_tokens, Some(20));
    assert_eq!(params.stop, ["x"]);
    let sampling = params.sampling;
    let drawn = (sampling.temperature, sampling.top_p, sampling.top_k);
    assert_eq!(drawn, (0.5, 0.5, 5));
}

#[tokio::test]
async fn choices_of_tools_and_forms_of_answers_are_told_to_the_backend() {
    let node = TestNode::new().await;
    for (choice, mode, only) in [
        (json!(null), ToolMode::Auto, None),
        (json!({"type": "auto"}), ToolMode::Auto, None),
        (json!({"type": "none"}), ToolMode::None, None),
        (
            json!({"type": "tool", "name": "weather"}),
            ToolMode::Required,
            Some(vec!["weather".to_owned()]),
        ),
    ] {
        let body = ask(json!({"tools": [weather()], "tool_choice": choice}));
        assert_eq!(node.post(PATH, body).await.status, 200);
        let chat = prompt(&node).await;
        assert_eq!((chat.tool_choice.mode, chat.tool_choice.only), (mode, only));
        // A tool that is named is called once.
        assert_eq!(chat.parallel_calls, mode != ToolMode::Required);
    }
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let format = json!({"type": "json_schema", "schema": schema});
    for (field, value, param) in [
        (
            "output_config",
            json!({"format": format, "effort": "high"}),
            "output_config.format",
        ),
        ("output_format", format.clone(), "output_format"),
    ] {
        let answer = node.post(PATH, ask(json!({field: value}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        node.settled().await;
        let params = node.script.last_generate().expect("it was asked").params;
        let grammar = params.grammar.expect("a form");
        assert_eq!(grammar.param, param);
        assert!(grammar.kind == GrammarKind::JsonSchema(schema.clone()));
    }
}

#[tokio::test]
async fn silence_is_filled_with_pings() {
    let node = TestNode::new().await;
    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 0 }));
    let body = ask(json!({"stream": true})).to_string();
    let mut response = node.send(post(PATH, body)).await;
    // Only while nothing but the stream has anything to do.
    tokio::time::pause();
    let mut text = String::new();
    for _ in 0..3 {
        let frame = http_body_util::BodyExt::frame(response.body_mut()).await;
        let frame = frame.expect("it goes on").expect("it is whole");
        let data = frame.into_data().expect("it is data");
        text += std::str::from_utf8(&data).expect("it is text");
    }
    tokio::time::resume();
    drop(response);
    assert!(text.starts_with("event: message_start\n"), "{text}");
    let ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
    assert!(text.ends_with(&ping.repeat(2)), "{text}");
    node.settled().await;
}

#[tokio::test]
async fn tokens_are_counted_as_the_answer_counts_them() {
    let node = TestNode::new().await;
    let answer = node
        .post(PATH, ask(json!({"system": "be brief"})))
        .await
        .json();
    let body = json!({
        "model": MODEL, "system": "be brief", "tools": [weather()],
        "messages": [{"role": "user", "content": "hi there"}],
    });
    let counted = node.post(COUNT, body.clone()).await;
    let expected = json!({"input_tokens": answer["usage"]["input_tokens"]});
    assert_eq!(counted.json(), expected);
    assert!(counted.headers.contains_key("request-id"));

    let mut bad = body;
    bad["messages"] = json!([]);
    let (status, kind, _) = error(&node.post(COUNT, bad).await);
    assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
    assert_eq!(node.settled().await, [1, 0, 0], "a count is no job");
}

#[tokio::test]
async fn n13_a_dropped_stream_stops_the_work() {
    let node = TestNode::new().await;
    node.script.set(Script {
        delay: Duration::from_millis(20),
        ..Script::words(70)
    });
    let body = ask(json!({"stream": true, "max_tokens": 70})).to_string();
    let mut response = node.send(post(PATH, body)).await;
    for _ in 0..3 {
        let frame = http_body_util::BodyExt::frame(response.body_mut());
        let frame = tokio::time::timeout(SOON, frame).await.expect("it comes");
        assert!(frame.is_some_and(|frame| frame.is_ok()));
    }
    drop(response);
    assert_eq!(node.settled().await, [0, 0, 1]);
    assert!(node.script.counts().tokens < 70);
}
