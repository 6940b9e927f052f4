//! Grammars that make a model call: what a family writes around its calls, and each function's schema
//! for the arguments.

use kwaainet_core::{GrammarKind, Tool};
use serde_json::{Value, json};

use super::family::Family;

/// Calls of one answer. More are a loop.
const CALLS_MAX: usize = 8;
/// What `%json` has to be given for arguments of any kind.
const ANY_OBJECT: &str = r#"{"type": "object"}"#;
/// Keywords beside which `additionalProperties` would forbid what they allow.
const OPENING: [&str; 9] = [
    "additionalProperties",
    "patternProperties",
    "unevaluatedProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "$ref",
    "if",
    "dependentSchemas",
];

/// What else an answer may be.
#[derive(Clone, Copy)]
pub(super) enum Otherwise<'g> {
    Nothing,
    /// Text, with calls behind it or not.
    Text,
    Format(&'g GrammarKind),
}

/// The calls that an answer may hold.
pub(super) struct Forced<'t> {
    pub(super) family: &'static Family,
    pub(super) tools: Vec<&'t Tool>,
    pub(super) parallel: bool,
    /// Only strict functions' schemas count; the others may be given any object.
    pub(super) only_strict: bool,
}

impl Forced<'_> {
    /// The grammar in Lark's notation, as llguidance reads it. `control` finds the token that stands
    /// for a mark and for no text.
    ///
    /// # Errors
    /// When the other form of the answer does not go together with calls.
    pub(super) fn lark(
        &self,
        otherwise: Otherwise<'_>,
        control: &dyn Fn(&str) -> Option<u32>,
    ) -> Result<String, &'static str> {
        let mark = |spelling: &str| match control(spelling) {
            Some(id) => format!("<[{id}]>"),
            None => literal(spelling),
        };
        let family = self.family;
        let (open, close) = (mark(family.open()), mark(family.close()));
        let mut lines = match otherwise {
            Otherwise::Nothing => vec![format!("start: {open} body")],
            Otherwise::Format(kind) => {
                vec![
                    format!("start: {open} body | format"),
                    format!("format: {}", format(kind)?),
                ]
            }
            // Text that begins like JSON would be read as a call.
            Otherwise::Text if family.bare => vec![
                "start: body | text".to_owned(),
                r"text: /\s*([^\s{\[](.|\n)*)?/".to_owned(),
            ],
            Otherwise::Text if open.starts_with('<') => vec![
                format!("start: text | text {open} body"),
                r"text: /(.|\n)*/".to_owned(),
            ],
            // The first mark ends what is text.
            Otherwise::Text => vec![
                "start: lead body | text".to_owned(),
                format!(r"lead[lazy]: /(.|\n)*/ {open}"),
                r"text: /(.|\n)*/".to_owned(),
            ],
        };
        let one = sequence(&[&literal(family.inner), "call", &literal(family.inner)]);
        let (more, behind) = if family.list {
            (sequence(&[&literal(", "), &one]), literal("]"))
        } else {
            let between = literal(family.between);
            (sequence(&[&close, &between, &open, &one]), String::new())
        };
        let more = if self.parallel {
            format!("({more}){{0,{}}}", CALLS_MAX - 1)
        } else {
            String::new()
        };
        let before = if family.list {
            literal("[")
        } else {
            String::new()
        };
        lines.push(format!(
            "body: {}",
            sequence(&[&before, &one, &more, &behind, &close])
        ));
        let calls: Vec<String> = (0..self.tools.len())
            .map(|at| format!("call_{at}"))
            .collect();
        lines.push(format!("call: {}", calls.join(" | ")));
        for (at, tool) in self.tools.iter().enumerate() {
            lines.push(format!("call_{at}: {}", self.call(tool, at, &mark)));
            lines.push(format!("arguments_{at}: %json {}", self.schema(tool)));
        }
        Ok(lines.join("\n") + "\n")
    }

    /// A call of one function.
    fn call(&self, tool: &Tool, at: usize, mark: &dyn Fn(&str) -> String) -> String {
        let arguments = format!("arguments_{at}");
        if let Some(named) = self.family.named {
            return sequence(&[&literal(&tool.name), &mark(named), &arguments]);
        }
        let (name, key) = (json!(tool.name), self.family.arguments);
        let head = format!("{{\"name\": {name}, \"{key}\": ");
        sequence(&[&literal(&head), &arguments, &literal("}")])
    }

    /// What the arguments have to be. Where the schema only leaves open whether there may be
    /// arguments that it does not name, there are none: a model would invent them.
    fn schema(&self, tool: &Tool) -> String {
        let Some(schema) = &tool.parameters else {
            return json!({"type": "object", "properties": {}, "additionalProperties": false})
                .to_string();
        };
        if self.only_strict && !tool.strict {
            return ANY_OBJECT.to_owned();
        }
        let Value::Object(mut schema) = schema.clone() else {
            return ANY_OBJECT.to_owned();
        };
        schema.entry("type").or_insert_with(|| json!("object"));
        let is_closed = OPENING.iter().any(|keyword| schema.contains_key(*keyword));
        if schema.contains_key("properties") && !is_closed {
            schema.insert("additionalProperties".to_owned(), json!(false));
        }
        Value::Object(schema).to_string()
    }
}

/// Another form of the answer as the right side of a rule.
fn format(kind: &GrammarKind) -> Result<String, &'static str> {
    Ok(match kind {
        GrammarKind::JsonObject => format!("%json {ANY_OBJECT}"),
        GrammarKind::JsonSchema(schema) => format!("%json {schema}"),
        GrammarKind::Regex(regex) => {
            let escaped = regex.replace('/', r"\/").replace('\n', r"\n");
            format!("/{escaped}/")
        }
        GrammarKind::Choice(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| json!(text).to_string()).collect();
            texts.join(" | ")
        }
        GrammarKind::Lark(_) => {
            return Err("a grammar cannot be combined with tools that may be called or not");
        }
    })
}

/// A text as a rule's part; nothing for an empty one.
fn literal(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        json!(text).to_string()
    }
}

/// Parts one after the other, without those that are empty.
fn sequence(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|p| !p.is_empty()).collect();
    parts.join(" ")
}
