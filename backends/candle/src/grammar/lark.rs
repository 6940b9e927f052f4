//! Schemas within grammars in Lark's notation (`%json {...}`), brought into the language that is
//! enforced exactly.

use serde_json::{Deserializer, Value};

use super::{schema, with_options};

const JSON: &str = "%json";

/// The grammar with each of its schemas replaced.
///
/// # Errors
/// What of a schema cannot be enforced.
pub(super) fn canonical(lark: &str) -> Result<String, String> {
    let mut out = String::with_capacity(lark.len());
    let mut rest = lark;
    while let Some(first) = rest.chars().next() {
        let taken = if rest.starts_with(JSON) {
            let (schema, len) = json(&rest[JSON.len()..])?;
            let schema = with_options(schema::canonical(&schema)?);
            out.push_str(&format!("{JSON} {schema}"));
            rest = &rest[JSON.len() + len..];
            continue;
        } else if rest.starts_with("//") || first == '#' {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' || first == '/' {
            quoted(rest, first)
        } else {
            first.len_utf8()
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    Ok(out)
}

/// The JSON that a text begins with, and its length.
fn json(text: &str) -> Result<(Value, usize), String> {
    let mut values = Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok((value, values.byte_offset())),
        _ => Err("the grammar has no JSON behind '%json'".into()),
    }
}

/// Up to the quote that ends what one begins; a line at most.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
