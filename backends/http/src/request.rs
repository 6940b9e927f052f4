//! A generation in OpenAI's request format.

use std::collections::BTreeMap;

use kwaainet_core::{BackendError, GenerateParams, GenerateRequest, Prompt, Sampling};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::chat;

/// The body for `chat/completions` or `completions`.
#[derive(Serialize)]
pub(crate) struct GenerateBody<'a> {
    model: &'a str,
    /// The conversation and its tools; empty for a completion.
    #[serde(flatten)]
    chat: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<WirePrompt<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<WireLogprobs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    #[serde(flatten)]
    sampling: WireSampling,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WirePrompt<'a> {
    Text(&'a str),
    Tokens(&'a [u32]),
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireLogprobs {
    /// Chat: yes, and the number stands elsewhere.
    Wanted(bool),
    /// Completions: the number of alternatives.
    Alternatives(u8),
}

/// Temperature and top-p are always sent, since many servers have defaults of their own.
#[derive(Serialize)]
struct WireSampling {
    temperature: f32,
    top_p: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    logit_bias: BTreeMap<String, f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    // Not OpenAI's, but common; a server that lacks one has to be able to live without.
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f32>,
}

impl<'a> GenerateBody<'a> {
    /// The path under the base URL, and the body. `model` is the upstream's name.
    ///
    /// # Errors
    /// For what no other server can be asked for.
    pub(crate) fn new(
        model: &'a str,
        request: &'a GenerateRequest,
    ) -> Result<(&'static str, Self), BackendError> {
        let params = &request.params;
        let is_chat = matches!(request.prompt, Prompt::Chat(_));
        // The newer name is sent where the client used it: an old server knows only the other.
        let newer = is_chat && params.max_tokens_param == "max_completion_tokens";
        if params.echo {
            return Err(BackendError::Unsupported {
                param: "echo",
                reason: "the upstream server is not asked to say the prompt".into(),
            });
        }
        let mut fields = Map::new();
        let (mut prompt, mut suffix) = (None, None);
        match &request.prompt {
            Prompt::Chat(chat) => fields = chat::fields(chat),
            Prompt::Infill {
                prefix,
                suffix: after,
            } => (prompt, suffix) = (Some(WirePrompt::Text(prefix)), Some(after.as_str())),
            Prompt::Text(text) => prompt = Some(WirePrompt::Text(text)),
            Prompt::Tokens(ids) => prompt = Some(WirePrompt::Tokens(ids)),
        }
        let grammar = params.grammar.as_ref();
        let response_format = grammar.map(chat::response_format).transpose()?;
        let (logprobs, top_logprobs) = logprobs(is_chat, params);
        let body = Self {
            model,
            chat: fields,
            prompt,
            suffix,
            response_format,
            stream: true,
            stream_options: StreamOptions {
                include_usage: true,
            },
            n: unless(params.n, 1),
            max_tokens: params.max_tokens.filter(|_| !newer),
            max_completion_tokens: params.max_tokens.filter(|_| newer),
            stop: &params.stop,
            logprobs,
            top_logprobs,
            sampling: sampling(&params.sampling),
        };
        let path = if is_chat {
            "chat/completions"
        } else {
            "completions"
        };
        Ok((path, body))
    }
}

fn logprobs(is_chat: bool, params: &GenerateParams) -> (Option<WireLogprobs>, Option<u8>) {
    match params.logprobs {
        None => (None, None),
        Some(top) if is_chat => (Some(WireLogprobs::Wanted(true)), unless(top, 0)),
        Some(top) => (Some(WireLogprobs::Alternatives(top)), None),
    }
}

fn sampling(sampling: &Sampling) -> WireSampling {
    let biases = sampling.logit_bias.iter();
    WireSampling {
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        frequency_penalty: unless(sampling.frequency_penalty, 0.0),
        presence_penalty: unless(sampling.presence_penalty, 0.0),
        logit_bias: biases.map(|(id, bias)| (id.to_string(), *bias)).collect(),
        seed: sampling.seed,
        top_k: unless(sampling.top_k, 0),
        min_p: unless(sampling.min_p, 0.0),
        repetition_penalty: unless(sampling.repetition_penalty, 1.0),
    }
}

/// The value, unless it is what is meant when nothing is said.
fn unless<T: PartialEq>(value: T, default: T) -> Option<T> {
    (value != default).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{Message, PrincipalId, Role};
    use serde_json::json;

    fn sent(prompt: Prompt, params: GenerateParams) -> (&'static str, serde_json::Value) {
        let request = GenerateRequest {
            model: "ours".into(),
            prompt,
            params,
            owner: PrincipalId::operator(),
            resume: None,
        };
        let (path, body) = GenerateBody::new("theirs", &request).expect("it can be asked");
        let text = serde_json::to_string(&body).expect("it can be written");
        (path, serde_json::from_str(&text).expect("it can be read"))
    }

    fn chat() -> Prompt {
        let message = Message {
            name: Some("ada".into()),
            ..Message::new(Role::User, "hi")
        };
        Prompt::Chat(vec![message].into())
    }

    #[test]
    fn what_is_default_is_not_sent() {
        let (path, body) = sent(Prompt::Tokens(vec![1, 2]), GenerateParams::default());
        assert_eq!(path, "completions");
        let expected = json!({
            "model": "theirs", "prompt": [1, 2], "stream": true,
            "stream_options": {"include_usage": true}, "temperature": 1.0, "top_p": 1.0,
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn every_field_is_passed_on() {
        let params = GenerateParams {
            n: 2,
            max_tokens: Some(9),
            max_tokens_param: "max_completion_tokens",
            stop: vec!["END".into()],
            logprobs: Some(3),
            sampling: Sampling {
                temperature: 0.8,
                top_p: 0.9,
                top_k: 40,
                min_p: 0.05,
                frequency_penalty: 0.5,
                presence_penalty: -0.5,
                repetition_penalty: 1.1,
                logit_bias: vec![(7, -100.0)],
                seed: Some(u64::MAX),
            },
            ..GenerateParams::default()
        };
        let (path, body) = sent(chat(), params.clone());
        assert_eq!(path, "chat/completions");
        let expected = json!({
            "model": "theirs", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "hi", "name": "ada"}],
            "n": 2, "max_completion_tokens": 9, "stop": ["END"],
            "logprobs": true, "top_logprobs": 3, "temperature": 0.8, "top_p": 0.9,
            "frequency_penalty": 0.5, "presence_penalty": -0.5, "logit_bias": {"7": -100.0},
            "seed": u64::MAX, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1,
        });
        assert_eq!(body, expected);

        let (_, body) = sent(Prompt::Text("once".into()), params);
        assert_eq!(body["max_tokens"], 9, "completions know only this name");
        assert_eq!(body["logprobs"], 3);
        assert_eq!(body.get("top_logprobs"), None);
        assert_eq!(body["prompt"], "once");
    }
}
