//! The one validation layer: wire fields in, domain values within their ranges out. A refusal
//! names the field as OpenAI does and carries OpenAI's code.

use std::collections::BTreeMap;

use kwaainet_core::{ModelId, Sampling};
use kwaainet_openapi::{Stop, StreamOptions};
use serde_json::Value;

use super::ApiError;

/// Choices that one request may ask for, over all its prompts. OpenAI's limit for `n`.
pub(crate) const CHOICES_MAX: i64 = 128;
const STOPS_MAX: usize = 4;
const STOP_BYTES_MAX: usize = 1_024;
/// Bytes of a name that means something to the caller only.
pub(crate) const LABEL_BYTES_MAX: usize = 512;
/// OpenAI's limits of `metadata`; lengths in characters.
const METADATA_PAIRS_MAX: usize = 16;
const METADATA_KEY_MAX: usize = 64;
const METADATA_VALUE_MAX: usize = 512;

/// A field that must be there.
pub(crate) fn required<T>(value: Option<T>, param: &'static str) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::missing(param))
}

/// The model's name.
pub(crate) fn model(name: Option<String>) -> Result<ModelId, ApiError> {
    let name = required(name, "model")?;
    if name.is_empty() || name.len() > 256 {
        let message = "Invalid 'model': the name must have 1 to 256 bytes.";
        return Err(ApiError::invalid("model", "invalid_value", message));
    }
    Ok(ModelId::new(name))
}

/// A number within its range.
pub(crate) fn number(
    value: Option<f64>,
    param: &'static str,
    (min, max): (f64, f64),
    default: f32,
) -> Result<f32, ApiError> {
    let Some(value) = value else {
        return Ok(default);
    };
    let refuse = |code, bound, limit| {
        let message = format!(
            "Invalid '{param}': decimal {bound} value. Expected a value {} {limit}, but got \
             {value} instead.",
            if bound == "below minimum" { ">=" } else { "<=" }
        );
        Err(ApiError::invalid(param, code, message))
    };
    if value < min {
        refuse("decimal_below_min_value", "below minimum", min)
    } else if value > max {
        refuse("decimal_above_max_value", "above maximum", max)
    } else {
        Ok(value as f32)
    }
}

/// A whole number within its range.
pub(crate) fn integer(
    value: Option<i64>,
    param: &'static str,
    (min, max): (i64, i64),
) -> Result<Option<i64>, ApiError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let refuse = |code, bound, sign, limit| {
        let message = format!(
            "Invalid '{param}': integer {bound} value. Expected a value {sign} {limit}, but got \
             {value} instead."
        );
        Err(ApiError::invalid(param, code, message))
    };
    if value < min {
        refuse("integer_below_min_value", "below minimum", ">=", min)
    } else if value > max {
        refuse("integer_above_max_value", "above maximum", "<=", max)
    } else {
        Ok(Some(value))
    }
}

/// How many choices of each prompt.
pub(crate) fn choices(n: Option<i64>, prompts: usize) -> Result<u16, ApiError> {
    let n = integer(n, "n", (1, CHOICES_MAX))?.unwrap_or(1);
    if n * prompts as i64 > CHOICES_MAX {
        let message = format!(
            "Invalid 'n': {n} choices of {prompts} prompts are more than {CHOICES_MAX} in all."
        );
        return Err(ApiError::invalid("n", "integer_above_max_value", message));
    }
    Ok(n as u16)
}

/// The most tokens of an answer.
pub(crate) fn max_tokens(value: Option<i64>, param: &'static str) -> Result<Option<u32>, ApiError> {
    // More than 32 bits of tokens fit into no context; the engine says so.
    let value = integer(value, param, (1, i64::MAX))?;
    Ok(value.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX)))
}

/// The texts that end an answer.
pub(crate) fn stop(value: Option<Value>) -> Result<Vec<String>, ApiError> {
    stops(one_or_many(value, "stop")?, "stop", STOPS_MAX)
}

/// A text or a list of texts.
pub(crate) fn one_or_many(value: Option<Value>, param: &str) -> Result<Vec<String>, ApiError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    match serde_json::from_value(value) {
        Ok(Stop::One(text)) => Ok(vec![text]),
        Ok(Stop::Many(texts)) => Ok(texts),
        Err(_) => {
            let message =
                format!("Invalid type for '{param}': expected a string or an array of strings.");
            Err(ApiError::invalid(param, "invalid_type", message))
        }
    }
}

/// The same where they came in a list, of at most so many.
pub(crate) fn stops(stops: Vec<String>, param: &str, max: usize) -> Result<Vec<String>, ApiError> {
    if stops.len() > max {
        let len = stops.len();
        let message = format!("Invalid '{param}': at most {max} texts, but got {len}.");
        return Err(ApiError::invalid(param, "array_above_max_length", message));
    }
    let is_sound = |stop: &String| (1..=STOP_BYTES_MAX).contains(&stop.len());
    if !stops.iter().all(is_sound) {
        let message =
            format!("Invalid '{param}': each text must have 1 to {STOP_BYTES_MAX} bytes.");
        return Err(ApiError::invalid(param, "invalid_value", message));
    }
    Ok(stops)
}

/// Whether to stream, and whether to end the stream with the usage.
pub(crate) fn streaming(
    stream: Option<bool>,
    options: Option<StreamOptions>,
) -> Result<Option<IncludeUsage>, ApiError> {
    let stream = stream.unwrap_or(false);
    let Some(options) = options else {
        return Ok(stream.then_some(IncludeUsage(false)));
    };
    if !stream {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(ApiError::invalid(
            "stream_options",
            "invalid_value",
            message,
        ));
    }
    for option in ["include_obfuscation", "continuous_usage_stats"] {
        if options.other.get(option) == Some(&Value::Bool(true)) {
            let param = format!("stream_options.{option}");
            let message = format!("Unsupported parameter: '{param}' is not supported.");
            return Err(ApiError::invalid(param, "unsupported_parameter", message));
        }
    }
    Ok(Some(IncludeUsage(options.include_usage.unwrap_or(false))))
}

/// A stream is wanted; with this flag, one that ends with its usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IncludeUsage(pub(crate) bool);

/// Refuses what makes no sense where nobody waits for the answer.
pub(crate) fn not_in_a_batch(param: &str, is_asked: bool) -> Result<(), ApiError> {
    if !is_asked {
        return Ok(());
    }
    let message = format!("Unsupported value: '{param}' cannot be true in a batch.");
    Err(ApiError::invalid(param, "unsupported_value", message))
}

/// The caller's name for his user: checked, then forgotten.
pub(crate) fn user(user: Option<String>) -> Result<(), ApiError> {
    label(user, "user", LABEL_BYTES_MAX).map(drop)
}

/// A name that means something to the caller only.
pub(crate) fn label(
    label: Option<String>,
    param: &'static str,
    bytes_max: usize,
) -> Result<Option<String>, ApiError> {
    match label {
        Some(label) if label.len() > bytes_max => {
            let message = format!("Invalid '{param}': at most {bytes_max} bytes.");
            Err(ApiError::invalid(param, "string_above_max_length", message))
        }
        label => Ok(label),
    }
}

/// The caller's notes on his request, within OpenAI's limits.
pub(crate) fn metadata(
    metadata: Option<BTreeMap<String, String>>,
) -> Result<BTreeMap<String, String>, ApiError> {
    let metadata = metadata.unwrap_or_default();
    let refuse = |code, what| {
        let message = format!("Invalid 'metadata': {what}.");
        Err(ApiError::invalid("metadata", code, message))
    };
    if metadata.len() > METADATA_PAIRS_MAX {
        let what = format!("at most {METADATA_PAIRS_MAX} pairs");
        return refuse("object_above_max_properties", what);
    }
    for (key, value) in &metadata {
        if key.chars().count() > METADATA_KEY_MAX {
            let what = format!("a key has at most {METADATA_KEY_MAX} characters");
            return refuse("string_above_max_length", what);
        }
        if value.chars().count() > METADATA_VALUE_MAX {
            let what = format!("a value has at most {METADATA_VALUE_MAX} characters");
            return refuse("string_above_max_length", what);
        }
    }
    Ok(metadata)
}

/// The sampling fields, which chat and completions share word for word.
pub(crate) struct SamplingFields {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: Option<i64>,
    pub(crate) min_p: Option<f64>,
    pub(crate) frequency_penalty: Option<f64>,
    pub(crate) presence_penalty: Option<f64>,
    pub(crate) repetition_penalty: Option<f64>,
    pub(crate) logit_bias: Option<BTreeMap<String, f64>>,
    pub(crate) seed: Option<i64>,
}

/// Takes the [`SamplingFields`] out of a request.
macro_rules! sampling_fields {
    ($request:expr) => {
        $crate::door::params::SamplingFields {
            temperature: $request.temperature,
            top_p: $request.top_p,
            top_k: $request.top_k,
            min_p: $request.min_p,
            frequency_penalty: $request.frequency_penalty,
            presence_penalty: $request.presence_penalty,
            repetition_penalty: $request.repetition_penalty,
            logit_bias: $request.logit_bias.take(),
            seed: $request.seed,
        }
    };
}
pub(crate) use sampling_fields;

impl SamplingFields {
    pub(crate) fn check(self) -> Result<Sampling, ApiError> {
        let top_k = integer(self.top_k, "top_k", (0, i64::from(u32::MAX)))?.unwrap_or(0);
        if self
            .repetition_penalty
            .is_some_and(|penalty| penalty <= 0.0)
        {
            let message = "Invalid 'repetition_penalty': it must be above 0.";
            let param = "repetition_penalty";
            return Err(ApiError::invalid(param, "decimal_below_min_value", message));
        }
        Ok(Sampling {
            temperature: number(self.temperature, "temperature", (0.0, 2.0), 1.0)?,
            top_p: number(self.top_p, "top_p", (0.0, 1.0), 1.0)?,
            top_k: top_k as u32,
            min_p: number(self.min_p, "min_p", (0.0, 1.0), 0.0)?,
            frequency_penalty: number(
                self.frequency_penalty,
                "frequency_penalty",
                (-2.0, 2.0),
                0.0,
            )?,
            presence_penalty: number(self.presence_penalty, "presence_penalty", (-2.0, 2.0), 0.0)?,
            repetition_penalty: number(
                self.repetition_penalty,
                "repetition_penalty",
                (0.0, 10.0),
                1.0,
            )?,
            logit_bias: logit_bias(self.logit_bias)?,
            // Any whole number is a seed; its bits are what counts.
            seed: self.seed.map(|seed| seed as u64),
        })
    }
}

fn logit_bias(bias: Option<BTreeMap<String, f64>>) -> Result<Vec<(u32, f32)>, ApiError> {
    bias.unwrap_or_default()
        .into_iter()
        .map(|(id, bias)| {
            let id = id.parse().map_err(|_| {
                let message = "Invalid key in 'logit_bias': keys must be token ids.";
                ApiError::invalid("logit_bias", "invalid_value", message)
            })?;
            let bias = number(Some(bias), "logit_bias", (-100.0, 100.0), 0.0)?;
            Ok((id, bias))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        let body = result.expect_err("it is refused").body().error;
        body.code.expect("it has a code")
    }

    #[test]
    fn numbers_keep_to_their_ranges() {
        let range = (0.0, 2.0);
        assert_eq!(number(None, "temperature", range, 1.0).ok(), Some(1.0));
        assert_eq!(number(Some(2.0), "temperature", range, 1.0).ok(), Some(2.0));
        let below = number(Some(-0.1), "temperature", range, 1.0);
        assert_eq!(
            below.expect_err("too low").body().error.message,
            "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got \
             -0.1 instead."
        );
        let above = number(Some(2.1), "temperature", range, 1.0);
        assert_eq!(code(above), "decimal_above_max_value");
        assert_eq!(code(choices(Some(0), 1)), "integer_below_min_value");
        assert_eq!(code(choices(Some(129), 1)), "integer_above_max_value");
        assert_eq!(code(choices(Some(65), 2)), "integer_above_max_value");
        assert_eq!(
            code(max_tokens(Some(0), "max_tokens")),
            "integer_below_min_value"
        );
    }

    #[test]
    fn stops_are_one_or_a_few() {
        assert_eq!(stop(Some(json!("a"))).ok(), Some(vec!["a".to_owned()]));
        assert_eq!(stop(Some(json!(null))).ok(), Some(vec![]));
        assert_eq!(code(stop(Some(json!(7)))), "invalid_type");
        assert_eq!(code(stop(Some(json!([""])))), "invalid_value");
        let five = json!(["a", "b", "c", "d", "e"]);
        assert_eq!(code(stop(Some(five))), "array_above_max_length");
    }

    #[test]
    fn notes_keep_to_openais_limits() {
        let notes = |count: usize, key: usize, value: usize| {
            let pair = |i| (format!("{i:0key$}"), "v".repeat(value));
            metadata(Some((0..count).map(pair).collect()))
        };
        assert!(notes(16, 64, 512).is_ok());
        assert_eq!(code(notes(17, 2, 1)), "object_above_max_properties");
        assert_eq!(code(notes(1, 65, 1)), "string_above_max_length");
        assert_eq!(code(notes(1, 1, 513)), "string_above_max_length");
        assert_eq!(
            code(label(Some("x".repeat(513)), "user", LABEL_BYTES_MAX)),
            "string_above_max_length"
        );
    }

    #[test]
    fn a_bias_is_by_token_id() {
        let bias = |key: &str, value| logit_bias(Some([(key.to_owned(), value)].into()));
        assert_eq!(bias("7", -100.0).ok(), Some(vec![(7, -100.0)]));
        assert_eq!(code(bias("seven", 1.0)), "invalid_value");
        assert_eq!(code(bias("7", 101.0)), "decimal_above_max_value");
    }
}
