//! An instant backend that does what its script says: no model, no threads, no randomness.
//!
//! It keeps the whole contract of [`Backend`], so it can stand for any other in a test of what
//! lies above the seam, and serve as the reference for what lies below it.

mod embedding;
mod generation;
mod script;
mod speech;
mod text_out;
mod vocab;

use std::time::Duration;

use kwaainet_core::{
    Backend, BackendError, BackendId, BackendReport, BoxFuture, EmbedInput, EmbedRequest,
    Embeddings, EventStream, GenerateRequest, ModelDigest, ModelFacts, ModelId, ModelKind,
    Numerics, Place, Prompt, TextTokens, Tokenized, TranscribeRequest, Transcript,
};

pub use script::{Answer, Counts, Fault, Script, ScriptHandle, ScriptedCall};

use vocab::Vocab;

/// A fake backend. Make one with [`ScriptedBackend::builder`].
pub struct ScriptedBackend {
    id: BackendId,
    models: Vec<Model>,
    vocab: Vocab,
    handle: ScriptHandle,
    exact: Option<(ModelDigest, Numerics)>,
    place: Place,
}

/// Collects what a [`ScriptedBackend`] serves.
pub struct Builder {
    id: BackendId,
    models: Vec<Model>,
    script: Script,
    exact: Option<(ModelDigest, Numerics)>,
    place: Place,
}

struct Model {
    id: ModelId,
    /// In tokens.
    context: u32,
    purpose: Purpose,
}

#[derive(Clone, Copy)]
enum Purpose {
    Generate,
    Embed { dimensions: u32 },
    Transcribe,
}

impl Builder {
    /// Serves a model that generates, with so many tokens of context.
    pub fn generator(mut self, model: &str, context: u32) -> Self {
        self.models.push(Model {
            id: model.into(),
            context,
            purpose: Purpose::Generate,
        });
        self
    }

    /// Serves a model that embeds inputs of at most `context` tokens.
    pub fn embedder(mut self, model: &str, context: u32, dimensions: u32) -> Self {
        self.models.push(Model {
            id: model.into(),
            context,
            purpose: Purpose::Embed { dimensions },
        });
        self
    }

    /// Serves a model that hears: each word of its script is a second long.
    pub fn listener(mut self, model: &str) -> Self {
        self.models.push(Model {
            id: model.into(),
            context: 448,
            purpose: Purpose::Transcribe,
        });
        self
    }

    /// What it does at first.
    pub fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// Claims that its models' files have this digest, and that it computes the bits of this class.
    pub fn exact(mut self, digest: [u8; 32], class: &'static str) -> Self {
        self.exact = Some((ModelDigest(digest), Numerics::of(class)));
        self
    }

    /// Whose machine it says it is on; this one if not given.
    pub fn place(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// The backend.
    pub fn build(self) -> ScriptedBackend {
        ScriptedBackend {
            id: self.id,
            models: self.models,
            vocab: Vocab::default(),
            handle: ScriptHandle::new(self.script),
            exact: self.exact,
            place: self.place,
        }
    }
}

impl ScriptedBackend {
    /// Starts one of this name, as yet without models.
    pub fn builder(id: &str) -> Builder {
        Builder {
            id: id.into(),
            models: Vec::new(),
            script: Script::default(),
            exact: None,
            place: Place::Here,
        }
    }

    /// Reads the counts and changes the script while the backend is in use.
    pub fn handle(&self) -> ScriptHandle {
        self.handle.clone()
    }

    fn model(&self, id: &ModelId) -> Result<&Model, BackendError> {
        self.models
            .iter()
            .find(|model| model.id == *id)
            .ok_or_else(|| BackendError::ModelNotFound(id.clone()))
    }

    fn start(&self, request: GenerateRequest) -> Result<EventStream, BackendError> {
        let script = self.handle.next_script();
        self.handle.remember(&request);
        if let Some(Fault::Refuse(error)) = &script.fault {
            return Err(error.clone());
        }
        let model = self.model(&request.model)?;
        if !matches!(model.purpose, Purpose::Generate) {
            return Err(wrong_kind(&model.id, "generate text"));
        }
        self.check_bias(&request)?;
        let prompt_tokens = self.prompt_tokens(&request.prompt)?;
        let room = room(model.context, prompt_tokens, &request)?;
        let echo = match request.params.echo && request.resume.is_none() {
            true => self.echoed(&request.prompt)?,
            false => Vec::new(),
        };
        let alive = self.handle.start();
        let prompt = generation::Read {
            tokens: prompt_tokens,
            echo,
            room,
        };
        if request.resume.is_some() && self.exact.is_none() {
            return Err(BackendError::Unsupported {
                param: "resume",
                reason: "what this backend says depends on where it runs".into(),
            });
        }
        let begun = request.resume.map(|resume| resume.choices);
        let begun = begun.unwrap_or_default();
        Ok(generation::stream(
            script,
            alive,
            request.params,
            prompt,
            &begun,
        ))
    }

    fn check_bias(&self, request: &GenerateRequest) -> Result<(), BackendError> {
        let biased = request.params.sampling.logit_bias.iter();
        let ids: Vec<u32> = biased.map(|(id, _)| *id).collect();
        self.vocab.words(&ids, "logit_bias").map(|_| ())
    }

    fn prompt_tokens(&self, prompt: &Prompt) -> Result<u32, BackendError> {
        let count = match prompt {
            Prompt::Chat(chat) => self.vocab.chat_ids(&chat.messages).len(),
            Prompt::Text(text) => self.vocab.ids(text).len(),
            Prompt::Infill { prefix, suffix } => {
                self.vocab.ids(prefix).len() + self.vocab.ids(suffix).len()
            }
            Prompt::Tokens(ids) => self.vocab.words(ids, "prompt")?.len(),
        };
        if count == 0 {
            return Err(BackendError::Invalid {
                param: prompt_param(prompt),
                reason: "the prompt is empty".into(),
            });
        }
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The prompt in tokens that make up its text.
    fn echoed(&self, prompt: &Prompt) -> Result<Vec<String>, BackendError> {
        match prompt {
            Prompt::Text(text) => Ok(vocab::spaced_words(text)),
            Prompt::Tokens(ids) => {
                let mut words = self.vocab.words(ids, "prompt")?;
                words.iter_mut().skip(1).for_each(|w| w.insert(0, ' '));
                Ok(words)
            }
            Prompt::Chat(_) | Prompt::Infill { .. } => Err(BackendError::Unsupported {
                param: "echo",
                reason: "only a prompt that is continued can be said first".into(),
            }),
        }
    }

    async fn vectors(&self, request: EmbedRequest) -> Result<Embeddings, BackendError> {
        let script = self.handle.script();
        if let Some(Fault::Refuse(error)) = &script.fault {
            return Err(error.clone());
        }
        let model = self.model(&request.model)?;
        let Purpose::Embed { dimensions } = model.purpose else {
            return Err(wrong_kind(&model.id, "make embeddings"));
        };
        let keep = embedding::kept(request.dimensions, dimensions)?;
        let inputs = self.embed_inputs(&request.inputs, model.context)?;
        let _alive = self.handle.start();
        match &script.fault {
            Some(Fault::FailAfter { error, .. }) => return Err(error.clone()),
            Some(Fault::HangAfter { .. }) => std::future::pending().await,
            Some(Fault::Refuse(_)) | None => {}
        }
        let mut embeddings = Embeddings {
            vectors: Vec::with_capacity(inputs.len()),
            prompt_tokens: 0,
        };
        for words in inputs {
            pause(script.delay).await;
            embeddings
                .vectors
                .push(embedding::vector(&words, dimensions, keep));
            embeddings.prompt_tokens += words.len() as u32;
        }
        Ok(embeddings)
    }

    async fn hear(&self, request: TranscribeRequest) -> Result<Transcript, BackendError> {
        let script = self.handle.script();
        self.handle.remember_speech(&request);
        if let Some(Fault::Refuse(error)) = &script.fault {
            return Err(error.clone());
        }
        let model = self.model(&request.model)?;
        if !matches!(model.purpose, Purpose::Transcribe) {
            return Err(wrong_kind(&model.id, "transcribe audio"));
        }
        let _alive = self.handle.start();
        match &script.fault {
            Some(Fault::FailAfter { error, .. }) => return Err(error.clone()),
            Some(Fault::HangAfter { .. }) => std::future::pending().await,
            Some(Fault::Refuse(_)) | None => {}
        }
        pause(script.delay).await;
        Ok(speech::transcript(&script.answer, &request.speech))
    }

    /// The words of each input, none of them too many.
    fn embed_inputs(
        &self,
        inputs: &[EmbedInput],
        context: u32,
    ) -> Result<Vec<Vec<String>>, BackendError> {
        let empty = || BackendError::Invalid {
            param: "input",
            reason: "there is nothing to embed".into(),
        };
        if inputs.is_empty() {
            return Err(empty());
        }
        let read = |input: &EmbedInput| {
            let ids = match input {
                EmbedInput::Text(text) => self.vocab.ids(text),
                EmbedInput::Tokens(ids) => ids.clone(),
            };
            if ids.is_empty() {
                return Err(empty());
            }
            if ids.len() > context as usize {
                return Err(BackendError::ContextOverflow {
                    prompt_tokens: u32::try_from(ids.len()).unwrap_or(u32::MAX),
                    max_tokens: 0,
                    context,
                    param: "input",
                });
            }
            self.vocab.words(&ids, "input")
        };
        inputs.iter().map(read).collect()
    }
}

impl Backend for ScriptedBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn report(&self) -> BackendReport {
        let facts = |model: &Model| ModelFacts {
            id: model.id.clone(),
            kind: match model.purpose {
                Purpose::Generate => ModelKind::Generate,
                Purpose::Embed { .. } => ModelKind::Embed,
                Purpose::Transcribe => ModelKind::Transcribe,
            },
            context: Some(model.context),
            created: 1_700_000_000,
            loaded: true,
            numerics: self.exact.as_ref().map(|(_, class)| class.clone()),
            digest: self.exact.as_ref().map(|(digest, _)| *digest),
        };
        let script = self.handle.script();
        BackendReport {
            models: self.models.iter().map(facts).collect(),
            unavailable: script.unavailable.clone(),
            load: script.load,
            place: self.place.clone(),
        }
    }

    fn generate(
        &self,
        request: GenerateRequest,
    ) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(async { self.start(request) })
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(self.vectors(request))
    }

    fn transcribe(
        &self,
        request: TranscribeRequest,
    ) -> BoxFuture<'_, Result<Transcript, BackendError>> {
        Box::pin(self.hear(request))
    }

    fn tokenize(
        &self,
        model: ModelId,
        text: Tokenized,
    ) -> BoxFuture<'_, Result<TextTokens, BackendError>> {
        Box::pin(async move {
            let context = self.model(&model)?.context;
            let ids = match text {
                Tokenized::Text { text, .. } => self.vocab.ids(&text),
                Tokenized::Chat(chat) => self.vocab.chat_ids(&chat.messages),
            };
            Ok(TextTokens { ids, context })
        })
    }

    fn detokenize(
        &self,
        model: ModelId,
        tokens: Vec<u32>,
    ) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async move {
            self.model(&model)?;
            Ok(self.vocab.words(&tokens, "tokens")?.join(" "))
        })
    }
}

/// Tokens that each choice may have.
fn room(context: u32, prompt_tokens: u32, request: &GenerateRequest) -> Result<u32, BackendError> {
    let left = context.saturating_sub(prompt_tokens);
    let overflow = |max_tokens, param| BackendError::ContextOverflow {
        prompt_tokens,
        max_tokens,
        context,
        param,
    };
    if left == 0 {
        return Err(overflow(0, prompt_param(&request.prompt)));
    }
    match request.params.max_tokens {
        Some(wanted) if wanted > left => Err(overflow(wanted, request.params.max_tokens_param)),
        wanted => Ok(wanted.unwrap_or(left)),
    }
}

fn prompt_param(prompt: &Prompt) -> &'static str {
    match prompt {
        Prompt::Chat(_) => "messages",
        Prompt::Text(_) | Prompt::Infill { .. } | Prompt::Tokens(_) => "prompt",
    }
}

fn wrong_kind(model: &ModelId, verb: &str) -> BackendError {
    BackendError::Unsupported {
        param: "model",
        reason: format!("the model '{model}' cannot {verb}"),
    }
}

/// Waits, but does not even yield when there is nothing to wait for.
async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

/// A stirred number: SplitMix64's finalizer (Steele, Lea, Flood 2014).
fn stir(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
