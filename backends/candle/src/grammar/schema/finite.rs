//! Whether any JSON satisfies a schema in the matcher's language: one that needs itself has none.

use serde_json::{Map, Value};

pub(super) fn is_finite(root: &Value, defs: &Map<String, Value>) -> bool {
    let mut known = Map::new();
    loop {
        let before = known.len();
        for (name, def) in defs {
            if !known.contains_key(name) && ends(def, &known) {
                known.insert(name.clone(), Value::Null);
            }
        }
        if known.len() == before {
            return ends(root, &known);
        }
    }
}

/// Whether an instance can end, given the definitions whose instances can.
fn ends(schema: &Value, known: &Map<String, Value>) -> bool {
    let Value::Object(schema) = schema else {
        return *schema != Value::Bool(false);
    };
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    if let Some(Value::String(reference)) = schema.get("$ref") {
        let name = reference.rsplit('/').next().unwrap_or_default();
        if !known.contains_key(name) {
            return false;
        }
    }
    if list("anyOf").is_some_and(|any| !any.iter().any(|s| ends(s, known))) {
        return false;
    }
    if list("allOf").is_some_and(|all| !all.iter().all(|s| ends(s, known))) {
        return false;
    }
    let ends_as = |name: &str| match name {
        "object" => object_ends(schema, known),
        "array" => array_ends(schema, known),
        _ => true,
    };
    match schema.get("type") {
        Some(Value::String(name)) => ends_as(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(ends_as),
        _ => true,
    }
}

fn object_ends(schema: &Map<String, Value>, known: &Map<String, Value>) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    let properties = schema.get("properties").and_then(Value::as_object);
    required.into_iter().flatten().all(|name| {
        let name = name.as_str().unwrap_or_default();
        match properties.and_then(|properties| properties.get(name)) {
            Some(property) => ends(property, known),
            None => true,
        }
    })
}

fn array_ends(schema: &Map<String, Value>, known: &Map<String, Value>) -> bool {
    let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
    let first = schema.get("prefixItems").and_then(Value::as_array);
    let first = first.map(Vec::as_slice).unwrap_or_default();
    let rest = schema.get("items").filter(|_| least > first.len());
    first.iter().take(least).all(|item| ends(item, known))
        && rest.is_none_or(|rest| ends(rest, known))
}
