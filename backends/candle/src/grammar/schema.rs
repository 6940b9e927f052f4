//! JSON schemas, brought into the smaller language that the matcher enforces exactly.
//!
//! Every keyword is enforced, says nothing about what is valid, or is refused by its name; none is
//! skipped in silence. Where the standard leaves a choice, the narrower one is taken, so that what is
//! generated is valid for every validator:
//!
//! - a schema that only has keywords for objects (or for arrays) is one for objects (or arrays);
//! - an object that names its properties and does not mention others has no others, unless it is part
//!   of a composition;
//! - numbers lie within 9.2e18 around zero and have no exponent, so that every parser can read them;
//! - `format` is enforced where the standard defines the format, and an annotation where it does not.
//!
//! References lead into the same document (`#` and `#/...`).

mod apart;
mod finite;
mod keywords;
mod number;
mod object;
mod string;

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use keywords::{Kind, kind};

/// Schemas within a schema, each counted as often as it is used in another way.
const SCHEMAS_MAX: usize = 10_000;
const DEPTH_MAX: usize = 64;
const TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];

/// A sentence for the caller.
pub(super) type Refusal = String;

/// The schema in the matcher's language.
///
/// # Errors
/// What cannot be enforced, by the name of its keyword.
pub(super) fn canonical(schema: &Value) -> Result<Value, Refusal> {
    let mut canon = Canon {
        root: schema,
        old: is_old(schema),
        has_references: schema.to_string().contains("\"$ref\""),
        count: 0,
        names: HashMap::new(),
        pending: Vec::new(),
    };
    let mut root = canon.schema(
        schema,
        Place {
            plain: true,
            depth: 0,
        },
    )?;
    let mut defs = Map::new();
    while let Some((name, target, plain)) = canon.pending.pop() {
        let def = canon.schema(target, Place { plain, depth: 0 })?;
        defs.insert(name, def);
    }
    defs.insert("any".into(), any_value());
    if !finite::is_finite(&root, &defs) {
        return Err("no JSON satisfies the schema, or none that ends".into());
    }
    match &mut root {
        Value::Object(root) => root.insert("$defs".into(), Value::Object(defs)),
        _ => return Err("no JSON satisfies the schema".into()),
    };
    Ok(root)
}

/// Any JSON value.
pub(super) fn any() -> Value {
    json!({"$ref": "#/$defs/any"})
}

fn any_value() -> Value {
    json!({"anyOf": [
        {"type": "object", "additionalProperties": any()},
        {"type": "array", "items": any()},
        {"type": "string"},
        {"type": "number", "minimum": -number::MAX, "maximum": number::MAX},
        {"type": "boolean"},
        {"type": "null"},
    ]})
}

/// Whether the schema is of draft 7 or earlier.
fn is_old(schema: &Value) -> bool {
    let named = schema.get("$schema").and_then(Value::as_str);
    named.is_some_and(|name| name.contains("json-schema.org/draft-0"))
}

struct Canon<'s> {
    root: &'s Value,
    old: bool,
    has_references: bool,
    count: usize,
    /// The definitions that references lead to, by their places in the document.
    names: HashMap<(*const Value, bool), String>,
    pending: Vec<(String, &'s Value, bool)>,
}

/// Where a schema stands.
#[derive(Clone, Copy)]
struct Place {
    /// Whether it alone says what its instance is, so that it may be narrowed.
    plain: bool,
    depth: usize,
}

impl Place {
    fn within(self, plain: bool) -> Self {
        Self {
            plain: self.plain && plain,
            depth: self.depth + 1,
        }
    }
}

/// One schema on its way.
struct Draft<'s> {
    from: &'s Map<String, Value>,
    types: Option<Vec<&'s str>>,
    /// What its parts may count on.
    parts: Place,
    out: Map<String, Value>,
    /// Further schemas that hold too.
    also: Vec<Value>,
}

impl Draft<'_> {
    /// Whether its instance may be of this type.
    fn may_be(&self, name: &str) -> bool {
        let Some(types) = &self.types else {
            return true;
        };
        types.contains(&name) || (name == "number" && types.contains(&"integer"))
    }

    fn put(&mut self, key: &str, value: Value) {
        self.out.insert(key.into(), value);
    }
}

impl<'s> Canon<'s> {
    fn schema(&mut self, schema: &'s Value, place: Place) -> Result<Value, Refusal> {
        self.count += 1;
        if self.count > SCHEMAS_MAX || place.depth > DEPTH_MAX {
            return Err(format!(
                "the schema has more than {SCHEMAS_MAX} parts, or they lie deeper than {DEPTH_MAX}"
            ));
        }
        match schema {
            Value::Bool(true) if place.plain => Ok(any()),
            Value::Bool(true) => Ok(json!({})),
            Value::Bool(false) => Ok(Value::Bool(false)),
            Value::Object(from) => self.object(from, place),
            _ => Err("a schema is an object, true or false".into()),
        }
    }

    fn object(&mut self, from: &'s Map<String, Value>, place: Place) -> Result<Value, Refusal> {
        if self.old
            && let Some(reference) = from.get("$ref")
        {
            return self.reference(reference, place);
        }
        for (key, value) in from {
            self.check(key, value, from, place)?;
        }
        let asserts = |key: &&String| kind(key) != Kind::Annotation;
        let asserted: Vec<&String> = from.keys().filter(asserts).collect();
        let Some(first) = asserted.first() else {
            return self.schema(&Value::Bool(true), place);
        };
        let lone = asserted.len() == 1;
        let composes = from.keys().any(|key| kind(key) == Kind::Composition);
        let mut draft = Draft {
            from,
            types: types(from)?,
            parts: place.within(!composes && !from.contains_key("format")),
            out: Map::new(),
            also: Vec::new(),
        };
        if draft.types.is_none()
            && draft.parts.plain
            && let Some(narrowed) = keywords::only_type(&asserted)
        {
            draft.types = Some(vec![narrowed]);
            draft.put("type", narrowed.into());
        }
        if lone && first.as_str() == "$ref" {
            return self.reference(&from[first.as_str()], place);
        }
        for (key, value) in from {
            self.keyword(&mut draft, key, value, place.within(lone))?;
        }
        self.finish_object(&mut draft)?;
        self.finish_array(&mut draft);
        number::finish(&mut draft)?;
        let Draft { mut out, also, .. } = draft;
        if !also.is_empty() {
            let all = out.entry("allOf").or_insert_with(|| json!([]));
            if let Value::Array(all) = all {
                all.extend(also);
            }
        }
        Ok(Value::Object(out))
    }

    /// Refuses what is not known, and what cannot be enforced unless it says nothing.
    fn check(
        &self,
        key: &str,
        value: &Value,
        from: &Map<String, Value>,
        place: Place,
    ) -> Result<(), Refusal> {
        match kind(key) {
            Kind::Unenforceable if keywords::says_nothing(key, value, from) => Ok(()),
            Kind::Unenforceable => Err(format!(
                "the keyword '{key}' of the schema cannot be enforced"
            )),
            Kind::Unknown => Err(format!("the keyword '{key}' of the schema is unknown")),
            Kind::Annotation if matches!(key, "$id" | "id") => {
                let nested = place.depth > 0 && value.is_string();
                if nested && self.has_references {
                    return Err(format!(
                        "the keyword '{key}' below the root of the schema cannot be followed"
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn keyword(
        &mut self,
        draft: &mut Draft<'s>,
        key: &str,
        value: &'s Value,
        lone: Place,
    ) -> Result<(), Refusal> {
        match key {
            "type" => draft.put(key, value.clone()),
            "const" => {
                literal(key, value)?;
                draft.put(key, value.clone());
            }
            "enum" => draft.put(key, enumeration(draft, value)?),
            "$ref" => {
                let reference = self.reference(value, lone.within(false))?;
                draft.also.push(reference);
            }
            "allOf" => {
                let all = self.list(key, value, lone.within(false))?;
                draft.put(key, Value::Array(all));
            }
            "anyOf" => {
                let any = self.list(key, value, lone)?;
                draft.put(key, Value::Array(any));
            }
            "oneOf" => self.one_of(draft, value, lone)?,
            "dependentRequired" | "dependentSchemas" | "dependencies" => {
                self.dependencies(draft, key, value)?;
            }
            "properties"
            | "patternProperties"
            | "additionalProperties"
            | "required"
            | "minProperties"
            | "maxProperties"
            | "propertyNames" => {
                self.object_keyword(draft, key, value)?;
            }
            "items" | "prefixItems" | "additionalItems" | "minItems" | "maxItems" => {
                self.array_keyword(draft, key, value)?;
            }
            // Where nothing else evaluates anything, as `check` has seen.
            "unevaluatedProperties" if !draft.from.contains_key("additionalProperties") => {
                self.object_keyword(draft, "additionalProperties", value)?;
            }
            "unevaluatedItems" if !draft.from.contains_key("items") => {
                self.array_keyword(draft, "items", value)?;
            }
            "pattern" | "format" | "minLength" | "maxLength" => {
                string::keyword(draft, key, value)?;
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                number::keyword(draft, key, value)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn list(&mut self, key: &str, value: &'s Value, place: Place) -> Result<Vec<Value>, Refusal> {
        let list = value.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| must_be(key, "a list of schemas that is not empty"))?;
        list.iter().map(|s| self.schema(s, place)).collect()
    }

    /// Schemas of which no two can be valid at once may be any of them.
    fn one_of(
        &mut self,
        draft: &mut Draft<'s>,
        value: &'s Value,
        lone: Place,
    ) -> Result<(), Refusal> {
        let options = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let pairs = options.iter().enumerate();
        let apart = pairs
            .flat_map(|(at, a)| options[at + 1..].iter().map(move |b| (a, b)))
            .all(|(a, b)| apart::are_apart(self, a, b));
        if !apart {
            return Err(
                "the keyword 'oneOf' of the schema cannot be enforced where two of its schemas can \
                 be valid at once; 'anyOf' can"
                    .into(),
            );
        }
        let any = Value::Array(self.list("oneOf", value, lone)?);
        draft.also.push(json!({ "anyOf": any }));
        Ok(())
    }

    /// A reference to what a reference leads to.
    fn reference(&mut self, reference: &'s Value, place: Place) -> Result<Value, Refusal> {
        let target = self.target(reference)?;
        let key = (std::ptr::from_ref(target), place.plain);
        let count = self.names.len();
        let pending = &mut self.pending;
        let name = self.names.entry(key).or_insert_with(|| {
            let name = count.to_string();
            pending.push((name.clone(), target, place.plain));
            name
        });
        Ok(json!({ "$ref": format!("#/$defs/{name}") }))
    }

    /// What a reference leads to.
    fn target(&self, reference: &Value) -> Result<&'s Value, Refusal> {
        let reference = reference.as_str().ok_or_else(|| must_be("$ref", "text"))?;
        let pointer = reference.strip_prefix('#').and_then(percent_decoded);
        let pointer = pointer.filter(|p| p.is_empty() || p.starts_with('/'));
        let target = pointer.and_then(|pointer| self.root.pointer(&pointer));
        target.ok_or_else(|| {
            "the keyword '$ref' of the schema leads to nothing in the schema itself".into()
        })
    }
}

/// What a sequence of `%XX` stands for.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn must_be(key: &str, what: &str) -> Refusal {
    format!("the keyword '{key}' of the schema has to be {what}")
}

fn types(from: &Map<String, Value>) -> Result<Option<Vec<&str>>, Refusal> {
    let Some(value) = from.get("type") else {
        return Ok(None);
    };
    let names: Option<Vec<&str>> = match value {
        Value::String(name) => Some(vec![name]),
        Value::Array(names) if !names.is_empty() => names.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let names = names.filter(|names| names.iter().all(|name| TYPES.contains(name)));
    match names {
        Some(names) => Ok(Some(names)),
        None => Err(must_be(
            "type",
            &format!("one or several of {}", TYPES.join(", ")),
        )),
    }
}

/// A count: a whole number, which may be written with a point.
fn count(key: &str, value: &Value) -> Result<u64, Refusal> {
    let whole =
        |float: f64| (float.fract() == 0.0 && (0.0..9e15).contains(&float)).then_some(float as u64);
    value
        .as_u64()
        .or_else(|| value.as_f64().and_then(whole))
        .ok_or_else(|| must_be(key, "a whole number, not below 0"))
}

/// Checks that a value can be written exactly.
fn literal(key: &str, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(_) => number::exact(key, value).map(|_| ()),
        Value::String(text) => string::literal(key, text),
        Value::Array(items) => items.iter().try_for_each(|item| literal(key, item)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            string::literal(key, name)?;
            literal(key, value)
        }),
    }
}

/// Those of the values that are of the right type.
fn enumeration(draft: &Draft<'_>, value: &Value) -> Result<Value, Refusal> {
    let values = value.as_array().ok_or_else(|| must_be("enum", "a list"))?;
    values.iter().try_for_each(|value| literal("enum", value))?;
    let fits = |value: &&Value| {
        let is_whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
        match value {
            Value::Null => draft.may_be("null"),
            Value::Bool(_) => draft.may_be("boolean"),
            Value::Number(_) => {
                let types = draft.types.as_ref();
                types.is_none_or(|t| t.contains(&"number") || (is_whole && t.contains(&"integer")))
            }
            Value::String(_) => draft.may_be("string"),
            Value::Array(_) => draft.may_be("array"),
            Value::Object(_) => draft.may_be("object"),
        }
    };
    let fitting: Vec<Value> = values.iter().filter(fits).cloned().collect();
    if fitting.is_empty() {
        return Err("no JSON satisfies the schema: its 'enum' has no value of its 'type'".into());
    }
    Ok(Value::Array(fitting))
}

#[cfg(test)]
mod tests;
