//! Where the bytes of files lie: one folder in the data directory, each file under an id of ours, never
//! under a client's word.
//!
//! A file is written under a temporary name, synced and renamed, and only then is it known to the
//! database; it is forgotten there first when it is deleted. So whatever a crash leaves here that the
//! database does not know is rubbish, and the sweep at the start removes it.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use kwaainet_core::random_id;
use tokio::fs::{self, File};
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::shred::shred;

/// What every temporary name begins with; no id does.
const DRAFT: &str = "new-";

/// Uploads that run at once, so that what they write before they are counted has a bound.
const UPLOADS_MAX: usize = 8;

/// The folder.
#[derive(Debug)]
pub struct Vault {
    dir: PathBuf,
    limits: VaultLimits,
    uploads: Semaphore,
}

/// How much is taken in.
#[derive(Clone, Copy, Debug)]
pub struct VaultLimits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files and vector stores of one principal.
    pub principal_bytes: u64,
}

impl Vault {
    /// The folder in this data directory. It is made when the first file comes.
    pub fn new(data_dir: &Path, limits: VaultLimits) -> Self {
        Self {
            dir: data_dir.join("files"),
            limits,
            uploads: Semaphore::new(UPLOADS_MAX),
        }
    }

    /// How much is taken in.
    pub(crate) fn limits(&self) -> VaultLimits {
        self.limits
    }

    /// Waits for a place among the uploads.
    pub(crate) async fn upload(&self) -> SemaphorePermit<'_> {
        let place = self.uploads.acquire().await;
        place.expect("the places of uploads are never closed")
    }

    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) async fn draft(&self) -> io::Result<Draft> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        builder.mode(0o700);
        builder.create(&self.dir).await?;
        let path = self.dir.join(format!("{DRAFT}{}", random_id()));
        let file = File::create_new(&path).await?;
        Ok(Draft {
            dir: self.dir.clone(),
            file: BufWriter::new(file),
            unfinished: Unfinished { path: Some(path) },
            bytes: 0,
        })
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub(crate) async fn open(&self, id: &str) -> io::Result<File> {
        File::open(self.dir.join(id)).await
    }

    /// Removes a file that the database has forgotten. One that stays is swept at the next start.
    pub(crate) async fn remove(&self, id: &str) {
        if let Err(error) = fs::remove_file(self.dir.join(id)).await {
            tracing::warn!(%error, "a deleted file could not be removed");
        }
    }

    /// Overwrites a file that the database has forgotten, and removes it.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn shred(&self, id: &str) -> io::Result<()> {
        shred(&self.dir.join(id)).await
    }

    /// Removes whatever the database does not know. Nothing may be under way.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) async fn sweep(&self, known: &HashSet<String>) -> io::Result<()> {
        let mut entries = match fs::read_dir(&self.dir).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| known.contains(name)) {
                fs::remove_file(entry.path()).await?;
            }
        }
        Ok(())
    }
}

/// A file that is being written. It goes away unless it is kept.
#[derive(Debug)]
pub(crate) struct Draft {
    dir: PathBuf,
    file: BufWriter<File>,
    unfinished: Unfinished,
    bytes: u64,
}

impl Draft {
    /// Appends.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// How much was written.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes a file of it that survives a power cut, under a new id.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) async fn keep(mut self) -> io::Result<Kept> {
        self.file.flush().await?;
        self.file.get_ref().sync_all().await?;
        let id = format!("file-{}", random_id());
        let path = self.dir.join(&id);
        if let Some(draft) = &self.unfinished.path {
            fs::rename(draft, &path).await?;
        }
        self.unfinished.path = Some(path);
        // The name itself has to survive, too.
        File::open(&self.dir).await?.sync_all().await?;
        Ok(Kept {
            id,
            bytes: self.bytes,
            unfinished: self.unfinished,
        })
    }
}

/// A whole file that the database does not know yet. It goes away unless it is settled.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Names it.
    pub(crate) id: String,
    /// Its size.
    pub(crate) bytes: u64,
    unfinished: Unfinished,
}

impl Kept {
    /// The database knows it.
    pub(crate) fn settled(mut self) {
        self.unfinished.path = None;
    }
}

/// Removes a file that nobody will know.
#[derive(Debug)]
struct Unfinished {
    path: Option<PathBuf>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, "an unfinished file could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    const LIMITS: VaultLimits = VaultLimits {
        file_bytes: 100,
        principal_bytes: 100,
    };

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir.join("files")).expect("the folder is there");
        let name = |entry: io::Result<std::fs::DirEntry>| {
            let name = entry.expect("it can be read").file_name();
            name.into_string().expect("our names are text")
        };
        entries.map(name).collect()
    }

    #[tokio::test]
    async fn what_is_not_settled_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let vault = Vault::new(dir.path(), LIMITS);
        let mut draft = vault.draft().await.expect("it begins");
        draft.write(b"half").await.expect("it is written");
        assert!(names(dir.path())[0].starts_with(DRAFT));
        drop(draft);
        assert!(names(dir.path()).is_empty());

        let mut draft = vault.draft().await.expect("it begins");
        draft.write(b"whole").await.expect("it is written");
        let kept = draft.keep().await.expect("it is kept");
        assert_eq!(names(dir.path()), [kept.id.as_str()]);
        drop(kept);
        assert!(names(dir.path()).is_empty());
    }

    #[tokio::test]
    async fn a_sweep_leaves_what_is_known_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let vault = Vault::new(dir.path(), LIMITS);
        vault
            .sweep(&HashSet::new())
            .await
            .expect("there is nothing");
        let mut draft = vault.draft().await.expect("it begins");
        draft.write(b"whole").await.expect("it is written");
        let kept = draft.keep().await.expect("it is kept");
        let id = kept.id.clone();
        assert_eq!(kept.bytes, 5);
        kept.settled();
        // What a crash leaves: a temporary file, and a whole one without a row.
        for name in ["new-x", "file-x"] {
            std::fs::write(dir.path().join("files").join(name), "x").expect("it is written");
        }
        let known = HashSet::from([id.clone()]);
        vault.sweep(&known).await.expect("it sweeps");
        assert_eq!(names(dir.path()), [id.as_str()]);
        let mut text = String::new();
        let mut file = vault.open(&id).await.expect("it opens");
        file.read_to_string(&mut text).await.expect("it is text");
        assert_eq!(text, "whole");
        vault.remove(&id).await;
        assert!(names(dir.path()).is_empty());
    }
}
