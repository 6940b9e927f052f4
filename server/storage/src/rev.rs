//! A revision's name: how many edits led to it, and a hash.

use std::fmt;
use std::str::FromStr;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::Attachments;

const HASH_BYTES_MAX: usize = 128;
/// More edits of one document than anybody makes, and less than any counter holds.
const GENERATION_MAX: u64 = 1 << 53;

/// A text that names no revision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid rev format")]
pub struct BadRev;

/// `<generation>-<hash>`. In order of generation, then of hash, as the winner is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rev {
    generation: u64,
    hash: String,
}

impl Rev {
    /// A revision of this generation, which counts from 1.
    ///
    /// # Errors
    /// When either cannot be part of a revision.
    pub fn new(generation: u64, hash: &str) -> Result<Self, BadRev> {
        let is_sound = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        let hash_is_sound =
            (1..=HASH_BYTES_MAX).contains(&hash.len()) && hash.bytes().all(is_sound);
        if !(1..=GENERATION_MAX).contains(&generation) || !hash_is_sound {
            return Err(BadRev);
        }
        Ok(Self {
            generation,
            hash: hash.to_owned(),
        })
    }

    /// The revision that an edit leads to. A function of what is edited and of the edit alone, so that the
    /// same edit made at two places is one revision and no conflict.
    pub fn of_edit(
        parent: Option<&Self>,
        deleted: bool,
        content: &[u8; 16],
        attachments: &Attachments,
    ) -> Self {
        let mut md5 = Md5::new();
        md5.update([u8::from(deleted)]);
        if let Some(parent) = parent {
            md5.update(parent.to_string());
        }
        md5.update([0]);
        md5.update(content);
        for (name, attachment) in attachments {
            for text in [
                name.as_str(),
                &attachment.content_type,
                attachment.digest.as_str(),
            ] {
                md5.update((text.len() as u64).to_be_bytes());
                md5.update(text);
            }
        }
        Self {
            generation: parent.map_or(0, |parent| parent.generation) + 1,
            hash: data_encoding::HEXLOWER.encode(&md5.finalize()),
        }
    }

    /// The same as if so many edits had come before it.
    #[must_use]
    pub fn above(mut self, floor: u64) -> Self {
        self.generation = (self.generation + floor).min(GENERATION_MAX);
        self
    }

    /// How many edits led to it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What stands after the dash.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

impl FromStr for Rev {
    type Err = BadRev;

    fn from_str(text: &str) -> Result<Self, BadRev> {
        let (generation, hash) = text.split_once('-').ok_or(BadRev)?;
        if !generation.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadRev);
        }
        Self::new(generation.parse().map_err(|_| BadRev)?, hash)
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.hash)
    }
}

impl TryFrom<String> for Rev {
    type Error = BadRev;

    fn try_from(text: String) -> Result<Self, BadRev> {
        text.parse()
    }
}

impl From<Rev> for String {
    fn from(rev: Rev) -> Self {
        rev.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_read_and_ordered() {
        let rev = |text: &str| text.parse::<Rev>().expect("it is one");
        assert!(rev("2-a") > rev("1-f") && rev("10-a") > rev("9-a") && rev("1-b") > rev("1-a"));
        assert_eq!(rev("3-abc").to_string(), "3-abc");
        for bad in ["", "1", "1-", "-a", "0-a", "x-a", "+1-a", "1-a b", "1-\""] {
            assert_eq!(bad.parse::<Rev>(), Err(BadRev), "{bad}");
        }
    }

    #[test]
    fn the_same_edit_is_the_same_revision() {
        let none = Attachments::new();
        let first = Rev::of_edit(None, false, &[1; 16], &none);
        assert_eq!(first, Rev::of_edit(None, false, &[1; 16], &none));
        assert_eq!(first.generation(), 1);
        assert_ne!(first, Rev::of_edit(None, false, &[2; 16], &none));
        assert_ne!(first, Rev::of_edit(None, true, &[1; 16], &none));
        let second = Rev::of_edit(Some(&first), false, &[1; 16], &none);
        assert_eq!(second.generation(), 2);
    }
}
