//! Names of databases and of documents.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const NAME_BYTES_MAX: usize = 238;
const ID_BYTES_MAX: usize = 1_024;

/// Why a name is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Not the name of a database.
    #[error(
        "Name: '{0}'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), +, -, and / are allowed. Must begin with a letter."
    )]
    Database(String),
    /// No id at all.
    #[error("Document id must not be empty")]
    Empty,
    /// Longer than any id may be.
    #[error("Document id is longer than 1024 bytes")]
    Long,
    /// What begins with `_` means something to the protocol.
    #[error("Only reserved document ids may start with underscore.")]
    Reserved,
}

/// A database's name, as CouchDB allows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseName(String);

impl DatabaseName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DatabaseName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let is_sound = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_$()+-/".contains(&byte)
        };
        let begins = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase());
        if begins && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_sound) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(64).collect();
        Err(BadName::Database(shown))
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who can read what is in a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nobody but holders of a key that the node never sees: documents are envelopes, all others are refused.
    E2ee,
    /// Its owner, and whoever he lets in.
    #[default]
    Private,
    /// Everybody who may use the node's storage; only its owner and its members write.
    Public,
}

impl Mode {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::E2ee => "e2ee",
            Self::Private => "private",
            Self::Public => "public",
        }
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let every = [Self::E2ee, Self::Private, Self::Public];
        every
            .into_iter()
            .find(|mode| mode.as_str() == word)
            .ok_or(())
    }
}

/// Whether the id is that of a document which is never replicated.
pub fn is_local(id: &str) -> bool {
    id.starts_with("_local/")
}

/// Refuses what is no id of a document that replicates.
///
/// # Errors
/// [`BadName`] says what is wrong.
pub fn check_document_id(id: &str) -> Result<(), BadName> {
    let name = id.strip_prefix("_design/").unwrap_or(id);
    if name.is_empty() {
        Err(BadName::Empty)
    } else if id.len() > ID_BYTES_MAX {
        Err(BadName::Long)
    } else if id.starts_with('_') && name.len() == id.len() {
        Err(BadName::Reserved)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_couchdbs() {
        for good in ["a", "notes", "a_$()+-/9", "db-1"] {
            assert!(good.parse::<DatabaseName>().is_ok(), "{good}");
        }
        for bad in ["", "_users", "9a", "Notes", "a b", "ä", &"a".repeat(239)] {
            assert!(bad.parse::<DatabaseName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_couchdbs() {
        for good in ["a", "Ünïcode/with slash", "_design/x", "9"] {
            assert_eq!(check_document_id(good), Ok(()), "{good}");
        }
        for bad in ["", "_x", "_design/", "_local/x", &"a".repeat(1_025)] {
            assert!(check_document_id(bad).is_err(), "{bad}");
        }
        assert!(is_local("_local/x") && !is_local("local"));
    }
}
