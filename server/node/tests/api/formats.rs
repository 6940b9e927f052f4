use kwaainet_core::{BackendError, GrammarKind};
use kwaainet_testkit::{Answer, Fault, Script};
use serde_json::{Value, json};

use crate::harness::{MODEL, TestNode};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

/// The same fields for both endpoints.
fn both(fields: &Value) -> [(&'static str, Value); 2] {
    let mut chat = fields.clone();
    chat["model"] = json!(MODEL);
    let mut text = chat.clone();
    chat["messages"] = json!([{"role": "user", "content": "x"}]);
    text["prompt"] = json!("x");
    [(CHAT, chat), (TEXT, text)]
}

#[tokio::test]
async fn every_format_reaches_the_backend_as_a_grammar() {
    let node = TestNode::new().await;
    let schema = json!({"type": "object", "required": ["a"]});
    let wrapped = json!({"name": "s", "schema": schema, "strict": true});
    for (fields, param, kind) in [
        (
            json!({"response_format": {"type": "json_schema", "json_schema": wrapped}}),
            "response_format",
            GrammarKind::JsonSchema(schema.clone()),
        ),
        (
            json!({"response_format": {"type": "json_object"}}),
            "response_format",
            GrammarKind::JsonObject,
        ),
        (
            json!({"structured_outputs": {"regex": "[0-9]+"}}),
            "structured_outputs.regex",
            GrammarKind::Regex("[0-9]+".into()),
        ),
        (
            json!({"guided_choice": ["yes", "no"]}),
            "guided_choice",
            GrammarKind::Choice(vec!["yes".into(), "no".into()]),
        ),
        (
            json!({"guided_grammar": "start: \"a\""}),
            "guided_grammar",
            GrammarKind::Lark("start: \"a\"".into()),
        ),
    ] {
        for (path, body) in both(&fields) {
            assert_eq!(node.post(path, body).await.status, 200, "{path} {fields}");
            let asked = node.script.last_generate().expect("it was asked");
            let grammar = asked.params.grammar.expect("it has a format");
            assert_eq!(grammar.param, param);
            assert!(grammar.kind == kind, "{fields}");
        }
    }
    for (path, body) in both(&json!({"response_format": {"type": "text"}})) {
        assert_eq!(node.post(path, body).await.status, 200);
        let asked = node.script.last_generate().expect("it was asked");
        assert!(asked.params.grammar.is_none());
    }
    node.settled().await;
}

#[tokio::test]
async fn what_a_backend_cannot_follow_is_refused_under_the_fields_name() {
    let node = TestNode::new().await;
    node.script
        .set(Script::failing(Fault::Refuse(BackendError::Invalid {
            param: "response_format",
            reason: "the schema's keyword 'not' cannot be enforced".into(),
        })));
    for (path, body) in both(&json!({"response_format": {"type": "json_object"}})) {
        for stream in [false, true] {
            let mut body = body.clone();
            body["stream"] = json!(stream);
            let answer = node.post(path, body).await;
            let (status, _, code, param) = answer.error();
            assert_eq!((status, code.as_deref()), (400, Some("invalid_value")));
            assert_eq!(param.as_deref(), Some("response_format"));
            assert!(answer.text.contains("'not'"));
        }
    }
    node.settled().await;
}

#[tokio::test]
async fn a_format_is_for_text_and_a_certain_call_has_none() {
    let node = TestNode::new().await;
    node.script.set(Script {
        answer: Answer::Pieces(vec![b"{}".to_vec()]),
        ..Script::default()
    });
    for (choice, holds) in [("auto", true), ("none", true), ("required", false)] {
        let body = json!({
            "model": MODEL, "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": choice,
            "response_format": {"type": "json_object"},
        });
        let answer = node.post(CHAT, body).await.json();
        assert_eq!(answer["choices"][0]["message"]["content"], "{}");
        let asked = node.script.last_generate().expect("it was asked");
        assert_eq!(asked.params.grammar.is_some(), holds, "{choice}");
    }
    node.settled().await;
}
