//! The models that are in memory: loaded when first asked for, a bounded number of them.
//!
//! One model is loaded at a time, to its end even when the request that asked for it is gone, and
//! everybody who asks meanwhile waits for that one load. A failure is remembered for a moment, so
//! that a bad file is not read again for every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kwaainet_core::{Clock, ModelId};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;

use crate::backend::{EngineLimits, EngineStats};
use crate::embedder::Embedder;
use crate::generator::Generator;
use crate::{Files, Library, LibraryEntry, ModelError};

/// For so long a failure is given again without another try.
const FAILURE_KEPT: Duration = Duration::from_secs(5);

/// A model in memory.
pub(crate) enum Loaded {
    Generator(Generator),
    Embedder(Box<Embedder>),
}

impl Loaded {
    fn read(entry: &LibraryEntry, limits: &EngineLimits) -> Result<Self, ModelError> {
        match &entry.files {
            Files::Gguf(path) => Generator::load(&entry.id, path, limits).map(Self::Generator),
            Files::Embedder(dir) => Embedder::load(dir).map(Box::new).map(Self::Embedder),
        }
    }

    pub(crate) fn context(&self) -> u32 {
        match self {
            Self::Generator(generator) => generator.context(),
            Self::Embedder(embedder) => embedder.context(),
        }
    }

    fn stats(&self) -> EngineStats {
        match self {
            Self::Generator(generator) => generator.stats(),
            Self::Embedder(_) => EngineStats::default(),
        }
    }

    fn is_alive(&self) -> bool {
        match self {
            Self::Generator(generator) => generator.is_alive(),
            Self::Embedder(_) => true,
        }
    }
}

/// All models in memory.
pub(crate) struct Shelf {
    library: Arc<dyn Library>,
    limits: EngineLimits,
    loaded_max: usize,
    clock: Arc<dyn Clock>,
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
        loaded_max: usize,
        limits: EngineLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            library,
            limits,
            loaded_max: loaded_max.max(1),
            clock,
            books: Mutex::default(),
            loading: Arc::default(),
        }
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
            let answer = shelf.load(&entry);
            drop(guard);
            answer
        });
        load.await
            .unwrap_or_else(|_| Err(ModelError::Fault("the loader broke down".into())))
    }

    /// The model if it is in memory.
    pub(crate) fn loaded(&self, id: &ModelId) -> Option<Arc<Loaded>> {
        let books = self.books();
        books.loaded.get(id).map(|slot| Arc::clone(&slot.model))
    }

    /// A model whose engine broke down a moment ago. The next request after that loads it anew.
    pub(crate) fn broken(&self) -> Option<ModelId> {
        let now = self.clock.monotonic();
        let mut books = self.books();
        books.sweep(now);
        let mut failed = books.failed.iter();
        let broken = failed.find(|(_, f)| f.error == ModelError::BrokeDown && f.is_fresh(now));
        broken.map(|(id, _)| id.clone())
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
        let mut books = self.books();
        books.sweep(now);
        books.uses += 1;
        let use_now = books.uses;
        if let Some(slot) = books.loaded.get_mut(id) {
            slot.last_use = use_now;
            return Some(Ok(Arc::clone(&slot.model)));
        }
        if books.closed {
            return Some(Err(ModelError::Fault("the engine is shut down".into())));
        }
        let failure = books.failed.get(id)?;
        failure.is_fresh(now).then(|| Err(failure.error.clone()))
    }

    fn load(&self, entry: &LibraryEntry) -> Result<Arc<Loaded>, ModelError> {
        let evicted = self.books().make_room(self.loaded_max)?;
        drop(evicted);
        let start = self.clock.monotonic();
        match Loaded::read(entry, &self.limits) {
            Ok(model) => {
                let took = self.clock.monotonic().saturating_sub(start);
                tracing::info!(model = %entry.id, load_ms = took.as_millis() as u64, "loaded");
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

    /// Takes models off whose engines have broken down.
    fn sweep(&mut self, now: Duration) {
        let dead = self.loaded.extract_if(|_, slot| !slot.model.is_alive());
        let dead: Vec<_> = dead.map(|(id, _)| id).collect();
        for id in dead {
            self.fail(id, ModelError::BrokeDown, now);
        }
    }

    /// Takes models off until one more fits: the least recently used first, only idle ones.
    fn make_room(&mut self, limit: usize) -> Result<Vec<Slot>, ModelError> {
        let mut evicted = Vec::new();
        while self.loaded.len() >= limit {
            let idle = self.loaded.iter().filter(|(_, slot)| slot.is_idle());
            let oldest = idle.min_by_key(|(_, slot)| slot.last_use);
            let id = oldest.map(|(id, _)| id.clone());
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
    /// Nobody holds it, and its engine has nothing to do.
    fn is_idle(&self) -> bool {
        let stats = self.model.stats();
        Arc::strong_count(&self.model) == 1 && stats.running == 0 && stats.queued == 0
    }
}

#[cfg(test)]
mod tests;
