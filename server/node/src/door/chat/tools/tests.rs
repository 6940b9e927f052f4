use super::*;
use serde_json::json;

fn read(fields: Value) -> Result<Offer, ApiError> {
    let mut request: ChatRequest = serde_json::from_value(fields).expect("its types are right");
    offer(&mut request)
}

fn with(mut fields: Value) -> Value {
    let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
    fields["tools"] = json!([tool("a"), tool("b")]);
    fields
}

fn refused(fields: Value) -> (String, String) {
    let error = read(fields).expect_err("it is refused").body().error;
    (
        error.param.unwrap_or_default(),
        error.code.unwrap_or_default(),
    )
}

#[test]
fn a_choice_is_a_mode_and_names() {
    let named = json!({"type": "function", "function": {"name": "b"}});
    let allowed = |mode: &str| {
        let tools = json!([{"type": "function", "function": {"name": "a"}}]);
        json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}})
    };
    for (choice, mode, only, parallel) in [
        (json!(null), ToolMode::Auto, None, true),
        (json!("auto"), ToolMode::Auto, None, true),
        (json!("none"), ToolMode::None, None, true),
        (json!("required"), ToolMode::Required, None, true),
        (named, ToolMode::Required, Some("b"), false),
        (allowed("auto"), ToolMode::Auto, Some("a"), true),
        (allowed("required"), ToolMode::Required, Some("a"), true),
    ] {
        let offer = read(with(json!({ "tool_choice": choice }))).expect("it is sound");
        let only = only.map(|name| vec![name.to_owned()]);
        assert_eq!(offer.choice, ToolChoice { mode, only });
        assert_eq!(offer.parallel, parallel);
    }
    let one = read(with(json!({"parallel_tool_calls": false}))).expect("it is sound");
    assert!(!one.parallel);
}

#[test]
fn the_older_form_is_the_same_offer() {
    let functions = json!([{"name": "a", "parameters": {"type": "object"}}]);
    let choose = |choice: Value| {
        read(json!({"functions": functions, "function_call": choice})).expect("it is sound")
    };
    let named = choose(json!({"name": "a"}));
    assert_eq!(named.form, CallForm::Function);
    assert_eq!(named.choice.mode, ToolMode::Required);
    assert_eq!(named.tools[0].parameters, Some(json!({"type": "object"})));
    assert!(!named.parallel);
    assert_eq!(choose(json!("none")).choice.mode, ToolMode::None);
    assert_eq!(choose(json!(null)).choice.mode, ToolMode::Auto);
}

#[test]
fn what_is_no_offer_is_named() {
    let missing = "missing_required_parameter";
    let function = json!([{"name": "f"}]);
    for (fields, param, code) in [
        (json!({"tools": [{}]}), "tools[0].type", missing),
        (
            json!({"tools": [{"type": "custom", "custom": {"name": "x"}}]}),
            "tools[0].type",
            "unsupported_value",
        ),
        (
            json!({"tools": [{"type": "web_search"}]}),
            "tools[0].type",
            "invalid_value",
        ),
        (
            json!({"tools": [{"type": "function", "name": "f"}]}),
            "tools[0].function",
            missing,
        ),
        (
            with(json!({"tool_choice": "any"})),
            "tool_choice",
            "invalid_value",
        ),
        (
            with(json!({"tool_choice": 1})),
            "tool_choice",
            "invalid_type",
        ),
        (
            with(json!({"tool_choice": {}})),
            "tool_choice.type",
            missing,
        ),
        (
            with(json!({"tool_choice": {"type": "function"}})),
            "tool_choice.function.name",
            missing,
        ),
        (
            with(json!({"tool_choice": {"type": "function", "function": {"name": "z"}}})),
            "tool_choice",
            "invalid_value",
        ),
        (
            with(json!({"tool_choice": {"type": "custom", "custom": {"name": "a"}}})),
            "tool_choice.type",
            "unsupported_value",
        ),
        (
            with(json!({"tool_choice": {"type": "allowed_tools"}})),
            "tool_choice.allowed_tools",
            missing,
        ),
        (
            with(
                json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": []}}}),
            ),
            "tool_choice.allowed_tools.mode",
            "invalid_value",
        ),
        (
            with(
                json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}}),
            ),
            "tool_choice",
            "invalid_value",
        ),
        (
            json!({"tool_choice": "required"}),
            "tool_choice",
            "invalid_value",
        ),
        (
            with(json!({ "functions": function })),
            "functions",
            "invalid_value",
        ),
        (
            with(json!({"function_call": {"name": "a"}})),
            "function_call",
            "invalid_value",
        ),
        (
            json!({"functions": function, "tool_choice": "required"}),
            "tool_choice",
            "invalid_value",
        ),
        (
            json!({"functions": function, "function_call": {"name": "g"}}),
            "function_call",
            "invalid_value",
        ),
        (
            json!({"functions": function, "function_call": {}}),
            "function_call.name",
            missing,
        ),
        (json!({"functions": [{}]}), "functions[0].name", missing),
    ] {
        assert_eq!(
            refused(fields.clone()),
            (param.to_owned(), code.to_owned()),
            "{fields}"
        );
    }
}

#[test]
fn a_choice_without_tools_that_asks_for_nothing_passes() {
    for fields in [
        json!({"tools": [], "tool_choice": "none", "functions": [], "function_call": "none"}),
        json!({"tool_choice": "auto", "parallel_tool_calls": true}),
    ] {
        let offer = read(fields).expect("it is sound");
        assert!(offer.tools.is_empty());
    }
}
