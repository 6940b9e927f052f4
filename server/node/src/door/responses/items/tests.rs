use super::*;
use serde_json::json;

fn kept(item: Value) -> Value {
    let given = read(vec![item], "input").expect("it is sound");
    let Some(Given::Item(item)) = given.into_iter().next() else {
        panic!("it is an item");
    };
    let mut item = serde_json::to_value(item).expect("it is JSON");
    let id = item["id"].take();
    assert!(id.as_str().is_some_and(|id| id.len() > 24), "{id}");
    item
}

fn refused(item: Value) -> (String, String) {
    let error = read(vec![item], "input").expect_err("it is refused");
    let error = error.body().error;
    (
        error.param.unwrap_or_default(),
        error.code.unwrap_or_default(),
    )
}

#[test]
fn every_item_is_kept_in_its_full_form() {
    assert_eq!(
        kept(json!({"role": "developer", "content": "be brief"})),
        json!({"id": null, "type": "message", "status": "completed", "role": "developer",
            "content": [{"type": "input_text", "text": "be brief"}]})
    );
    assert_eq!(
        kept(
            json!({"type": "message", "role": "assistant", "id": "msg_theirs", "content": [
                {"type": "output_text", "text": "yes", "annotations": []},
                {"type": "refusal", "refusal": "no"},
            ]})
        )["content"],
        json!([
            {"type": "output_text", "text": "yes", "annotations": [], "logprobs": []},
            {"type": "refusal", "refusal": "no"},
        ])
    );
    assert_eq!(
        kept(
            json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}",
            "id": "fc_theirs", "status": "incomplete"})
        ),
        json!({"id": null, "type": "function_call", "status": "incomplete", "call_id": "c",
            "name": "f", "arguments": "{}"})
    );
    assert_eq!(
        kept(
            json!({"type": "function_call_output", "call_id": "c", "output": [
                {"type": "input_text", "text": "1"}, {"type": "input_text", "text": "2"},
            ]})
        )["output"],
        "12"
    );
    let thought = kept(json!({"type": "reasoning", "id": "rs_1", "summary": []}));
    assert_eq!(thought["type"], "reasoning");
    for reference in [
        json!({"type": "item_reference", "id": "msg_1"}),
        json!({"id": "msg_1"}),
    ] {
        let given = read(vec![reference], "input").expect("it is sound");
        let expected = Given::Reference {
            id: "msg_1".into(),
            at: "input[0].id".into(),
        };
        assert_eq!(given, [expected]);
    }
}

#[test]
fn what_is_wrong_with_an_item_is_named() {
    for (item, param, code) in [
        (json!(7), "input[0]", "invalid_type"),
        (json!({}), "input[0].type", "missing_required_parameter"),
        (
            json!({"type": "web_search_call"}),
            "input[0].type",
            "unsupported_value",
        ),
        (json!({"type": 7}), "input[0].type", "invalid_type"),
        (
            json!({"role": "tool", "content": ""}),
            "input[0].role",
            "invalid_value",
        ),
        (
            json!({"role": "user"}),
            "input[0].content",
            "missing_required_parameter",
        ),
        (
            json!({"role": "user", "content": 7}),
            "input[0].content",
            "invalid_type",
        ),
        (
            json!({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}),
            "input[0].content[0]",
            "unsupported_value",
        ),
        (
            json!({"role": "user", "content": [{"type": "output_text", "text": "x"}]}),
            "input[0].content[0]",
            "invalid_value",
        ),
        (
            json!({"type": "function_call", "call_id": "c", "name": "a b", "arguments": ""}),
            "input[0].name",
            "invalid_value",
        ),
        (
            json!({"type": "function_call_output", "output": "x"}),
            "input[0].call_id",
            "missing_required_parameter",
        ),
        (
            json!({"type": "item_reference"}),
            "input[0].id",
            "missing_required_parameter",
        ),
    ] {
        assert_eq!(refused(item), (param.to_owned(), code.to_owned()));
    }
}
