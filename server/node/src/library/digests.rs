//! SHA-256 of the owner's own model files, kept beside the models so that a file whose model is not loaded is known
//! for what it is. Each was hashed when its model was loaded, and counts as long as the file looks the same. Must
//! never stop a node: what cannot be read or written is hashed again.
//!
//! `<cache>/digests`: a line for each file, `<sha256> <bytes> <seconds> <nanoseconds> <path>`.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use kwaainet_candle::FileStamp;
use kwaainet_core::{ModelDigest, random_id};

/// Files that are remembered.
const FILES_MAX: usize = 1_024;
/// Bytes of the list.
const BYTES_MAX: u64 = 1 << 20;

/// What was hashed.
#[derive(Debug)]
pub(super) struct Digests {
    list: PathBuf,
    known: Mutex<HashMap<PathBuf, (FileStamp, ModelDigest)>>,
}

impl Digests {
    /// Those that this cache knows.
    pub(super) fn open(cache: &Path) -> Self {
        let list = cache.join("digests");
        let known = read(&list).unwrap_or_default();
        Self {
            list,
            known: Mutex::new(known),
        }
    }

    /// Of a file, if it was hashed and looks as it did then.
    pub(super) fn of(&self, path: &Path) -> Option<ModelDigest> {
        let known = self.known.lock().expect("no holder panics");
        let (stamp, digest) = known.get(path)?;
        let now = FileStamp::of(&path.metadata().ok()?)?;
        (now == *stamp).then_some(*digest)
    }

    /// Keeps the digest of a file that looks like this.
    pub(super) fn remember(&self, path: &Path, stamp: FileStamp, digest: ModelDigest) {
        let mut known = self.known.lock().expect("no holder panics");
        if known.insert(path.to_owned(), (stamp, digest)) == Some((stamp, digest)) {
            return;
        }
        if known.len() > FILES_MAX {
            // Whatever is left is what is used now.
            known.retain(|other, _| other == path);
        }
        if let Err(error) = write(&self.list, &known) {
            tracing::warn!(%error, "the digest of a model's file cannot be kept");
        }
    }
}

fn read(list: &Path) -> io::Result<HashMap<PathBuf, (FileStamp, ModelDigest)>> {
    let mut text = String::new();
    fs::File::open(list)?
        .take(BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text.lines().filter_map(line).take(FILES_MAX).collect())
}

fn line(line: &str) -> Option<(PathBuf, (FileStamp, ModelDigest))> {
    let mut words = line.splitn(5, ' ');
    let digest = HEXLOWER.decode(words.next()?.as_bytes()).ok()?;
    let bytes = words.next()?.parse().ok()?;
    let (seconds, nanos) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let since = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos))?;
    let stamp = FileStamp {
        bytes,
        modified: UNIX_EPOCH.checked_add(since)?,
    };
    let digest = ModelDigest(digest.try_into().ok()?);
    Some((PathBuf::from(words.next()?), (stamp, digest)))
}

/// The whole list anew, so that it is never half a list.
fn write(list: &Path, known: &HashMap<PathBuf, (FileStamp, ModelDigest)>) -> io::Result<()> {
    let mut text = String::new();
    for (path, (stamp, digest)) in known {
        let since = stamp.modified.duration_since(UNIX_EPOCH);
        let (Some(path), Ok(since)) = (path.to_str(), since) else {
            continue;
        };
        // A name of two lines cannot be told from two names.
        if !path.contains(['\n', '\r']) {
            let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
            text.push_str(&format!(
                "{digest} {} {seconds} {nanos} {path}\n",
                stamp.bytes
            ));
        }
    }
    if let Some(folder) = list.parent() {
        fs::create_dir_all(folder)?;
    }
    // Two nodes may share the cache.
    let new = list.with_file_name(format!(".digests-{}", random_id()));
    let mut file = fs::File::create_new(&new)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| fs::rename(&new, list));
    if written.is_err() {
        let _gone = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(path: &Path) -> FileStamp {
        let metadata = path.metadata().expect("it is there");
        FileStamp::of(&metadata).expect("the system says when it changed")
    }

    #[test]
    fn a_digest_is_known_after_a_restart_as_long_as_the_file_is_the_same() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (cache, model) = (dir.path().join("cache"), dir.path().join("my model.gguf"));
        fs::write(&model, b"weights").expect("it can be written");
        let digest = ModelDigest([7; 32]);
        let digests = Digests::open(&cache);
        assert_eq!(digests.of(&model), None);
        digests.remember(&model, stamp(&model), digest);
        for digests in [digests, Digests::open(&cache)] {
            assert_eq!(digests.of(&model), Some(digest));
            assert_eq!(digests.of(&dir.path().join("another")), None);
        }
        fs::write(&model, b"other weights").expect("it can be written");
        assert_eq!(Digests::open(&cache).of(&model), None);
        assert_eq!(fs::read_dir(&cache).expect("it is there").count(), 1);
    }

    #[test]
    fn a_list_that_makes_no_sense_is_no_list() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let model = dir.path().join("model.gguf");
        fs::write(&model, b"weights").expect("it can be written");
        let digest = "0".repeat(64);
        let (good, path) = (stamp(&model), model.display());
        let since = good
            .modified
            .duration_since(UNIX_EPOCH)
            .expect("it is later");
        let (bytes, seconds, nanos) = (good.bytes, since.as_secs(), since.subsec_nanos());
        let whole = format!("{digest} {bytes} {seconds} {nanos} {path}\n");
        let broken = [
            String::new(),
            "\n\n".to_owned(),
            whole[2..].to_owned(),
            whole.replace(&format!(" {seconds} "), " x "),
            format!("{digest} {bytes} {} {} {path}", u64::MAX, u64::MAX),
        ];
        for text in &broken {
            fs::write(dir.path().join("digests"), text).expect("it can be written");
            assert_eq!(Digests::open(dir.path()).of(&model), None, "{text}");
        }
        let all = broken.concat() + "\n" + &whole;
        fs::write(dir.path().join("digests"), all).expect("it can be written");
        let found = Digests::open(dir.path()).of(&model);
        assert_eq!(found, Some(ModelDigest([0; 32])));
    }
}
