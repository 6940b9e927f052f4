//! Ollama's options in the domain's words, and what its requests cannot ask of this node.
//!
//! What is not given has Ollama's default where there is one in the domain. Options that only tell a
//! machine how to compute are passed over: `num_ctx`, too, since a prompt that does not fit the model
//! is an error here and never cut.

use kwaainet_core::{GenerateParams, Grammar, GrammarKind, Sampling};
use kwaainet_openapi::{OllamaOptions, Other};
use serde_json::Value;

use crate::door::unsupported::{self, Neutral, Refusal};
use crate::door::{ApiError, params};

const TEMPERATURE: f32 = 0.8;
const TOP_K: i64 = 40;
const TOP_P: f32 = 0.9;
/// As for other doors' lists of texts.
const STOPS_MAX: usize = 64;
const TOP_LOGPROBS_MAX: i64 = 20;

/// What no request can ask for.
const REFUSED: &[Refusal] = &[
    ("_debug_render_only", &[Neutral::False]),
    ("context", &[Neutral::Empty]),
    ("height", &[Neutral::Zero]),
    ("images", &[Neutral::Empty]),
    ("steps", &[Neutral::Zero]),
    ("template", &[Neutral::Empty]),
    ("think", &[Neutral::False]),
    ("width", &[Neutral::Zero]),
];

const REFUSED_OPTIONS: &[Refusal] = &[
    ("embedding_only", &[Neutral::False]),
    ("logits_all", &[Neutral::False]),
    ("mirostat", &[Neutral::Zero]),
    ("penalize_newline", &[Neutral::True]),
    ("tfs_z", &[Neutral::One]),
    ("typical_p", &[Neutral::One]),
    ("vocab_only", &[Neutral::False]),
];

/// Refuses what this node cannot honour.
pub(super) fn check(other: &Other) -> Result<(), ApiError> {
    unsupported::check(other, REFUSED, "")?;
    match other.get("keep_alive") {
        None | Some(Value::Null | Value::Number(_) | Value::String(_)) => Ok(()),
        Some(_) => {
            let message = "Invalid type for 'keep_alive': expected a number or a string.";
            Err(ApiError::invalid("keep_alive", "invalid_type", message))
        }
    }
}

/// A request without a question loads the model, or with no time to keep it asks to take it out of
/// memory, which the node does by itself when the place is needed.
pub(super) fn refuse_unload(other: &Other) -> Result<(), ApiError> {
    if !unloads(other) {
        return Ok(());
    }
    let message = "Unsupported 'keep_alive': models leave the memory when their place is needed, \
                   not on request.";
    Err(ApiError::invalid(
        "keep_alive",
        "unsupported_value",
        message,
    ))
}

fn unloads(other: &Other) -> bool {
    match other.get("keep_alive") {
        Some(Value::Number(seconds)) => seconds.as_f64() == Some(0.0),
        Some(Value::String(time)) => time.trim_end_matches(['s', 'm', 'h']) == "0",
        _ => false,
    }
}

/// How the text is generated.
pub(super) fn read(
    options: Option<OllamaOptions>,
    format: Option<Value>,
    logprobs: Option<u8>,
) -> Result<GenerateParams, ApiError> {
    let options = options.unwrap_or_default();
    unsupported::check(&options.other, REFUSED_OPTIONS, "options.")?;
    check_window(&options)?;
    let stop = params::one_or_many(options.stop.clone(), "options.stop")?;
    Ok(GenerateParams {
        max_tokens: max_tokens(options.num_predict)?,
        max_tokens_param: "options.num_predict",
        stop: params::stops(stop, "options.stop", STOPS_MAX)?,
        logprobs,
        grammar: grammar(format)?,
        sampling: sampling(&options)?,
        ..GenerateParams::default()
    })
}

fn sampling(options: &OllamaOptions) -> Result<Sampling, ApiError> {
    let number = |value, name, range, default| params::number(value, name, range, default);
    let top_k = params::integer(options.top_k, "options.top_k", (0, i64::from(u32::MAX)))?;
    if options.repeat_penalty.is_some_and(|penalty| penalty <= 0.0) {
        let param = "options.repeat_penalty";
        let message = format!("Invalid '{param}': it must be above 0.");
        return Err(ApiError::invalid(param, "decimal_below_min_value", message));
    }
    let both = (-2.0, 2.0);
    Ok(Sampling {
        temperature: number(
            options.temperature,
            "options.temperature",
            (0.0, 2.0),
            TEMPERATURE,
        )?,
        top_p: number(options.top_p, "options.top_p", (0.0, 1.0), TOP_P)?,
        top_k: top_k.unwrap_or(TOP_K) as u32,
        min_p: number(options.min_p, "options.min_p", (0.0, 1.0), 0.0)?,
        frequency_penalty: number(
            options.frequency_penalty,
            "options.frequency_penalty",
            both,
            0.0,
        )?,
        presence_penalty: number(
            options.presence_penalty,
            "options.presence_penalty",
            both,
            0.0,
        )?,
        repetition_penalty: number(
            options.repeat_penalty,
            "options.repeat_penalty",
            (0.0, 10.0),
            1.0,
        )?,
        logit_bias: Vec::new(),
        // Any whole number is a seed but the one that stands for none.
        seed: options
            .seed
            .filter(|seed| *seed != -1)
            .map(|seed| seed as u64),
    })
}

/// Penalties look at all that was said; a window makes a difference only where there is one.
fn check_window(options: &OllamaOptions) -> Result<(), ApiError> {
    let window = options.other.get("repeat_last_n").unwrap_or(&Value::Null);
    let penalties = [
        options.repeat_penalty.is_some_and(|penalty| penalty != 1.0),
        options
            .presence_penalty
            .is_some_and(|penalty| penalty != 0.0),
        options
            .frequency_penalty
            .is_some_and(|penalty| penalty != 0.0),
    ];
    if window.is_null() || window.as_i64() == Some(-1) || penalties == [false; 3] {
        return Ok(());
    }
    let param = "options.repeat_last_n";
    let message = format!("Unsupported '{param}': penalties look at all that was said; send -1.");
    Err(ApiError::invalid(param, "unsupported_value", message))
}

fn max_tokens(wanted: Option<i64>) -> Result<Option<u32>, ApiError> {
    match wanted {
        None | Some(-2 | -1) => Ok(None),
        wanted => params::max_tokens(wanted, "options.num_predict"),
    }
}

fn grammar(format: Option<Value>) -> Result<Option<Grammar>, ApiError> {
    let param = "format";
    let kind = match format {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(format)) if format.is_empty() => return Ok(None),
        Some(Value::String(format)) if format == "json" => GrammarKind::JsonObject,
        Some(schema @ Value::Object(_)) => GrammarKind::JsonSchema(schema),
        Some(_) => {
            let message = "Invalid 'format': expected 'json' or a JSON schema, an object.";
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
    };
    Ok(Some(Grammar { kind, param }))
}

/// Whether log-probabilities are wanted, and with how many alternatives.
pub(super) fn logprobs(wanted: Option<bool>, top: Option<i64>) -> Result<Option<u8>, ApiError> {
    let top = params::integer(top, "top_logprobs", (0, TOP_LOGPROBS_MAX))?.unwrap_or(0);
    match (wanted.unwrap_or(false), top) {
        (false, 0) => Ok(None),
        (false, _) => {
            let message = "'top_logprobs' needs 'logprobs' to be true.";
            Err(ApiError::invalid("top_logprobs", "invalid_value", message))
        }
        (true, top) => Ok(Some(top as u8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(value: Value) -> Result<GenerateParams, ApiError> {
        let options = serde_json::from_value(value).expect("it has the right types");
        read(Some(options), None, None)
    }

    fn refused(value: Value) -> String {
        let error = options(value).expect_err("it is refused").body().error;
        error.param.expect("a field is at fault")
    }

    #[test]
    fn what_is_not_given_has_ollamas_default() {
        let params = read(None, None, None).expect("nothing is wrong");
        assert_eq!(params.max_tokens, None);
        assert_eq!(params.sampling.seed, None);
        let drawn = (params.sampling.temperature, params.sampling.top_p);
        assert_eq!((drawn, params.sampling.top_k), ((0.8, 0.9), 40));
    }

    #[test]
    fn options_for_a_machine_pass_and_those_for_the_text_do_not() {
        let machine = json!({"num_ctx": 4096, "num_gpu": 1, "num_thread": 8, "use_mmap": true,
            "num_keep": 5, "mirostat": 0, "mirostat_tau": 0.8, "repeat_last_n": 33});
        assert!(options(machine).is_ok());
        assert_eq!(refused(json!({"mirostat": 1})), "options.mirostat");
        assert_eq!(refused(json!({"typical_p": 0.7})), "options.typical_p");
        let window = json!({"repeat_last_n": 64, "repeat_penalty": 1.1});
        assert_eq!(refused(window), "options.repeat_last_n");
        let all = json!({"repeat_last_n": -1, "repeat_penalty": 1.1});
        assert!(options(all).is_ok());
    }

    #[test]
    fn numbers_that_stand_for_none_are_none() {
        let params = options(json!({"num_predict": -1, "seed": -1})).expect("it is sound");
        assert_eq!((params.max_tokens, params.sampling.seed), (None, None));
        assert_eq!(refused(json!({"num_predict": 0})), "options.num_predict");
        assert_eq!(refused(json!({"temperature": -1})), "options.temperature");
        assert_eq!(
            refused(json!({"repeat_penalty": 0})),
            "options.repeat_penalty"
        );
        assert_eq!(refused(json!({"stop": [""]})), "options.stop");
    }

    #[test]
    fn zero_seconds_are_written_in_several_ways() {
        for (value, expected) in [
            (json!({"keep_alive": 0}), true),
            (json!({"keep_alive": "0"}), true),
            (json!({"keep_alive": "0s"}), true),
            (json!({"keep_alive": "10m"}), false),
            (json!({"keep_alive": -1}), false),
            (json!({}), false),
        ] {
            let other = value.as_object().expect("an object").clone();
            assert_eq!(unloads(&other), expected, "{value}");
        }
    }
}
