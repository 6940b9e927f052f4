//! Speech to text by Whisper's models, through candle-transformers.
//!
//! A recording is decoded, brought to 16 kHz and one channel, and made into a log-mel spectrogram;
//! windows of 30 seconds of it are heard one after the other. Everything is bounded: the length of the
//! recording, the tokens of a window, who waits. One recording at a time for each model.

mod filter;
mod fourier;
mod hear;
mod language;
mod listen;
mod mel;
mod model;
mod recording;
mod resample;
mod segments;
#[cfg(test)]
mod tests;
mod words;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kwaainet_core::{BackendError, SpeechTask, Transcribe, Transcript};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ModelError;
use language::{ENGLISH, Language};
use listen::Task;
use model::Model;

/// Samples per second that the models hear.
const RATE: usize = 16_000;
/// Shorter recordings are refused, as OpenAI does.
const SAMPLES_MIN: usize = RATE / 10;
/// Recordings that wait for one model's attention, beyond the one that has it.
const WAITING_MAX: usize = 4;
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// A model that hears.
pub(crate) struct Listener {
    model: Mutex<Model>,
    facts: Facts,
    seats: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// What is asked of a model without waiting for it.
struct Facts {
    context: u32,
    multilingual: bool,
    languages: Vec<Language>,
}

/// A place among those who wait, and then the model's attention.
pub(crate) struct Turn(#[expect(dead_code, reason = "held")] [OwnedSemaphorePermit; 2]);

impl Listener {
    /// Reads a directory.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be.
    pub(crate) fn load(dir: &Path) -> Result<Self, ModelError> {
        let model = Model::load(dir)?;
        let facts = Facts {
            context: model.context() as u32,
            multilingual: model.words.multilingual,
            languages: model.words.languages.iter().map(|(_, l)| *l).collect(),
        };
        Ok(Self {
            model: Mutex::new(model),
            facts,
            seats: Arc::new(Semaphore::new(WAITING_MAX + 1)),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// The most tokens that are before it at once.
    pub(crate) fn context(&self) -> u32 {
        self.facts.context
    }

    /// Checks what it cannot do, before anybody waits.
    ///
    /// # Errors
    /// For a language that it does not know, and for translations where it knows English only.
    pub(crate) fn check(&self, speech: &Transcribe) -> Result<(), BackendError> {
        if speech.task == SpeechTask::Translate && !self.facts.multilingual {
            return Err(BackendError::Unsupported {
                param: "model",
                reason: "the model knows English only and cannot translate".into(),
            });
        }
        self.language(speech).map(|_| ())
    }

    /// Waits until it is free.
    ///
    /// # Errors
    /// When too many wait already.
    pub(crate) async fn turn(&self) -> Result<Turn, BackendError> {
        let seat = Arc::clone(&self.seats).try_acquire_owned();
        let seat = seat.map_err(|_| BackendError::Busy {
            reason: format!("{WAITING_MAX} recordings wait for this model already"),
            retry_after: RETRY_AFTER,
        })?;
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        Ok(Turn([seat, turn.expect("it is never closed")]))
    }

    /// Makes text of a recording; takes long, and the caller has the [`Turn`].
    ///
    /// # Errors
    /// When the recording cannot be read, is too short or too long, or when told to stop.
    pub(crate) fn transcribe(
        &self,
        speech: &Transcribe,
        seconds_max: u32,
        stop: &Stop,
    ) -> Result<Transcript, BackendError> {
        let samples = recording::read(Arc::clone(&speech.audio), seconds_max, stop)?;
        if samples.len() < SAMPLES_MIN {
            return Err(unheard("the recording is shorter than a tenth of a second"));
        }
        let task = Task {
            kind: speech.task,
            language: self.language(speech)?,
            prompt: speech.prompt.as_deref(),
            temperature: speech.temperature,
        };
        // A panic leaves nothing behind that the next recording does not overwrite.
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        listen::transcribe(&mut model, &samples, &task, stop)
    }

    fn language(&self, speech: &Transcribe) -> Result<Option<Language>, BackendError> {
        let wanted = match &speech.language {
            None if self.facts.multilingual => return Ok(None),
            None => return Ok(Some(ENGLISH)),
            Some(wanted) => wanted,
        };
        let known = language::find(wanted).filter(|found| {
            if self.facts.multilingual {
                self.facts.languages.contains(found)
            } else {
                *found == ENGLISH
            }
        });
        let unknown = || BackendError::Invalid {
            param: "language",
            reason: "the model knows no such language; an ISO 639-1 code such as 'en' is expected"
                .into(),
        };
        known.map(Some).ok_or_else(unknown)
    }
}

/// Whether the work is still wanted.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

/// Says so when it is dropped.
pub(crate) struct Leaving(Stop);

impl Stop {
    pub(crate) fn when_dropped(&self) -> Leaving {
        Leaving(self.clone())
    }

    fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// When nobody waits any more, so that nobody reads it.
    fn check(&self) -> Result<(), BackendError> {
        if self.is_wanted() {
            return Err(BackendError::Internal("nobody waits for it".into()));
        }
        Ok(())
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// A recording that cannot be heard.
fn unheard(reason: &str) -> BackendError {
    BackendError::Invalid {
        param: "file",
        reason: reason.into(),
    }
}
