//! What a generation says while it runs.

use serde::Serialize;

/// One step of a stream. The order is: `Started`, then any mix of `Delta`, `Call` and `Finished` (one
/// `Finished` for each choice, after its last `Delta` and `Call`), then `Done`.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The prompt was read and accepted.
    Started {
        /// Tokens in the prompt.
        prompt_tokens: u32,
        /// How many of them need no computing.
        cached_tokens: u32,
    },
    /// More text of one choice.
    Delta(Delta),
    /// More of a tool call. The tokens that it is made of are counted by deltas.
    Call(CallDelta),
    /// One choice is complete.
    Finished {
        /// Which choice.
        choice: u32,
        /// Why it ended.
        reason: FinishReason,
    },
    /// All choices are complete.
    Done(Usage),
}

/// New text of one choice. The text is whole characters; it may be empty where tokens were
/// computed but their text is held back or belongs to a stop text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// Which choice.
    pub choice: u32,
    /// To be appended to what came before.
    pub text: String,
    /// Tokens computed since the last delta of this choice.
    pub tokens: u32,
    /// Which tokens these are, in order; empty where the backend does not know. A backend with a numerics
    /// class always says them.
    pub ids: Vec<u32>,
    /// One for each token whose text is in `text`, if asked for.
    pub logprobs: Vec<TokenLogprob>,
    /// The stop text that ended the choice with this delta, where the backend knows it.
    pub stopped_by: Option<String>,
}

/// A tool call of one choice begins or goes on. The first piece of a call names it; calls come one
/// after the other, numbered from 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallDelta {
    /// Which choice.
    pub choice: u32,
    /// Which call of the choice.
    pub index: u32,
    /// In the first piece only.
    pub start: Option<CallStart>,
    /// More of the arguments; joined, they are what the model wrote: JSON, unless it was cut.
    pub arguments: String,
}

/// The name of a tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallStart {
    /// Told apart from all other calls of its conversation by this.
    pub id: String,
    /// Which tool.
    pub name: String,
}

/// A chosen token with its log-probability under the model's own distribution (before bias,
/// penalties and temperature).
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token itself.
    pub chosen: TopLogprob,
    /// The most probable tokens, best first.
    pub top: Vec<TopLogprob>,
}

/// A token, its bytes and its log-probability.
#[derive(Clone, Debug, PartialEq)]
pub struct TopLogprob {
    /// The token's bytes, which need not be whole characters.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability; NaN for the first token of an echoed prompt, which has
    /// nothing before it.
    pub logprob: f32,
}

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its answer, or a stop text came.
    Stop,
    /// `max_tokens` or the context is used up.
    Length,
    /// It called tools and waits for their results.
    ToolCalls,
    /// An upstream withheld the rest.
    ContentFilter,
}

impl FinishReason {
    /// OpenAI's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// Tokens counted over a whole stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens in the prompt.
    pub prompt_tokens: u32,
    /// How many of them came from a cache.
    pub cached_tokens: u32,
    /// Tokens generated over all choices; an end-of-text token does not count.
    pub completion_tokens: u32,
}

impl Usage {
    /// The sum of two parts of one job.
    pub fn plus(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            completion_tokens: self
                .completion_tokens
                .saturating_add(other.completion_tokens),
        }
    }
}
