//! One model's folder while it is being filled: the lock that keeps other processes out, and the
//! temporary names that a download has until it is verified.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::Progress;

const LOCK: &str = ".lock";
/// No file of a model starts with a dot, so these names never meet one.
const PART: &str = ".part-";
const LOCK_POLL: Duration = Duration::from_millis(100);

/// A model's folder, held by this process alone until this value goes.
pub(crate) struct Folder {
    path: PathBuf,
    /// The lock is on the open file: the system lets go of it even when the process is killed. The
    /// file itself stays, since deleting it would let two processes lock two files of one name.
    _lock: File,
}

/// Why a folder could not be had.
pub(crate) enum ClaimError {
    /// Another process held it all the time.
    Held,
    /// It cannot be made or written.
    Io(io::Error),
}

impl From<io::Error> for ClaimError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Folder {
    /// Makes the folder, waits until it is ours, and clears away what others left half done.
    pub(crate) async fn claim(
        path: PathBuf,
        model: &str,
        wait: Duration,
        progress: &dyn Progress,
    ) -> Result<Self, ClaimError> {
        fs::create_dir_all(&path)?;
        let mut options = OpenOptions::new();
        let lock = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))?;
        if !try_lock(&lock)? {
            progress.waiting(model);
            let locked = async {
                while !try_lock(&lock)? {
                    tokio::time::sleep(LOCK_POLL).await;
                }
                Ok::<(), io::Error>(())
            };
            tokio::time::timeout(wait, locked)
                .await
                .map_err(|_| ClaimError::Held)??;
        }
        let folder = Self { path, _lock: lock };
        folder.sweep()?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file that is gone with its guard unless it is given its name before.
    pub(crate) fn temporary_file(&self) -> io::Result<NamedTempFile> {
        Builder::new().prefix(PART).tempfile_in(&self.path)
    }

    /// A folder that is gone with its guard.
    pub(crate) fn temporary_dir(&self) -> io::Result<TempDir> {
        Builder::new().prefix(PART).tempdir_in(&self.path)
    }

    /// Removes temporary names. We hold the lock, so whoever made them is dead.
    fn sweep(&self) -> io::Result<()> {
        for found in fs::read_dir(&self.path)? {
            let found = found?;
            if !found.file_name().to_string_lossy().starts_with(PART) {
                continue;
            }
            if found.file_type()?.is_dir() {
                fs::remove_dir_all(found.path())?;
            } else {
                fs::remove_file(found.path())?;
            }
        }
        Ok(())
    }
}

fn try_lock(lock: &File) -> io::Result<bool> {
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
