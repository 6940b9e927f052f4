//! Keywords for objects and arrays.

use serde_json::{Map, Value, json};

use super::keywords::{Kind, kind};
use super::{Canon, Draft, Refusal, any, count, must_be, string};

/// No text is so long.
const ITEMS_MAX: u64 = 10_000_000;

impl<'s> Canon<'s> {
    pub(super) fn object_keyword(
        &mut self,
        draft: &mut Draft<'s>,
        key: &str,
        value: &'s Value,
    ) -> Result<(), Refusal> {
        if !draft.may_be("object") {
            return Ok(());
        }
        match key {
            "properties" => {
                let plain = !draft.from.contains_key("patternProperties");
                let place = draft.parts.within(plain);
                let mut properties = Map::new();
                for (name, schema) in fields(key, value)? {
                    string::literal(key, name)?;
                    properties.insert(name.clone(), self.schema(schema, place)?);
                }
                draft.put(key, Value::Object(properties));
            }
            "patternProperties" => {
                let mut properties = Map::new();
                for (name, schema) in fields(key, value)? {
                    let place = draft.parts.within(false);
                    properties.insert(string::pattern(key, name)?, self.schema(schema, place)?);
                }
                draft.put(key, Value::Object(properties));
            }
            "additionalProperties" => {
                let schema = self.schema(value, draft.parts)?;
                draft.put(key, schema);
            }
            "required" => {
                let names = value
                    .as_array()
                    .map(|names| names.iter().map(Value::as_str));
                let names: Option<Vec<&str>> = names.and_then(Iterator::collect);
                let names = names.ok_or_else(|| must_be(key, "a list of names"))?;
                for name in &names {
                    string::literal(key, name)?;
                }
                draft.put(key, json!(names));
            }
            "propertyNames" => self.property_names(draft, value)?,
            _ => draft.put(key, count(key, value)?.into()),
        }
        Ok(())
    }

    /// Names that have to match a pattern, or that are any.
    fn property_names(&mut self, draft: &mut Draft<'s>, value: &'s Value) -> Result<(), Refusal> {
        let refusal = || "the keyword 'propertyNames' of the schema cannot be enforced".to_owned();
        let names = match value {
            Value::Bool(true) => return Ok(()),
            Value::Object(names) => names,
            _ => return Err(refusal()),
        };
        let mut asserted = names
            .iter()
            .filter(|(key, _)| kind(key) != Kind::Annotation);
        let others = ["properties", "patternProperties"];
        let others = others.iter().any(|key| draft.from.contains_key(*key));
        let mut named = None;
        for (key, value) in asserted.by_ref() {
            match (key.as_str(), value) {
                ("type", Value::String(name)) if name == "string" => {}
                ("pattern", Value::String(pattern)) if !others && named.is_none() => {
                    named = Some(string::pattern("propertyNames", pattern)?);
                }
                ("enum", Value::Array(values)) if !others && named.is_none() => {
                    let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
                    let texts = texts.ok_or_else(refusal)?;
                    let escaped: Vec<String> = texts.iter().map(|t| regex::escape(t)).collect();
                    named = Some(format!("^(?:{})$", escaped.join("|")));
                }
                _ => return Err(refusal()),
            }
        }
        if let Some(pattern) = named {
            let place = draft.parts.within(false);
            let schema = match draft.from.get("additionalProperties") {
                Some(schema) => self.schema(schema, place)?,
                None => json!({}),
            };
            draft.put("patternProperties", json!({ pattern: schema }));
        }
        Ok(())
    }

    /// What an object is like where nothing is said.
    pub(super) fn finish_object(&mut self, draft: &mut Draft<'s>) -> Result<(), Refusal> {
        if !draft.may_be("object") {
            return Ok(());
        }
        // All names match the only pattern.
        if draft.from.contains_key("propertyNames")
            && draft.out.contains_key("patternProperties")
            && !draft.from.contains_key("patternProperties")
        {
            draft.put("additionalProperties", Value::Bool(false));
        }
        let properties = draft.out.get("properties").and_then(Value::as_object);
        let required = draft.out.get("required").and_then(Value::as_array);
        let required = required.map(Vec::as_slice).unwrap_or_default();
        let named = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            properties.is_some_and(|properties| properties.contains_key(name))
        };
        let has = |key: &str| draft.out.contains_key(key);
        let least = draft.out.get("minProperties").and_then(Value::as_u64);
        let others = draft.out.get("additionalProperties") != Some(&Value::Bool(false))
            || has("patternProperties");
        // A name that is not in the schema may come twice, and then counts once.
        if least.is_some_and(|least| least > required.len() as u64 + 1 && others) {
            return Err(
                "the keyword 'minProperties' of the schema cannot be enforced where names \
                        of properties are open"
                    .into(),
            );
        }
        if has("additionalProperties") || !draft.parts.plain || draft.types.is_none() {
            return Ok(());
        }
        let closed = properties.is_some_and(|properties| !properties.is_empty())
            && !has("patternProperties")
            && !has("minProperties")
            && required.iter().all(named);
        let rest = if closed { Value::Bool(false) } else { any() };
        draft.put("additionalProperties", rest);
        Ok(())
    }

    pub(super) fn array_keyword(
        &mut self,
        draft: &mut Draft<'s>,
        key: &str,
        value: &'s Value,
    ) -> Result<(), Refusal> {
        if !draft.may_be("array") {
            return Ok(());
        }
        let is_list = draft.from.get("items").is_some_and(Value::is_array);
        match key {
            "items" if is_list => {
                if draft.from.contains_key("prefixItems") {
                    return Err(must_be(key, "a schema where there are 'prefixItems'"));
                }
                self.tuple(draft, value)?;
            }
            // Of what a list of items leaves over; nothing without one.
            "additionalItems" if is_list => {
                let items = self.schema(value, draft.parts)?;
                draft.put("items", items);
            }
            "additionalItems" => {}
            "items" => {
                let items = self.schema(value, draft.parts)?;
                draft.put(key, items);
            }
            "prefixItems" if self.old => {
                return Err(
                    "the keyword 'prefixItems' of the schema is unknown in its draft".into(),
                );
            }
            "prefixItems" => self.tuple(draft, value)?,
            _ => {
                let count = count(key, value)?;
                if key == "minItems" || count <= ITEMS_MAX {
                    draft.put(key, count.into());
                }
            }
        }
        Ok(())
    }

    fn tuple(&mut self, draft: &mut Draft<'s>, value: &'s Value) -> Result<(), Refusal> {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let place = draft.parts;
        let items: Result<Vec<Value>, Refusal> =
            items.iter().map(|item| self.schema(item, place)).collect();
        draft.put("prefixItems", Value::Array(items?));
        Ok(())
    }

    /// Items of which nothing is said are any.
    pub(super) fn finish_array(&mut self, draft: &mut Draft<'s>) {
        let plain = draft.parts.plain && draft.types.is_some() && draft.may_be("array");
        if plain && !draft.out.contains_key("items") {
            draft.put("items", any());
        }
    }

    /// With this property, also those; or this schema.
    pub(super) fn dependencies(
        &mut self,
        draft: &mut Draft<'s>,
        key: &str,
        value: &'s Value,
    ) -> Result<(), Refusal> {
        for (name, needed) in fields(key, value)? {
            string::literal(key, name)?;
            let without = json!({"properties": {name.as_str(): false}});
            let with = match needed {
                Value::Array(names) if key != "dependentSchemas" => {
                    if !names.iter().all(Value::is_string) {
                        return Err(must_be(key, "lists of names"));
                    }
                    json!({ "required": names })
                }
                schema if key != "dependentRequired" => {
                    self.schema(schema, draft.parts.within(false))?
                }
                _ => return Err(must_be(key, "lists of names")),
            };
            draft.also.push(json!({"anyOf": [without, with]}));
        }
        Ok(())
    }
}

fn fields<'v>(key: &str, value: &'v Value) -> Result<&'v Map<String, Value>, Refusal> {
    value.as_object().ok_or_else(|| must_be(key, "an object"))
}
