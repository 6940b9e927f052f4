//! Where the bytes of blobs lie: one folder in the data directory, each file under its BLAKE3, and under
//! an id of ours while it is being uploaded.
//!
//! A file is synced and renamed before the database knows it, and forgotten there before it is removed; so
//! what a crash leaves here that the database does not know is rubbish, which the sweep removes.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use blake3::{Hash, Hasher};
use kwaainet_storage::Proof;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::{MutexGuard, Semaphore, SemaphorePermit};

use crate::shred::shred;

/// Blobs that are written, hashed or proved at once.
const AT_ONCE: usize = 8;
const PIECE: usize = 256 << 10;

/// The folder.
#[derive(Debug)]
pub(crate) struct Blobs {
    dir: PathBuf,
    places: Semaphore,
    /// Files that somebody writes or removes just now.
    busy: Arc<Mutex<HashSet<String>>>,
    settling: tokio::sync::Mutex<()>,
}

/// Holds a file for one writer. A draft that has become no blob goes with it.
#[derive(Debug)]
pub(crate) struct Held {
    name: String,
    draft: Option<PathBuf>,
    busy: Arc<Mutex<HashSet<String>>>,
}

/// What every name of a draft begins with; no hash and no upload's id does.
pub(crate) const DRAFT: &str = "new-";

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(path) = &self.draft {
            // It is gone already where it was adopted or removed.
            std::fs::remove_file(path).ok();
        }
        let mut busy = self.busy.lock().expect("no holder panics");
        busy.remove(&self.name);
    }
}

impl Blobs {
    /// The folder in this data directory. It is made when the first blob comes.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.join("blobs"),
            places: Semaphore::new(AT_ONCE),
            busy: Arc::default(),
            settling: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for a place among those who write and hash.
    pub(crate) async fn place(&self) -> SemaphorePermit<'_> {
        let place = self.places.acquire().await;
        place.expect("the places are never closed")
    }

    /// Takes a file for oneself; none if somebody has it.
    pub(crate) fn hold(&self, name: &str) -> Option<Held> {
        let mut busy = self.busy.lock().expect("no holder panics");
        busy.insert(name.to_owned()).then(|| Held {
            name: name.to_owned(),
            draft: name.starts_with(DRAFT).then(|| self.path(name)),
            busy: Arc::clone(&self.busy),
        })
    }

    /// Makes an empty file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) async fn begin(&self, held: &Held) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        builder.mode(0o700);
        builder.create(&self.dir).await?;
        File::create_new(self.path(&held.name)).await?;
        Ok(())
    }

    /// How much of a file is here; none if it is not there.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn length(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(name)).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a file to go on behind its end.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) async fn append(&self, held: &Held) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).open(self.path(&held.name)).await
    }

    /// The BLAKE3 of a file, whose bytes survive a power cut from now on.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn hash(&self, held: &Held) -> io::Result<Hash> {
        let mut file = File::open(self.path(&held.name)).await?;
        let mut hasher = Hasher::new();
        let mut piece = vec![0; PIECE];
        loop {
            let read = file.read(&mut piece).await?;
            if read == 0 {
                break;
            }
            hasher.update(&piece[..read]);
        }
        file.sync_all().await?;
        Ok(hasher.finalize())
    }

    /// From here on until it is dropped no other file becomes a blob, and no blob's file goes: what the
    /// database says of a blob and whether its file is there change together.
    pub(crate) async fn settling(&self) -> MutexGuard<'_, ()> {
        self.settling.lock().await
    }

    /// Makes a blob of a file.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn adopt(&self, held: Held, hash: &str) -> io::Result<()> {
        fs::rename(self.path(&held.name), self.path(hash)).await?;
        // The name itself has to survive, too.
        File::open(&self.dir).await?.sync_all().await
    }

    /// Opens a blob at this place.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) async fn open(&self, hash: &str, offset: u64) -> io::Result<File> {
        let mut file = File::open(self.path(hash)).await?;
        file.seek(io::SeekFrom::Start(offset)).await?;
        Ok(file)
    }

    /// Proves that a blob is here.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn prove(&self, hash: &str, bytes: u64, offset: u64) -> io::Result<Proof> {
        let path = self.path(hash);
        let proving = tokio::task::spawn_blocking(move || {
            let mut file = std::fs::File::open(path)?;
            kwaainet_storage::prove(&mut file, bytes, offset)
        });
        proving.await.map_err(io::Error::other)?
    }

    /// Removes a file that the database has forgotten. One that stays is swept at the next start.
    pub(crate) async fn remove(&self, name: &str) {
        match fs::remove_file(self.path(name)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a blob's file could not be removed");
            }
            _ => {}
        }
    }

    /// Overwrites a file that the database has forgotten, and removes it.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn shred(&self, name: &str) -> io::Result<()> {
        shred(&self.path(name)).await
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

    /// Names are ids of ours and hashes, never a client's words.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Writes pieces behind a file's end.
///
/// # Errors
/// When the disk does not take them.
pub(crate) async fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes).await
}

/// What was written survives a power cut.
///
/// # Errors
/// When the disk fails.
pub(crate) async fn settle(mut file: File) -> io::Result<()> {
    file.flush().await?;
    file.sync_data().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_has_one_writer_and_becomes_a_blob_under_its_hash() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let blobs = Blobs::new(dir.path());
        blobs
            .sweep(&HashSet::new())
            .await
            .expect("there is nothing");
        let held = blobs.hold("upload-1").expect("nobody has it");
        assert!(blobs.hold("upload-1").is_none());
        blobs.begin(&held).await.expect("it begins");
        let mut file = blobs.append(&held).await.expect("it is there");
        write(&mut file, b"abc").await.expect("it is written");
        settle(file).await.expect("it is synced");
        assert_eq!(blobs.length("upload-1").await.expect("it answers"), Some(3));
        let hash = blobs.hash(&held).await.expect("it is read").to_hex();
        assert_eq!(hash, blake3::hash(b"abc").to_hex());
        blobs.adopt(held, &hash).await.expect("it is renamed");
        assert_eq!(blobs.length("upload-1").await.expect("it answers"), None);
        assert!(blobs.hold("upload-1").is_some(), "it was let go");
        let draft = blobs.hold("new-1").expect("nobody has it");
        blobs.begin(&draft).await.expect("it begins");
        drop(draft);
        assert_eq!(blobs.length("new-1").await.expect("it answers"), None);
        std::fs::write(dir.path().join("blobs/rubbish"), "x").expect("it is written");
        let known = HashSet::from([hash.to_string()]);
        blobs.sweep(&known).await.expect("it sweeps");
        assert_eq!(blobs.length("rubbish").await.expect("it answers"), None);
        let proof = blobs.prove(&hash, 3, 1).await.expect("it is read");
        assert_eq!(proof.slice, b"abc");
        blobs.remove(&hash).await;
        assert_eq!(blobs.length(&hash).await.expect("it answers"), None);
    }
}
