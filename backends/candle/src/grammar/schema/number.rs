//! Keywords for numbers.

use serde_json::{Value, json};

use super::{Draft, Refusal, must_be};

/// The largest whole number in a schema that arithmetic in doubles keeps.
const EXACT_MAX: u64 = 1 << 53;
/// Numbers that are generated lie within this, as far as the schema does not say otherwise.
pub(super) const MAX: f64 = 9.2e18;

/// A number that arithmetic in doubles keeps.
pub(super) fn exact(key: &str, value: &Value) -> Result<f64, Refusal> {
    let number = value.as_f64().ok_or_else(|| must_be(key, "a number"))?;
    let whole = value.as_u64().or(value.as_i64().map(i64::unsigned_abs));
    if whole.is_some_and(|whole| whole > EXACT_MAX && number.abs() as u64 != whole) {
        return Err(format!(
            "the keyword '{key}' of the schema has a number too large to be enforced exactly"
        ));
    }
    Ok(number)
}

pub(super) fn keyword(draft: &mut Draft<'_>, key: &str, value: &Value) -> Result<(), Refusal> {
    if !draft.may_be("number") {
        return Ok(());
    }
    match (key, value) {
        // Draft 4 says only that the bound next to it is excluded.
        ("exclusiveMinimum" | "exclusiveMaximum", Value::Bool(excluded)) => {
            let bound = if key == "exclusiveMinimum" {
                "minimum"
            } else {
                "maximum"
            };
            if let Some(bound) = draft.from.get(bound).filter(|_| *excluded) {
                exact(key, bound)?;
                draft.put(key, bound.clone());
            }
        }
        ("multipleOf", _) => {
            if exact(key, value)? <= 0.0 {
                return Err(must_be(key, "above 0"));
            }
            draft.put(key, value.clone());
        }
        _ => {
            if exact(key, value)?.abs() > MAX {
                return Err(format!(
                    "the keyword '{key}' of the schema has a number too large to be enforced exactly"
                ));
            }
            draft.put(key, value.clone());
        }
    }
    Ok(())
}

/// Keeps numbers where every parser can read them.
pub(super) fn finish(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    let literal = draft.from.contains_key("const") || draft.from.contains_key("enum");
    if draft.types.is_none() || literal || !draft.may_be("number") {
        return Ok(());
    }
    let has =
        |draft: &Draft<'_>, keys: [&str; 2]| keys.iter().any(|key| draft.out.contains_key(*key));
    if !has(draft, ["minimum", "exclusiveMinimum"]) {
        draft.put("minimum", json!(-MAX));
    }
    if !has(draft, ["maximum", "exclusiveMaximum"]) {
        draft.put("maximum", json!(MAX));
    }
    Ok(())
}
