//! The models on this machine: those of the catalogue that lie in the cache, and files that the
//! owner named.

mod digests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use kwaainet_candle::{FileStamp, Files, Library, LibraryEntry};
use kwaainet_core::{ModelDigest, ModelId};
use kwaainet_models::{Cache, Catalogue, Entry, EntryKind};

use crate::config::Config;
use digests::Digests;

/// A model that cannot be meant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadModel {
    /// Neither in the catalogue nor a file.
    #[error("'{name}' is neither a file nor a model in the catalogue, which has: {known}")]
    Unknown { name: String, known: String },
    /// Models are called as their files, and two files have one name.
    #[error("two model files are called '{name}'; rename one, or list them in a catalogue")]
    SameName { name: ModelId },
    /// It is to hear, and lies nowhere.
    #[error("audio.models: '{name}' is no folder with a config.json")]
    NoListener { name: String },
    /// A guess costs as much as the answer then.
    #[error("engine.drafts: '{name}' cannot be its own draft model")]
    OwnDraft { name: ModelId },
}

impl Wanted {
    pub(crate) fn id(&self) -> &ModelId {
        match self {
            Self::File(id) | Self::Entry(id) => id,
        }
    }
}

/// What the node can load.
#[derive(Clone)]
pub(crate) struct NodeLibrary {
    pub(crate) catalogue: Catalogue,
    pub(crate) cache: Cache,
    files: Vec<LibraryEntry>,
    /// Of the owner's files.
    digests: Arc<Digests>,
}

/// A model that the owner wants served from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A file of his own.
    File(ModelId),
    /// An entry of the catalogue, which may have to be pulled.
    Entry(ModelId),
}

impl NodeLibrary {
    pub(crate) fn new(config: &Config, catalogue: Catalogue) -> Self {
        Self {
            cache: Cache::new(&config.cache_dir),
            catalogue,
            files: Vec::new(),
            digests: Arc::new(Digests::open(&config.cache_dir)),
        }
    }

    /// Takes in the names and paths that the owner gave; none means the default model.
    ///
    /// # Errors
    /// For the first that is neither.
    pub(crate) fn want(&mut self, names: &[String]) -> Result<Vec<Wanted>, BadModel> {
        if names.is_empty() {
            let default = ModelId::new(self.catalogue.default_model().name());
            return Ok(vec![Wanted::Entry(default)]);
        }
        names.iter().map(|name| self.want_one(name)).collect()
    }

    /// Takes in models with their draft models, by their names and paths.
    ///
    /// # Errors
    /// For the first that is neither, and a model that is to guess for itself.
    pub(crate) fn want_drafts(
        &mut self,
        drafts: &BTreeMap<String, String>,
    ) -> Result<HashMap<ModelId, Wanted>, BadModel> {
        let mut wanted = HashMap::new();
        for (model, draft) in drafts {
            let model = self.want_one(model)?.id().clone();
            let draft = self.want_one(draft)?;
            if *draft.id() == model {
                return Err(BadModel::OwnDraft { name: model });
            }
            wanted.insert(model, draft);
        }
        Ok(wanted)
    }

    /// Takes in models that hear, by their names.
    ///
    /// # Errors
    /// For the first whose folder is none, or whose name is taken.
    pub(crate) fn want_listeners(
        &mut self,
        listeners: &BTreeMap<String, PathBuf>,
    ) -> Result<(), BadModel> {
        for (name, folder) in listeners {
            if name.is_empty() || !folder.join("config.json").is_file() {
                let name = name.clone();
                return Err(BadModel::NoListener { name });
            }
            let id = ModelId::new(name.as_str());
            let taken = self.files.iter().any(|file| file.id == id);
            if taken || self.catalogue.get(name).is_some() {
                return Err(BadModel::SameName { name: id });
            }
            self.files.push(LibraryEntry {
                files: Files::Whisper(folder.clone()),
                created: created(folder),
                digest: None,
                id,
            });
        }
        Ok(())
    }

    fn want_one(&mut self, name: &str) -> Result<Wanted, BadModel> {
        if self.catalogue.get(name).is_some() {
            return Ok(Wanted::Entry(ModelId::new(name)));
        }
        let path = Path::new(name);
        let Some(entry) = path.exists().then(|| file_entry(path)).flatten() else {
            let known: Vec<_> = self.catalogue.iter().map(Entry::name).collect();
            return Err(BadModel::Unknown {
                name: name.to_owned(),
                known: known.join(", "),
            });
        };
        let id = entry.id.clone();
        if self
            .files
            .iter()
            .any(|file| file.id == id && file.files != entry.files)
        {
            return Err(BadModel::SameName { name: id });
        }
        if !self.files.contains(&entry) {
            self.files.push(entry);
        }
        Ok(Wanted::File(id))
    }

    /// Whether a file of the owner's has this name.
    pub(crate) fn is_own(&self, model: &ModelId) -> bool {
        self.files.iter().any(|file| file.id == *model)
    }

    fn cached(&self, entry: &Entry) -> Option<LibraryEntry> {
        let files = self.cache.find(entry)?;
        let created = files.created();
        let (files, digest) = match entry.kind() {
            EntryKind::Embed => (Files::Embedder(files.dir().to_owned()), None),
            EntryKind::Generate => {
                let gguf = files.gguf()?;
                let mut pairs = files.files().iter().zip(entry.files());
                // It was verified when it came.
                let file = pairs.find_map(|(path, file)| (path == gguf).then_some(file));
                let digest = file.map(|file| ModelDigest(file.sha256().bytes()));
                (Files::Gguf(gguf.to_owned()), digest)
            }
        };
        Some(LibraryEntry {
            id: ModelId::new(entry.name()),
            files,
            created,
            digest,
        })
    }
}

impl NodeLibrary {
    /// A file of the owner's, with its digest if that is known.
    fn own(&self, file: &LibraryEntry) -> LibraryEntry {
        let digest = match &file.files {
            Files::Gguf(path) => self.digests.of(path),
            Files::Embedder(_) | Files::Whisper(_) => None,
        };
        LibraryEntry {
            digest,
            ..file.clone()
        }
    }
}

impl Library for NodeLibrary {
    fn list(&self) -> Vec<LibraryEntry> {
        let cached = self.catalogue.iter().filter_map(|entry| self.cached(entry));
        let named = |id: &ModelId| self.files.iter().any(|file| file.id == *id);
        let cached = cached.filter(|entry| !named(&entry.id));
        let own = self.files.iter().map(|file| self.own(file));
        own.chain(cached).collect()
    }

    fn find(&self, model: &ModelId) -> Option<LibraryEntry> {
        let named = self.files.iter().find(|file| file.id == *model);
        let named = named.map(|file| self.own(file));
        named.or_else(|| self.cached(self.catalogue.get(model.as_str())?))
    }

    fn hashed(&self, entry: &LibraryEntry, stamp: FileStamp, digest: ModelDigest) {
        if let Files::Gguf(path) = &entry.files
            && self.is_own(&entry.id)
        {
            self.digests.remember(path, stamp, digest);
        }
    }
}

/// A GGUF file is called as its name without the ending, a folder is an embedder.
fn file_entry(path: &Path) -> Option<LibraryEntry> {
    let name = if path.is_dir() {
        path.file_name()?
    } else {
        path.file_stem()?
    };
    let files = if path.is_dir() {
        Files::Embedder(path.to_owned())
    } else {
        Files::Gguf(path.to_owned())
    };
    Some(LibraryEntry {
        id: ModelId::new(name.to_str()?),
        files,
        created: created(path),
        digest: None,
    })
}

/// When a file or folder last changed: seconds since 1970.
fn created(path: &Path) -> i64 {
    path.metadata()
        .ok()
        .and_then(|metadata| metadata.modified().ok())
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_nonsense_are_told_apart() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = Config {
            cache_dir: dir.path().to_owned(),
            ..Config::default()
        };
        let mut library = NodeLibrary::new(&config, Catalogue::builtin());
        let default = library.want(&[]).expect("there is a default");
        assert_eq!(default, [Wanted::Entry("smollm2-135m-instruct".into())]);

        let path = dir.path().join("My.Model.gguf");
        std::fs::write(&path, b"x").expect("it can be written");
        let names = [
            path.to_string_lossy().into_owned(),
            "gemma3-270m".to_owned(),
        ];
        let wanted = library.want(&names).expect("both are known");
        let expected = [
            Wanted::File("My.Model".into()),
            Wanted::Entry("gemma3-270m".into()),
        ];
        assert_eq!(wanted, expected);
        let listed: Vec<_> = library.list().into_iter().map(|entry| entry.id).collect();
        assert_eq!(
            listed,
            ["My.Model".into()],
            "what is not in the cache is not listed"
        );

        let error = library
            .want(&["gemma9".to_owned()])
            .expect_err("no such thing");
        assert!(error.to_string().contains("all-minilm-l6-v2"), "{error}");
    }

    #[test]
    fn a_model_that_hears_is_a_folder_with_a_name_of_its_own() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = Config {
            cache_dir: dir.path().to_owned(),
            ..Config::default()
        };
        let mut library = NodeLibrary::new(&config, Catalogue::builtin());
        let folder = dir.path().to_owned();
        let mut want = |name: &str, folder: &Path| {
            let listeners = BTreeMap::from([(name.to_owned(), folder.to_owned())]);
            library.want_listeners(&listeners)
        };
        let error = want("whisper", &folder).expect_err("there is nothing in it");
        assert!(error.to_string().contains("config.json"), "{error}");
        std::fs::write(folder.join("config.json"), "{}").expect("it can be written");
        want("whisper", &folder).expect("it is a folder");
        want("whisper", &folder).expect_err("the name is taken");
        want("gemma3-270m", &folder).expect_err("the catalogue has the name");
        let listed = library.list();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].files, Files::Whisper(folder));
    }

    #[test]
    fn a_draft_model_is_a_model_and_another_one() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = Config {
            cache_dir: dir.path().to_owned(),
            ..Config::default()
        };
        let mut library = NodeLibrary::new(&config, Catalogue::builtin());
        let path = dir.path().join("Small.gguf");
        std::fs::write(&path, b"x").expect("it can be written");
        let small = path.to_str().expect("a path in Unicode");
        let mut want = |model: &str, draft: &str| {
            let drafts = BTreeMap::from([(model.to_owned(), draft.to_owned())]);
            library.want_drafts(&drafts)
        };
        let wanted = want("gemma3-270m", small).expect("both are known");
        let expected = ("gemma3-270m".into(), Wanted::File("Small".into()));
        assert_eq!(wanted, HashMap::from([expected]));
        want(small, "gemma3-270m").expect("both are known");
        let error = want("gemma3-270m", "gemma3-270m").expect_err("it is itself");
        assert!(error.to_string().contains("its own draft"), "{error}");
        want("gemma9", small).expect_err("no such model");
        want(small, "gemma9").expect_err("no such draft model");
        assert_eq!(library.list().len(), 1, "a file is listed once");
    }
}
