//! What is known of models that are not in memory: which bits they would compute, by the heads of their files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kwaainet_core::Numerics;

use crate::backend::EngineLimits;
use crate::generator::Generator;
use crate::{FileStamp, Files, LibraryEntry};

/// Files that are remembered; beyond that all are looked at anew.
const FILES_MAX: usize = 1_024;

/// How many heads may still be read: some have a vocabulary of megabytes, and whoever asks waits.
pub(crate) struct Looks(pub(crate) u32);

/// What was seen, and of which file.
#[derive(Default)]
pub(super) struct Unloaded(Mutex<HashMap<PathBuf, Seen>>);

struct Seen {
    stamp: FileStamp,
    numerics: Option<Numerics>,
}

impl Unloaded {
    /// Nothing as long as the digest is not known: one without the other is of no use.
    pub(super) fn numerics(
        &self,
        entry: &LibraryEntry,
        limits: &EngineLimits,
        looks: &mut Looks,
    ) -> Option<Numerics> {
        let (Files::Gguf(path), Some(_)) = (&entry.files, entry.digest) else {
            return None;
        };
        let stamp = FileStamp::of(&path.metadata().ok()?)?;
        if let Some(known) = self.known(path, stamp) {
            return known;
        }
        looks.0 = looks.0.checked_sub(1)?;
        // What cannot be read computes nothing; whoever loads it is told why.
        let numerics = Generator::numerics_of(path, limits).unwrap_or_default();
        let mut seen = self.0.lock().expect("no holder panics");
        if seen.len() >= FILES_MAX {
            seen.clear();
        }
        let this = Seen {
            stamp,
            numerics: numerics.clone(),
        };
        seen.insert(path.clone(), this);
        numerics
    }

    fn known(&self, path: &Path, stamp: FileStamp) -> Option<Option<Numerics>> {
        let all = self.0.lock().expect("no holder panics");
        let seen = all.get(path).filter(|seen| seen.stamp == stamp)?;
        Some(seen.numerics.clone())
    }
}
