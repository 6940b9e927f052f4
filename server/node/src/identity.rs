//! This node's key: where its file is, and where its passphrase comes from, and other secrets of one line. Never from
//! the command line, which others on the machine can read. [`Desk`] is what the door needs to sign people in.

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
use kwaainet_iroh::RelayToken;

use crate::config::{Config, Environment};

/// The variable that holds the passphrase of the node's key.
pub const PASSPHRASE_VARIABLE: &str = "KWAAINET_KEY_PASSPHRASE";
/// Bytes of a secret's file at most.
const SECRET_MAX: usize = 1_024;

/// Why there is no secret where one was to be.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error("the {what} file {} cannot be read: {source}", path.display())]
    Read {
        /// What it is to hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its file holds none.
    #[error("the {what} file {} holds no {what}: {wanted}", path.display())]
    Malformed {
        /// What it is to hold.
        what: &'static str,
        /// How that looks.
        wanted: String,
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
) -> Result<Option<Passphrase>, SecretError> {
    match file {
        Some(path) => {
            let wanted = || "one line of text".to_owned();
            read("passphrase", path, wanted, |line| {
                Some(Passphrase::new(line))
            })
            .map(Some)
        }
        None => Ok(environment.get(PASSPHRASE_VARIABLE).map(Passphrase::new)),
    }
}

/// A relay's token: the first line of the file.
///
/// # Errors
/// When the file is not there or holds something else.
pub fn relay_token(path: &Path) -> Result<RelayToken, SecretError> {
    let least = RelayToken::CHARS_MIN;
    let wanted =
        || format!("one line of at least {least} letters, digits and signs without a space");
    read("token", path, wanted, RelayToken::new)
}

/// What the one line of a file is.
fn read<T>(
    what: &'static str,
    path: &Path,
    wanted: impl FnOnce() -> String,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, SecretError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| {
            let mut start = file.take(SECRET_MAX as u64 + 1);
            start.read_to_string(&mut text)
        })
        .map_err(|source| SecretError::Read {
            what,
            path: path.to_owned(),
            source,
        })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let is_line = !line.is_empty() && !line.contains('\n') && text.len() <= SECRET_MAX;
    let parsed = is_line.then(|| parse(line)).flatten();
    parsed.ok_or_else(|| SecretError::Malformed {
        what,
        wanted: wanted(),
        path: path.to_owned(),
    })
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
        for text in ["", "\n", "two\nlines\n", &"x".repeat(SECRET_MAX + 1)] {
            std::fs::write(&path, text).expect("written");
            assert!(passphrase(&environment, Some(&path)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_token_is_one_long_word() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("token");
        assert!(relay_token(&path).is_err());
        for (text, good) in [
            ("0123456789abcdef\n", true),
            ("0123456789abcde\n", false),
            ("0123456789 abcdef\n", false),
            ("0123456789abcdef\n0123456789abcdef\n", false),
        ] {
            std::fs::write(&path, text).expect("written");
            let token = relay_token(&path);
            assert_eq!(token.is_ok(), good, "{text:?}");
            let said = token.err().map(|error| error.to_string());
            assert!(
                said.is_none_or(|said| !said.contains("0123")),
                "it is not repeated"
            );
        }
    }
}
