//! What the fake is told to do, and what it has done.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwaainet_core::{BackendError, GenerateRequest, Load, TranscribeRequest};

/// What a [`ScriptedBackend`](crate::ScriptedBackend) does with the jobs that start from now on.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// What it says.
    pub answer: Answer,
    /// How long it takes for each token, and for each input to embed.
    pub delay: Duration,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// What its report gives as the reason for taking no work. Work that comes is still done.
    pub unavailable: Option<String>,
    /// What its report gives as its load.
    pub load: Option<Load>,
}

impl Script {
    /// Answers of so many words.
    pub fn words(count: u32) -> Self {
        Self {
            answer: Answer::Words(count),
            ..Self::default()
        }
    }

    /// Turns every job away as busy.
    pub fn busy(retry_after: Duration) -> Self {
        Self::failing(Fault::Refuse(BackendError::Busy {
            reason: "the scripted backend is busy".into(),
            retry_after,
        }))
    }

    /// The default answer, and this fault.
    pub fn failing(fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..Self::default()
        }
    }
}

/// The tokens of each choice, after which it ends by itself.
#[derive(Clone, Debug)]
pub enum Answer {
    /// So many tokens: `w0`, ` w1`, ` w2`, … A seed with a temperature above 0 starts the count at
    /// another number for each choice.
    Words(u32),
    /// These bytes, one token each. They need not be whole characters.
    Pieces(Vec<Vec<u8>>),
    /// Calls of these tools; each name and each piece of the arguments is a token.
    Calls(Vec<ScriptedCall>),
}

/// A tool call that the fake makes.
#[derive(Clone, Debug)]
pub struct ScriptedCall {
    /// Which tool.
    pub name: String,
    /// Its arguments in pieces.
    pub arguments: Vec<String>,
}

impl ScriptedCall {
    /// A call whose arguments come in these pieces.
    pub fn new(name: &str, arguments: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            arguments: arguments.iter().map(|&piece| piece.to_owned()).collect(),
        }
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self::Words(16)
    }
}

/// What goes wrong with a job.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is turned away before any work.
    Refuse(BackendError),
    /// It fails instead of its next event once so many tokens are out, over all choices. An
    /// embedding fails at once.
    FailAfter {
        /// Tokens before that.
        tokens: u32,
        /// With what.
        error: BackendError,
    },
    /// It stays silent until dropped once so many tokens are out, over all choices. An embedding
    /// never ends.
    HangAfter {
        /// Tokens before that.
        tokens: u32,
    },
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Generations and embeddings that were begun.
    pub started: u64,
    /// Those that are neither over nor dropped.
    pub alive: u64,
    /// Tokens generated.
    pub tokens: u64,
}

/// A test's hold on a backend that is in use elsewhere.
#[derive(Clone)]
pub struct ScriptHandle(Arc<Shared>);

struct Shared {
    script: Mutex<Arc<Script>>,
    next: Mutex<VecDeque<Script>>,
    last: Mutex<Option<GenerateRequest>>,
    last_speech: Mutex<Option<TranscribeRequest>>,
    started: AtomicU64,
    alive: AtomicU64,
    tokens: AtomicU64,
}

impl ScriptHandle {
    pub(super) fn new(script: Script) -> Self {
        Self(Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            next: Mutex::default(),
            last: Mutex::default(),
            last_speech: Mutex::default(),
            started: AtomicU64::default(),
            alive: AtomicU64::default(),
            tokens: AtomicU64::default(),
        }))
    }

    /// Changes what happens to jobs that start from now on.
    pub fn set(&self, script: Script) {
        *self.0.script.lock().expect("no holder panics") = Arc::new(script);
    }

    /// Generations that start from now on each take the next of these; the last one stays.
    pub fn set_each(&self, scripts: impl IntoIterator<Item = Script>) {
        *self.0.next.lock().expect("no holder panics") = scripts.into_iter().collect();
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        Counts {
            started: self.0.started.load(Ordering::SeqCst),
            alive: self.0.alive.load(Ordering::SeqCst),
            tokens: self.0.tokens.load(Ordering::SeqCst),
        }
    }

    /// The last generation that was asked for, also if it was refused.
    pub fn last_generate(&self) -> Option<GenerateRequest> {
        self.0.last.lock().expect("no holder panics").clone()
    }

    /// The last transcription that was asked for, also if it was refused.
    pub fn last_transcribe(&self) -> Option<TranscribeRequest> {
        self.0.last_speech.lock().expect("no holder panics").clone()
    }

    pub(super) fn script(&self) -> Arc<Script> {
        Arc::clone(&self.0.script.lock().expect("no holder panics"))
    }

    /// The script of a generation that starts now.
    pub(super) fn next_script(&self) -> Arc<Script> {
        let next = self.0.next.lock().expect("no holder panics").pop_front();
        next.into_iter().for_each(|script| self.set(script));
        self.script()
    }

    pub(super) fn remember(&self, request: &GenerateRequest) {
        *self.0.last.lock().expect("no holder panics") = Some(request.clone());
    }

    pub(super) fn remember_speech(&self, request: &TranscribeRequest) {
        *self.0.last_speech.lock().expect("no holder panics") = Some(request.clone());
    }

    /// Counts a job until the guard is dropped.
    pub(super) fn start(&self) -> Alive {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        self.0.alive.fetch_add(1, Ordering::SeqCst);
        Alive(self.clone())
    }
}

/// A job under way.
pub(super) struct Alive(ScriptHandle);

impl Alive {
    pub(super) fn count_token(&self) {
        self.0.0.tokens.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}
