use super::*;
use kwaainet_openapi::CompletionRequest;
use serde_json::json;

fn read(fields: Value) -> Result<Option<Grammar>, ApiError> {
    let mut request: CompletionRequest =
        serde_json::from_value(fields).expect("its types are right");
    format_fields!(request).grammar()
}

fn accepted(fields: Value) -> (&'static str, GrammarKind) {
    let grammar = read(fields.clone()).unwrap_or_else(|e| panic!("{fields}: {e:?}"));
    let grammar = grammar.unwrap_or_else(|| panic!("{fields} asks for nothing"));
    (grammar.param, grammar.kind)
}

fn refused(fields: Value) -> (String, String) {
    let error = read(fields).expect_err("it is refused").body().error;
    (
        error.param.unwrap_or_default(),
        error.code.unwrap_or_default(),
    )
}

fn format(value: Value) -> Value {
    json!({ "response_format": value })
}

#[test]
fn every_way_to_ask_has_its_name_and_language() {
    let schema = json!({"type": "object"});
    let wrapped = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": schema}});
    let json = || GrammarKind::JsonSchema(schema.clone());
    for (fields, param, kind) in [
        (format(wrapped), "response_format", json()),
        (
            format(json!({"type": "json_object"})),
            "response_format",
            GrammarKind::JsonObject,
        ),
        (json!({"guided_json": schema}), "guided_json", json()),
        (
            json!({"guided_json": schema.to_string()}),
            "guided_json",
            json(),
        ),
        (
            json!({"structured_outputs": {"json": schema}}),
            "structured_outputs.json",
            json(),
        ),
        (
            json!({"structured_outputs": {"json_object": true}}),
            "structured_outputs.json_object",
            GrammarKind::JsonObject,
        ),
        (
            json!({"structured_outputs": {"regex": "a+"}}),
            "structured_outputs.regex",
            GrammarKind::Regex("a+".into()),
        ),
        (
            json!({"structured_outputs": {"choice": ["a", "b"], "regex": null}}),
            "structured_outputs.choice",
            GrammarKind::Choice(vec!["a".into(), "b".into()]),
        ),
        (
            json!({"guided_grammar": "start: \"a\""}),
            "guided_grammar",
            GrammarKind::Lark("start: \"a\"".into()),
        ),
    ] {
        let (got, found) = accepted(fields.clone());
        assert_eq!(got, param);
        assert!(found == kind, "{fields}");
    }
}

#[test]
fn text_and_nothing_ask_for_nothing() {
    for fields in [
        json!({}),
        format(json!({"type": "text"})),
        format(Value::Null),
        json!({"structured_outputs": {}, "guided_json": null}),
        json!({"structured_outputs": {"json_object": false}}),
    ] {
        assert!(read(fields).expect("it is sound").is_none());
    }
}

#[test]
fn a_description_goes_with_the_schema() {
    let described = |schema: Value| {
        let json_schema = json!({"name": "s", "description": "a cat", "schema": schema});
        let (_, kind) = accepted(format(
            json!({"type": "json_schema", "json_schema": json_schema}),
        ));
        let GrammarKind::JsonSchema(schema) = kind else {
            panic!("a schema stays one");
        };
        schema["description"].clone()
    };
    assert_eq!(described(json!({})), "a cat");
    assert_eq!(described(json!({"description": "a dog"})), "a dog");
}

#[test]
fn what_cannot_be_a_language_is_named() {
    let schema =
        |json_schema: Value| format(json!({"type": "json_schema", "json_schema": json_schema}));
    let missing = "missing_required_parameter";
    let many: Vec<String> = (0..=CHOICES_MAX).map(|i| i.to_string()).collect();
    for (fields, param, code) in [
        (format(json!({})), "response_format.type", missing),
        (
            format(json!({"type": "xml"})),
            "response_format.type",
            "invalid_value",
        ),
        (
            format(json!({"type": "json_object", "schema": {}})),
            "response_format.schema",
            "unsupported_parameter",
        ),
        (
            format(json!({"type": "json_schema"})),
            "response_format.json_schema",
            missing,
        ),
        (
            schema(json!({"schema": {}})),
            "response_format.json_schema.name",
            missing,
        ),
        (
            schema(json!({"name": "a b", "schema": {}})),
            "response_format.json_schema.name",
            "invalid_value",
        ),
        (
            schema(json!({"name": "s"})),
            "response_format.json_schema.schema",
            missing,
        ),
        (
            schema(json!({"name": "s", "schema": true})),
            "response_format.json_schema.schema",
            "invalid_type",
        ),
        (json!({"guided_json": "{"}), "guided_json", "invalid_type"),
        (json!({"guided_choice": []}), "guided_choice", "empty_array"),
        (
            json!({"guided_choice": ["a", ""]}),
            "guided_choice",
            "invalid_value",
        ),
        (
            json!({ "guided_choice": many }),
            "guided_choice",
            "array_above_max_length",
        ),
        (json!({"guided_regex": ""}), "guided_regex", "invalid_value"),
        (
            json!({"guided_grammar": "x".repeat(BYTES_MAX + 1)}),
            "guided_grammar",
            "string_above_max_length",
        ),
        (
            json!({"structured_outputs": {"structural_tag": "x"}}),
            "structured_outputs.structural_tag",
            "unsupported_parameter",
        ),
        (
            json!({"guided_regex": "a", "response_format": {"type": "json_object"}}),
            "guided_regex",
            "invalid_value",
        ),
        (
            json!({"structured_outputs": {"regex": "a", "choice": ["b"]}}),
            "structured_outputs.choice",
            "invalid_value",
        ),
    ] {
        assert_eq!(refused(fields), (param.to_owned(), code.to_owned()));
    }
}
