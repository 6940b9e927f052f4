//! Fields that clients of OpenAI or of other servers send and this node cannot honour. They are
//! refused by name, never ignored: a client could not notice. A value that asks for nothing (null,
//! an empty list, the default) passes; fields that nobody knows pass too.

use kwaainet_openapi::Other;
use serde_json::{Value, json};

use super::ApiError;

/// A field and the values of it that ask for nothing.
pub(crate) type Refusal = (&'static str, &'static [Neutral]);

/// A value that asks for nothing.
pub(crate) enum Neutral {
    False,
    True,
    Zero,
    One,
    Empty,
    Text(&'static str),
    /// `{"mode": "implicit"}`.
    Implicit,
    /// `["text"]`.
    TextOnly,
}

use Neutral::{Empty, False, Implicit, One, Text, TextOnly, True, Zero};

/// What no generating endpoint can do.
const GENERATE: &[Refusal] = &[
    ("allowed_token_ids", &[]),
    ("background", &[False]),
    ("bad_words", &[Empty]),
    ("chat_template", &[]),
    ("chat_template_kwargs", &[Empty]),
    ("continue_final_message", &[False]),
    ("documents", &[Empty]),
    ("dry_multiplier", &[Zero]),
    ("dynatemp_range", &[Zero]),
    ("grammar", &[Empty]),
    ("guided_decoding_backend", &[]),
    ("guided_whitespace_pattern", &[]),
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
    ("return_token_ids", &[False]),
    ("return_tokens_as_token_ids", &[False]),
    ("service_tier", &[Text("auto"), Text("default")]),
    ("skip_special_tokens", &[True]),
    ("stop_token_ids", &[Empty]),
    ("tfs_z", &[One]),
    ("truncate_prompt_tokens", &[]),
    ("typical_p", &[One]),
    ("use_beam_search", &[False]),
    ("xtc_probability", &[Zero]),
];

const CHAT: &[Refusal] = &[
    ("audio", &[]),
    ("echo", &[False]),
    ("modalities", &[TextOnly]),
    ("moderation", &[]),
    ("prompt_cache_options", &[Empty, Implicit]),
    ("prompt_cache_retention", &[Text("in_memory")]),
    ("reasoning_effort", &[Text("none")]),
    ("store", &[False]),
    ("verbosity", &[Text("medium")]),
    ("web_search_options", &[]),
];

const COMPLETION: &[Refusal] = &[("tools", &[Empty])];

const STRUCTURED_OUTPUTS: &[Refusal] = &[
    ("disable_additional_properties", &[False]),
    ("disable_any_whitespace", &[False]),
    ("structural_tag", &[]),
    ("whitespace_pattern", &[]),
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
];

const MESSAGE: &[Refusal] = &[
    ("annotations", &[Empty]),
    ("audio", &[]),
    ("refusal", &[Empty]),
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

/// Refuses what `structured_outputs` cannot say here.
pub(crate) fn check_structured_outputs(other: &Other) -> Result<(), ApiError> {
    check(other, STRUCTURED_OUTPUTS, "structured_outputs.")
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

/// Refuses what stands in a table; `prefix` is put before a field's name.
pub(crate) fn check(other: &Other, refusals: &[Refusal], prefix: &str) -> Result<(), ApiError> {
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
            Implicit => *value == json!({ "mode": "implicit" }),
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
            "store": false, "audio": null, "service_tier": "auto", "new_in_2030": 1,
            "modalities": ["text"], "reasoning_effort": "none", "verbosity": "medium",
            "prompt_cache_options": {"mode": "implicit"}, "prompt_cache_retention": "in_memory",
        });
        assert!(check_chat(&fields(harmless)).is_ok());
        for (field, value) in [
            ("store", json!(true)),
            ("modalities", json!(["text", "audio"])),
            ("audio", json!({"voice": "alloy"})),
            ("reasoning_effort", json!("high")),
            ("verbosity", json!("low")),
            ("service_tier", json!("priority")),
            ("prompt_cache_options", json!({"mode": "explicit"})),
            ("prompt_cache_retention", json!("24h")),
            ("moderation", json!({"model": "omni"})),
            ("web_search_options", json!({})),
            ("grammar", json!("root ::= x")),
            ("ignore_eos", json!(true)),
        ] {
            let error = check_chat(&fields(json!({ field: value }))).expect_err(field);
            let body = error.body().error;
            assert_eq!(body.param.as_deref(), Some(field));
            assert_eq!(body.code.as_deref(), Some("unsupported_parameter"));
        }
        assert!(check_completion(&fields(json!({"tools": [1]}))).is_err());
        let error = check_message(&fields(json!({"refusal": "no"})), "messages[3]");
        let body = error.expect_err("a refusal").body().error;
        assert_eq!(body.param.as_deref(), Some("messages[3].refusal"));
    }
}
