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
        let (Files::Gguf(path) | Files::Embedder(path) | Files::Whisper(path)) =
            self.library.find(model)?.files;
        Some(About {
            bytes: size(&path),
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

/// Of a file; a folder's is not asked for.
fn size(path: &Path) -> u64 {
    let file = path.metadata().ok().filter(|file| file.is_file());
    file.map_or(0, |file| file.len())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_owners_comes_before_an_entry_of_its_name() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("gemma3-270m.gguf");
        std::fs::write(&path, b"weights").expect("it can be written");
        let config = Config {
            cache_dir: dir.path().to_owned(),
            ..Config::default()
        };
        let mut library = NodeLibrary::new(&config, Catalogue::builtin());
        let known = Shelf::of(Arc::new(library.clone()), Sources::default());
        let entry = known.about(&"gemma3-270m".into()).expect("it is known");
        assert_eq!(entry.architecture.as_deref(), Some("gemma3"));
        assert!(entry.bytes > 1_000_000);
        assert_eq!(known.about(&"gemma9".into()), None);

        let names = [path.to_string_lossy().into_owned()];
        library.want(&names).expect("it is a file");
        let own = Shelf::of(Arc::new(library), Sources::default());
        let expected = About {
            bytes: 7,
            file: "gemma3-270m.gguf".to_owned(),
            ..About::default()
        };
        assert_eq!(own.about(&"gemma3-270m".into()), Some(expected));
    }

    #[test]
    fn a_turn_is_given_to_one_at_a_time() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = Config {
            cache_dir: dir.path().to_owned(),
            ..Config::default()
        };
        let shelf = Shelf::new(&config, Catalogue::builtin(), Sources::default());
        assert_eq!(shelf.turn("gemma9").err(), Some(NoTurn::Unknown));
        let first = shelf.turn("gemma3-270m").expect("nobody pulls");
        assert_eq!(first.model().as_str(), "gemma3-270m");
        assert_eq!(shelf.turn("gemma3-270m").err(), Some(NoTurn::Busy));
        drop(first);
        assert!(shelf.turn("gemma3-270m").is_ok());
    }
}
