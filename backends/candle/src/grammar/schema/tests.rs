//! What of JSON Schema is kept, narrowed and refused.

use super::*;

fn refused(schema: Value) -> String {
    match canonical(&schema) {
        Err(reason) => reason,
        Ok(canonical) => panic!("{schema} became {canonical}"),
    }
}

fn kept(schema: Value) -> Value {
    let mut canonical = canonical(&schema).expect("it can be enforced");
    if let Value::Object(canonical) = &mut canonical {
        canonical.remove("$defs");
    }
    canonical
}

#[test]
fn keywords_that_cannot_be_enforced_are_refused_by_name() {
    for (keyword, value) in [
        ("not", json!({"type": "string"})),
        ("uniqueItems", json!(true)),
        ("contains", json!({"type": "string"})),
        ("unevaluatedProperties", json!(false)),
        ("$dynamicRef", json!("#x")),
        ("requierd", json!(["a"])),
        ("oneOf", json!([{"type": "number"}, {"type": "integer"}])),
        ("$ref", json!("https://example.com/schema")),
        ("$ref", json!("#/$defs/missing")),
        ("type", json!("any")),
        ("type", json!([])),
        ("required", json!("a")),
        ("properties", json!([])),
        ("minItems", json!(-1)),
        ("pattern", json!("^(?!a)")),
        ("pattern", json!("[")),
        ("format", json!("regex")),
        ("multipleOf", json!(0)),
        ("minimum", json!("1")),
        ("const", json!(9_007_199_254_740_993_u64)),
        ("const", json!("\u{1}")),
        ("enum", json!({})),
        ("anyOf", json!([])),
        ("propertyNames", json!({"minLength": 3})),
        ("minProperties", json!(2)),
        ("dependentRequired", json!({"a": 1})),
    ] {
        let mut within = json!({"allOf": [{}]});
        within[keyword] = value;
        let reason = refused(json!({"type": "object", "properties": {"x": within}}));
        assert!(
            reason.contains(&format!("'{keyword}'")),
            "{keyword}: {reason}"
        );
        assert!(reason.len() < 250, "{reason}");
    }
    let conditional = json!({"if": {"const": 1}, "then": {"const": 1}});
    assert!(refused(conditional).contains("'if'"));
}

#[test]
fn what_says_nothing_is_no_reason_to_refuse() {
    for schema in [
        json!({"type": "array", "uniqueItems": false}),
        json!({"type": "array", "uniqueItems": true, "maxItems": 1}),
        json!({"type": "object", "uniqueItems": true}),
        json!({"type": "object", "propertyNames": {"type": "string"}}),
        json!({"if": {"const": 1}, "description": "nothing"}),
        json!({"type": "object", "properties": {"a": true}, "unevaluatedProperties": false}),
        json!({"title": "x", "x-order": 3, "deprecated": true, "nullable": true}),
        json!({"$defs": {"unused": {"not": {}}}, "type": "null"}),
        json!({"type": "integer", "format": "int64"}),
        json!({"type": "string", "format": "password"}),
        json!(true),
    ] {
        assert!(canonical(&schema).is_ok(), "{schema}");
    }
}

#[test]
fn objects_that_name_their_properties_have_no_others_where_nothing_else_is_composed() {
    let closed = kept(json!({"properties": {"a": {"type": "null"}}}));
    assert_eq!(closed["type"], "object");
    assert_eq!(closed["additionalProperties"], false);
    for open in [
        json!({"type": "object"}),
        json!({"type": "object", "properties": {"a": true}, "additionalProperties": true}),
        json!({"type": "object", "properties": {"a": true}, "required": ["b"]}),
    ] {
        assert_eq!(kept(open)["additionalProperties"], any());
    }
    let composed = kept(
        json!({"type": "object", "properties": {"a": {"properties": {}}},
        "allOf": [{"required": ["b"]}]}),
    );
    assert_eq!(composed.get("additionalProperties"), None);
    assert_eq!(composed["properties"]["a"].get("type"), None);
}

#[test]
fn one_of_is_any_of_where_no_two_can_be_valid() {
    let tagged = |tag: &str| {
        json!({"type": "object", "required": ["t"],
        "properties": {"t": {"const": tag}}})
    };
    let defs = json!({"a": tagged("a"), "b": {"allOf": [tagged("b")]}});
    let to = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    for apart in [
        json!([{"type": "string"}, {"type": "null"}]),
        json!([to("a"), to("b"), {"type": "null"}]),
        json!([{"enum": [1, 2]}, {"const": 3}]),
        json!([{"type": "object", "properties": {"x": {}}, "required": ["x"]},
            {"type": "object", "properties": {"y": {}}, "additionalProperties": false}]),
        json!([{"anyOf": [{"type": "string"}, {"const": 1}]}, {"type": "array"}]),
    ] {
        let schema = json!({"oneOf": apart, "$defs": defs});
        assert!(canonical(&schema).is_ok(), "{schema}");
    }
    for together in [
        json!([{"const": 1}, {"const": 1.0}]),
        json!([to("a"), to("a")]),
        json!([{"minimum": 1}, {"type": "string"}]),
        json!([{"type": "object", "properties": {"t": {"const": "a"}}},
            {"type": "object", "properties": {"t": {"const": "b"}}}]),
    ] {
        let schema = json!({"oneOf": together, "$defs": defs});
        assert!(refused(schema).contains("'oneOf'"));
    }
}

#[test]
fn schemas_that_need_themselves_are_refused() {
    for schema in [
        json!(false),
        json!({"$ref": "#"}),
        json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
        json!({"type": "array", "items": {"$ref": "#"}, "minItems": 1}),
        json!({"type": "string", "enum": [1]}),
    ] {
        assert!(refused(schema).contains("no JSON satisfies"));
    }
    let tree = json!({"type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["a"]});
    assert!(canonical(&tree).is_ok());
}

#[test]
fn references_are_followed_wherever_they_lead() {
    let schema = json!({"type": "object", "properties": {
        "a/b": {"type": "string"}, "c": {"$ref": "#/properties/a~1b"}, "d": {"$ref": "#/x%25y/0"}},
        "x-": 1, "$defs": {}, "x%y": [{"type": "null"}]});
    // The last place is no keyword, which is refused; a reference may lead there all the same.
    assert!(refused(schema.clone()).contains("'x%y'"));
    let mut allowed = schema;
    allowed["x-%"] = allowed["x%y"].take();
    if let Value::Object(map) = &mut allowed {
        map.remove("x%y");
    }
    allowed["properties"]["d"]["$ref"] = json!("#/x-%25/0");
    assert!(canonical(&allowed).is_ok());
}

#[test]
fn numbers_stay_where_every_parser_reads_them() {
    assert_eq!(
        kept(json!({"type": "integer", "minimum": 3}))["maximum"],
        json!(number::MAX)
    );
    assert_eq!(
        kept(json!({"type": "number", "const": 1e300})).get("maximum"),
        None
    );
    assert!(refused(json!({"type": "number", "minimum": 1e300})).contains("too large"));
    let old = kept(json!({"type": "number", "minimum": 1, "exclusiveMinimum": true}));
    assert_eq!(old["exclusiveMinimum"], 1);
}

#[test]
fn schemas_are_bounded() {
    let mut deep = json!({"type": "null"});
    for _ in 0..100 {
        deep = json!({"type": "array", "items": deep});
    }
    assert!(refused(deep).contains("deeper"));
    let many: Vec<Value> = (0..11_000).map(|_| json!({"type": "null"})).collect();
    assert!(refused(json!({"anyOf": many})).contains("more than"));
}
