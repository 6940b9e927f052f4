//! Where a file's bytes are: on disk or in memory. Many threads may read at once.

use std::fs::File;
use std::io::{self, BufReader, Read};
#[cfg(not(unix))]
use std::sync::{Mutex, PoisonError};

/// The bytes of a file.
pub(super) enum Backing {
    Disk(Disk),
    Memory(Vec<u8>),
}

/// An open file.
pub(super) struct Disk {
    file: File,
    /// Held while the file's one position is moved and used.
    #[cfg(not(unix))]
    turn: Mutex<()>,
}

impl Backing {
    pub(super) fn disk(file: File) -> Self {
        Self::Disk(Disk {
            file,
            #[cfg(not(unix))]
            turn: Mutex::new(()),
        })
    }

    /// Bytes that there are.
    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Disk(disk) => disk.file.metadata().map(|metadata| metadata.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Reads from where nothing was read yet: the start.
    pub(super) fn reader(&self) -> Box<dyn Read + '_> {
        match self {
            Self::Disk(disk) => Box::new(BufReader::new(&disk.file)),
            Self::Memory(bytes) => Box::new(bytes.as_slice()),
        }
    }

    /// Fills `into` from byte `at` on.
    pub(super) fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::Disk(disk) => disk.read_exact_at(into, at),
            Self::Memory(bytes) => {
                let start = usize::try_from(at).unwrap_or(usize::MAX);
                let there = bytes
                    .get(start..)
                    .and_then(|bytes| bytes.get(..into.len()))
                    .ok_or(io::ErrorKind::UnexpectedEof)?;
                into.copy_from_slice(there);
                Ok(())
            }
        }
    }
}

impl Disk {
    #[cfg(unix)]
    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, into, at)
    }

    #[cfg(not(unix))]
    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        use std::io::{Seek, SeekFrom};

        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.file).seek(SeekFrom::Start(at))?;
        (&self.file).read_exact(into)
    }
}
