//! The smaller fields of a request: formats, names, and what is refused by name.

use kwaainet_core::Grammar;
use kwaainet_openapi::{Other, StreamOptions, TextConfig, TextFormat, TextRequest};
use serde_json::{Map, Value};

use crate::door::{ApiError, body, format, params};

/// Fields that this endpoint cannot honour, with the value that asks for nothing, as JSON.
const REFUSED: &[(&str, &str)] = &[
    ("access_programs", "{}"),
    ("audio", ""),
    ("background_options", "{}"),
    ("chat_template", ""),
    ("chat_template_kwargs", "{}"),
    ("context_management", "[]"),
    ("guided_choice", ""),
    ("guided_grammar", ""),
    ("guided_json", ""),
    ("guided_regex", ""),
    ("ignore_eos", "false"),
    ("image", "{}"),
    ("min_tokens", "0"),
    ("modalities", "[\"text\"]"),
    ("moderation", ""),
    ("n", "1"),
    ("personality", ""),
    ("prediction", ""),
    ("prompt", ""),
    ("prompt_cache_options", "{}"),
    ("prompt_cache_retention", "\"in_memory\""),
    ("stop", "[]"),
    ("structured_outputs", ""),
    ("verbosity", "\"medium\""),
    ("web_search_options", ""),
];

/// Fields of chat completions that have another name here.
const MOVED: &[(&str, &str)] = &[
    ("function_call", "tool_choice"),
    ("functions", "tools"),
    ("logprobs", "include"),
    ("max_completion_tokens", "max_output_tokens"),
    ("max_tokens", "max_output_tokens"),
    ("messages", "input"),
    ("reasoning_effort", "reasoning.effort"),
    ("response_format", "text.format"),
];

const LOGPROBS: &str = "message.output_text.logprobs";
const SEARCH_RESULTS: &str = "file_search_call.results";
/// What clients ask to see more of; there is none of it here, so that nothing is left out.
const INCLUDE_NOTHING: [&str; 6] = [
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
];

/// Refuses what cannot be honoured.
pub(super) fn check_other(other: &Other) -> Result<(), ApiError> {
    for (name, new_name) in MOVED {
        if other.get(*name).is_some_and(|value| !value.is_null()) {
            let message = format!(
                "Unsupported parameter: '{name}'. In the Responses API, this parameter has moved \
                 to '{new_name}'."
            );
            return Err(ApiError::invalid(*name, "unsupported_parameter", message));
        }
    }
    for (name, neutral) in REFUSED {
        let neutral = serde_json::from_str(neutral).unwrap_or(Value::Null);
        let asks = |value: &Value| !value.is_null() && *value != neutral;
        if other.get(*name).is_some_and(asks) {
            return Err(unsupported(name));
        }
    }
    match other.get("reasoning") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(reasoning)) => check_reasoning(reasoning),
        Some(_) => {
            let message = "Invalid type for 'reasoning': expected an object.";
            Err(ApiError::invalid("reasoning", "invalid_type", message))
        }
    }
}

fn check_reasoning(reasoning: &Map<String, Value>) -> Result<(), ApiError> {
    for (name, value) in reasoning {
        let is_none = name == "effort" && value == "none";
        if !value.is_null() && !is_none {
            return Err(unsupported(&format!("reasoning.{name}")));
        }
    }
    Ok(())
}

fn unsupported(param: &str) -> ApiError {
    let message = format!("Unsupported parameter: '{param}' is not supported by this node.");
    ApiError::invalid(param, "unsupported_parameter", message)
}

/// Whether to stream. Nothing is obfuscated.
pub(super) fn streaming(
    stream: Option<bool>,
    options: Option<StreamOptions>,
) -> Result<bool, ApiError> {
    Ok(params::streaming(stream, options)?.is_some())
}

/// What a client wants to see besides.
pub(super) struct Include {
    /// The number of alternatives for each token, if log-probabilities are asked for.
    pub(super) logprobs: Option<u8>,
    /// What searches find.
    pub(super) search_results: bool,
}

/// Reads `include`, and `top_logprobs`, which goes with it.
pub(super) fn include(include: Option<&[String]>, top: Option<i64>) -> Result<Include, ApiError> {
    let top = params::integer(top, "top_logprobs", (0, 20))?.unwrap_or(0);
    let include = include.unwrap_or_default();
    for (i, name) in include.iter().enumerate() {
        let is_known = name == LOGPROBS || name == SEARCH_RESULTS;
        if !is_known && !INCLUDE_NOTHING.contains(&name.as_str()) {
            let param = format!("include[{i}]");
            let message = format!("Invalid '{param}': there is nothing of this name to include.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
    }
    let has = |wanted: &str| include.iter().any(|name| name == wanted);
    if !has(LOGPROBS) && top > 0 {
        let message = format!("'top_logprobs' needs '{LOGPROBS}' in 'include'.");
        return Err(ApiError::invalid("top_logprobs", "invalid_value", message));
    }
    Ok(Include {
        logprobs: has(LOGPROBS).then_some(top as u8),
        search_results: has(SEARCH_RESULTS),
    })
}

/// There is one tier.
pub(super) fn service_tier(tier: Option<&str>) -> Result<(), ApiError> {
    match tier {
        None | Some("auto" | "default") => Ok(()),
        Some(_) => {
            let message = "Invalid 'service_tier': this node has 'auto' and 'default'.";
            let param = "service_tier";
            Err(ApiError::invalid(param, "unsupported_value", message))
        }
    }
}

/// What the text has to be, as it is echoed and as it is enforced.
pub(super) fn text(text: Option<TextRequest>) -> Result<(TextConfig, Option<Grammar>), ApiError> {
    let text = text.unwrap_or_default();
    if text
        .verbosity
        .is_some_and(|verbosity| verbosity != "medium")
    {
        return Err(unsupported("text.verbosity"));
    }
    let format = match text.format {
        None | Some(Value::Null) => TextFormat::Text,
        Some(format) => read_format(format)?,
    };
    let grammar = format::enforced(format.clone());
    let config = TextConfig {
        format,
        verbosity: "medium".into(),
    };
    let param = "text.format";
    Ok((config, grammar.map(|kind| Grammar { kind, param })))
}

fn read_format(given: Value) -> Result<TextFormat, ApiError> {
    const AT: &str = "text.format";
    let kind = given.get("type").and_then(Value::as_str).map(str::to_owned);
    format::text_format(kind.as_deref(), AT, || {
        let schema = body::from_value(given).map_err(|error| error.within(AT))?;
        format::named_schema(schema, AT)
    })
}
