//! The one way into the cache. Takes a file's bytes as they come from a source, counts and hashes
//! them, and gives the file its name only when both are as the catalogue says. Dropped before
//! that, it leaves nothing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;

use crate::folder::Folder;
use crate::names::Sha256Sum;
use crate::{ModelFile, Progress, SourceError};

/// A download under way.
pub(crate) struct Intake<'a> {
    expected: &'a ModelFile,
    progress: &'a dyn Progress,
    file: tokio::fs::File,
    temporary: TempPath,
    hasher: Sha256,
    received: u64,
}

/// Why bytes did not become a file.
#[derive(Debug)]
pub(crate) enum IntakeError {
    /// The source's fault: the next one may do better.
    Source(SourceError),
    /// Our disk's fault: no source can help.
    Disk(io::Error),
}

impl From<SourceError> for IntakeError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<io::Error> for IntakeError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl<'a> Intake<'a> {
    pub(crate) fn new(
        folder: &Folder,
        expected: &'a ModelFile,
        progress: &'a dyn Progress,
    ) -> io::Result<Self> {
        let (file, temporary) = folder.temporary_file()?.into_parts();
        Ok(Self {
            expected,
            progress,
            file: tokio::fs::File::from_std(file),
            temporary,
            hasher: Sha256::new(),
            received: 0,
        })
    }

    /// Says before the first byte how many will come, where a source knows.
    pub(crate) fn announce(&self, bytes: u64) -> Result<(), SourceError> {
        let expected = self.expected.bytes();
        if bytes == expected {
            Ok(())
        } else {
            Err(SourceError::WrongSize {
                got: bytes,
                expected,
            })
        }
    }

    /// Takes the next bytes. Refuses those beyond the expected size, so that no source can fill
    /// the disk.
    pub(crate) async fn write(&mut self, chunk: &[u8]) -> Result<(), IntakeError> {
        let expected = self.expected.bytes();
        self.received = self.received.saturating_add(chunk.len() as u64);
        if self.received > expected {
            return Err(SourceError::TooLong { expected }.into());
        }
        self.hasher.update(chunk);
        self.file.write_all(chunk).await?;
        self.progress.advanced(chunk.len() as u64);
        Ok(())
    }

    /// Verifies what came, forces it to the disk and gives it its name, in one step for all who
    /// look.
    pub(crate) async fn keep(mut self, name: &Path) -> Result<(), IntakeError> {
        let expected = self.expected.bytes();
        if self.received != expected {
            let got = self.received;
            return Err(SourceError::WrongSize { got, expected }.into());
        }
        let got = Sha256Sum::from(<[u8; 32]>::from(self.hasher.finalize()));
        let expected = self.expected.sha256();
        if got != expected {
            return Err(SourceError::WrongHash { got, expected }.into());
        }
        self.file.flush().await?;
        self.file.sync_all().await?;
        let (temporary, name) = (self.temporary, name.to_owned());
        let named = tokio::task::spawn_blocking(move || rename(temporary, &name));
        Ok(named.await.map_err(io::Error::other)??)
    }
}

fn rename(temporary: TempPath, name: &PathBuf) -> io::Result<()> {
    let folder = name.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    temporary.persist(name)?;
    // The new name is on the disk only when its folder is.
    File::open(folder)?.sync_all()
}
