//! Grammars. Their bounds are those of the HTTP doors; a schema, which has none there, gets one.

use kwaainet_core::{Grammar, GrammarKind};
use serde_json::Value;

use super::asks::{self, grammar::Kind};
use super::{Bad, at_most, list, names, needed};

/// Bytes of a schema. Read, it takes some twenty times as much.
pub(crate) const JSON_MAX: usize = 1 << 20;
/// Bytes of a regular expression, of a grammar, and of all texts to choose from.
const BYTES_MAX: usize = 64 << 10;
/// Texts to choose from.
const CHOICES_MAX: usize = 1_024;

pub(crate) fn write(grammar: Grammar) -> asks::Grammar {
    let kind = match grammar.kind {
        GrammarKind::JsonObject => Kind::JsonObject(true),
        GrammarKind::JsonSchema(schema) => Kind::JsonSchema(schema.to_string()),
        GrammarKind::Regex(regex) => Kind::Regex(regex),
        GrammarKind::Lark(lark) => Kind::Lark(lark),
        GrammarKind::Choice(texts) => Kind::Choice(list::write_texts(texts)),
    };
    asks::Grammar {
        param: grammar.param.to_owned(),
        kind: Some(kind),
    }
}

pub(crate) fn read(grammar: asks::Grammar) -> Result<Grammar, Bad> {
    let param = names::find(&grammar.param, &[]).unwrap_or("response_format");
    let kind = match needed(grammar.kind, param)? {
        Kind::JsonObject(_) => GrammarKind::JsonObject,
        Kind::JsonSchema(schema) => GrammarKind::JsonSchema(json(&schema, param)?),
        Kind::Regex(regex) => {
            at_most(regex.len(), BYTES_MAX, param)?;
            GrammarKind::Regex(regex)
        }
        Kind::Lark(lark) => {
            at_most(lark.len(), BYTES_MAX, param)?;
            GrammarKind::Lark(lark)
        }
        Kind::Choice(texts) => {
            let texts = list::read_texts(&texts, CHOICES_MAX, param)?;
            at_most(texts.iter().map(String::len).sum(), BYTES_MAX, param)?;
            GrammarKind::Choice(texts)
        }
    };
    Ok(Grammar { kind, param })
}

/// A value in JSON, not too long.
pub(crate) fn json(text: &str, param: &'static str) -> Result<Value, Bad> {
    at_most(text.len(), JSON_MAX, param)?;
    serde_json::from_str(text).map_err(|_| Bad::new(param, format!("'{param}' is no JSON")))
}
