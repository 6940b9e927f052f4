//! The engine as a [`Backend`]: finds the model, does the work of the CPU away from the async
//! threads, and puts errors into the seam's words.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{
    Backend, BackendError, BackendId, BackendReport, BoxFuture, Clock, EmbedRequest, Embeddings,
    EventStream, GenerateRequest, Load, ModelFacts, ModelId, Place, TextTokens, Tokenized,
    TranscribeRequest, Transcript,
};
use kwaainet_kernels::{Compute, Kernel, KvFormat, Pool};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::audio::{Listener, Stop};
use crate::embedder::Embedder;
use crate::generator::Generator;
use crate::shelf::{Loaded, Looks, Shelf};
use crate::{Device, Library, ModelCosts, ModelError};

/// Texts that are tokenized at once.
const TEXTS_AT_ONCE: usize = 2;
/// Heads of files that are read for one report.
const LOOKS_MAX: u32 = 1;
/// When a model that found no room may find some.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How much of the machine the engine may use.
#[derive(Clone, Debug)]
pub struct CandleConfig {
    /// The backend's name.
    pub id: BackendId,
    /// Models that are kept in memory at once, at least 1; the least recently used idle one makes
    /// room.
    pub max_loaded: usize,
    /// Bounds of each loaded generator.
    pub limits: EngineLimits,
    /// Models, and for each the one that guesses for it: a smaller one with the same vocabulary, which
    /// is loaded with it and counts as part of it. Changes nothing but the speed.
    pub drafts: HashMap<ModelId, ModelId>,
    /// Seconds of a recording that are listened to; longer ones are refused.
    pub audio_seconds_max: u32,
}

/// The bounds of one model's engine.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// Sequences (choices of requests) that are computed together.
    pub running: usize,
    /// Requests that may be inside beyond that many; more are turned away as busy.
    pub queued: usize,
    /// Memory for keys and values of all sequences together, in bytes; what they leave over keeps
    /// those of earlier ones. A draft model's are among them. A model's context is cut down to what fits
    /// in it.
    pub kv_bytes: u64,
    /// How keys and values are kept. Another format is another numerics class.
    pub kv: KvFormat,
    /// Threads of the arithmetic; 0 for one on each physical core.
    pub threads: usize,
    /// Whether tokens are guessed, from what was said before or by a draft model. Changes nothing but the
    /// speed.
    pub speculate: bool,
    /// The instructions of the arithmetic; the fastest that there are if none are named.
    pub kernel: Option<Kernel>,
    /// What computes generators. On a GPU all of them are candle's.
    pub device: Device,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            running: 16,
            queued: 64,
            kv_bytes: 2 << 30,
            kv: KvFormat::F16,
            threads: 0,
            speculate: true,
            kernel: None,
            device: Device::Cpu,
        }
    }
}

impl EngineLimits {
    /// How many threads that comes to.
    pub fn threads(&self) -> usize {
        match self.threads {
            0 => num_cpus::get_physical().min(num_cpus::get()).max(1),
            threads => threads,
        }
    }

    /// The instructions that that comes to.
    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel.unwrap_or_else(Kernel::best)
    }

    /// The kernel and the threads of one model.
    pub(crate) fn compute(&self) -> Result<Compute, ModelError> {
        Ok(Compute {
            kernel: self.kernel(),
            pool: Pool::new(self.threads()).map_err(|e| ModelError::Fault(e.to_string()))?,
        })
    }
}

/// What the engines of all loaded models do now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EngineStats {
    /// Sequences that hold memory and are computed.
    pub running: usize,
    /// Sequences and requests that wait for their turn.
    pub queued: usize,
    /// Of the running, those whose reader is too slow; they are left out until it catches up.
    pub parked: usize,
    /// Tokens for which keys and values are held.
    pub kv_tokens: usize,
    /// Pages kept for prompts that begin like earlier ones, those that sequences hold too included.
    pub cached_pages: usize,
    /// Prompt tokens that are to be computed, of those that run and those that wait.
    pub prefill_tokens: usize,
    /// Pages that nobody has, or only the cache.
    pub free_pages: usize,
    /// Prompt tokens a second, lately; 0 if there were none yet.
    pub prefill_rate: f32,
    /// Tokens a second of each sequence, lately; 0 if there were none yet.
    pub decode_rate: f32,
    /// Tokens that needed no computing since the model was loaded.
    pub cached_tokens: u64,
    /// Prompt tokens computed since the model was loaded.
    pub tokens_in: u64,
    /// Tokens drawn since the model was loaded.
    pub tokens_out: u64,
    /// Tokens guessed (drafted) since the model was loaded.
    pub drafted: u64,
    /// Of these, those that were then drawn.
    pub accepted: u64,
}

impl EngineStats {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            running: self.running + other.running,
            queued: self.queued + other.queued,
            parked: self.parked + other.parked,
            kv_tokens: self.kv_tokens + other.kv_tokens,
            tokens_in: self.tokens_in + other.tokens_in,
            cached_pages: self.cached_pages + other.cached_pages,
            prefill_tokens: self.prefill_tokens + other.prefill_tokens,
            free_pages: self.free_pages + other.free_pages,
            // Of several models the slower one, so that nobody expects too much.
            prefill_rate: slower(self.prefill_rate, other.prefill_rate),
            decode_rate: slower(self.decode_rate, other.decode_rate),
            cached_tokens: self.cached_tokens + other.cached_tokens,
            tokens_out: self.tokens_out + other.tokens_out,
            drafted: self.drafted + other.drafted,
            accepted: self.accepted + other.accepted,
        }
    }
}

/// Of those that are known.
fn slower(a: f32, b: f32) -> f32 {
    match (a > 0.0, b > 0.0) {
        (true, true) => a.min(b),
        _ => a.max(b),
    }
}

/// The engine with its loaded models. Its methods need a tokio runtime.
pub struct CandleBackend {
    id: BackendId,
    pub(crate) shelf: Arc<Shelf>,
    texts: Arc<Semaphore>,
    /// One batch at a time: candle spreads each over all cores.
    embeddings: Arc<Semaphore>,
    audio_seconds_max: u32,
    /// When it was made.
    epoch: u64,
}

impl CandleBackend {
    /// An engine for the models of `library`. Nothing is loaded yet.
    pub fn new(config: CandleConfig, library: Arc<dyn Library>, clock: Arc<dyn Clock>) -> Self {
        Self {
            id: config.id.clone(),
            audio_seconds_max: config.audio_seconds_max,
            epoch: clock.unix_ms().max(0) as u64,
            shelf: Arc::new(Shelf::new(library, config, clock)),
            texts: Arc::new(Semaphore::new(TEXTS_AT_ONCE)),
            embeddings: Arc::new(Semaphore::new(1)),
        }
    }

    /// Loads a model now rather than on its first request.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn preload(&self, model: &ModelId) -> Result<(), ModelError> {
        self.shelf.take(model).await.map(|_| ())
    }

    /// The sums over all loaded models.
    pub fn engine_stats(&self) -> EngineStats {
        self.shelf.stats()
    }

    /// Threads that each model's arithmetic runs on.
    pub fn threads(&self) -> usize {
        self.shelf.limits().threads()
    }

    /// What a generator costs, for measurements; loads it if need be.
    ///
    /// # Errors
    /// Why it cannot be used, that it generates nothing, or that nothing is known of its costs.
    pub async fn costs(&self, model: &ModelId) -> Result<ModelCosts, BackendError> {
        let loaded = self.model(model).await?;
        let costs = generator(&loaded, model)?.costs();
        costs.cloned().ok_or_else(|| BackendError::Unsupported {
            param: "model",
            reason: format!("the model '{model}' runs through candle, whose costs are unknown"),
        })
    }

    /// Unloads every model. Streams under way end with an error, so drain first.
    pub async fn shutdown(&self) {
        self.shelf.close().await;
    }

    async fn model(&self, id: &ModelId) -> Result<Arc<Loaded>, BackendError> {
        let model = self.shelf.take(id).await;
        model.map_err(|error| unusable(id, error))
    }

    /// Runs work on texts away from the async threads, a bounded number at once.
    async fn on_text<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let permit = Arc::clone(&self.texts).acquire_owned().await;
        let done = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.unwrap_or_else(|_| Err(broke_down()))
    }

    async fn generate_now(&self, request: GenerateRequest) -> Result<EventStream, BackendError> {
        let model = self.model(&request.model).await?;
        generator(&model, &request.model)?;
        self.on_text(move || {
            let generator = generator(&model, &request.model)?;
            let (prompt, params) = (&request.prompt, request.params);
            generator.start(generator.prepare(prompt, params, request.owner, request.resume)?)
        })
        .await
    }

    async fn embed_now(&self, request: EmbedRequest) -> Result<Embeddings, BackendError> {
        if request.inputs.is_empty() {
            return Err(BackendError::Invalid {
                param: "input",
                reason: "there is nothing to embed".into(),
            });
        }
        let model = self.model(&request.model).await?;
        embedder(&model, &request.model)?.check_dimensions(request.dimensions)?;
        // All inputs are checked before any is computed.
        let (inputs, id) = (request.inputs, request.model);
        let prepared = {
            let (model, id) = (Arc::clone(&model), id.clone());
            let prepare = move || {
                let embedder = embedder(&model, &id)?;
                inputs.into_iter().map(|i| embedder.prepare(i)).collect()
            };
            self.on_text::<Vec<Vec<u32>>>(prepare).await?
        };
        let prompt_tokens = prepared.iter().map(|ids| ids.len() as u32).sum();
        let mut permit = Arc::clone(&self.embeddings).acquire_owned().await;
        let mut vectors = Vec::with_capacity(prepared.len());
        // One input at a time, so that a caller who leaves stops the rest.
        for ids in prepared {
            let (model, id) = (Arc::clone(&model), id.clone());
            let one = spawn_blocking(move || {
                let vector = embedder(&model, &id).and_then(|e| e.embed(&ids, request.dimensions));
                (vector, permit)
            });
            let (vector, back) = one.await.map_err(|_| broke_down())?;
            vectors.push(vector?);
            permit = back;
        }
        Ok(Embeddings {
            vectors,
            prompt_tokens,
        })
    }

    async fn transcribe_now(&self, request: TranscribeRequest) -> Result<Transcript, BackendError> {
        let model = self.model(&request.model).await?;
        let (speech, id) = (request.speech, request.model);
        let heard = listener(&model, &id)?;
        heard.check(&speech)?;
        let turn = heard.turn().await?;
        let (stop, seconds_max) = (Stop::default(), self.audio_seconds_max);
        // Nobody can end a thread from outside, so it looks whether somebody still waits.
        let _leaving = stop.when_dropped();
        let work = spawn_blocking(move || {
            let _turn = turn;
            listener(&model, &id)?.transcribe(&speech, seconds_max, &stop)
        });
        work.await.unwrap_or_else(|_| Err(broke_down()))
    }

    async fn tokenize_now(&self, id: ModelId, text: Tokenized) -> Result<TextTokens, BackendError> {
        let model = self.model(&id).await?;
        let work = move || match (&*model, text) {
            (Loaded::Generator(generator), text) => generator.tokenize(&text),
            (
                Loaded::Embedder(embedder),
                Tokenized::Text {
                    text, add_special, ..
                },
            ) => embedder.tokenize(&text, add_special),
            (Loaded::Listener(_), _) => Err(wrong_kind(&id, "read text")),
            (Loaded::Embedder(_), Tokenized::Chat(_)) => Err(BackendError::Unsupported {
                param: "messages",
                reason: format!("the model '{id}' makes embeddings and knows no conversations"),
            }),
        };
        self.on_text(work).await
    }

    async fn detokenize_now(&self, id: ModelId, ids: Vec<u32>) -> Result<String, BackendError> {
        let model = self.model(&id).await?;
        let work = move || match &*model {
            Loaded::Generator(generator) => generator.detokenize(&ids),
            Loaded::Embedder(embedder) => embedder.detokenize(&ids),
            Loaded::Listener(_) => Err(wrong_kind(&id, "spell out tokens")),
        };
        self.on_text(work).await
    }
}

/// What routing wants to know of the engine's numbers.
fn load(stats: EngineStats, epoch: u64) -> Load {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Load {
        // Whose reader is slow is not computed, and its engine not stuck.
        running: count(stats.running.saturating_sub(stats.parked)),
        queued: count(stats.queued),
        queued_prefill_tokens: stats.prefill_tokens as u64,
        free_pages: stats.free_pages as u64,
        prefill_rate: stats.prefill_rate,
        decode_rate: stats.decode_rate,
        tokens_out: stats.tokens_in + stats.tokens_out,
        epoch,
    }
}

impl Backend for CandleBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn report(&self) -> BackendReport {
        let entries = self.shelf.library().list();
        let mut looks = Looks(LOOKS_MAX);
        let facts = entries.into_iter().map(|entry| {
            let loaded = self.shelf.loaded(&entry.id);
            let (numerics, digest) = match &loaded {
                Some(model) => (model.numerics(), model.digest()),
                None => (self.shelf.foreseen(&entry, &mut looks), entry.digest),
            };
            ModelFacts {
                kind: entry.files.kind(),
                context: loaded.as_ref().map(|model| model.context()),
                created: entry.created,
                loaded: loaded.is_some(),
                numerics,
                digest,
                id: entry.id,
            }
        });
        let broken = self.shelf.broken();
        BackendReport {
            models: facts.collect(),
            unavailable: broken.map(|id| format!("the engine of the model '{id}' broke down")),
            load: Some(load(self.shelf.stats(), self.epoch)),
            place: Place::Here,
        }
    }

    fn generate(
        &self,
        request: GenerateRequest,
    ) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(self.generate_now(request))
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(self.embed_now(request))
    }

    fn transcribe(
        &self,
        request: TranscribeRequest,
    ) -> BoxFuture<'_, Result<Transcript, BackendError>> {
        Box::pin(self.transcribe_now(request))
    }

    fn tokenize(
        &self,
        model: ModelId,
        text: Tokenized,
    ) -> BoxFuture<'_, Result<TextTokens, BackendError>> {
        Box::pin(self.tokenize_now(model, text))
    }

    fn detokenize(
        &self,
        model: ModelId,
        tokens: Vec<u32>,
    ) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(self.detokenize_now(model, tokens))
    }
}

fn generator<'a>(model: &'a Loaded, id: &ModelId) -> Result<&'a Generator, BackendError> {
    match model {
        Loaded::Generator(generator) => Ok(generator),
        Loaded::Embedder(_) | Loaded::Listener(_) => Err(wrong_kind(id, "generate text")),
    }
}

fn embedder<'a>(model: &'a Loaded, id: &ModelId) -> Result<&'a Embedder, BackendError> {
    match model {
        Loaded::Embedder(embedder) => Ok(embedder),
        Loaded::Generator(_) | Loaded::Listener(_) => Err(wrong_kind(id, "make embeddings")),
    }
}

fn listener<'a>(model: &'a Loaded, id: &ModelId) -> Result<&'a Listener, BackendError> {
    match model {
        Loaded::Listener(listener) => Ok(listener),
        Loaded::Generator(_) | Loaded::Embedder(_) => Err(wrong_kind(id, "transcribe audio")),
    }
}

fn wrong_kind(id: &ModelId, verb: &str) -> BackendError {
    BackendError::Unsupported {
        param: "model",
        reason: format!("the model '{id}' cannot {verb}"),
    }
}

fn unusable(id: &ModelId, error: ModelError) -> BackendError {
    match error {
        ModelError::NotFound(id) => BackendError::ModelNotFound(id),
        ModelError::NoRoom { .. } => BackendError::Busy {
            reason: error.to_string(),
            retry_after: RETRY_AFTER,
        },
        other => BackendError::Internal(format!("the model '{id}' cannot be used: {other}")),
    }
}

fn broke_down() -> BackendError {
    BackendError::Internal("a worker thread broke down".into())
}
