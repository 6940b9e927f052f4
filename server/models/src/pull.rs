//! Brings a model's missing files into the cache: source after source, file after file, under the
//! model's lock.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::fetch::Fetcher;
use crate::folder::{ClaimError, Folder};
use crate::intake::IntakeError;
use crate::{Cache, Entry, ModelFile, ModelFiles, Progress, SourceError, Sources};

/// Why a model is still not here.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// No source gave one of its files.
    #[error(
        "no source of '{file}' of the model '{model}' worked:{}",
        List(failures)
    )]
    NoSource {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// Each source, as a person would name it, and what was wrong with it, in order.
        failures: Vec<(String, SourceError)>,
    },
    /// Another process kept the model's lock.
    #[error(
        "another process has been pulling '{model}' for {} s; wait for it or end it, then try again",
        waited.as_secs()
    )]
    Busy {
        /// The model.
        model: String,
        /// How long we waited.
        waited: Duration,
    },
    /// The cache cannot be written: no rights, no room, no disk.
    #[error("cannot write to the model cache {}: {error}", path.display())]
    Cache {
        /// The model's folder.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// Makes sure that the model lies in the cache, and says where. Files that are there already are
/// not fetched again. Of two that pull the same model at once, in one process or two, one does the
/// work and the other waits for it. Dropping the future ends everything that it started and leaves
/// no half file.
///
/// # Errors
/// When a file could be had from none of its sources, when another process does not get done with
/// the model within [`Limits::lock_wait`](crate::Limits), or when the cache cannot be written.
pub async fn pull(
    entry: &Entry,
    cache: &Cache,
    sources: &Sources,
    progress: &dyn Progress,
) -> Result<ModelFiles, PullError> {
    if let Some(files) = cache.find(entry) {
        return Ok(files);
    }
    let path = cache.model_dir(entry);
    let unwritable = |error| PullError::Cache {
        path: path.clone(),
        error,
    };
    let wait = sources.limits.lock_wait;
    let folder = Folder::claim(path.clone(), entry.name(), wait, progress)
        .await
        .map_err(|error| match error {
            ClaimError::Io(error) => unwritable(error),
            ClaimError::Held => PullError::Busy {
                model: entry.name().to_owned(),
                waited: wait,
            },
        })?;
    let mut fetcher = Fetcher::new(sources, &folder);
    for file in entry.files() {
        // Looked at under the lock: whoever held it before may have brought the file.
        if cache.has(entry, file) {
            continue;
        }
        progress.started(file);
        let tried = try_sources(file, &mut fetcher, progress)
            .await
            .map_err(unwritable)?;
        tried.map_err(|failures| PullError::NoSource {
            model: entry.name().to_owned(),
            file: file.name().to_owned(),
            failures,
        })?;
        progress.done(file);
    }
    cache
        .find(entry)
        .ok_or_else(|| unwritable(io::Error::other("a file is gone again")))
}

/// Asks the file's sources in order until one gives it. The outer error is our disk's, which ends
/// the search; the inner one is each source's.
async fn try_sources(
    file: &ModelFile,
    fetcher: &mut Fetcher<'_>,
    progress: &dyn Progress,
) -> io::Result<Result<(), Vec<(String, SourceError)>>> {
    let mut failures = Vec::new();
    for source in file.sources() {
        if let Some(error) = fetcher.known_fault(source) {
            failures.push((source.to_string(), error.clone()));
            continue;
        }
        progress.trying(file, source);
        match fetcher.fetch(file, source, progress).await {
            Ok(()) => return Ok(Ok(())),
            Err(IntakeError::Disk(error)) => return Err(error),
            Err(IntakeError::Source(error)) => {
                progress.source_failed(file, source, &error);
                failures.push((source.to_string(), error));
            }
        }
    }
    Ok(Err(failures))
}

/// One line for each failed source.
struct List<'a>(&'a [(String, SourceError)]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut failures = self.0.iter();
        failures.try_for_each(|(source, error)| write!(f, "\n  - {source}: {error}"))
    }
}
