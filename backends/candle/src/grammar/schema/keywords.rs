//! The keywords of JSON Schema, of all drafts.

use serde_json::{Map, Value};

/// What a keyword does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Says what an instance is like.
    Assertion,
    /// Says it through further schemas for the same instance.
    Composition,
    /// Says nothing about what is valid.
    Annotation,
    /// Cannot be enforced while the text is written.
    Unenforceable,
    /// None of JSON Schema.
    Unknown,
}

/// Besides those of the standard: what OpenAPI, Pydantic, Zod and the editors of JSON add for people.
const ANNOTATIONS: [&str; 44] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$id",
    "$recursiveAnchor",
    "$schema",
    "$vocabulary",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "defaultSnippets",
    "definitions",
    "deprecated",
    "deprecationMessage",
    "description",
    "discriminator",
    "doNotSuggest",
    "enumDescriptions",
    "enumNames",
    "errorMessage",
    "example",
    "examples",
    "externalDocs",
    "fileMatch",
    "id",
    "markdownDescription",
    "markdownEnumDescriptions",
    "nullable",
    "optional",
    "options",
    "order",
    "patternErrorMessage",
    "propertyOrdering",
    "readOnly",
    "suggestSortText",
    "title",
    "tsEnumNames",
    "tsType",
    "version",
    "writeOnly",
    "xml",
    "allowTrailingCommas",
];

const OBJECT: [&str; 7] = [
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "minProperties",
    "maxProperties",
    "propertyNames",
];

const ARRAY: [&str; 5] = [
    "items",
    "prefixItems",
    "additionalItems",
    "minItems",
    "maxItems",
];

pub(super) fn kind(keyword: &str) -> Kind {
    match keyword {
        "allOf" | "anyOf" | "oneOf" | "$ref" | "dependentRequired" | "dependentSchemas"
        | "dependencies" => Kind::Composition,
        "type" | "const" | "enum" | "minLength" | "maxLength" | "pattern" | "format"
        | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
            Kind::Assertion
        }
        _ if OBJECT.contains(&keyword) || ARRAY.contains(&keyword) => Kind::Assertion,
        "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "minContains"
        | "maxContains"
        | "uniqueItems"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "$dynamicRef"
        | "$recursiveRef"
        | "disallow"
        | "divisibleBy"
        | "extends" => Kind::Unenforceable,
        _ if ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-") => Kind::Annotation,
        _ => Kind::Unknown,
    }
}

/// Whether a keyword that cannot be enforced forbids nothing where it stands.
pub(super) fn says_nothing(keyword: &str, value: &Value, from: &Map<String, Value>) -> bool {
    let is_any = |value: &Value| match value {
        Value::Bool(any) => *any,
        Value::Object(schema) => schema.keys().all(|key| kind(key) == Kind::Annotation),
        _ => false,
    };
    let has = |key: &str| from.contains_key(key);
    let composed = from.keys().any(|key| kind(key) == Kind::Composition) || has("if");
    match keyword {
        "uniqueItems" => {
            let most = from.get("maxItems").and_then(Value::as_u64);
            *value == Value::Bool(false)
                || most.is_some_and(|most| most <= 1)
                || from
                    .get("type")
                    .and_then(Value::as_str)
                    .is_some_and(|t| t != "array")
        }
        "minContains" | "maxContains" => !has("contains"),
        "then" | "else" => !has("if"),
        "if" => !has("then") && !has("else"),
        // Says the same as `additionalProperties`, or `items`, where nothing is composed.
        "unevaluatedProperties" | "unevaluatedItems" => is_any(value) || !composed,
        _ => false,
    }
}

/// The type that all of these keywords are about, if they are about objects or arrays.
pub(super) fn only_type(keywords: &[&String]) -> Option<&'static str> {
    let all_of = |names: &[&str]| {
        keywords
            .iter()
            .all(|keyword| names.contains(&keyword.as_str()))
    };
    if all_of(&OBJECT) {
        Some("object")
    } else if all_of(&ARRAY) {
        Some("array")
    } else {
        None
    }
}
