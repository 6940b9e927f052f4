//! A job in the domain's own words. Wire types are converted into it once, at the door.

use crate::{JobId, ModelId};

/// One request for work, as it is admitted, routed and settled.
#[derive(Clone, Debug)]
pub struct Job {
    /// Names the job in logs, receipts and answers.
    pub id: JobId,
    /// The model that the client asked for.
    pub model: ModelId,
    /// What is to be done.
    pub work: Work,
}

/// What a job asks for.
#[derive(Clone, Debug)]
pub enum Work {
    /// Text from one or more prompts; choice `i` of prompt `p` is numbered `p * n + i`.
    Generate {
        /// At least one.
        prompts: Vec<Prompt>,
        /// Shared by all prompts.
        params: GenerateParams,
    },
    /// A vector for each input.
    Embed {
        /// At least one.
        inputs: Vec<EmbedInput>,
        /// Keep the first so many components and normalise again.
        dimensions: Option<u32>,
    },
}

/// What the model continues.
#[derive(Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation, rendered by the model's own chat template.
    Chat(Vec<Message>),
    /// Raw text. Special tokens in it count: its author owns the whole prompt.
    Text(String),
    /// Token ids of the model's own vocabulary, used as they are.
    Tokens(Vec<u32>),
}

/// People's words do not belong in a log, so a prompt prints its size only.
impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chat(messages) => write!(f, "Chat({} messages)", messages.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Tokens(ids) => write!(f, "Tokens({})", ids.len()),
        }
    }
}

/// One turn of a conversation. Its text is text: control tokens spelled out in it stay letters.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// Tells apart several speakers of one role, where the template knows how.
    pub name: Option<String>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({:?}, {} bytes)", self.role, self.content.len())
    }
}

/// The speaker of a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions; OpenAI's `developer` role is the same thing under a newer name.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that chat templates use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// How text is generated. Every field is within the range that the door has checked.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateParams {
    /// Independent continuations of each prompt, at least 1.
    pub n: u16,
    /// Most tokens for each choice; without one, until the context is full.
    pub max_tokens: Option<u32>,
    /// The name under which the client gave `max_tokens`, for error messages.
    pub max_tokens_param: &'static str,
    /// Texts that end a choice and are not part of it.
    pub stop: Vec<String>,
    /// Log-probabilities for each token, with so many alternatives.
    pub logprobs: Option<u8>,
    /// How the next token is drawn.
    pub sampling: Sampling,
    /// Who goes first.
    pub priority: Priority,
}

/// What a backend does first. In this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// Takes what interactive work leaves over, however little that is.
    Batch,
}

impl Default for GenerateParams {
    fn default() -> Self {
        Self {
            n: 1,
            max_tokens: None,
            max_tokens_param: "max_tokens",
            stop: Vec::new(),
            logprobs: None,
            sampling: Sampling::default(),
            priority: Priority::default(),
        }
    }
}

/// How the next token is drawn from the model's distribution.
///
/// Applied in this order: bias, penalties, temperature, top-k, top-p, min-p.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the most probable token, the lower id on a tie.
    pub temperature: f32,
    /// Keep the smallest set of tokens that holds this much probability.
    pub top_p: f32,
    /// Keep the most probable k tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep tokens at least this fraction as probable as the best.
    pub min_p: f32,
    /// Subtracted for each time that a token was generated.
    pub frequency_penalty: f32,
    /// Subtracted once for a token that was generated.
    pub presence_penalty: f32,
    /// Divides (or multiplies, below zero) the logit of a token that is in the prompt or was
    /// generated; 1 is off.
    pub repetition_penalty: f32,
    /// Added to the logits of these token ids.
    pub logit_bias: Vec<(u32, f32)>,
    /// Fixes every draw; without one the backend takes a random seed.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            repetition_penalty: 1.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

/// One thing to embed.
#[derive(Clone, PartialEq, Eq)]
pub enum EmbedInput {
    /// Text, tokenized by the model.
    Text(String),
    /// Token ids of the model's own vocabulary.
    Tokens(Vec<u32>),
}

impl std::fmt::Debug for EmbedInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Tokens(ids) => write!(f, "Tokens({})", ids.len()),
        }
    }
}
