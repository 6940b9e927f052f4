//! A file's attributes: what filters ask for.

use serde_json::Value;

use crate::door::ApiError;

/// OpenAI's limits; lengths in characters.
const PAIRS_MAX: usize = 16;
const NAME_MAX: usize = 64;
const TEXT_MAX: usize = 512;

/// The attributes as they are stored; `at` is their field.
pub(super) fn check(attributes: Option<Value>, at: &str) -> Result<Option<String>, ApiError> {
    let fields = match attributes {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            let message = format!("Invalid type for '{at}': expected an object.");
            return Err(ApiError::invalid(at, "invalid_type", message));
        }
    };
    if fields.len() > PAIRS_MAX {
        let message = format!("Invalid '{at}': at most {PAIRS_MAX} pairs.");
        let code = "object_above_max_properties";
        return Err(ApiError::invalid(at, code, message));
    }
    for (name, value) in &fields {
        let is_short = match value {
            Value::String(text) => text.chars().count() <= TEXT_MAX,
            Value::Number(_) | Value::Bool(_) => true,
            _ => {
                let message = format!(
                    "Invalid type for a value of '{at}': expected a string, a number or a boolean."
                );
                return Err(ApiError::invalid(at, "invalid_type", message));
            }
        };
        if !is_short || name.chars().count() > NAME_MAX {
            let message = format!(
                "Invalid '{at}': names have at most {NAME_MAX} characters and texts {TEXT_MAX}."
            );
            return Err(ApiError::invalid(at, "string_above_max_length", message));
        }
    }
    Ok(Some(Value::Object(fields).to_string()))
}

/// Attributes as they were stored.
pub(super) fn read(attributes: Option<&String>) -> Option<Value> {
    serde_json::from_str(attributes?).ok()
}
