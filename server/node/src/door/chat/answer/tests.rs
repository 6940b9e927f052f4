use super::*;
use kwaainet_core::CallStart;
use serde_json::{Value, json};

fn chunks(calls: Option<CallForm>) -> ChatChunks {
    let head = Head {
        id: "chatcmpl-1".to_owned(),
        created: 1,
        model: ModelId::new("m"),
    };
    ChatChunks::new(head, IncludeUsage(false), 2).with_calls(calls)
}

fn text(choice: u32, text: &str) -> Event {
    Event::Delta(Delta {
        choice,
        text: text.to_owned(),
        ..Delta::default()
    })
}

fn call(index: u32, name: Option<&str>, arguments: &str) -> Event {
    Event::Call(CallDelta {
        choice: 0,
        index,
        start: name.map(|name| CallStart {
            id: format!("call_{name}"),
            name: name.to_owned(),
        }),
        arguments: arguments.to_owned(),
    })
}

/// The choice and the delta of each piece.
fn sent(chunks: &mut ChatChunks, events: impl IntoIterator<Item = Event>) -> Vec<(u64, Value)> {
    let mut pieces = chunks.start();
    for event in events {
        pieces.extend(chunks.event(event));
    }
    let read = |piece: &Piece| {
        let chunk: Value = serde_json::from_str(piece.data()).expect("it is JSON");
        let choice = &chunk["choices"][0];
        let index = choice["index"].as_u64().expect("a number");
        (index, choice["delta"].clone())
    };
    pieces.iter().map(read).collect()
}

fn opening(content: Value) -> Value {
    json!({"role": "assistant", "content": content, "refusal": null})
}

#[test]
fn without_tools_all_choices_open_at_once() {
    let said = sent(&mut chunks(None), [text(1, "a")]);
    let more = json!({"content": "a"});
    assert_eq!(
        said,
        [(0, opening("".into())), (1, opening("".into())), (1, more)]
    );
}

#[test]
fn with_tools_a_choice_opens_with_what_comes() {
    let events = [
        text(1, "let me look"),
        call(0, Some("f"), "{"),
        call(0, None, ""),
        call(0, None, "}"),
        call(1, Some("g"), ""),
    ];
    let said = sent(&mut chunks(Some(CallForm::Tools)), events);
    let begin = |index, name: &str| {
        json!({"tool_calls": [{
            "index": index, "id": format!("call_{name}"), "type": "function",
            "function": {"name": name, "arguments": ""},
        }]})
    };
    let more = |arguments: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]});
    let expected = [
        (1, opening("".into())),
        (1, json!({"content": "let me look"})),
        (0, opening(Value::Null)),
        (0, begin(0, "f")),
        (0, more("{")),
        (0, more("}")),
        (0, begin(1, "g")),
    ];
    assert_eq!(said, expected);
}

#[test]
fn in_the_older_form_there_is_one_call() {
    let events = [call(0, Some("f"), "{}"), call(1, Some("g"), "{}")];
    let said = sent(&mut chunks(Some(CallForm::Function)), events);
    let expected = [
        (0, opening(Value::Null)),
        (0, json!({"function_call": {"name": "f", "arguments": ""}})),
        (0, json!({"function_call": {"arguments": "{}"}})),
    ];
    assert_eq!(said, expected);
}
