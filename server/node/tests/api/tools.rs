use kwaainet_core::{Conversation, Prompt, Role, ToolChoice, ToolMode};
use kwaainet_testkit::{Answer, Script, ScriptedCall};
use serde_json::{Value, json};

use crate::harness::{MODEL, TestNode};

const PATH: &str = "/v1/chat/completions";

fn tool(name: &str) -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    json!({"type": "function", "function": {
        "name": name, "description": "what it does", "parameters": parameters, "strict": true,
    }})
}

fn ask(more: Value) -> Value {
    let mut body = json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": "how is the weather?"}],
        "tools": [tool("weather"), tool("time")],
    });
    let fields = more.as_object().expect("it is an object").clone();
    body.as_object_mut()
        .expect("it is an object")
        .extend(fields);
    body
}

async fn calling(calls: Vec<ScriptedCall>) -> TestNode {
    let node = TestNode::new().await;
    node.script.set(Script {
        answer: Answer::Calls(calls),
        ..Script::default()
    });
    node
}

fn two_calls() -> Vec<ScriptedCall> {
    vec![
        ScriptedCall::new("weather", &["{\"city\":", "\"Rome\"}"]),
        ScriptedCall::new("time", &["{}"]),
    ]
}

fn conversation(node: &TestNode) -> Conversation {
    match node.script.last_generate().expect("it was asked").prompt {
        Prompt::Chat(chat) => chat,
        other => panic!("a conversation stays one: {other:?}"),
    }
}

#[tokio::test]
async fn n05_a_call_ends_with_tool_calls_and_has_no_text() {
    let node = calling(two_calls()).await;
    let body = node.post(PATH, ask(json!({"n": 2}))).await.json();
    for (index, choice) in body["choices"].as_array().expect("two").iter().enumerate() {
        let expected = json!({
            "index": index,
            "message": {
                "role": "assistant", "content": null, "refusal": null, "annotations": [],
                "tool_calls": [
                    {"id": format!("call_scripted{index}0"), "type": "function",
                     "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}},
                    {"id": format!("call_scripted{index}1"), "type": "function",
                     "function": {"name": "time", "arguments": "{}"}},
                ],
            },
            "logprobs": null,
            "finish_reason": "tool_calls",
        });
        assert_eq!(*choice, expected);
    }
    assert_eq!(body["usage"]["completion_tokens"], 10);

    let chunks = node.post(PATH, ask(json!({"stream": true}))).await.chunks();
    let last = &chunks.last().expect("there are chunks")["choices"][0];
    assert_eq!(last["finish_reason"], "tool_calls");
    assert_eq!(last["delta"], json!({}));
    node.settled().await;
}

#[tokio::test]
async fn n03_tool_call_deltas_have_an_index_and_begin_with_id_and_name() {
    let node = calling(two_calls()).await;
    let chunks = node.post(PATH, ask(json!({"stream": true}))).await.chunks();
    let deltas: Vec<_> = chunks
        .iter()
        .map(|chunk| chunk["choices"][0]["delta"].clone())
        .collect();
    let begin = |index: u32, name: &str| {
        json!({"tool_calls": [{
            "index": index, "id": format!("call_scripted0{index}"), "type": "function",
            "function": {"name": name, "arguments": ""},
        }]})
    };
    let more = |index: u32, arguments: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]});
    let expected = [
        json!({"role": "assistant", "content": null, "refusal": null}),
        begin(0, "weather"),
        more(0, "{\"city\":"),
        more(0, "\"Rome\"}"),
        begin(1, "time"),
        more(1, "{}"),
        json!({}),
    ];
    assert_eq!(deltas, expected);
    node.settled().await;
}

#[tokio::test]
async fn n04_a_call_that_goes_on_has_no_second_id_or_name() {
    let node = calling(two_calls()).await;
    let chunks = node.post(PATH, ask(json!({"stream": true}))).await.chunks();
    let calls = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0"));
    let mut begun = Vec::new();
    for call in calls {
        let index = call["index"].as_u64().expect("every piece has its index");
        let fields = call.as_object().expect("it is an object");
        let function = call["function"].as_object().expect("it is an object");
        if begun.contains(&index) {
            assert_eq!(fields.keys().collect::<Vec<_>>(), ["index", "function"]);
            assert_eq!(function.keys().collect::<Vec<_>>(), ["arguments"]);
        } else {
            begun.push(index);
            assert!(!call["id"].as_str().expect("an id").is_empty());
            assert!(!function["name"].as_str().expect("a name").is_empty());
        }
    }
    assert_eq!(begun, [0, 1]);
    node.settled().await;
}

#[tokio::test]
async fn n06_tools_and_the_choice_among_them_reach_the_backend() {
    let node = calling(two_calls()).await;
    let named = json!({"type": "function", "function": {"name": "time"}});
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {
        "mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}],
    }});
    for (choice, mode, only) in [
        (json!("auto"), ToolMode::Auto, None),
        (json!("none"), ToolMode::None, None),
        (json!("required"), ToolMode::Required, None),
        (named, ToolMode::Required, Some("time")),
        (allowed, ToolMode::Required, Some("weather")),
    ] {
        let body = ask(json!({"tool_choice": choice, "parallel_tool_calls": false}));
        assert_eq!(node.post(PATH, body).await.status, 200);
        let chat = conversation(&node);
        let only = only.map(|name: &str| vec![name.to_owned()]);
        assert_eq!(chat.tool_choice, ToolChoice { mode, only });
        assert!(!chat.parallel_calls);
        let names: Vec<_> = chat.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["weather", "time"]);
        let first = &chat.tools[0];
        assert!(first.strict);
        assert_eq!(first.description.as_deref(), Some("what it does"));
        let parameters = &tool("weather")["function"]["parameters"];
        assert_eq!(first.parameters.as_ref(), Some(parameters));
    }
    let body = ask(json!({}));
    assert_eq!(node.post(PATH, body).await.status, 200);
    assert!(conversation(&node).parallel_calls);
    node.settled().await;
}

#[tokio::test]
async fn n24_calls_and_their_results_stay_in_the_conversation() {
    let node = TestNode::new().await;
    let call = |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{\"a\": 1}"}});
    let messages = json!([
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": null, "tool_calls": [call("c1", "f"), call("c2", "g")]},
        {"role": "tool", "tool_call_id": "c2", "content": "second"},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "first"}]},
        {"role": "assistant", "content": "and again", "tool_calls": [call("c3", "f")],
         "refusal": null, "audio": null, "function_call": null, "annotations": []},
        {"role": "tool", "tool_call_id": "c3", "content": "", "name": "f"},
    ]);
    let body = json!({"model": MODEL, "messages": messages});
    assert_eq!(node.post(PATH, body).await.status, 200);
    let said = conversation(&node).messages;
    assert_eq!(said[1].role, Role::Assistant);
    assert_eq!(said[1].content, "");
    let calls: Vec<_> = said[1]
        .tool_calls
        .iter()
        .map(|call| {
            (
                call.id.as_str(),
                call.name.as_str(),
                call.arguments.as_str(),
            )
        })
        .collect();
    assert_eq!(
        calls,
        [("c1", "f", "{\"a\": 1}"), ("c2", "g", "{\"a\": 1}")]
    );
    let results: Vec<_> = said
        .iter()
        .filter(|message| message.role == Role::Tool)
        .map(|m| (m.tool_call_id.as_deref(), m.content.as_str()))
        .collect();
    let expected = [
        (Some("c2"), "second"),
        (Some("c1"), "first"),
        (Some("c3"), ""),
    ];
    assert_eq!(results, expected);
    assert_eq!(said[4].content, "and again");
    assert_eq!(said[4].tool_calls.len(), 1);
    node.settled().await;
}

#[tokio::test]
async fn a_message_carries_what_its_role_may_and_answers_what_was_called() {
    let node = TestNode::new().await;
    let call =
        json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let called = json!({"role": "assistant", "tool_calls": [call]});
    let old = json!({"role": "assistant", "content": null,
        "function_call": {"name": "f", "arguments": "{}"}});
    let missing = "missing_required_parameter";
    let tool = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "x"});
    let calls = |call: Value| json!([{"role": "assistant", "tool_calls": [call]}]);
    for (messages, code, param) in [
        (json!([tool("c1")]), "invalid_value", "messages[0].role"),
        (
            json!([called, tool("c2")]),
            "invalid_value",
            "messages[1].tool_call_id",
        ),
        (
            json!([called, {"role": "tool", "content": "x"}]),
            missing,
            "messages[1].tool_call_id",
        ),
        (
            json!([called, {"role": "tool", "tool_call_id": "c1"}]),
            missing,
            "messages[1].content",
        ),
        (
            json!([{"role": "user", "content": "x", "tool_calls": [call]}]),
            "invalid_value",
            "messages[0].tool_calls",
        ),
        (
            json!([{"role": "user", "content": "x", "tool_call_id": "c1"}]),
            "invalid_value",
            "messages[0].tool_call_id",
        ),
        (
            json!([{"role": "assistant", "content": null}]),
            missing,
            "messages[0].content",
        ),
        (
            json!([{"role": "assistant", "content": null, "tool_calls": []}]),
            missing,
            "messages[0].content",
        ),
        (
            calls(json!({"type": "function", "function": {"name": "f", "arguments": "{}"}})),
            missing,
            "messages[0].tool_calls[0].id",
        ),
        (
            calls(json!({"id": "c", "type": "function", "function": {"name": "f"}})),
            missing,
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            calls(
                json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": {}}}),
            ),
            "invalid_type",
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            calls(json!({"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}})),
            "unsupported_value",
            "messages[0].tool_calls[0].type",
        ),
        (
            json!([{"role": "function", "name": "f", "content": "x"}]),
            "invalid_value",
            "messages[0].role",
        ),
        (
            json!([old, {"role": "function", "name": "g", "content": "x"}]),
            "invalid_value",
            "messages[1].name",
        ),
        (
            json!([old, {"role": "function", "content": "x"}]),
            missing,
            "messages[1].name",
        ),
    ] {
        let body = json!({"model": MODEL, "messages": messages});
        let (status, _, got, at) = node.post(PATH, body).await.error();
        assert_eq!(
            (status, got.as_deref(), at.as_deref()),
            (400, Some(code), Some(param)),
            "{messages}"
        );
    }
    assert_eq!(node.script.counts().started, 0);
    node.settled().await;
}

#[tokio::test]
async fn the_older_functions_are_called_in_their_older_form() {
    let node = calling(two_calls()).await;
    let functions = json!([{"name": "weather", "parameters": {"type": "object"}}]);
    let body = json!({
        "model": MODEL, "messages": [{"role": "user", "content": "x"}],
        "functions": functions, "function_call": {"name": "weather"},
    });
    let answer = node.post(PATH, body.clone()).await.json();
    let choice = &answer["choices"][0];
    let message = json!({
        "role": "assistant", "content": null, "refusal": null, "annotations": [],
        "function_call": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"},
    });
    assert_eq!(choice["message"], message);
    assert_eq!(choice["finish_reason"], "function_call");
    let chat = conversation(&node);
    assert!(!chat.parallel_calls);
    assert_eq!(chat.tool_choice.mode, ToolMode::Required);

    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let chunks = node.post(PATH, streamed).await.chunks();
    let deltas: Vec<_> = chunks.iter().map(|c| &c["choices"][0]["delta"]).collect();
    let expected = [
        &json!({"role": "assistant", "content": null, "refusal": null}),
        &json!({"function_call": {"name": "weather", "arguments": ""}}),
        &json!({"function_call": {"arguments": "{\"city\":"}}),
        &json!({"function_call": {"arguments": "\"Rome\"}"}}),
        &json!({}),
    ];
    assert_eq!(deltas, expected);
    let last = &chunks.last().expect("there are chunks")["choices"][0];
    assert_eq!(last["finish_reason"], "function_call");

    let mut answered = body;
    answered["messages"] = json!([
        {"role": "user", "content": "x"}, message,
        {"role": "function", "name": "weather", "content": "sunny"},
    ]);
    assert_eq!(node.post(PATH, answered).await.status, 200);
    let said = conversation(&node).messages;
    let call = &said[1].tool_calls[0];
    assert_eq!(call.name, "weather");
    assert_eq!(said[2].role, Role::Tool);
    assert_eq!(said[2].tool_call_id.as_ref(), Some(&call.id));
    assert_eq!(said[2].content, "sunny");
    node.settled().await;
}

#[tokio::test]
async fn a_call_that_is_cut_says_length_and_keeps_what_there_is() {
    let node = calling(two_calls()).await;
    let answer = node.post(PATH, ask(json!({"max_tokens": 2}))).await.json();
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "length");
    let arguments = &choice["message"]["tool_calls"][0]["function"]["arguments"];
    assert_eq!(*arguments, "{\"city\":");
    node.settled().await;
}

#[tokio::test]
async fn tools_count_when_a_conversation_is_tokenized() {
    let node = TestNode::new().await;
    let body = json!({
        "model": MODEL, "messages": [{"role": "user", "content": "x"}], "tools": [tool("f")],
    });
    assert_eq!(node.post("/v1/tokenize", body.clone()).await.status, 200);
    let mut wrong = body;
    wrong["tools"] = json!([{"type": "custom"}]);
    let error = node.post("/v1/tokenize", wrong).await.error();
    assert_eq!(error.3.as_deref(), Some("tools[0].type"));
    let text = json!({"model": MODEL, "prompt": "x", "tools": [tool("f")]});
    let error = node.post("/v1/tokenize", text).await.error();
    assert_eq!(error.3.as_deref(), Some("tools"));
}
