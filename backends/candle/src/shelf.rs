//! The models that are in memory: loaded when first asked for, a bounded number of them.
//!
//! One model is loaded at a time, to its end even when the request that asked for it is gone, and
//! everybody who asks meanwhile waits for that one load. A failure is remembered for a moment, so
//! that a bad file is not read again for every request.

mod unloaded;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kwaainet_core::{Clock, ModelDigest, ModelId, Numerics};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;

use crate::audio::Listener;
use crate::backend::{CandleConfig, EngineLimits, EngineStats};
use crate::drafts::DraftFile;
use crate::embedder::Embedder;
use crate::generator::{Generator, Hashed};
use crate::{Files, Library, LibraryEntry, ModelError};

pub(crate) use unloaded::Looks;
use unloaded::Unloaded;

/// For so long a failure is given again without another try.
const FAILURE_KEPT: Duration = Duration::from_secs(5);

/// A model in memory.
pub(crate) enum Loaded {
    Generator(Box<Generator>),
    Embedder(Box<Embedder>),
    Listener(Box<Listener>),
}

impl Loaded {
    fn read(
        entry: &LibraryEntry,
        draft: Option<&DraftFile>,
        limits: &EngineLimits,
    ) -> Result<Self, ModelError> {
        match (&entry.files, draft) {
            (Files::Gguf(path), draft) => {
                let generator = Generator::load(&entry.id, path, draft, limits);
                generator.map(Box::new).map(Self::Generator)
            }
            (Files::Embedder(dir), None) => Embedder::load(dir).map(Box::new).map(Self::Embedder),
            (Files::Whisper(dir), None) => Listener::load(dir).map(Box::new).map(Self::Listener),
            (Files::Embedder(_) | Files::Whisper(_), Some(draft)) => {
                Err(draft.unfit("the model generates nothing that could be guessed"))
            }
        }
    }

    pub(crate) fn context(&self) -> u32 {
        match self {
            Self::Generator(generator) => generator.context(),
            Self::Embedder(embedder) => embedder.context(),
            Self::Listener(listener) => listener.context(),
        }
    }

    /// Which bits it computes. All but generators are candle's, which rounds differently on different machines.
    pub(crate) fn numerics(&self) -> Option<Numerics> {
        match self {
            Self::Generator(generator) => generator.numerics(),
            Self::Embedder(_) | Self::Listener(_) => None,
        }
    }

    /// SHA-256 of its file, of a generator.
    pub(crate) fn digest(&self) -> Option<ModelDigest> {
        match self {
            Self::Generator(generator) => Some(generator.hashed().digest),
            Self::Embedder(_) | Self::Listener(_) => None,
        }
    }

    fn stats(&self) -> EngineStats {
        match self {
            Self::Generator(generator) => generator.stats(),
            Self::Embedder(_) | Self::Listener(_) => EngineStats::default(),
        }
    }

    fn is_idle(&self) -> bool {
        match self {
            Self::Generator(generator) => generator.is_idle(),
            Self::Embedder(_) | Self::Listener(_) => true,
        }
    }

    fn is_alive(&self) -> bool {
        match self {
            Self::Generator(generator) => generator.is_alive(),
            Self::Embedder(_) | Self::Listener(_) => true,
        }
    }
}

/// All models in memory.
pub(crate) struct Shelf {
    library: Arc<dyn Library>,
    limits: EngineLimits,
    /// Model to draft model.
    drafts: HashMap<ModelId, ModelId>,
    loaded_max: usize,
    clock: Arc<dyn Clock>,
    unloaded: Unloaded,
    books: Mutex<Books>,
    /// Held while a model is loaded.
    loading: Arc<AsyncMutex<()>>,
}

#[derive(Default)]
struct Books {
    loaded: HashMap<ModelId, Slot>,
    failed: HashMap<ModelId, Failure>,
    /// Counts up with each use.
    uses: u64,
    closed: bool,
}

struct Slot {
    model: Arc<Loaded>,
    last_use: u64,
}

struct Failure {
    error: ModelError,
    at: Duration,
}

impl Shelf {
    pub(crate) fn new(
        library: Arc<dyn Library>,
        config: CandleConfig,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            library,
            limits: config.limits,
            drafts: config.drafts,
            loaded_max: config.max_loaded.max(1),
            clock,
            unloaded: Unloaded::default(),
            books: Mutex::default(),
            loading: Arc::default(),
        }
    }

    pub(crate) fn limits(&self) -> &EngineLimits {
        &self.limits
    }

    pub(crate) fn library(&self) -> &dyn Library {
        self.library.as_ref()
    }

    /// The model, loaded now if need be.
    ///
    /// # Errors
    /// When there is none of this name, it cannot be loaded, or there is no room for it.
    pub(crate) async fn take(self: &Arc<Self>, id: &ModelId) -> Result<Arc<Loaded>, ModelError> {
        let entry = self.library.find(id);
        let entry = entry.ok_or_else(|| ModelError::NotFound(id.clone()))?;
        if let Some(answer) = self.known(id) {
            return answer;
        }
        let guard = Arc::clone(&self.loading).lock_owned().await;
        // Whoever had the lock before may have loaded this very model.
        if let Some(answer) = self.known(id) {
            return answer;
        }
        let shelf = Arc::clone(self);
        // A task of its own: it goes on when this request is dropped.
        let load = spawn_blocking(move || {
            let answer = shelf.load(&entry, |entry, limits| {
                Loaded::read(entry, shelf.draft_of(&entry.id)?.as_ref(), limits)
            });
            drop(guard);
            answer
        });
        load.await.unwrap_or_else(|_| Err(broke_off()))
    }

    /// The model if it is in memory.
    pub(crate) fn loaded(&self, id: &ModelId) -> Option<Arc<Loaded>> {
        let books = self.books();
        books.loaded.get(id).map(|slot| Arc::clone(&slot.model))
    }

    /// Which bits a model that is not in memory would compute, where that is known by now.
    pub(crate) fn foreseen(&self, entry: &LibraryEntry, looks: &mut Looks) -> Option<Numerics> {
        self.unloaded.numerics(entry, &self.limits, looks)
    }

    /// A model whose engine broke down a moment ago. The next request after that loads it anew.
    /// May take as long as its memory takes to be freed.
    pub(crate) fn broken(&self) -> Option<ModelId> {
        let now = self.clock.monotonic();
        let (dead, broken) = {
            let mut books = self.books();
            let dead = books.sweep(now);
            let mut failed = books.failed.iter();
            let broken = failed.find(|(_, f)| f.error == ModelError::BrokeDown && f.is_fresh(now));
            (dead, broken.map(|(id, _)| id.clone()))
        };
        // Takes a while, but nobody waits for the books meanwhile.
        drop(dead);
        broken
    }

    /// The sums over all models.
    pub(crate) fn stats(&self) -> EngineStats {
        let books = self.books();
        let stats = books.loaded.values().map(|slot| slot.model.stats());
        stats.fold(EngineStats::default(), EngineStats::plus)
    }

    /// Unloads everything; nothing is loaded any more.
    pub(crate) async fn close(self: &Arc<Self>) {
        let loaded = {
            let mut books = self.books();
            books.closed = true;
            std::mem::take(&mut books.loaded)
        };
        // Ending an engine waits for its step.
        let ended = spawn_blocking(move || drop(loaded)).await;
        if ended.is_err() {
            tracing::error!("a model could not be unloaded cleanly");
        }
    }

    /// What is known without loading: the model, or a failure that is still fresh.
    fn known(&self, id: &ModelId) -> Option<Result<Arc<Loaded>, ModelError>> {
        let now = self.clock.monotonic();
        let (dead, known) = {
            let mut books = self.books();
            (books.sweep(now), books.known(id, now))
        };
        if !dead.is_empty() {
            // Joining an engine and freeing its memory would hold up an async thread.
            spawn_blocking(move || drop(dead));
        }
        known
    }

    /// What guesses for a model, where anything is guessed.
    fn draft_of(&self, id: &ModelId) -> Result<Option<DraftFile>, ModelError> {
        let draft = self.drafts.get(id).filter(|_| self.limits.speculate);
        let file = |id| DraftFile::new(id, self.library.find(id), Arc::clone(&self.clock));
        draft.map(file).transpose()
    }

    fn load(
        &self,
        entry: &LibraryEntry,
        read: impl FnOnce(&LibraryEntry, &EngineLimits) -> Result<Loaded, ModelError>,
    ) -> Result<Arc<Loaded>, ModelError> {
        let evicted = self.books().make_room(self.loaded_max)?;
        drop(evicted);
        let start = self.clock.monotonic();
        // A file that makes the reading panic would do so again for every request.
        let model = catch_unwind(AssertUnwindSafe(|| read(entry, &self.limits)))
            .unwrap_or_else(|_| Err(broke_off()));
        match model {
            Ok(model) => {
                let took = self.clock.monotonic().saturating_sub(start);
                tracing::info!(model = %entry.id, load_ms = took.as_millis() as u64, "loaded");
                if let Loaded::Generator(generator) = &model {
                    let Hashed { digest, stamp } = generator.hashed();
                    if let Some(stamp) = stamp {
                        self.library.hashed(entry, stamp, digest);
                    }
                }
                Ok(self.books().put(entry.id.clone(), model))
            }
            Err(error) => {
                tracing::warn!(model = %entry.id, %error, "the model cannot be loaded");
                let now = self.clock.monotonic();
                self.books().fail(entry.id.clone(), error.clone(), now);
                Err(error)
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no holder panics")
    }
}

impl Books {
    fn known(&mut self, id: &ModelId, now: Duration) -> Option<Result<Arc<Loaded>, ModelError>> {
        self.uses += 1;
        if let Some(slot) = self.loaded.get_mut(id) {
            slot.last_use = self.uses;
            return Some(Ok(Arc::clone(&slot.model)));
        }
        if self.closed {
            return Some(Err(ModelError::Fault("the engine is shut down".into())));
        }
        let failure = self.failed.get(id)?;
        failure.is_fresh(now).then(|| Err(failure.error.clone()))
    }

    fn put(&mut self, id: ModelId, model: Loaded) -> Arc<Loaded> {
        let model = Arc::new(model);
        self.failed.remove(&id);
        self.uses += 1;
        if !self.closed {
            let slot = Slot {
                model: Arc::clone(&model),
                last_use: self.uses,
            };
            self.loaded.insert(id, slot);
        }
        model
    }

    fn fail(&mut self, id: ModelId, error: ModelError, at: Duration) {
        self.failed.retain(|_, failure| failure.is_fresh(at));
        self.failed.insert(id, Failure { error, at });
    }

    /// Takes models off whose engines have broken down; they are to be dropped without the books.
    fn sweep(&mut self, now: Duration) -> Vec<Slot> {
        let dead = self.loaded.extract_if(|_, slot| !slot.model.is_alive());
        let (ids, dead): (Vec<_>, Vec<_>) = dead.unzip();
        for id in ids {
            self.fail(id, ModelError::BrokeDown, now);
        }
        dead
    }

    /// Takes models off until one more fits: the least recently used first, only idle ones.
    fn make_room(&mut self, limit: usize) -> Result<Vec<Slot>, ModelError> {
        let mut evicted = Vec::new();
        while self.loaded.len() >= limit {
            let slots = self.loaded.iter_mut();
            let idle = slots.filter_map(|(id, slot)| slot.is_idle().then_some((slot.last_use, id)));
            let oldest = idle.min_by_key(|(last_use, _)| *last_use);
            let id = oldest.map(|(_, id)| id.clone());
            let slot = id.and_then(|id| self.loaded.remove(&id));
            evicted.push(slot.ok_or(ModelError::NoRoom { limit })?);
        }
        Ok(evicted)
    }
}

impl Failure {
    fn is_fresh(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) < FAILURE_KEPT
    }
}

impl Slot {
    /// Nobody else holds it, and no request is inside its engine.
    fn is_idle(&mut self) -> bool {
        // Unlike the plain count, this also shows what the last holder did before letting go.
        Arc::get_mut(&mut self.model).is_some_and(|model| model.is_idle())
    }
}

fn broke_off() -> ModelError {
    ModelError::Fault("the loader broke down".into())
}

#[cfg(test)]
mod tests;
