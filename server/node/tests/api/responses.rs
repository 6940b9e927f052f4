//! The Responses API.

mod background;
pub(crate) mod kept;
mod refusals;
mod streams;

use kwaainet_core::{Grammar, GrammarKind, Prompt, Role, ToolMode};
use serde_json::{Value, json};

use crate::harness::{Answer, CONTEXT, MODEL, TestNode};

pub(crate) const PATH: &str = "/v1/responses";

pub(crate) fn ask(more: Value) -> Value {
    let mut body = json!({"model": MODEL, "input": "hi there", "temperature": 0});
    let fields = more.as_object().expect("it is an object").clone();
    body.as_object_mut()
        .expect("it is an object")
        .extend(fields);
    body
}

/// The events of a stream, each of whose names is its type; comments are passed over.
pub(crate) fn events(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let blocks = answer.text.split("\n\n");
    let blocks = blocks.filter(|block| !block.is_empty() && !block.starts_with(':'));
    blocks
        .map(|block| {
            let (name, data) = block.split_once('\n').expect("two lines");
            let data = data.strip_prefix("data: ").expect("data");
            let event: Value = serde_json::from_str(data).expect("JSON");
            let name = name.strip_prefix("event: ").expect("a name");
            assert_eq!(event["type"], name);
            event
        })
        .collect()
}

async fn refused(node: &TestNode, more: Value) -> (u16, Option<String>, Option<String>) {
    let answer = node.post(PATH, ask(more.clone())).await;
    assert_ne!(answer.status, 200, "{more}");
    let (status, _, code, param) = answer.error();
    (status, code, param)
}

fn tools() -> Value {
    json!([
        {"type": "function", "name": "weather", "description": "of a city", "strict": true,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
        {"type": "function", "name": "time"},
    ])
}

#[tokio::test]
async fn a_whole_response_has_every_field_of_openai() {
    let node = TestNode::new().await;
    let more = json!({
        "instructions": "be brief", "metadata": {"a": "b"}, "max_output_tokens": 9, "top_p": 0.5,
        "user": "ann", "safety_identifier": "s", "prompt_cache_key": "k", "service_tier": "auto",
        "tools": tools(), "tool_choice": {"type": "function", "name": "time"},
        "parallel_tool_calls": false, "max_tool_calls": 3,
    });
    let mut body = node.post(PATH, ask(more)).await.json();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    assert!(text(&body["id"].take()).starts_with("resp_"));
    assert!(text(&body["output"][0]["id"].take()).starts_with("msg_"));
    let created = body["created_at"].take().as_i64().expect("a time");
    assert!(created > 1_700_000_000);
    assert!(body["completed_at"].take().as_i64().expect("a time") >= created);
    let expected = json!({
        "id": null, "object": "response", "created_at": null, "completed_at": null,
        "status": "completed", "background": false, "error": null, "incomplete_details": null,
        "instructions": "be brief", "max_output_tokens": 9, "max_tool_calls": 3,
        "metadata": {"a": "b"}, "model": MODEL,
        "output": [{
            "id": null, "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "w0 w1 w2 w3", "annotations": [],
                "logprobs": []}],
        }],
        "parallel_tool_calls": false, "previous_response_id": null, "conversation": null,
        "prompt_cache_key": "k", "reasoning": {"effort": null, "summary": null},
        "safety_identifier": "s", "service_tier": "default", "store": true, "temperature": 0.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": {"type": "function", "name": "time"},
        "tools": [
            {"type": "function", "name": "weather", "description": "of a city", "strict": true,
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
            {"type": "function", "name": "time", "description": null, "parameters": null,
                "strict": false},
        ],
        "top_logprobs": 0, "top_p": 0.5, "truncation": "disabled",
        "usage": {
            "input_tokens": 6, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 10,
        },
        "user": "ann",
    });
    assert_eq!(body, expected);
    assert_eq!(node.settled().await, [1, 0, 0]);
}

#[tokio::test]
async fn n16_n17_items_reach_the_backend_in_the_domains_words() {
    let node = TestNode::new().await;
    let more = json!({"instructions": "be brief", "input": [
        {"role": "developer", "content": "and kind"},
        {"role": "user", "content": [
            {"type": "input_text", "text": "one "}, {"type": "input_text", "text": "two"},
        ]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": [
            {"type": "output_text", "text": "I will look", "annotations": []},
        ]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "time", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"type": "function_call_output", "call_id": "c2", "output": [
            {"type": "input_text", "text": "noon"},
        ]},
        {"type": "function_call", "call_id": "c3", "name": "time", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c3", "output": "one"},
    ], "tools": tools(), "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [
        {"type": "function", "name": "time"},
    ]}, "parallel_tool_calls": false, "seed": -1, "top_k": 5, "max_output_tokens": 2});
    let answer = node.post(PATH, ask(more)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let asked = node.script.last_generate().expect("it was asked");
    let Prompt::Chat(chat) = asked.prompt else {
        panic!("a conversation stays one");
    };
    let said: Vec<_> = chat
        .messages
        .iter()
        .map(|m| {
            let calls: Vec<_> = m.tool_calls.iter().map(|call| call.id.as_str()).collect();
            let answers = m.tool_call_id.as_deref().unwrap_or("");
            (m.role, m.content.as_str(), calls, answers)
        })
        .collect();
    let none = Vec::new;
    assert_eq!(
        said,
        [
            (Role::System, "be brief", none(), ""),
            (Role::System, "and kind", none(), ""),
            (Role::User, "one two", none(), ""),
            (Role::Assistant, "I will look", vec!["c1", "c2"], ""),
            (Role::Tool, "rain", none(), "c1"),
            (Role::Tool, "noon", none(), "c2"),
            (Role::Assistant, "", vec!["c3"], ""),
            (Role::Tool, "one", none(), "c3"),
        ]
    );
    assert_eq!(chat.tools.len(), 2);
    assert!(chat.tools[0].strict && !chat.tools[1].strict);
    assert_eq!(chat.tool_choice.mode, ToolMode::Required);
    assert_eq!(chat.tool_choice.only, Some(vec!["time".to_owned()]));
    assert!(!chat.parallel_calls);
    assert_eq!(asked.params.sampling.seed, Some(u64::MAX));
    assert_eq!(asked.params.sampling.top_k, 5);
    assert_eq!(asked.params.max_tokens, Some(2));
    node.settled().await;
}

#[tokio::test]
async fn a_format_becomes_a_grammar_and_is_echoed() {
    let node = TestNode::new().await;
    let schema = json!({"type": "object"});
    let format = json!({"type": "json_schema", "name": "thing", "strict": true, "schema": schema});
    for (format, kind) in [
        (json!({"type": "text"}), None),
        (
            json!({"type": "json_object"}),
            Some(GrammarKind::JsonObject),
        ),
        (format, Some(GrammarKind::JsonSchema(schema.clone()))),
    ] {
        let more = json!({"text": {"format": format, "verbosity": "medium"}});
        let answer = node.post(PATH, ask(more)).await.json();
        assert_eq!(answer["text"]["format"]["type"], format["type"]);
        assert_eq!(answer["text"]["format"].get("schema"), format.get("schema"));
        let asked = node.script.last_generate().expect("it was asked");
        let param = "text.format";
        assert_eq!(
            asked.params.grammar,
            kind.map(|kind| Grammar { kind, param })
        );
    }
    node.settled().await;
}

#[tokio::test]
async fn n10_a_prompt_that_is_too_long_is_refused_or_shortened_as_asked() {
    let node = TestNode::new().await;
    let long = |word: &str| vec![word; CONTEXT as usize / 2].join(" ");
    let input = json!([
        {"role": "user", "content": long("old")},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "gone"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": long("new")},
    ]);
    for stream in [false, true] {
        let more = json!({"input": input, "stream": stream});
        let expected = (
            400,
            Some("context_length_exceeded".into()),
            Some("input".into()),
        );
        assert_eq!(refused(&node, more).await, expected);
    }
    assert_eq!(node.script.counts().tokens, 0);

    let more = json!({"input": input, "truncation": "auto", "instructions": "stays"});
    let answer = node.post(PATH, ask(more)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["truncation"], "auto");
    let first = |node: &TestNode| {
        let Prompt::Chat(chat) = node.script.last_generate().expect("it was asked").prompt else {
            panic!("a conversation stays one");
        };
        let roles: Vec<_> = chat.messages.iter().map(|message| message.role).collect();
        roles
    };
    // Only as much as needed goes: here, the oldest item.
    let all_but_one = [
        Role::System,
        Role::Assistant,
        Role::Tool,
        Role::Assistant,
        Role::User,
    ];
    assert_eq!(first(&node), all_but_one);
    // With more room for the answer, more goes, and no output without its call.
    let more = json!({"input": input, "truncation": "auto", "max_output_tokens": 45});
    assert_eq!(node.post(PATH, ask(more)).await.status, 200);
    assert_eq!(first(&node), [Role::Assistant, Role::User]);
    // What cannot fit at all is still refused.
    let more = json!({"input": input, "truncation": "auto", "max_output_tokens": 99});
    let expected = (
        400,
        Some("context_length_exceeded".into()),
        Some("max_output_tokens".into()),
    );
    assert_eq!(refused(&node, more).await, expected);
    node.settled().await;
}

#[tokio::test]
async fn tokens_of_a_prompt_are_counted() {
    let node = TestNode::new().await;
    let counted = node
        .post("/v1/responses/input_tokens", ask(json!({})))
        .await;
    let expected = json!({"object": "response.input_tokens", "input_tokens": 3});
    assert_eq!(counted.json(), expected);
    let more = json!({"instructions": "be brief"});
    let counted = node.post("/v1/responses/input_tokens", ask(more)).await;
    assert_eq!(counted.json()["input_tokens"], 6);
    assert_eq!(node.settled().await, [0, 0, 0]);
}
