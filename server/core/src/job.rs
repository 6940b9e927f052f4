//! A job in the domain's own words. Wire types are converted into it once, at the door.

use serde_json::Value;

use crate::{Constraints, JobId, ModelId, Origin, PrincipalId, Resume, Transcribe};

/// One request for work, as it is admitted, routed and settled.
#[derive(Clone, Debug)]
pub struct Job {
    /// Names the job in logs, receipts and answers.
    pub id: JobId,
    /// The model that the client asked for.
    pub model: ModelId,
    /// What is to be done.
    pub work: Work,
    /// Where it may be done.
    pub constraints: Constraints,
    /// Through which door it came.
    pub origin: Origin,
    /// What was said elsewhere, if this is the rest of a generation of one prompt.
    pub resume: Option<Resume>,
    /// For whom of the peer that it came from: tells the peer's own principals apart, so that they see nothing
    /// of each other here either.
    pub scope: Option<[u8; 16]>,
}

impl Job {
    /// A client's, wherever it is done best.
    pub fn new(id: JobId, model: ModelId, work: Work) -> Self {
        Self {
            id,
            model,
            work,
            constraints: Constraints::default(),
            origin: Origin::default(),
            resume: None,
            scope: None,
        }
    }

    /// Whose work it is to a backend. Admission counts by the principal alone.
    pub(crate) fn owner(&self, principal: &PrincipalId) -> PrincipalId {
        match &self.scope {
            None => principal.clone(),
            Some(scope) => {
                let scope = data_encoding::HEXLOWER.encode(scope);
                PrincipalId::new(format!("{principal}/{scope}"))
            }
        }
    }

    /// The same, within these constraints.
    pub fn within(self, constraints: Constraints) -> Self {
        Self {
            constraints,
            ..self
        }
    }
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
    /// Text of speech.
    Transcribe(Transcribe),
}

/// What the model continues.
#[derive(Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation, rendered by the model's own chat template.
    Chat(Conversation),
    /// Raw text. Special tokens in it count: its author owns the whole prompt.
    Text(String),
    /// What is missing between two texts, for models with fill-in tokens.
    Infill {
        /// What comes before.
        prefix: String,
        /// What comes after.
        suffix: String,
    },
    /// Token ids of the model's own vocabulary, used as they are.
    Tokens(Vec<u32>),
}

/// People's words do not belong in a log, so a prompt prints its size only.
impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chat(chat) => write!(f, "Chat({} messages)", chat.messages.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Infill { prefix, suffix } => {
                write!(f, "Infill({} and {} bytes)", prefix.len(), suffix.len())
            }
            Self::Tokens(ids) => write!(f, "Tokens({})", ids.len()),
        }
    }
}

/// What was said, and what the model may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// In order.
    pub messages: Vec<Message>,
    /// The functions that the model is told of; their names differ.
    pub tools: Vec<Tool>,
    /// Whether it has to call one, or must not.
    pub tool_choice: ToolChoice,
    /// Whether one answer may hold several calls.
    pub parallel_calls: bool,
}

impl From<Vec<Message>> for Conversation {
    /// A conversation without tools.
    fn from(messages: Vec<Message>) -> Self {
        Self {
            messages,
            ..Self::default()
        }
    }
}

/// A function that the client offers to run for the model.
#[derive(Clone, PartialEq, Eq)]
pub struct Tool {
    /// Letters, digits, `_` and `-`; at most 64.
    pub name: String,
    /// When and how to call it.
    pub description: Option<String>,
    /// A JSON schema of its arguments, an object; `None` for a function without any.
    pub parameters: Option<Value>,
    /// Whether the arguments of a call have to follow the schema.
    pub strict: bool,
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tool(strict: {})", self.strict)
    }
}

/// Which tools the model may call, and whether it has to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolChoice {
    /// Whether it has to.
    pub mode: ToolMode,
    /// If given, only these of the conversation's tools; not empty.
    pub only: Option<Vec<String>>,
}

/// Whether the model calls a tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolMode {
    /// As it likes.
    #[default]
    Auto,
    /// At least one call, and nothing else.
    Required,
    /// Never; it is not even told of them.
    None,
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
    /// What the assistant called in this turn.
    pub tool_calls: Vec<ToolCall>,
    /// Which call a tool's result answers.
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A turn that only says something.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            name: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }
}

/// A call that the model made.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Told apart from all other calls of its conversation by this.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// JSON, an object, as the model wrote it.
    pub arguments: String,
}

impl std::fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ToolCall({} bytes)", self.arguments.len())
    }
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
    /// The result of a call.
    Tool,
}

impl Role {
    /// The name that chat templates use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
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
    /// What the text of each choice has to be.
    pub grammar: Option<Grammar>,
    /// Say the prompt first, with its log-probabilities if those are asked for. Its deltas come before
    /// all others and count no tokens. With it, `max_tokens` may be 0.
    pub echo: bool,
    /// Who goes first.
    pub priority: Priority,
}

/// A language that the text of a choice belongs to, unless it is cut by `max_tokens`.
#[derive(Clone, PartialEq)]
pub struct Grammar {
    /// The language.
    pub kind: GrammarKind,
    /// The request's field that asks for it, for error messages.
    pub param: &'static str,
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Grammar({})", self.param)
    }
}

/// How a [`Grammar`] is written.
#[derive(Clone, PartialEq)]
pub enum GrammarKind {
    /// Any JSON object.
    JsonObject,
    /// JSON that validates against this schema.
    JsonSchema(Value),
    /// A regular expression for the whole text.
    Regex(String),
    /// A context-free grammar in Lark's notation.
    Lark(String),
    /// One of these texts.
    Choice(Vec<String>),
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
            grammar: None,
            echo: false,
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
