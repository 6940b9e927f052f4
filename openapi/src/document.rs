//! Documents that are handed on as they are: credentials, DID documents.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema};
use utoipa::openapi::{RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

/// A JSON object that can be signed (I-JSON, RFC 7493): no name twice, no whole number that a double cannot hold. Two
/// readers of it never see two things.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonDocument(pub Map<String, Value>);

/// Beyond this not every whole number is a double.
const WHOLE_MAX: u64 = 1 << 53;

impl Serialize for JsonDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_map(Strict)? {
            Value::Object(object) => Ok(Self(object)),
            _ => Err(D::Error::custom("expected an object")),
        }
    }
}

/// Reads any value, strictly.
struct Part(Value);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strict).map(Part)
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > WHOLE_MAX {
            return Err(E::custom("a whole number is larger than a double can hold"));
        }
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        if value > WHOLE_MAX {
            return Err(E::custom("a whole number is larger than a double can hold"));
        }
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        let number = number.ok_or_else(|| E::custom("a number is not finite"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Part(value)) = parts.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Part(value))) = fields.next_entry::<String, Part>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice in an object"));
            }
        }
        Ok(Value::Object(object))
    }
}

impl PartialSchema for JsonDocument {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("A JSON-LD document."))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)));
        RefOr::T(Schema::Object(object.build()))
    }
}

impl ToSchema for JsonDocument {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        let text = r#"{"a": [1, -2, 3.5, true, null, "x", {"b": {}}], "c": 9007199254740992}"#;
        let read: JsonDocument = serde_json::from_str(text).expect("it is sound");
        let expected: Map<String, Value> = serde_json::from_str(text).expect("JSON");
        assert_eq!(read.0, expected);
        for bad in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": [{"b": 1, "\u0062": 2}]}"#,
            r#"{"a": 9007199254740993}"#,
            r#"{"a": -9007199254740993}"#,
            "[]",
            "7",
        ] {
            assert!(serde_json::from_str::<JsonDocument>(bad).is_err(), "{bad}");
        }
    }
}
