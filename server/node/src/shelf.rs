//! What is known of the models that can be here, and bringing one of them. What a model is comes from
//! the catalogue and from its files; whether it can be asked for now, only the snapshot says.

use std::path::Path;
use std::sync::Arc;

use kwaainet_candle::{Files, Library};
use kwaainet_core::ModelId;
use kwaainet_models::{Catalogue, Entry, Progress, PullError, Sources, pull};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::library::NodeLibrary;

/// The models of this machine, and where more come from.
pub struct Shelf {
    library: Arc<NodeLibrary>,
    sources: Sources,
    /// One pull at a time: it takes all of the line, and much of the disk.
    turn: Arc<Semaphore>,
}

/// A model's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Bytes of its files, if they are here or the catalogue says.
    pub bytes: u64,
    /// The SHA-256 of its first file, if the catalogue says.
    pub digest: Option<String>,
    /// The name of its first file.
    pub file: String,
    /// Its architecture, if the catalogue says.
    pub architecture: Option<String>,
    /// Its context in tokens, if the catalogue says.
    pub context: Option<u32>,
    /// Its weights' licence, if the catalogue says.
    pub licence: Option<String>,
}

/// The right to pull one model now.
pub struct PullTurn {
    library: Arc<NodeLibrary>,
    sources: Sources,
    entry: Entry,
    _turn: OwnedSemaphorePermit,
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// The catalogue has no such model.
    Unknown,
    /// Another model is being pulled.
    Busy,
}

impl Shelf {
    /// A shelf of its own, with the models of this catalogue.
    pub fn new(config: &Config, catalogue: Catalogue, sources: Sources) -> Self {
        Self::of(Arc::new(NodeLibrary::new(config, catalogue)), sources)
    }

    /// The shelf of a library that is in use.
    pub(crate) fn of(library: Arc<NodeLibrary>, sources: Sources) -> Self {
        Self {
            library,
            sources,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// What is known of a model; nothing of one that only an upstream has.
    pub fn about(&self, model: &ModelId) -> Option<About> {
        let entry = self.library.catalogue.get(model.as_str());
        if let Some(entry) = entry.filter(|_| !self.library.is_own(model)) {
            let first = &entry.files()[0];
            return Some(About {
                bytes: entry.bytes(),
                digest: Some(first.sha256().to_string()),
                file: first.name().to_owned(),
                architecture: Some(entry.architecture().to_owned()),
                context: Some(entry.context()),
                licence: Some(entry.licence().to_owned()),
            });
        }
        let (Files::Gguf(path) | Files::Embedder(path)) = self.library.find(model)?.files;
        Some(About {
            bytes: path.metadata().map_or(0, |file| file.len()),
            file: file_name(&path),
            ..About::default()
        })
    }

    /// A turn to pull a model of the catalogue.
    ///
    /// # Errors
    /// When there is no such model, or somebody else has the turn.
    pub fn turn(&self, model: &str) -> Result<PullTurn, NoTurn> {
        let entry = self.library.catalogue.get(model).ok_or(NoTurn::Unknown)?;
        let turn = Arc::clone(&self.turn).try_acquire_owned();
        Ok(PullTurn {
            library: Arc::clone(&self.library),
            sources: self.sources.clone(),
            entry: entry.clone(),
            _turn: turn.map_err(|_| NoTurn::Busy)?,
        })
    }
}

impl PullTurn {
    /// The model's name.
    pub fn model(&self) -> ModelId {
        ModelId::new(self.entry.name())
    }

    /// Pulls the model if it is not here. Dropping the future ends the pull and leaves no half file.
    ///
    /// # Errors
    /// As [`pull`] has them.
    pub async fn pull(self, progress: &dyn Progress) -> Result<(), PullError> {
        pull(&self.entry, &self.library.cache, &self.sources, progress)
            .await
            .map(|_| ())
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
