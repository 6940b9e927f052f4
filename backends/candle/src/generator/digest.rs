//! The digest of a model's file, which is hashed beside its loading.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread::{self, JoinHandle};

use kwaainet_core::ModelDigest;
use sha2::{Digest, Sha256};

use crate::{FileStamp, ModelError};

/// A file that is being hashed.
pub(super) type Hashing = JoinHandle<io::Result<Hashed>>;

/// What a file is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashed {
    pub(crate) digest: ModelDigest,
    /// None if it changed meanwhile, or nobody can see that it did not.
    pub(crate) stamp: Option<FileStamp>,
}

/// Hashes the file while it is loaded, at some gigabyte a second, so that also a file has a digest that the
/// owner named and no catalogue knows.
pub(super) fn begin(path: &Path) -> Hashing {
    let path = path.to_owned();
    thread::spawn(move || {
        let mut file = File::open(&path)?;
        let before = FileStamp::of(&file.metadata()?);
        let mut hasher = Sha256::new();
        let mut piece = vec![0; 1 << 20];
        loop {
            match file.read(&mut piece)? {
                0 => break,
                read => hasher.update(&piece[..read]),
            }
        }
        let after = FileStamp::of(&path.metadata()?);
        Ok(Hashed {
            digest: ModelDigest(hasher.finalize().into()),
            stamp: before.filter(|_| before == after),
        })
    })
}

/// What came of it.
pub(super) fn end(hashing: Hashing) -> Result<Hashed, ModelError> {
    let fault = |error: String| ModelError::Fault(format!("its digest: {error}"));
    let hashed = hashing
        .join()
        .map_err(|_| fault("the thread broke off".into()))?;
    hashed.map_err(|error| fault(error.to_string()))
}
