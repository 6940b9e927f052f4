use std::collections::HashMap;

use kwaainet_core::{BackendError, Grammar, GrammarKind, Prompt, Role, ToolMode};
use kwaainet_testkit::{Answer as Says, Fault, Script, ScriptedCall};
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

/// The events of a stream, each of whose names is its type.
pub(crate) fn events(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let blocks = answer.text.split("\n\n").filter(|block| !block.is_empty());
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

async fn refused(node: &TestNode, more: Value) -> (u16, Option<String>, Option<String>) {
    let answer = node.post(PATH, ask(more.clone())).await;
    assert_ne!(answer.status, 200, "{more}");
    let (status, _, code, param) = answer.error();
    (status, code, param)
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
async fn bad_values_are_refused_by_name() {
    let node = TestNode::new().await;
    let unsupported = "unsupported_parameter";
    for (more, code, param) in [
        (
            json!({"model": null}),
            "missing_required_parameter",
            "model",
        ),
        (
            json!({"input": null}),
            "missing_required_parameter",
            "input",
        ),
        (json!({"input": []}), "missing_required_parameter", "input"),
        (json!({"input": 7}), "invalid_type", "input"),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
            "unsupported_value",
            "input[0].content[0]",
        ),
        (
            json!({"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}),
            "invalid_value",
            "input",
        ),
        (
            json!({"max_output_tokens": 0}),
            "integer_below_min_value",
            "max_output_tokens",
        ),
        (
            json!({"max_output_tokens": "x"}),
            "invalid_type",
            "max_output_tokens",
        ),
        (
            json!({"temperature": 2.1}),
            "decimal_above_max_value",
            "temperature",
        ),
        (json!({"top_p": -1}), "decimal_below_min_value", "top_p"),
        (
            json!({"top_logprobs": 21}),
            "integer_above_max_value",
            "top_logprobs",
        ),
        (json!({"top_logprobs": 1}), "invalid_value", "top_logprobs"),
        (
            json!({"include": ["everything"]}),
            "invalid_value",
            "include[0]",
        ),
        (
            json!({"truncation": "middle"}),
            "invalid_value",
            "truncation",
        ),
        (
            json!({"stream_options": {}}),
            "invalid_value",
            "stream_options",
        ),
        (
            json!({"stream": true, "stream_options": {"include_obfuscation": true}}),
            unsupported,
            "stream_options.include_obfuscation",
        ),
        (
            json!({"service_tier": "priority"}),
            "unsupported_value",
            "service_tier",
        ),
        (
            json!({"background": true, "store": false}),
            "invalid_value",
            "store",
        ),
        (
            json!({"conversation": "conv_x", "store": false}),
            "invalid_value",
            "store",
        ),
        (
            json!({"conversation": "conv_x", "previous_response_id": "resp_x"}),
            "mutually_exclusive_parameters",
            "previous_response_id",
        ),
        (json!({"conversation": 7}), "invalid_type", "conversation"),
        (
            json!({"conversation": {}}),
            "missing_required_parameter",
            "conversation.id",
        ),
        (
            json!({"previous_response_id": ""}),
            "invalid_value",
            "previous_response_id",
        ),
        (
            json!({"metadata": {"k": "v".repeat(513)}}),
            "string_above_max_length",
            "metadata",
        ),
        (json!({"metadata": {"k": 7}}), "invalid_type", "metadata.k"),
        (
            json!({"user": "u".repeat(513)}),
            "string_above_max_length",
            "user",
        ),
        (
            json!({"safety_identifier": "u".repeat(65)}),
            "string_above_max_length",
            "safety_identifier",
        ),
        (
            json!({"text": {"verbosity": "high"}}),
            unsupported,
            "text.verbosity",
        ),
        (
            json!({"text": {"format": {"type": "xml"}}}),
            "invalid_value",
            "text.format.type",
        ),
        (
            json!({"text": {"format": {"type": "json_schema", "schema": {}}}}),
            "missing_required_parameter",
            "text.format.name",
        ),
        (
            json!({"text": {"format": {"type": "json_schema", "name": "n"}}}),
            "missing_required_parameter",
            "text.format.schema",
        ),
        (
            json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": []}}}),
            "invalid_type",
            "text.format.schema",
        ),
        (
            json!({"tools": [{"type": "web_search"}]}),
            "unsupported_value",
            "tools[0].type",
        ),
        (
            json!({"tools": [{"type": "function"}]}),
            "missing_required_parameter",
            "tools[0].name",
        ),
        (
            json!({"tools": [{"type": "function", "name": 7}]}),
            "invalid_type",
            "tools[0].name",
        ),
        (
            json!({"tool_choice": "required"}),
            "invalid_value",
            "tool_choice",
        ),
        (
            json!({"tool_choice": "sometimes"}),
            "invalid_value",
            "tool_choice",
        ),
        (
            json!({"tool_choice": {"type": "web_search_preview"}}),
            "unsupported_value",
            "tool_choice.type",
        ),
        (
            json!({"tool_choice": {"type": "function"}}),
            "missing_required_parameter",
            "tool_choice.name",
        ),
        (
            json!({"tool_choice": {"type": "function", "name": "f"}}),
            "invalid_value",
            "tool_choice",
        ),
        (
            json!({"reasoning": {"effort": "high"}}),
            unsupported,
            "reasoning.effort",
        ),
        (json!({"prompt": {"id": "p"}}), unsupported, "prompt"),
        (json!({"max_tokens": 7}), unsupported, "max_tokens"),
        (json!({"messages": []}), unsupported, "messages"),
        (
            json!({"response_format": {"type": "text"}}),
            unsupported,
            "response_format",
        ),
        (json!({"n": 2}), unsupported, "n"),
        (json!({"stop": ["x"]}), unsupported, "stop"),
        (json!({"guided_json": {}}), unsupported, "guided_json"),
        (
            json!({"moderation": {"model": "m"}}),
            unsupported,
            "moderation",
        ),
    ] {
        let expected = (400, Some(code.to_owned()), Some(param.to_owned()));
        assert_eq!(refused(&node, more.clone()).await, expected, "{more}");
    }
    let harmless = json!({"n": 1, "stop": null, "reasoning": {"effort": null}, "new_in_2030": 1,
        "prompt_cache_retention": "in_memory", "include": ["file_search_call.results"]});
    assert_eq!(node.post(PATH, ask(harmless)).await.status, 200);
    node.settled().await;
}

#[tokio::test]
async fn n12_an_unknown_model_is_a_404_in_the_background_too() {
    let node = TestNode::new().await;
    for more in [
        json!({"model": "nobody"}),
        json!({"model": "nobody", "stream": true}),
        json!({"model": "nobody", "background": true}),
        json!({"model": "nobody", "truncation": "auto"}),
    ] {
        let expected = (404, Some("model_not_found".into()), Some("model".into()));
        assert_eq!(refused(&node, more).await, expected);
    }
    assert_eq!(node.settled().await, [0, 0, 0], "nothing was admitted");
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
