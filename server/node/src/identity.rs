//! This node's key: where its file is, and where its passphrase comes from. Never from the command line, which
//! others on the machine can read. [`Desk`] is what the door needs to sign people in.

mod desk;
mod history;

pub(crate) use desk::locked;
pub use desk::{Desk, Errand, Login, Pending, Registration};
pub(crate) use history::save_history;
pub use history::{HistoryError, load_history};

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kwaainet_identity::{KeyFile, Passphrase};

use crate::config::{Config, Environment};

/// The variable that holds the passphrase of the node's key.
pub const PASSPHRASE_VARIABLE: &str = "KWAAINET_KEY_PASSPHRASE";
/// Bytes of a passphrase's file at most.
const PASSPHRASE_MAX: usize = 1_024;

/// Why there is no passphrase where one was to be.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// Its file cannot be read.
    #[error("the passphrase file {} cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its file holds none.
    #[error("the passphrase file {} holds no passphrase: one line of text", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
    },
}

/// The file of this node's key.
pub fn key_file(config: &Config) -> KeyFile {
    KeyFile::new(config.data_dir.join("node.key"))
}

/// The passphrase: the first line of the file if there is one, else the variable, else none.
///
/// # Errors
/// When the file is not there or holds something else.
pub fn passphrase(
    environment: &Environment,
    file: Option<&Path>,
) -> Result<Option<Passphrase>, PassphraseError> {
    match file {
        Some(path) => read(path).map(Some),
        None => Ok(environment.get(PASSPHRASE_VARIABLE).map(Passphrase::new)),
    }
}

fn read(path: &Path) -> Result<Passphrase, PassphraseError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| {
            let mut start = file.take(PASSPHRASE_MAX as u64 + 1);
            start.read_to_string(&mut text)
        })
        .map_err(|source| PassphraseError::Read {
            path: path.to_owned(),
            source,
        })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\n') || text.len() > PASSPHRASE_MAX {
        return Err(PassphraseError::Malformed {
            path: path.to_owned(),
        });
    }
    Ok(Passphrase::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_identity::NodeKey;

    #[test]
    fn the_files_one_line_beats_the_variable() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("passphrase");
        let environment = Environment::from([(PASSPHRASE_VARIABLE, "of the variable")]);
        let node_key = KeyFile::new(dir.path().join("node.key"));
        let sealed = passphrase(&environment, None).expect("it is there");
        let key = NodeKey::generate();
        let made = node_key.create(&key, sealed.as_ref());
        made.expect("it is written");
        for (text, opens) in [
            ("of the variable", true),
            ("of the variable\n", true),
            ("of the variable\r\n", true),
            ("of the file\n", false),
        ] {
            std::fs::write(&path, text).expect("written");
            let read = passphrase(&environment, Some(&path)).expect("it is there");
            assert_eq!(node_key.load(read.as_ref()).is_ok(), opens, "{text:?}");
        }
        let none = passphrase(&Environment::default(), None);
        assert!(none.expect("none is no error").is_none());
    }

    #[test]
    fn a_file_without_a_passphrase_is_an_error() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("passphrase");
        let environment = Environment::default();
        assert!(passphrase(&environment, Some(&path)).is_err());
        for text in ["", "\n", "two\nlines\n", &"x".repeat(PASSPHRASE_MAX + 1)] {
            std::fs::write(&path, text).expect("written");
            assert!(passphrase(&environment, Some(&path)).is_err(), "{text:?}");
        }
    }
}
