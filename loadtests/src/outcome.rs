//! How one request ended.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// The end of one request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With a whole answer.
    Done(Answer),
    /// We left before the end, as planned.
    Left,
    /// In any other way.
    Failed(Failure),
}

impl Outcome {
    /// The same, but a whole answer of any other number of tokens is a failure.
    pub(crate) fn only_with(self, tokens: u64) -> Self {
        let Self::Done(answer) = &self else {
            return self;
        };
        match answer.usage {
            Some(usage) if usage.completion_tokens == tokens => self,
            Some(_) => Self::Failed(Failure::new("another number of tokens than asked for")),
            None => Self::Failed(Failure::new("answer without a usage")),
        }
    }
}

/// What is known of a whole answer. Times run from before the request was sent.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// To the response head.
    pub(crate) head: Duration,
    /// To the first piece with text, if it was a stream and had one.
    pub(crate) first: Option<Duration>,
    /// From there to the last piece with text.
    pub(crate) writing: Duration,
    /// To the end.
    pub(crate) total: Duration,
    /// Tokens as the server counted them, if it did.
    pub(crate) usage: Option<Usage>,
}

/// Tokens as a server counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Usage {
    #[serde(default)]
    pub(crate) prompt_tokens: u64,
    #[serde(default)]
    pub(crate) completion_tokens: u64,
}

/// What went wrong, in a few words by which equal failures are counted together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

/// Of a failure's words, in characters. They come from outside.
const WORDS_MAX: usize = 60;

impl Failure {
    pub(crate) fn new(words: impl AsRef<str>) -> Self {
        let clean = words.as_ref().chars().filter(|c| !c.is_control());
        Self(clean.take(WORDS_MAX).collect())
    }

    /// From a status and the body that came with it.
    pub(crate) fn refused(status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: ErrorObject,
        }
        match serde_json::from_slice(body) {
            Ok(Body { error }) => Self::new(format!("{status} {}", error.name())),
            Err(_) => Self::new(format!("{status}")),
        }
    }

    pub(crate) fn words(&self) -> &str {
        &self.0
    }
}

/// OpenAI's error object, as far as it names the error.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorObject {
    #[serde(default)]
    code: Value,
    #[serde(default, rename = "type")]
    kind: Value,
}

impl ErrorObject {
    /// The code, or else the type.
    pub(crate) fn name(&self) -> String {
        match (&self.code, &self.kind) {
            (Value::String(name), _) | (Value::Null, Value::String(name)) => name.clone(),
            (Value::Number(code), _) => code.to_string(),
            _ => "error".to_owned(),
        }
    }
}

/// Failures by their words. Bounded: what is too many kinds goes under one name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures(BTreeMap<String, u64>);

const KINDS_MAX: usize = 32;

impl Failures {
    pub(crate) fn add(&mut self, words: &str, times: u64) {
        let known = self.0.len() < KINDS_MAX || self.0.contains_key(words);
        let words = if known { words } else { "others" };
        *self.0.entry(words.to_owned()).or_default() += times;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (words, times) in &other.0 {
            self.add(words, *times);
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn by_words(&self) -> &BTreeMap<String, u64> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_named_by_status_and_code() {
        let words = |body: &str| Failure::refused(503, body.as_bytes()).0;
        assert_eq!(
            words(r#"{"error":{"code":"overloaded","type":"x"}}"#),
            "503 overloaded"
        );
        assert_eq!(
            words(r#"{"error":{"code":null,"type":"server_error"}}"#),
            "503 server_error"
        );
        assert_eq!(words(r#"{"error":{"code":7}}"#), "503 7");
        assert_eq!(words(r#"{"error":{}}"#), "503 error");
        assert_eq!(words("<html>"), "503");
        let long = format!(r#"{{"error":{{"code":"{}\n"}}}}"#, "é".repeat(100));
        assert_eq!(words(&long).chars().count(), WORDS_MAX);
    }

    #[test]
    fn an_answer_of_another_length_is_a_failure_where_the_length_counts() {
        let answer = |completion_tokens| {
            Outcome::Done(Answer {
                usage: Some(Usage {
                    prompt_tokens: 1,
                    completion_tokens,
                }),
                ..Answer::default()
            })
        };
        assert!(matches!(answer(8).only_with(8), Outcome::Done(_)));
        assert!(matches!(answer(7).only_with(8), Outcome::Failed(_)));
        let uncounted = Outcome::Done(Answer::default());
        assert!(matches!(uncounted.only_with(8), Outcome::Failed(_)));
        assert!(matches!(Outcome::Left.only_with(8), Outcome::Left));
    }

    #[test]
    fn failures_of_too_many_kinds_are_still_all_counted() {
        let mut failures = Failures::default();
        for i in 0..100 {
            failures.add(&format!("kind {i}"), 2);
        }
        failures.add("kind 0", 1);
        assert_eq!(failures.total(), 201);
        assert!(failures.by_words().len() <= KINDS_MAX + 1);
        assert_eq!(failures.by_words()["kind 0"], 3);
    }
}
