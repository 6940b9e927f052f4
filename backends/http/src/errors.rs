//! An upstream's errors in our words.
//!
//! What the caller did wrong is told in the upstream's sentence, cleaned of addresses and secrets.
//! What the upstream did wrong is told in ours.

mod overflow;

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{BackendError, ModelId};
use serde_json::Value;

/// What was asked for, as far as an error has to speak of it.
#[derive(Clone)]
pub(crate) struct Asked {
    /// By our name.
    pub(crate) model: ModelId,
    /// The field that holds what is to be worked on: `messages`, `prompt` or `input`.
    pub(crate) main: &'static str,
    /// The field that held the limit of tokens.
    pub(crate) max_tokens: &'static str,
    /// What no caller may see.
    pub(crate) hidden: Arc<[String]>,
}

/// When an upstream that is full does not say when to come back.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);
const RETRY_AFTER_MAX: u64 = 3_600;
/// Of an upstream's sentence, in characters.
const SENTENCE_MAX: usize = 300;

/// The fields that an upstream may complain of.
const PARAMS: [&str; 24] = [
    "dimensions",
    "frequency_penalty",
    "input",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "min_p",
    "model",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt",
    "repetition_penalty",
    "response_format",
    "seed",
    "stop",
    "suffix",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

/// An answer with a status that is not 2xx.
pub(crate) fn from_response(
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
    asked: &Asked,
) -> BackendError {
    let body = serde_json::from_slice(body).unwrap_or(Value::Null);
    Complaint::read(&body).into_error(status, retry_after, asked)
}

/// An error object that came in a stream, or instead of one.
pub(crate) fn from_stream(data: &[u8], asked: &Asked) -> BackendError {
    let body = serde_json::from_slice(data).unwrap_or(Value::Null);
    let complaint = Complaint::read(&body);
    let status = complaint.status();
    complaint.into_error(status, None, asked)
}

/// The wait that a `Retry-After` header in seconds asks for.
pub(crate) fn retry_after(header: Option<&str>) -> Option<Duration> {
    let seconds: u64 = header?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.clamp(1, RETRY_AFTER_MAX)))
}

/// What servers of this kind put into an error: OpenAI an object under `error`, older vLLM the
/// object alone, older Ollama a string under `error`, FastAPI a `detail`.
struct Complaint {
    message: String,
    kind: String,
    code: String,
    param: String,
    /// llama.cpp's `n_ctx` and `n_prompt_tokens`.
    context: Option<u32>,
    prompt_tokens: Option<u32>,
}

impl Complaint {
    fn read(body: &Value) -> Self {
        let object = body.get("error").unwrap_or(body);
        let text = |name: &str| match object.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let number = |name: &str| {
            let number = object.get(name).and_then(Value::as_u64)?;
            u32::try_from(number).ok()
        };
        let message = match (object, body.get("detail")) {
            (Value::String(message), _) | (_, Some(Value::String(message))) => message.clone(),
            _ => text("message"),
        };
        Self {
            message,
            kind: text("type"),
            code: text("code"),
            param: text("param"),
            context: number("n_ctx"),
            prompt_tokens: number("n_prompt_tokens"),
        }
    }

    /// The HTTP status that would have fitted, when the real one is long gone.
    fn status(&self) -> u16 {
        match (self.code.parse(), self.kind.as_str()) {
            (Ok(status @ 400..=599), _) => status,
            (_, "invalid_request_error" | "BadRequestError") => 400,
            (_, "rate_limit_error" | "rate_limit_exceeded") => 429,
            _ => 500,
        }
    }

    fn into_error(self, status: u16, retry_after: Option<Duration>, asked: &Asked) -> BackendError {
        if let Some(overflow) = overflow::read(&self, asked) {
            return overflow;
        }
        let param = self.param(asked);
        let upstream = |reason: &str| BackendError::Upstream {
            reason: reason.to_owned(),
        };
        match (status, self.code.as_str()) {
            (404, _) | (_, "model_not_found") => BackendError::ModelNotFound(asked.model.clone()),
            (_, "unsupported_parameter" | "unsupported_value") => BackendError::Unsupported {
                param,
                reason: self.sentence(asked),
            },
            (_, "insufficient_quota") => upstream("our account there is used up"),
            (300..=399, _) => upstream("it redirects elsewhere, which is not followed"),
            (401 | 403, _) => upstream("it refused our credentials"),
            (408 | 504, _) => BackendError::Timeout {
                reason: "it says that it ran out of time".into(),
            },
            (413, _) => BackendError::Invalid {
                param: asked.main,
                reason: "the upstream server takes no request of this size".into(),
            },
            (429, _) => busy(retry_after.unwrap_or(RETRY_AFTER_DEFAULT)),
            (503, _) if retry_after.is_some() => busy(retry_after.unwrap_or(RETRY_AFTER_DEFAULT)),
            (400..=499, _) => BackendError::Invalid {
                param,
                reason: self.sentence(asked),
            },
            (status, _) => upstream(&format!("it reported an error (status {status})")),
        }
    }

    /// The field complained of, by a name that our callers know.
    fn param(&self, asked: &Asked) -> &'static str {
        let name = self.param.split(['.', '[']).next().unwrap_or_default();
        match name {
            "top_logprobs" => "logprobs",
            "max_tokens" | "max_completion_tokens" => asked.max_tokens,
            name => {
                let known = PARAMS.iter().find(|known| **known == name);
                known.copied().unwrap_or(asked.main)
            }
        }
    }

    /// One line for the caller.
    fn sentence(&self, asked: &Asked) -> String {
        let mut message = self.message.clone();
        for hidden in asked.hidden.iter() {
            message = message.replace(hidden, "…");
        }
        let words: Vec<&str> = message.split_whitespace().collect();
        match words.join(" ") {
            empty if empty.is_empty() => "the upstream server refused the request".into(),
            line => line.chars().take(SENTENCE_MAX).collect(),
        }
    }
}

fn busy(retry_after: Duration) -> BackendError {
    BackendError::Busy {
        reason: "the upstream server takes no more requests now".into(),
        retry_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn asked() -> Asked {
        Asked {
            model: "ours".into(),
            main: "messages",
            max_tokens: "max_completion_tokens",
            hidden: Arc::from(["sk-secret".to_owned(), "10.1.2.3:8000".to_owned()]),
        }
    }

    fn error(status: u16, body: &str) -> BackendError {
        from_response(status, None, body.as_bytes(), &asked())
    }

    #[test]
    fn bad_requests_name_the_field_and_tell_the_reason() {
        let invalid = |param, reason: &str| BackendError::Invalid {
            param,
            reason: reason.to_owned(),
        };
        let body = r#"{"error":{"message":"too hot","param":"temperature","code":null}}"#;
        assert_eq!(error(400, body), invalid("temperature", "too hot"));
        let body = r#"{"error":{"message":"bad\n part","param":"messages.[0].content"}}"#;
        assert_eq!(error(400, body), invalid("messages", "bad part"));
        let body = r#"{"error":{"message":"no","param":"max_tokens"}}"#;
        assert_eq!(error(400, body), invalid("max_completion_tokens", "no"));
        assert_eq!(
            error(422, r#"{"detail":"nope"}"#),
            invalid("messages", "nope")
        );
        assert_eq!(
            error(400, r#"{"error":"nope"}"#),
            invalid("messages", "nope")
        );
        let silent = "the upstream server refused the request";
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"error":null}"#,
            r#"{"detail":[1]}"#,
        ] {
            assert_eq!(error(400, body), invalid("messages", silent), "{body}");
        }
    }

    #[test]
    fn addresses_and_secrets_are_cut_out_and_long_sentences_short() {
        let body = r#"{"error":{"message":"http://10.1.2.3:8000/v1 knows sk-secret"}}"#;
        let BackendError::Invalid { reason, .. } = error(400, body) else {
            panic!("it is a bad request");
        };
        assert_eq!(reason, "http://…/v1 knows …");
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "ä".repeat(1_000));
        let BackendError::Invalid { reason, .. } = error(400, &long) else {
            panic!("it is a bad request");
        };
        assert_eq!(reason.chars().count(), SENTENCE_MAX);
    }

    #[test]
    fn statuses_have_their_meaning() {
        let upstream = |status, body: &str| matches!(error(status, body), BackendError::Upstream { reason } if !reason.contains("boom"));
        let body = r#"{"error":{"message":"boom sk-secret"}}"#;
        for status in [301, 401, 403, 500, 502, 503, 599] {
            assert!(upstream(status, body), "{status}");
        }
        let out_of_money = r#"{"error":{"message":"boom","code":"insufficient_quota"}}"#;
        assert!(upstream(429, out_of_money));
        assert_eq!(error(404, body), BackendError::ModelNotFound("ours".into()));
        let body = r#"{"error":{"message":"x","code":"model_not_found"}}"#;
        assert_eq!(error(400, body), BackendError::ModelNotFound("ours".into()));
        for status in [408, 504] {
            assert!(matches!(error(status, ""), BackendError::Timeout { .. }));
        }
        let too_large = BackendError::Invalid {
            param: "messages",
            reason: "the upstream server takes no request of this size".into(),
        };
        assert_eq!(error(413, ""), too_large);
        let body = r#"{"error":{"message":"x","param":"seed","code":"unsupported_parameter"}}"#;
        let unsupported = BackendError::Unsupported {
            param: "seed",
            reason: "x".into(),
        };
        assert_eq!(error(400, body), unsupported);
    }

    #[test]
    fn a_full_upstream_says_when_to_come_back() {
        let wait = |status, header| match from_response(status, retry_after(header), b"", &asked())
        {
            BackendError::Busy { retry_after, .. } => Some(retry_after.as_secs()),
            _ => None,
        };
        assert_eq!(wait(429, Some(" 7 ")), Some(7));
        assert_eq!(wait(429, Some("0")), Some(1));
        assert_eq!(wait(429, Some("999999")), Some(3_600));
        assert_eq!(wait(429, Some("Sun, 06 Nov 1994 08:49:37 GMT")), Some(5));
        assert_eq!(wait(429, None), Some(5));
        assert_eq!(wait(503, Some("3")), Some(3));
        assert_eq!(wait(503, None), None);
    }

    #[test]
    fn an_error_inside_a_stream_is_read_like_one_with_a_status() {
        let stream = |body: &str| from_stream(body.as_bytes(), &asked());
        let body = r#"{"error":{"message":"x","type":"invalid_request_error"}}"#;
        assert!(matches!(stream(body), BackendError::Invalid { .. }));
        let body = r#"{"object":"error","message":"x","code":400}"#;
        assert!(matches!(stream(body), BackendError::Invalid { .. }));
        let body = r#"{"error":{"message":"x","type":"rate_limit_error"}}"#;
        assert!(matches!(stream(body), BackendError::Busy { .. }));
        let body = r#"{"error":{"message":"x","type":"server_error"}}"#;
        assert!(matches!(stream(body), BackendError::Upstream { .. }));
    }
}
