//! Keywords for strings.

use serde_json::{Value, json};

use super::{Draft, Refusal, count, must_be};
use crate::grammar::format::{Format, format};
use crate::grammar::pattern::translate;

/// Characters that the matcher can count; a bounded text ends there at the latest.
const LENGTH_MAX: u64 = 8_000;

pub(super) fn keyword(draft: &mut Draft<'_>, key: &str, value: &Value) -> Result<(), Refusal> {
    if !draft.may_be("string") {
        return Ok(());
    }
    let text = || value.as_str().ok_or_else(|| must_be(key, "text"));
    match key {
        "pattern" => draft.put(key, pattern(key, text()?)?.into()),
        "format" => match format(text()?) {
            Format::Patterns(patterns) => {
                let all = patterns.iter().map(|pattern| json!({ "pattern": pattern }));
                draft.also.extend(all);
            }
            Format::Unenforceable => {
                return Err(format!(
                    "the keyword 'format' of the schema cannot be enforced with the value '{}'",
                    text()?
                ));
            }
            Format::Annotation => {}
        },
        "minLength" => {
            let least = count(key, value)?;
            if least > LENGTH_MAX {
                return Err(format!(
                    "the keyword 'minLength' of the schema cannot be enforced above {LENGTH_MAX}"
                ));
            }
            draft.put(key, least.into());
        }
        _ => draft.put(key, count(key, value)?.min(LENGTH_MAX).into()),
    }
    Ok(())
}

/// A pattern in the matcher's syntax.
pub(super) fn pattern(key: &str, pattern: &str) -> Result<String, Refusal> {
    translate(pattern).map_err(|what| {
        format!("the keyword '{key}' of the schema cannot be enforced: a pattern has {what}")
    })
}

/// Checks that a string can be written. There is one way only to write each, so that no key of an
/// object can come twice in two disguises; control characters without a short escape have none.
pub(super) fn literal(key: &str, text: &str) -> Result<(), Refusal> {
    let unwritable =
        |c: char| c.is_ascii_control() && !matches!(c, '\n' | '\r' | '\t' | '\x08' | '\x0C');
    if text.chars().any(unwritable) {
        return Err(format!(
            "the keyword '{key}' of the schema has a control character that is never generated"
        ));
    }
    Ok(())
}
