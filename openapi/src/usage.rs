use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::UsageFootprint;

/// Tokens counted over one request.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens in the prompt, or in all prompts.
    pub prompt_tokens: u32,
    /// Tokens generated, over all choices.
    pub completion_tokens: u32,
    /// The sum of both.
    pub total_tokens: u32,
    /// More about the prompt.
    pub prompt_tokens_details: PromptTokensDetails,
    /// More about the answer.
    pub completion_tokens_details: CompletionTokensDetails,
    /// Extension: what the request took of energy, if that was asked for and is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kwaai: Option<UsageFootprint>,
}

/// More about a prompt's tokens.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PromptTokensDetails {
    /// Tokens that came from a cache and cost no computing.
    pub cached_tokens: u32,
    /// Always 0: audio is not read.
    pub audio_tokens: u32,
}

/// More about an answer's tokens.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CompletionTokensDetails {
    /// Always 0: reasoning is part of the text.
    pub reasoning_tokens: u32,
    /// Always 0: audio is not made.
    pub audio_tokens: u32,
    /// Always 0: a prediction is not used.
    pub accepted_prediction_tokens: u32,
    /// Always 0: a prediction is not used.
    pub rejected_prediction_tokens: u32,
}

/// Options of a stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// Send one last chunk with the usage and no choices.
    #[serde(default)]
    pub include_usage: Option<bool>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: crate::Other,
}

/// Texts that end the answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Stop {
    /// One.
    One(String),
    /// Up to four.
    Many(Vec<String>),
}
