//! The file that holds a node's key: readable by its owner only, written whole or not at all, never over another.

mod text;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use kwaainet_core::{NodeId, random_id};
use zeroize::Zeroizing;

use crate::NodeKey;
use crate::seal::{Cost, Passphrase};

use text::{BadText, FILE_MAX};

/// Why a key file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be opened or read.
    #[error("the key file {} cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("the key file {} cannot be written: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "the key file {0} can be read by others (mode {mode:04o}): whoever read it can act as this node; \
         if nobody did, run 'chmod 600 {0}'",
        path.display()
    )]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else, or less.
    #[error("the key file {} is not whole: {reason}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A later version of this program wrote it.
    #[error("the key file {} was written by a newer version of kwaainet", path.display())]
    Newer {
        /// Which.
        path: PathBuf,
    },
    /// It needs a passphrase.
    #[error("the key file {} is sealed: it needs its passphrase", path.display())]
    Sealed {
        /// Which.
        path: PathBuf,
    },
    /// The passphrase is another, or somebody changed the file.
    #[error("the passphrase does not open the key file {}", path.display())]
    WrongPassphrase {
        /// Which.
        path: PathBuf,
    },
    /// The passphrase is too short to seal anything with.
    #[error("a passphrase needs at least {} characters", Passphrase::CHARS_MIN)]
    Weak,
    /// There is one already.
    #[error("there is a key file {} already, which is not overwritten", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
}

/// A key file, there or not.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

/// What a key file says openly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFileFacts {
    /// Whose key it is, as it says; only opening it proves that.
    pub node: NodeId,
    /// Whether it takes a passphrase.
    pub sealed: bool,
}

impl KeyFile {
    /// The file of this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says openly; none if there is no such file.
    ///
    /// # Errors
    /// When it cannot be read or is no key file. Who else may read it is not looked at.
    pub fn facts(&self) -> Result<Option<KeyFileFacts>, KeyFileError> {
        match self.read() {
            Ok((_, bytes)) => {
                let parsed = text::parse(&bytes).map_err(|bad| self.bad(bad))?;
                Ok(Some(KeyFileFacts {
                    node: parsed.node,
                    sealed: parsed.seal.is_some(),
                }))
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.unreadable(source)),
        }
    }

    /// The key. The passphrase is not looked at where the file is not sealed; where it is, this takes some
    /// tenths of a second.
    ///
    /// # Errors
    /// When there is no key file that belongs to its owner alone, or the passphrase does not open it.
    pub fn load(&self, passphrase: Option<&Passphrase>) -> Result<NodeKey, KeyFileError> {
        let (file, text) = self.read().map_err(|source| self.unreadable(source))?;
        self.refuse_open_mode(&file)?;
        self.open(&text, passphrase)
    }

    /// The key of a file that came from elsewhere: whoever else may read it.
    ///
    /// # Errors
    /// When it is no key file, or the passphrase does not open it.
    pub fn load_foreign(&self, passphrase: Option<&Passphrase>) -> Result<NodeKey, KeyFileError> {
        let (_, text) = self.read().map_err(|source| self.unreadable(source))?;
        self.open(&text, passphrase)
    }

    /// The key, made if there is no file yet; sealed then, if there is a passphrase. Processes that do so at once
    /// agree on one.
    ///
    /// # Errors
    /// As of [`load`](Self::load) and [`create`](Self::create).
    pub fn load_or_create(&self, passphrase: Option<&Passphrase>) -> Result<NodeKey, KeyFileError> {
        match self.load(passphrase) {
            Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let key = NodeKey::generate();
        match self.adopt(&key, passphrase) {
            Ok(()) => Ok(key),
            // Another process was faster.
            Err(KeyFileError::Exists { .. }) => self.load(passphrase),
            Err(error) => Err(error),
        }
    }

    /// As [`create`](Self::create), for a node's own file: other processes may be about to make it.
    ///
    /// # Errors
    /// As of [`create`](Self::create).
    pub fn adopt(
        &self,
        key: &NodeKey,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), KeyFileError> {
        // Without it two could find no file, and the one that renames last would overwrite the other's.
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(with_suffix(&self.path, ".lock"))
            .map_err(|source| self.unwritable(source))?;
        lock.lock().map_err(|source| self.unwritable(source))?;
        self.create(key, passphrase)
    }

    /// Writes a key, sealed if there is a passphrase, where no file is yet.
    ///
    /// # Errors
    /// When there is one, it cannot be written, or the passphrase is too short; then nothing is left behind.
    pub fn create(
        &self,
        key: &NodeKey,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), KeyFileError> {
        if passphrase.is_some_and(|passphrase| !passphrase.is_long_enough()) {
            return Err(KeyFileError::Weak);
        }
        self.refuse_to_overwrite()?;
        self.write(&text::render(key, passphrase, Cost::RECOMMENDED))
    }

    /// Writes another key in this one's place, at once and whole. Whoever asks for it has kept the old one.
    ///
    /// # Errors
    /// As of [`create`](Self::create), but for a file that is there.
    pub fn replace(
        &self,
        key: &NodeKey,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), KeyFileError> {
        if passphrase.is_some_and(|passphrase| !passphrase.is_long_enough()) {
            return Err(KeyFileError::Weak);
        }
        self.write(&text::render(key, passphrase, Cost::RECOMMENDED))
    }

    fn refuse_to_overwrite(&self) -> Result<(), KeyFileError> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(self.unwritable(source)),
            Ok(_) => {
                let path = self.path.clone();
                Err(KeyFileError::Exists { path })
            }
        }
    }

    fn write(&self, text: &str) -> Result<(), KeyFileError> {
        let draft = with_suffix(&self.path, &format!(".{}", random_id()));
        let written = write_synced(&draft, text).and_then(|()| {
            fs::rename(&draft, &self.path)?;
            // The name itself has to survive, too.
            File::open(folder(&self.path))?.sync_all()
        });
        written.map_err(|source| {
            // Best effort: the first error is the one to tell.
            drop(fs::remove_file(&draft));
            self.unwritable(source)
        })
    }

    fn read(&self) -> io::Result<(File, Zeroizing<Vec<u8>>)> {
        let file = File::open(&self.path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX + 1));
        (&file).take(FILE_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok((file, bytes))
    }

    fn open(&self, bytes: &[u8], passphrase: Option<&Passphrase>) -> Result<NodeKey, KeyFileError> {
        let parsed = text::parse(bytes).map_err(|bad| self.bad(bad))?;
        let path = || self.path.clone();
        let seed = match (parsed.seal, passphrase) {
            (None, _) => parsed.key.as_slice().try_into().map(Zeroizing::new).ok(),
            (Some(_), None) => return Err(KeyFileError::Sealed { path: path() }),
            (Some(seal), Some(passphrase)) => {
                let seed = seal.open(passphrase, &parsed.key, parsed.open.as_bytes());
                Some(seed.ok_or_else(|| KeyFileError::WrongPassphrase { path: path() })?)
            }
        };
        let key = NodeKey::from_seed(&seed.expect("its length was checked"));
        if key.id() == parsed.node {
            Ok(key)
        } else {
            Err(self.bad(BadText::Malformed("its key is not the one of its node")))
        }
    }

    #[cfg(unix)]
    fn refuse_open_mode(&self, file: &File) -> Result<(), KeyFileError> {
        use std::os::unix::fs::PermissionsExt;
        let facts = file.metadata().map_err(|source| self.unreadable(source))?;
        let mode = facts.permissions().mode() & 0o7777;
        if mode & 0o077 == 0 {
            return Ok(());
        }
        let path = self.path.clone();
        Err(KeyFileError::Mode { path, mode })
    }

    #[cfg(not(unix))]
    fn refuse_open_mode(&self, _: &File) -> Result<(), KeyFileError> {
        Ok(())
    }

    fn bad(&self, bad: BadText) -> KeyFileError {
        let path = self.path.clone();
        match bad {
            BadText::Newer => KeyFileError::Newer { path },
            BadText::Malformed(reason) => KeyFileError::Malformed { path, reason },
        }
    }

    fn unwritable(&self, source: io::Error) -> KeyFileError {
        let path = self.path.clone();
        KeyFileError::Write { path, source }
    }

    fn unreadable(&self, source: io::Error) -> KeyFileError {
        let path = self.path.clone();
        KeyFileError::Read { path, source }
    }
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;
