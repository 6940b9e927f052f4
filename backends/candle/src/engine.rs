//! The engine of one model: a thread that owns the decoder and every sequence's state.
//!
//! Requests come in through a bounded queue and are turned away when it is full. Events go out
//! through a bounded channel for each request; the engine never waits for a reader. It has no
//! timers: it computes while anything can be computed and sleeps otherwise, woken by a new request,
//! by a reader that catches up or leaves, and by its end.

mod draft;
mod draw;
mod gauges;
mod job;
mod lookup;
mod masking;
mod memory;
mod prefix;
mod queue;
mod scheduler;
mod score;
mod sequence;
mod shares;
mod solo;
mod stream;
mod trust;
mod voice;
mod worth;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kwaainet_core::{BackendError, EventStream, PrincipalId, Priority, Sampling};
use kwaainet_decoder::Decoder;
use kwaainet_kernels::Compute;
use tokio::sync::{Semaphore, mpsc};

use crate::ModelError;
use crate::backend::{EngineLimits, EngineStats};
use crate::grammar::Compiled;
use crate::tokenizer::{Spelled, TextModel};
use crate::tools::CallFormat;
pub(crate) use draft::Draft;
use gauges::Gauges;
use job::Ticket;
use memory::Memory;
use scheduler::{Scheduler, Settings};
use solo::Solo;
pub(crate) use solo::SoloModel;
use stream::{Reader, broken_down};

/// When a caller who was turned away may find room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A model that is being served.
pub(crate) struct Engine {
    queue: SyncSender<Ticket>,
    /// One for each request that may be inside.
    places: Arc<Semaphore>,
    requests_max: usize,
    gauges: Arc<Gauges>,
    /// Set to end the thread, and by the thread when it ends by itself.
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    context: usize,
}

/// What the thread is given.
pub(crate) struct Model {
    pub(crate) decoder: Decoder,
    /// What guesses for it.
    pub(crate) draft: Option<Draft>,
    pub(crate) compute: Compute,
    pub(crate) text: Arc<TextModel>,
}

impl Model {
    /// Pages that fit in so many bytes: each with its counterpart of the draft model, at least one.
    fn pages(&self, bytes: u64) -> usize {
        let draft = self.draft.as_ref();
        let draft_bytes = draft.map_or(0, |draft| draft.decoder.page_shape().page_bytes());
        let each = self.decoder.page_shape().page_bytes() + draft_bytes;
        (bytes / each).clamp(1, 1 << 32) as usize
    }
}

/// A prompt that was checked: its tokens are in the vocabulary, at least one, and there is room in
/// the context for what it asks.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) prompt: Vec<u32>,
    /// Choices, at least 1.
    pub(crate) n: u32,
    /// Most tokens for each choice, at least 1; 0 where only the prompt is scored.
    pub(crate) max_tokens: usize,
    pub(crate) stop: Vec<String>,
    /// How many alternatives, if log-probabilities are wanted.
    pub(crate) logprobs: Option<u8>,
    pub(crate) sampling: Sampling,
    pub(crate) seed: u64,
    /// Whose it is: owners share time equally, and no keys and values.
    pub(crate) owner: PrincipalId,
    pub(crate) priority: Priority,
    /// What the text of each choice has to belong to.
    pub(crate) grammar: Option<Compiled>,
    /// How calls are read out of the choices, if there may be any.
    pub(crate) calls: Option<CallFormat>,
    /// For each choice what it said elsewhere, not more than it may; empty where nothing was said.
    pub(crate) begun: Vec<Vec<u32>>,
    /// The spelling of the prompt, if each choice is to say it first, with its log-probabilities.
    pub(crate) echo: Option<Spelled>,
}

impl Engine {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        name: &str,
        model: Model,
        context: usize,
        limits: &EngineLimits,
    ) -> Result<Self, ModelError> {
        let pages = model.pages(limits.kv_bytes);
        let memory = Memory::new(model.decoder.page_shape(), pages, |s| Some(&s.kv));
        let context = context.min(memory.positions());
        let settings = Settings {
            running_max: limits.running,
            speculate: limits.speculate,
        };
        Self::spawn(name, context, limits, move |inbox, gauges| {
            let mut scheduler = Scheduler::new(model, memory, settings, inbox, gauges);
            move || scheduler.step()
        })
    }

    /// Starts the thread for a model of candle's, which computes one sequence at a time.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start_solo(
        name: &str,
        model: SoloModel,
        context: usize,
        limits: &EngineLimits,
    ) -> Result<Self, ModelError> {
        Self::spawn(name, context, limits, move |inbox, gauges| {
            let mut solo = Solo::new(model, inbox, gauges);
            move || solo.step()
        })
    }

    /// Starts a thread that takes the steps that `make` makes there. A step says whether there was
    /// anything to compute.
    fn spawn<Step: FnMut() -> bool>(
        name: &str,
        context: usize,
        limits: &EngineLimits,
        make: impl FnOnce(Receiver<Ticket>, Arc<Gauges>) -> Step + Send + 'static,
    ) -> Result<Self, ModelError> {
        let requests_max = limits.running + limits.queued;
        let (queue, inbox) = sync_channel(requests_max);
        let gauges = Arc::new(Gauges::default());
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (gauges, stop) = (Arc::clone(&gauges), Arc::clone(&stop));
            let name = name.to_owned();
            let life = move || run(make(inbox, gauges), &stop, &name);
            thread::Builder::new()
                .name("engine".into())
                .spawn(life)
                .map_err(|e| ModelError::Fault(e.to_string()))?
        };
        Ok(Self {
            queue,
            places: Arc::new(Semaphore::new(requests_max)),
            requests_max,
            gauges,
            stop,
            thread: Some(thread),
            context,
        })
    }

    /// Tokens that a sequence may have: the model's context, as far as the memory for keys and
    /// values reaches.
    pub(crate) fn context(&self) -> usize {
        self.context
    }

    /// Takes a request in.
    ///
    /// # Errors
    /// `Busy` when the queue is full, `Internal` when the engine has broken down.
    pub(crate) fn submit(&self, request: Request) -> Result<EventStream, BackendError> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| busy())?;
        let (sender, receiver) = mpsc::channel(job::said_max(request.n));
        let choices = request.n;
        let ticket = Ticket {
            request,
            events: sender,
            place,
        };
        self.queue.try_send(ticket).map_err(|error| match error {
            TrySendError::Full(_) => busy(),
            TrySendError::Disconnected(_) => broken_down(),
        })?;
        self.gauges.submitted();
        let thread = self.thread.as_ref().ok_or_else(broken_down)?.thread();
        thread.unpark();
        Ok(Box::pin(Reader::new(receiver, choices, thread.clone())))
    }

    /// What it does now.
    pub(crate) fn stats(&self) -> EngineStats {
        self.gauges.read()
    }

    /// Whether no request is inside, from its submission to the end of its last choice.
    pub(crate) fn is_idle(&self) -> bool {
        self.places.available_permits() == self.requests_max
    }

    /// Whether it still computes; it never does again once it has broken down.
    pub(crate) fn is_alive(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }
}

/// Ends the thread within one step; streams under way end with an error.
impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// The thread's whole life: steps until told to stop.
fn run(mut step: impl FnMut() -> bool, stop: &AtomicBool, model: &str) {
    // A panic must not leave readers waiting: unwinding drops their channels, and a channel that
    // ends early reads as an error.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        while !stop.load(Ordering::Acquire) {
            if !step() {
                // Whatever happened since the last look has left a token that ends this at once.
                thread::park();
            }
        }
    }));
    // Before its end is seen by anybody.
    stop.store(true, Ordering::Release);
    match outcome {
        Ok(()) => {}
        Err(_) => tracing::error!(model, "the engine broke down"),
    }
}

fn busy() -> BackendError {
    BackendError::Busy {
        reason: "the engine has no room for another request".into(),
        retry_after: RETRY_AFTER,
    }
}

#[cfg(test)]
mod tests;
