//! Fields that clients of OpenAI or of other servers send and this node cannot honour. They are
//! refused by name, never ignored: a client could not notice. A value that asks for nothing (null,
//! an empty list, the default) passes; fields that nobody knows pass too.

use kwaainet_openapi::Other;
use serde_json::{Value, json};

use super::ApiError;

/// A field and the values of it that ask for nothing.
type Refusal = (&'static str, &'static [Neutral]);

enum Neutral {
    False,
    True,
    Zero,
    One,
    Empty,
    Text(&'static str),
    /// `{"type": "text"}`.
    TextFormat,
    /// `["text"]`.
    TextOnly,
}

use Neutral::{Empty, False, One, Text, TextFormat, TextOnly, True, Zero};

/// What no generating endpoint can do.
const GENERATE: &[Refusal] = &[
    ("allowed_token_ids", &[]),
    ("background", &[False]),
    ("bad_words", &[Empty]),
    ("chat_template", &[]),
    ("chat_template_kwargs", &[Empty]),
    ("continue_final_message", &[False]),
    ("dry_multiplier", &[Zero]),
    ("dynatemp_range", &[Zero]),
    ("grammar", &[Empty]),
    ("guided_choice", &[]),
    ("guided_grammar", &[]),
    ("guided_json", &[]),
    ("guided_regex", &[]),
    ("ignore_eos", &[False]),
    ("include_stop_str_in_output", &[False]),
    ("json_schema", &[]),
    ("length_penalty", &[One]),
    ("logits_processors", &[Empty]),
    ("min_tokens", &[Zero]),
    ("mirostat", &[Zero]),
    ("n_predict", &[]),
    ("prompt_logprobs", &[]),
    ("repeat_penalty", &[One]),
    ("response_format", &[TextFormat]),
    ("service_tier", &[Text("auto"), Text("default")]),
    ("stop_token_ids", &[Empty]),
    ("structured_outputs", &[]),
    ("tfs_z", &[One]),
    ("truncate_prompt_tokens", &[]),
    ("typical_p", &[One]),
    ("use_beam_search", &[False]),
    ("xtc_probability", &[Zero]),
];

const CHAT: &[Refusal] = &[
    ("audio", &[]),
    ("echo", &[False]),
    ("function_call", &[Text("none")]),
    ("functions", &[Empty]),
    ("metadata", &[Empty]),
    ("modalities", &[TextOnly]),
    ("parallel_tool_calls", &[]),
    ("prediction", &[]),
    ("reasoning_effort", &[Text("none")]),
    ("store", &[False]),
    ("tool_choice", &[Text("none")]),
    ("tools", &[Empty]),
    ("verbosity", &[Text("medium")]),
    ("web_search_options", &[]),
];

const COMPLETION: &[Refusal] = &[
    ("best_of", &[One]),
    ("echo", &[False]),
    ("suffix", &[Empty]),
];

const EMBEDDING: &[Refusal] = &[
    ("input_type", &[]),
    ("normalize", &[True]),
    ("truncate", &[]),
    ("truncate_prompt_tokens", &[]),
];

const RERANK: &[Refusal] = &[
    ("max_chunks_per_doc", &[]),
    ("max_tokens_per_doc", &[]),
    ("overlap_tokens", &[]),
    ("priority", &[Zero]),
    ("rank_fields", &[Empty]),
    ("return_embeddings", &[False]),
    ("truncate", &[]),
    ("truncation", &[False]),
];

const SEARCH: &[Refusal] = &[("after", &[]), ("page", &[])];

const RANKING: &[Refusal] = &[("hybrid_search", &[Empty])];

const TOKENIZE: &[Refusal] = &[
    ("add_generation_prompt", &[True]),
    ("chat_template", &[]),
    ("chat_template_kwargs", &[Empty]),
    ("continue_final_message", &[False]),
    ("return_token_strs", &[False]),
    ("tools", &[Empty]),
];

const MESSAGE: &[Refusal] = &[
    ("annotations", &[Empty]),
    ("audio", &[]),
    ("function_call", &[]),
    ("refusal", &[Empty]),
    ("tool_call_id", &[]),
    ("tool_calls", &[Empty]),
];

/// Refuses what `/v1/chat/completions` cannot honour.
pub(crate) fn check_chat(other: &Other) -> Result<(), ApiError> {
    check(other, CHAT, "")?;
    check(other, GENERATE, "")
}

/// Refuses what `/v1/completions` cannot honour.
pub(crate) fn check_completion(other: &Other) -> Result<(), ApiError> {
    check(other, COMPLETION, "")?;
    check(other, GENERATE, "")
}

/// Refuses what `/v1/embeddings` cannot honour.
pub(crate) fn check_embedding(other: &Other) -> Result<(), ApiError> {
    check(other, EMBEDDING, "")
}

/// Refuses what `/v1/rerank` cannot honour.
pub(crate) fn check_rerank(other: &Other) -> Result<(), ApiError> {
    check(other, RERANK, "")
}

/// Refuses what a search in a vector store cannot honour.
pub(crate) fn check_search(other: &Other) -> Result<(), ApiError> {
    check(other, SEARCH, "")
}

/// Refuses what its `ranking_options` cannot honour.
pub(crate) fn check_ranking(other: &Other) -> Result<(), ApiError> {
    check(other, RANKING, "ranking_options.")
}

/// Refuses what `/v1/tokenize` cannot honour.
pub(crate) fn check_tokenize(other: &Other) -> Result<(), ApiError> {
    check(other, TOKENIZE, "")
}

/// Refuses what a message cannot carry; `at` is the message's own path.
pub(crate) fn check_message(other: &Other, at: &str) -> Result<(), ApiError> {
    check(other, MESSAGE, &format!("{at}."))
}

fn check(other: &Other, refusals: &[Refusal], prefix: &str) -> Result<(), ApiError> {
    for (field, neutral) in refusals {
        let Some(value) = other.get(*field) else {
            continue;
        };
        if value.is_null() || neutral.iter().any(|n| n.allows(value)) {
            continue;
        }
        let param = format!("{prefix}{field}");
        let message = format!("Unsupported parameter: '{param}' is not supported by this node.");
        return Err(ApiError::invalid(param, "unsupported_parameter", message));
    }
    Ok(())
}

impl Neutral {
    fn allows(&self, value: &Value) -> bool {
        match self {
            False => *value == Value::Bool(false),
            True => *value == Value::Bool(true),
            Zero => value.as_f64() == Some(0.0),
            One => value.as_f64() == Some(1.0),
            Empty => match value {
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => false,
            },
            Text(text) => value.as_str() == Some(text),
            TextFormat => *value == json!({ "type": "text" }),
            TextOnly => *value == json!(["text"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: Value) -> Other {
        value.as_object().expect("it is an object").clone()
    }

    #[test]
    fn what_asks_for_nothing_passes_and_the_rest_is_named() {
        let harmless = json!({
            "tools": [], "tool_choice": "none", "store": false, "metadata": null,
            "response_format": {"type": "text"}, "service_tier": "auto", "new_in_2030": 1,
            "modalities": ["text"],
        });
        assert!(check_chat(&fields(harmless)).is_ok());
        for (field, value) in [
            ("tools", json!([{"type": "function"}])),
            ("response_format", json!({"type": "json_object"})),
            ("store", json!(true)),
            ("modalities", json!(["text", "audio"])),
            ("guided_json", json!({})),
            ("ignore_eos", json!(true)),
        ] {
            let error = check_chat(&fields(json!({ field: value }))).expect_err(field);
            let body = error.body().error;
            assert_eq!(body.param.as_deref(), Some(field));
            assert_eq!(body.code.as_deref(), Some("unsupported_parameter"));
        }
        assert!(check_completion(&fields(json!({"echo": true}))).is_err());
        assert!(check_completion(&fields(json!({"echo": false, "best_of": 1}))).is_ok());
        let error = check_message(&fields(json!({"tool_calls": [1]})), "messages[3]");
        let body = error.expect_err("tools").body().error;
        assert_eq!(body.param.as_deref(), Some("messages[3].tool_calls"));
    }
}
