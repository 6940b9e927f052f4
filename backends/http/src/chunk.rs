//! One chunk of an OpenAI stream, of a chat or of a completion, as lenient as the field is varied:
//! whatever a server may leave out or send as null is optional.

use kwaainet_core::Usage;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::logprobs::WireLogprobs;

#[derive(Deserialize)]
pub(crate) struct Chunk {
    #[serde(default)]
    pub(crate) object: Option<String>,
    #[serde(default)]
    pub(crate) error: Option<IgnoredAny>,
    #[serde(default)]
    pub(crate) choices: Option<Vec<WireChoice>>,
    #[serde(default)]
    pub(crate) usage: Option<WireUsage>,
}

#[derive(Deserialize)]
pub(crate) struct WireChoice {
    /// The first, if it does not say.
    #[serde(default)]
    pub(crate) index: Option<u32>,
    /// Of a chat.
    #[serde(default)]
    pub(crate) delta: Option<WireDelta>,
    /// Of a completion.
    #[serde(default)]
    pub(crate) text: Option<String>,
    #[serde(default)]
    pub(crate) logprobs: Option<WireLogprobs>,
    #[serde(default)]
    pub(crate) finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
pub(crate) struct WireDelta {
    #[serde(default)]
    pub(crate) content: Option<String>,
    #[serde(default)]
    pub(crate) refusal: Option<String>,
    /// What a model says to itself. It costs tokens and is no part of the answer.
    #[serde(default)]
    pub(crate) reasoning_content: Option<String>,
    /// The same under a newer name; some servers send both.
    #[serde(default)]
    pub(crate) reasoning: Option<String>,
    #[serde(default)]
    pub(crate) tool_calls: Option<Vec<WireCall>>,
    /// The older form, which nobody asks for.
    #[serde(default)]
    pub(crate) function_call: Option<IgnoredAny>,
}

/// A piece of a tool call.
#[derive(Deserialize)]
pub(crate) struct WireCall {
    #[serde(default)]
    pub(crate) index: Option<u32>,
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) function: Option<WireFunction>,
}

#[derive(Default, Deserialize)]
pub(crate) struct WireFunction {
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) arguments: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct WireUsage {
    #[serde(default)]
    pub(crate) prompt_tokens: Option<u32>,
    #[serde(default)]
    pub(crate) completion_tokens: Option<u32>,
    #[serde(default)]
    pub(crate) prompt_tokens_details: Option<WirePromptDetails>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct WirePromptDetails {
    #[serde(default)]
    pub(crate) cached_tokens: Option<u32>,
}

impl WireUsage {
    /// Some servers send a usage with nothing in it before the last one.
    pub(crate) fn has_counts(&self) -> bool {
        self.prompt_tokens.is_some() || self.completion_tokens.is_some()
    }

    /// Never more cached tokens than tokens. `counted` stands in for the answer's tokens if they
    /// are not told.
    pub(crate) fn in_our_words(&self, counted: u32) -> Usage {
        let prompt_tokens = self.prompt_tokens.unwrap_or_default();
        let details = self.prompt_tokens_details.as_ref();
        let cached = details.and_then(|details| details.cached_tokens);
        Usage {
            prompt_tokens,
            cached_tokens: cached.unwrap_or_default().min(prompt_tokens),
            completion_tokens: self.completion_tokens.unwrap_or(counted),
        }
    }
}
