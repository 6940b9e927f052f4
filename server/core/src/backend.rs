//! The seam to whatever computes. Small, and free of HTTP.

use std::borrow::Cow;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use serde::Serialize;

use crate::{
    BackendId, EmbedInput, Event, GenerateParams, ModelId, Place, PrincipalId, Prompt, Transcribe,
    Transcript,
};

/// A boxed future that may cross threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The events of one generation. Dropping it cancels the work within one decode step. After an
/// error nothing follows.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Event, BackendError>> + Send>>;

/// A place at a backend that is kept for one generation. The work begins when it is awaited; dropping it gives
/// the place back.
pub type Reserved<'a> = BoxFuture<'a, Result<EventStream, BackendError>>;

/// Something that can generate or embed.
///
/// Every implementation passes the suite in `backends/testkit`.
pub trait Backend: Send + Sync + 'static {
    /// Its name in logs, receipts and route explanations.
    fn id(&self) -> &BackendId;

    /// What it serves now. Called in the background, never on the request path; may read files.
    fn report(&self) -> BackendReport;

    /// Starts a generation. An error here means that no work was done, so another backend may be
    /// asked; the prompt's length is checked before the stream is given out.
    fn generate(
        &self,
        request: GenerateRequest,
    ) -> BoxFuture<'_, Result<EventStream, BackendError>>;

    /// Keeps a place for a generation, if there is one, without beginning it. Where places cannot be kept,
    /// there is always one.
    fn reserve(
        &self,
        request: GenerateRequest,
    ) -> BoxFuture<'_, Result<Reserved<'_>, BackendError>> {
        let begins: Reserved<'_> = Box::pin(async move { self.generate(request).await });
        Box::pin(std::future::ready(Ok(begins)))
    }

    /// One vector for each input, in order; each is what it would be alone.
    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>>;

    /// The text of a recording. Dropping the answer ends the work soon.
    fn transcribe(
        &self,
        request: TranscribeRequest,
    ) -> BoxFuture<'_, Result<Transcript, BackendError>> {
        let error = BackendError::Unsupported {
            param: "model",
            reason: format!("the model '{}' cannot transcribe audio", request.model),
        };
        Box::pin(std::future::ready(Err(error)))
    }

    /// Token ids of a text or a conversation.
    fn tokenize(
        &self,
        model: ModelId,
        text: Tokenized,
    ) -> BoxFuture<'_, Result<TextTokens, BackendError>>;

    /// The text of token ids, special tokens spelled out, malformed bytes replaced.
    fn detokenize(
        &self,
        model: ModelId,
        tokens: Vec<u32>,
    ) -> BoxFuture<'_, Result<String, BackendError>>;
}

/// One prompt of a job, on its way to a backend.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// Which of the backend's models.
    pub model: ModelId,
    /// What to continue.
    pub prompt: Prompt,
    /// How.
    pub params: GenerateParams,
    /// Who asks. A backend may share its time fairly between owners, and never shows one of them
    /// anything of another, not even by how fast it answers.
    pub owner: PrincipalId,
    /// What was said before, if this is the rest of a generation that began elsewhere.
    pub resume: Option<Resume>,
}

/// Where a generation goes on. For a backend with a numerics class only: given the same model file, the same
/// request and a seed, it says what the first backend would have said after these tokens, and nothing of what
/// they already said. `Started` and the final usage are those of the whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Resume {
    /// For each choice the tokens that it has; no end-of-text token is among them. They are replayed through
    /// grammar, tool calls, stop texts and detokenizer, without log-probabilities: where those are asked for,
    /// no token's may still be held back at the end. A prompt that is to be said first was said.
    pub choices: Vec<Vec<u32>>,
}

impl std::fmt::Debug for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tokens: usize = self.choices.iter().map(Vec::len).sum();
        write!(f, "Resume({} choices, {tokens} tokens)", self.choices.len())
    }
}

/// The inputs of an embedding job.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    /// Which of the backend's models.
    pub model: ModelId,
    /// At least one.
    pub inputs: Vec<EmbedInput>,
    /// Keep the first so many components and normalise again.
    pub dimensions: Option<u32>,
}

/// A recording on its way to a backend.
#[derive(Clone, Debug)]
pub struct TranscribeRequest {
    /// Which of the backend's models.
    pub model: ModelId,
    /// What to hear, and how.
    pub speech: Transcribe,
}

/// Vectors of unit length.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// One for each input, in order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens over all inputs.
    pub prompt_tokens: u32,
}

/// What is to be tokenized.
#[derive(Clone, Debug)]
pub enum Tokenized {
    /// Raw text.
    Text {
        /// The text.
        text: String,
        /// Put the model's own start token (and its like) around it.
        add_special: bool,
        /// Read control tokens that are spelled out in the text as such.
        parse_special: bool,
    },
    /// A conversation, through the chat template.
    Chat(crate::Conversation),
}

/// Token ids and the context that they have to fit in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTokens {
    /// In order.
    pub ids: Vec<u32>,
    /// The model's context, in tokens.
    pub context: u32,
}

/// What a backend serves, as of now.
#[derive(Clone, Debug, Default)]
pub struct BackendReport {
    /// Its models.
    pub models: Vec<ModelFacts>,
    /// Why it can take no work, if it cannot.
    pub unavailable: Option<String>,
    /// How much it has to do, where known.
    pub load: Option<Load>,
    /// Whose machine it computes on.
    pub place: Place,
}

/// How much a backend has to do, and how fast it does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Load {
    /// Sequences that are computed now.
    pub running: u32,
    /// Requests and sequences that wait for their turn.
    pub queued: u32,
    /// Prompt tokens of those that run or wait that are still to be computed.
    pub queued_prefill_tokens: u64,
    /// Pages for keys and values that are free or can be freed at once.
    pub free_pages: u64,
    /// Prompt tokens a second, as last seen over all sequences; 0 if never.
    pub prefill_rate: f32,
    /// Tokens a second of one sequence beside the others, as last seen; 0 if never.
    pub decode_rate: f32,
    /// Tokens (of prompts and answers) computed since `epoch` began. Only grows: an engine with work whose
    /// number stands still is stuck.
    pub tokens_out: u64,
    /// Begins anew with each start of the engine.
    pub epoch: u64,
}

/// What is known of one model on one backend.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFacts {
    /// As clients name it.
    pub id: ModelId,
    /// What it can do.
    pub kind: ModelKind,
    /// Its context in tokens, where known.
    pub context: Option<u32>,
    /// When it came to be here: seconds since 1970.
    pub created: i64,
    /// Whether the first request has to wait for it to load.
    pub loaded: bool,
    /// Which bits it computes.
    pub numerics: Option<Numerics>,
    /// SHA-256 of the model's file, where known. Two models of one digest and one numerics class give the
    /// same answers, whatever they are called.
    pub digest: Option<ModelDigest>,
}

/// SHA-256 of a model's file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelDigest(pub [u8; 32]);

impl std::fmt::Display for ModelDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl std::fmt::Debug for ModelDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelDigest({self})")
    }
}

impl Serialize for ModelDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Continues text.
    Generate,
    /// Makes vectors.
    Embed,
    /// Makes text of speech.
    Transcribe,
    /// An upstream did not say; it is asked and may refuse.
    Unknown,
}

/// A numerics class: two answers of one class, one model file and one seed are equal to the bit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Numerics(pub Cow<'static, str>);

impl Numerics {
    /// A class that this binary knows.
    pub const fn of(class: &'static str) -> Self {
        Self(Cow::Borrowed(class))
    }
}

/// Why a backend did not do what it was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BackendError {
    /// It has no such model (any more).
    #[error("the model '{0}' is not served here")]
    ModelNotFound(ModelId),
    /// The prompt, with what was asked for, does not fit.
    #[error(
        "the model's context is {context} tokens, but {prompt_tokens} are in the prompt and {max_tokens} were asked for"
    )]
    ContextOverflow {
        /// Tokens in the prompt.
        prompt_tokens: u32,
        /// Tokens asked for; 0 if the prompt alone is too long.
        max_tokens: u32,
        /// What there is.
        context: u32,
        /// The request's field that is too long.
        param: &'static str,
    },
    /// The input is so long that it is not even tokenized.
    #[error("the input is longer than {bytes_max} bytes, far more than the model's context")]
    InputTooLong {
        /// The request's field that is too long.
        param: &'static str,
        /// What is read at most.
        bytes_max: usize,
    },
    /// The recording is longer than is listened to.
    #[error("the recording is longer than {seconds_max} seconds")]
    AudioTooLong {
        /// What is listened to at most.
        seconds_max: u32,
    },
    /// This backend or model cannot do what a field asks for.
    #[error("{reason}")]
    Unsupported {
        /// The request's field.
        param: &'static str,
        /// One sentence for the caller.
        reason: String,
    },
    /// A field has a value that makes no sense for this model.
    #[error("{reason}")]
    Invalid {
        /// The request's field.
        param: &'static str,
        /// One sentence for the caller.
        reason: String,
    },
    /// Its own queue is full, or it is loading.
    #[error("{reason}")]
    Busy {
        /// One sentence for the caller.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// A server that it depends on failed.
    #[error("the upstream server failed: {reason}")]
    Upstream {
        /// One sentence for the caller, free of addresses and secrets.
        reason: String,
    },
    /// A server that it depends on did not answer in time.
    #[error("the upstream server did not answer in time: {reason}")]
    Timeout {
        /// Which wait ran out.
        reason: String,
    },
    /// A fault of ours, for our log; the caller learns only that there was one.
    #[error("internal error: {0}")]
    Internal(String),
}

impl BackendError {
    /// Whether another backend might do better with the same job.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::ModelNotFound(_)
            | Self::Busy { .. }
            | Self::Upstream { .. }
            | Self::Timeout { .. }
            | Self::Internal(_) => true,
            Self::ContextOverflow { .. }
            | Self::InputTooLong { .. }
            | Self::AudioTooLong { .. }
            | Self::Unsupported { .. }
            | Self::Invalid { .. } => false,
        }
    }
}
