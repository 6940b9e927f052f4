//! Whether two schemas can be valid for the same instance. Says "apart" only where that is certain.

use serde_json::{Map, Value};

use super::Canon;

/// How far references and compositions are followed.
const DEPTH_MAX: usize = 6;

pub(super) fn are_apart(canon: &Canon<'_>, a: &Value, b: &Value) -> bool {
    apart(canon, a, b, 0)
}

fn apart(canon: &Canon<'_>, a: &Value, b: &Value, depth: usize) -> bool {
    if *a == Value::Bool(false) || *b == Value::Bool(false) {
        return true;
    }
    if depth > DEPTH_MAX {
        return false;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    conjuncts(canon, a, depth, &mut ours);
    conjuncts(canon, b, depth, &mut theirs);
    for (options, other) in [(&ours, b), (&theirs, a)] {
        let lists = options.iter().flat_map(|schema| {
            let lists = ["anyOf", "oneOf"];
            lists
                .into_iter()
                .filter_map(|key| schema.get(key)?.as_array())
        });
        for list in lists {
            if list
                .iter()
                .all(|option| apart(canon, option, other, depth + 1))
            {
                return true;
            }
        }
    }
    let shared = mask(&ours) & mask(&theirs);
    if shared == 0 {
        return true;
    }
    if let (Some(ours), Some(theirs)) = (literals(&ours), literals(&theirs)) {
        return !ours.iter().any(|a| theirs.iter().any(|b| same(a, b)));
    }
    shared == OBJECT && have_apart_properties(canon, &ours, &theirs, depth)
}

type Schema<'s> = &'s Map<String, Value>;

/// All schemas that hold for an instance of this one.
fn conjuncts<'s>(canon: &Canon<'s>, schema: &'s Value, depth: usize, out: &mut Vec<Schema<'s>>) {
    let Some(map) = schema.as_object().filter(|_| depth <= DEPTH_MAX) else {
        return;
    };
    let target = map.get("$ref").and_then(|to| canon.target(to).ok());
    if let Some(target) = target {
        conjuncts(canon, target, depth + 1, out);
        if canon.old {
            return;
        }
    }
    out.push(map);
    let all = map.get("allOf").and_then(Value::as_array);
    for schema in all.into_iter().flatten() {
        conjuncts(canon, schema, depth + 1, out);
    }
}

const OBJECT: u8 = 1 << 6;

fn bit(name: &str) -> u8 {
    match name {
        "null" => 1,
        "boolean" => 1 << 1,
        "integer" => 1 << 2,
        // Whole numbers and others.
        "number" => 1 << 2 | 1 << 3,
        "string" => 1 << 4,
        "array" => 1 << 5,
        "object" => OBJECT,
        _ => u8::MAX,
    }
}

/// The types that an instance may have.
fn mask(schemas: &[Schema<'_>]) -> u8 {
    let of_types = |schema: &Schema<'_>| match schema.get("type") {
        Some(Value::String(name)) => bit(name),
        Some(Value::Array(names)) => {
            let bits = names.iter().filter_map(Value::as_str).map(bit);
            bits.fold(0, |all, bit| all | bit)
        }
        _ => u8::MAX,
    };
    let of_literals = match literals(schemas) {
        Some(values) => values.iter().fold(0, |all, value| all | bit_of(value)),
        None => u8::MAX,
    };
    let types = schemas.iter().map(of_types);
    types.fold(of_literals, |all, types| all & types)
}

fn bit_of(value: &Value) -> u8 {
    bit(match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    })
}

/// The only values there are, if the schemas list them.
fn literals<'s>(schemas: &[Schema<'s>]) -> Option<Vec<&'s Value>> {
    schemas.iter().find_map(|schema| match schema.get("const") {
        Some(value) => Some(vec![value]),
        None => Some(schema.get("enum")?.as_array()?.iter().collect()),
    })
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        // Numbers within may be written in two ways.
        _ => a == b || a.is_object() || a.is_array(),
    }
}

/// Whether there is a property that one of them needs, and for which they leave nothing in common.
fn have_apart_properties(
    canon: &Canon<'_>,
    ours: &[Schema<'_>],
    theirs: &[Schema<'_>],
    depth: usize,
) -> bool {
    let needed = ours.iter().chain(theirs).flat_map(|schema| {
        let names = schema.get("required").and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str)
    });
    needed.into_iter().any(|name| {
        let mut pairs = ours.iter().flat_map(|a| theirs.iter().map(move |b| (a, b)));
        pairs.any(|(a, b)| apart(canon, property(a, name), property(b, name), depth + 1))
    })
}

/// What one schema says of a property.
fn property<'s>(schema: Schema<'s>, name: &str) -> &'s Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    if let Some(property) = properties.and_then(|properties| properties.get(name)) {
        return property;
    }
    match schema.get("additionalProperties") {
        Some(rest) if !schema.contains_key("patternProperties") => rest,
        _ => &Value::Bool(true),
    }
}
