//! The file that says which keys this node had: beside its key, and as public as its names.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use kwaainet_identity::{BadHistory, KeyHistory};

use crate::config::Config;

/// Why the history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read or written.
    #[error("the key history {} cannot be read or written: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it is no history.
    #[error("{}: {source}", path.display())]
    Bad {
        /// Which.
        path: PathBuf,
        /// Why.
        source: BadHistory,
    },
}

fn path(config: &Config) -> PathBuf {
    config.data_dir.join("node.history")
}

/// The history of this node's keys; empty if it never changed its key.
///
/// # Errors
/// When the file cannot be read, or was changed.
pub fn load_history(config: &Config) -> Result<KeyHistory, HistoryError> {
    let path = path(config);
    match fs::read_to_string(&path) {
        Ok(text) => KeyHistory::read(&text).map_err(|source| HistoryError::Bad { path, source }),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(KeyHistory::default()),
        Err(source) => Err(HistoryError::File { path, source }),
    }
}

/// Writes the history, whole or not at all.
///
/// # Errors
/// When it cannot.
pub(crate) fn save_history(config: &Config, history: &KeyHistory) -> Result<(), HistoryError> {
    let path = path(config);
    let draft = path.with_extension("history.draft");
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(history.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(&config.data_dir)?.sync_all()
    });
    written.map_err(|source| HistoryError::File { path, source })
}
