//! The file that holds a node's key: readable by its owner only, written whole or not at all, never over another.
//!
//! Four lines of text:
//!
//! ```text
//! kwaainet-node-key 1
//! node <the public key: 64 hexadecimal digits>
//! seal none
//! key <the secret key: 64 hexadecimal digits>
//! ```
//!
//! or, sealed with a passphrase, with its parameters in the third line and the encrypted key in the fourth. The
//! seal covers the first three lines too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use kwaainet_core::{NodeId, random_id};
use zeroize::Zeroizing;

use crate::NodeKey;
use crate::seal::{Cost, Passphrase, Seal};

const KIND: &str = "kwaainet-node-key";
const VERSION: &str = "1";
/// Bytes of a whole file at most.
const FILE_MAX: u64 = 4_096;

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
            Ok((_, text)) => self.parse(&text).map(|parsed| Some(parsed.facts())),
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

    /// The key, made if there is no file yet; sealed then, if there is a passphrase.
    ///
    /// # Errors
    /// As of [`load`](Self::load) and [`create`](Self::create).
    pub fn load_or_create(&self, passphrase: Option<&Passphrase>) -> Result<NodeKey, KeyFileError> {
        match self.load(passphrase) {
            Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let key = NodeKey::generate();
        match self.create(&key, passphrase) {
            Ok(()) => Ok(key),
            // Another process was faster.
            Err(KeyFileError::Exists { .. }) => self.load(passphrase),
            Err(error) => Err(error),
        }
    }

    /// Writes a key, sealed if there is a passphrase, where no file is yet.
    ///
    /// # Errors
    /// When there is one, or it cannot be written; then nothing is left behind.
    pub fn create(
        &self,
        key: &NodeKey,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), KeyFileError> {
        self.write_new(&render(key, passphrase, Cost::RECOMMENDED))
    }

    fn write_new(&self, text: &str) -> Result<(), KeyFileError> {
        let failed = |source| KeyFileError::Write {
            path: self.path.clone(),
            source,
        };
        // Renaming overwrites. The lock keeps two processes from both finding no file.
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(with_suffix(&self.path, ".lock"))
            .map_err(failed)?;
        lock.lock().map_err(failed)?;
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(source)),
            Ok(_) => {
                return Err(KeyFileError::Exists {
                    path: self.path.clone(),
                });
            }
        }
        let draft = with_suffix(&self.path, &format!(".{}", random_id()));
        let written = write_synced(&draft, text).and_then(|()| {
            fs::rename(&draft, &self.path)?;
            // The name itself has to survive, too.
            File::open(folder(&self.path))?.sync_all()
        });
        written.map_err(|source| {
            // Best effort: the first error is the one to tell.
            drop(fs::remove_file(&draft));
            failed(source)
        })
    }

    fn read(&self) -> io::Result<(File, Zeroizing<Vec<u8>>)> {
        let file = File::open(&self.path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX as usize + 1));
        (&file).take(FILE_MAX + 1).read_to_end(&mut bytes)?;
        Ok((file, bytes))
    }

    fn open(&self, bytes: &[u8], passphrase: Option<&Passphrase>) -> Result<NodeKey, KeyFileError> {
        let Parsed {
            node,
            seal,
            key,
            open,
        } = self.parse(bytes)?;
        let path = || self.path.clone();
        let seed = match (seal, passphrase) {
            (None, _) => Zeroizing::new(key.as_slice().try_into().expect("its length was checked")),
            (Some(_), None) => return Err(KeyFileError::Sealed { path: path() }),
            (Some(seal), Some(passphrase)) => seal
                .open(passphrase, &key, open.as_bytes())
                .ok_or_else(|| KeyFileError::WrongPassphrase { path: path() })?,
        };
        let key = NodeKey::from_seed(&seed);
        if key.id() == node {
            Ok(key)
        } else {
            Err(self.malformed("its key is not the one of its node"))
        }
    }

    fn parse<'a>(&self, bytes: &'a [u8]) -> Result<Parsed<'a>, KeyFileError> {
        let malformed = |reason| self.malformed(reason);
        if bytes.len() as u64 > FILE_MAX {
            return Err(malformed("it is too long for one"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is no text"))?;
        let first = text.split('\n').next().unwrap_or(text);
        match first.split_once(' ') {
            Some((KIND, VERSION)) => {}
            Some((KIND, version)) if version.parse::<u32>().is_ok() => {
                return Err(KeyFileError::Newer {
                    path: self.path.clone(),
                });
            }
            _ => return Err(malformed("it does not begin like a key file")),
        }
        let Some(body) = text.strip_suffix('\n') else {
            return Err(malformed("it ends too early"));
        };
        let lines: Vec<_> = body.split('\n').collect();
        let [_, node, seal, key] = lines[..] else {
            return Err(malformed("a key file has four lines"));
        };
        let open = &text[..text.len() - key.len() - 1];
        let node = node.strip_prefix("node ").and_then(hex);
        let node = node.and_then(|bytes| Some(NodeId(bytes.as_slice().try_into().ok()?)));
        let node = node.ok_or_else(|| malformed("its second line is not 'node' and an id"))?;
        let seal = match seal.strip_prefix("seal ") {
            Some("none") => None,
            Some(text) => Some(Seal::parse(text).ok_or_else(|| malformed("its seal is unknown"))?),
            None => return Err(malformed("its third line is not 'seal'")),
        };
        let length = if seal.is_some() { 48 } else { 32 };
        let key = key.strip_prefix("key ").and_then(hex);
        let key = key.filter(|key| key.len() == length);
        let key = key.ok_or_else(|| malformed("its fourth line is not 'key' and a key"))?;
        Ok(Parsed {
            node,
            seal,
            key,
            open,
        })
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

    fn malformed(&self, reason: &'static str) -> KeyFileError {
        let path = self.path.clone();
        KeyFileError::Malformed { path, reason }
    }

    fn unreadable(&self, source: io::Error) -> KeyFileError {
        let path = self.path.clone();
        KeyFileError::Read { path, source }
    }
}

/// A file's parts, each of the right form.
struct Parsed<'a> {
    node: NodeId,
    seal: Option<Seal>,
    /// As it stands in the file.
    key: Zeroizing<Vec<u8>>,
    /// The lines before the key.
    open: &'a str,
}

impl Parsed<'_> {
    fn facts(&self) -> KeyFileFacts {
        KeyFileFacts {
            node: self.node,
            sealed: self.seal.is_some(),
        }
    }
}

/// The text of a key file.
fn render(key: &NodeKey, passphrase: Option<&Passphrase>, cost: Cost) -> Zeroizing<String> {
    let head = format!("{KIND} {VERSION}\nnode {}\n", key.id());
    let (open, key) = match passphrase {
        None => {
            let key = HEXLOWER.encode(&*key.seed());
            (format!("{head}seal none\n"), Zeroizing::new(key))
        }
        Some(passphrase) => {
            let seal = Seal::fresh(cost);
            let open = format!("{head}seal {}\n", seal.text());
            let sealed = seal.seal(passphrase, &key.seed(), open.as_bytes());
            (open, Zeroizing::new(HEXLOWER.encode(&sealed)))
        }
    };
    Zeroizing::new(format!("{open}key {}\n", *key))
}

fn hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    HEXLOWER.decode(text.as_bytes()).ok().map(Zeroizing::new)
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
