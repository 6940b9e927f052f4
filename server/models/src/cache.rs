//! The folder that models lie in, shared by all nodes of one user. Layout:
//!
//! ```text
//! <cache>/models/<model>/<file>            as the catalogue names them, e.g. 1_Pooling/config.json
//! <cache>/models/<model>/.lock             held by the process that pulls; stays when it is done
//! <cache>/digests                          what the node knows of the owner's files elsewhere
//! <cache>/models/<model>/.part-<random>    a download under way; removed by its owner or the next pull
//! ```
//!
//! A file under its own name was verified before it got that name. This module only looks;
//! writing is the business of `folder` and `intake`.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::{Entry, ModelFile};

/// Where models lie.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// A model that is here in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    dir: PathBuf,
    files: Vec<PathBuf>,
    created: i64,
}

impl Cache {
    /// The cache in this folder, which need not exist before the first pull.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder of the whole cache.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of one model, whether it is here or not.
    pub fn model_dir(&self, entry: &Entry) -> PathBuf {
        self.dir.join("models").join(entry.name())
    }

    /// The model's files, if all are here with their exact sizes. Reads no file: what has its name
    /// was verified when it came.
    pub fn find(&self, entry: &Entry) -> Option<ModelFiles> {
        let dir = self.model_dir(entry);
        let found: Option<Vec<Metadata>> =
            entry.files().iter().map(|file| look(&dir, file)).collect();
        Some(ModelFiles {
            files: entry
                .files()
                .iter()
                .map(|file| dir.join(file.name()))
                .collect(),
            created: found?.iter().map(modified_s).max().unwrap_or_default(),
            dir,
        })
    }

    /// Whether one file is here with its exact size.
    pub(crate) fn has(&self, entry: &Entry, file: &ModelFile) -> bool {
        look(&self.model_dir(entry), file).is_some()
    }
}

impl ModelFiles {
    /// The model's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The model's files, in the catalogue's order.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The model's GGUF file, if it is such a model; otherwise [`dir`](Self::dir) is what a loader
    /// wants.
    pub fn gguf(&self) -> Option<&Path> {
        let is_gguf = |file: &&PathBuf| file.extension().is_some_and(|ext| ext == "gguf");
        self.files.iter().find(is_gguf).map(PathBuf::as_path)
    }

    /// When the newest of its files came: seconds since 1970.
    pub fn created(&self) -> i64 {
        self.created
    }
}

fn look(dir: &Path, file: &ModelFile) -> Option<Metadata> {
    let metadata = dir.join(file.name()).metadata().ok()?;
    (metadata.is_file() && metadata.len() == file.bytes()).then_some(metadata)
}

fn modified_s(metadata: &Metadata) -> i64 {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs() as i64)
}
