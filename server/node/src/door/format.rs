//! What the text of an answer has to be: OpenAI's formats, and the extensions that clients of vLLM know. All of them become one [`Grammar`]; whether it can be followed is the backend's to say.

use kwaainet_core::{Grammar, GrammarKind};
use kwaainet_openapi::{
    JsonSchemaFormat, ResponseFormat, ResponseJsonSchema, StructuredOutputs, TextFormat,
};
use serde_json::Value;

use super::{ApiError, tooling, unsupported};

/// Texts to choose from.
const CHOICES_MAX: usize = 1_024;
/// Bytes of a regular expression, of a grammar, and of all texts to choose from.
const BYTES_MAX: usize = 64 << 10;

/// The fields that chat and completions share word for word.
pub(crate) struct FormatFields {
    pub(crate) response_format: Option<ResponseFormat>,
    pub(crate) structured_outputs: Option<StructuredOutputs>,
    pub(crate) guided_json: Option<Value>,
    pub(crate) guided_regex: Option<String>,
    pub(crate) guided_choice: Option<Vec<String>>,
    pub(crate) guided_grammar: Option<String>,
}

/// Takes the [`FormatFields`] out of a request.
macro_rules! format_fields {
    ($request:expr) => {
        $crate::door::format::FormatFields {
            response_format: $request.response_format.take(),
            structured_outputs: $request.structured_outputs.take(),
            guided_json: $request.guided_json.take(),
            guided_regex: $request.guided_regex.take(),
            guided_choice: $request.guided_choice.take(),
            guided_grammar: $request.guided_grammar.take(),
        }
    };
}
pub(crate) use format_fields;

impl FormatFields {
    /// The language that is asked for; more than one is refused.
    pub(crate) fn grammar(self) -> Result<Option<Grammar>, ApiError> {
        let mut asked = Vec::new();
        if let Some(format) = self.response_format {
            let kind = response_format(format)?;
            asked.extend(kind.map(|kind| grammar("response_format", kind)));
        }
        asked.extend(structured_outputs(
            self.structured_outputs.unwrap_or_default(),
        )?);
        let older = StructuredOutputs {
            json: self.guided_json,
            regex: self.guided_regex,
            choice: self.guided_choice,
            grammar: self.guided_grammar,
            ..StructuredOutputs::default()
        };
        asked.extend(languages(older, &GUIDED)?);
        match asked.as_slice() {
            [] | [_] => Ok(asked.pop()),
            [first, second, ..] => {
                let (first, second) = (first.param, second.param);
                let message = format!(
                    "Invalid '{second}': the format of the answer is given by '{first}' already."
                );
                Err(ApiError::invalid(second, "invalid_value", message))
            }
        }
    }
}

fn grammar(param: &'static str, kind: GrammarKind) -> Grammar {
    Grammar { kind, param }
}

fn response_format(format: ResponseFormat) -> Result<Option<GrammarKind>, ApiError> {
    const AT: &str = "response_format";
    let kind = format.kind.as_deref();
    if kind == Some("json_object") && format.other.get("schema").is_some_and(|s| !s.is_null()) {
        let param = format!("{AT}.schema");
        let message = format!("Unsupported '{param}': give a 'json_schema' instead.");
        return Err(ApiError::invalid(param, "unsupported_parameter", message));
    }
    let at = format!("{AT}.json_schema");
    let schema = || {
        let schema = format.json_schema.ok_or_else(|| ApiError::missing(&at))?;
        named_schema(schema, &at)
    };
    Ok(enforced(text_format(kind, AT, schema)?))
}

/// The format of a type. `at` is its path; `schema` reads what there is to say of a schema.
pub(crate) fn text_format(
    kind: Option<&str>,
    at: &str,
    schema: impl FnOnce() -> Result<ResponseJsonSchema, ApiError>,
) -> Result<TextFormat, ApiError> {
    let param = format!("{at}.type");
    match kind {
        Some("text") => Ok(TextFormat::Text),
        Some("json_object") => Ok(TextFormat::JsonObject),
        Some("json_schema") => schema().map(TextFormat::JsonSchema),
        Some(_) => {
            let message =
                format!("Invalid '{param}': expected 'text', 'json_object' or 'json_schema'.");
            Err(ApiError::invalid(param, "invalid_value", message))
        }
        None => Err(ApiError::missing(param)),
    }
}

/// A schema as OpenAI wraps it, if it is whole. `at` is the path of its fields.
pub(crate) fn named_schema(
    format: JsonSchemaFormat,
    at: &str,
) -> Result<ResponseJsonSchema, ApiError> {
    let missing = |field: &str| ApiError::missing(format!("{at}.{field}"));
    let name = format.name.ok_or_else(|| missing("name"))?;
    tooling::check_name(&name, &format!("{at}.name"))?;
    let schema = format.schema.ok_or_else(|| missing("schema"))?;
    if !schema.is_object() {
        return Err(not_a_schema(&format!("{at}.schema")));
    }
    Ok(ResponseJsonSchema {
        name,
        description: format.description,
        schema,
        strict: format.strict,
    })
}

/// What a format demands, if it demands anything.
pub(crate) fn enforced(format: TextFormat) -> Option<GrammarKind> {
    match format {
        TextFormat::Text => None,
        TextFormat::JsonObject => Some(GrammarKind::JsonObject),
        TextFormat::JsonSchema(ResponseJsonSchema {
            mut schema,
            description,
            ..
        }) => {
            // Whoever shows the schema to the model shows this too.
            if let (Value::Object(fields), Some(description)) = (&mut schema, description) {
                fields.entry("description").or_insert(description.into());
            }
            Some(GrammarKind::JsonSchema(schema))
        }
    }
}

/// The paths of what [`StructuredOutputs`] may hold, in its own form and in the older one.
struct Names {
    json: &'static str,
    regex: &'static str,
    choice: &'static str,
    grammar: &'static str,
}

const STRUCTURED: Names = Names {
    json: "structured_outputs.json",
    regex: "structured_outputs.regex",
    choice: "structured_outputs.choice",
    grammar: "structured_outputs.grammar",
};

const GUIDED: Names = Names {
    json: "guided_json",
    regex: "guided_regex",
    choice: "guided_choice",
    grammar: "guided_grammar",
};

fn structured_outputs(outputs: StructuredOutputs) -> Result<Vec<Grammar>, ApiError> {
    unsupported::check_structured_outputs(&outputs.other)?;
    let any_object = outputs.json_object == Some(true);
    let mut asked = languages(outputs, &STRUCTURED)?;
    if any_object {
        let param = "structured_outputs.json_object";
        asked.push(grammar(param, GrammarKind::JsonObject));
    }
    Ok(asked)
}

fn languages(outputs: StructuredOutputs, names: &Names) -> Result<Vec<Grammar>, ApiError> {
    let mut asked = Vec::new();
    if let Some(schema) = outputs.json {
        asked.push(grammar(names.json, schema_or_text(schema, names.json)?));
    }
    if let Some(regex) = outputs.regex {
        let regex = bounded(regex, names.regex)?;
        asked.push(grammar(names.regex, GrammarKind::Regex(regex)));
    }
    if let Some(texts) = outputs.choice {
        let texts = choice(texts, names.choice)?;
        asked.push(grammar(names.choice, GrammarKind::Choice(texts)));
    }
    if let Some(lark) = outputs.grammar {
        let lark = bounded(lark, names.grammar)?;
        asked.push(grammar(names.grammar, GrammarKind::Lark(lark)));
    }
    Ok(asked)
}

/// A schema, or JSON text of one, which is what vLLM's clients send too.
fn schema_or_text(schema: Value, param: &'static str) -> Result<GrammarKind, ApiError> {
    let schema = match schema {
        Value::String(text) => serde_json::from_str(&text).map_err(|_| not_a_schema(param))?,
        other => other,
    };
    if schema.is_object() {
        Ok(GrammarKind::JsonSchema(schema))
    } else {
        Err(not_a_schema(param))
    }
}

fn not_a_schema(param: &str) -> ApiError {
    let message = format!("Invalid type for '{param}': expected a JSON schema, an object.");
    ApiError::invalid(param, "invalid_type", message)
}

fn choice(texts: Vec<String>, param: &'static str) -> Result<Vec<String>, ApiError> {
    let bytes: usize = texts.iter().map(String::len).sum();
    let refuse = |code, message| Err(ApiError::invalid(param, code, message));
    if texts.is_empty() {
        let message = format!("Invalid '{param}': empty array. Expected at least one text.");
        refuse("empty_array", message)
    } else if texts.len() > CHOICES_MAX || bytes > BYTES_MAX {
        let message =
            format!("Invalid '{param}': more than {CHOICES_MAX} texts or {BYTES_MAX} bytes.");
        refuse("array_above_max_length", message)
    } else if texts.iter().any(String::is_empty) {
        let message = format!("Invalid '{param}': no text may be empty.");
        refuse("invalid_value", message)
    } else {
        Ok(texts)
    }
}

fn bounded(text: String, param: &'static str) -> Result<String, ApiError> {
    let refuse = |code, message| Err(ApiError::invalid(param, code, message));
    if text.is_empty() {
        refuse("invalid_value", format!("Invalid '{param}': it is empty."))
    } else if text.len() > BYTES_MAX {
        let message = format!("Invalid '{param}': more than {BYTES_MAX} bytes.");
        refuse("string_above_max_length", message)
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
