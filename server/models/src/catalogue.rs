//! The list of known models: the one that ships with the node, extended by the user's own file.
//! Entries come out of TOML text checked; nothing here touches the network or the cache.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::Entry;

const BUILTIN: &str = include_str!("../catalogue.toml");

/// Far more than any catalogue needs, so that a wrong path does not fill the memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Models by name, in order.
#[derive(Clone, Debug)]
pub struct Catalogue {
    entries: Vec<Entry>,
    default: usize,
}

/// Why a user's catalogue could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file could not be read.
    #[error("cannot read the catalogue {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The file says something that makes no sense.
    #[error("{}, line {line}: {message}", path.display())]
    Bad {
        /// Which.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
}

impl Catalogue {
    /// The catalogue that ships with the node.
    ///
    /// # Panics
    /// Never in a build that passed its tests.
    pub fn builtin() -> Self {
        let empty = Self {
            entries: Vec::new(),
            default: 0,
        };
        empty
            .extended_by(BUILTIN, Path::new(""))
            .expect("a test pins that the built-in catalogue is good")
    }

    /// The built-in catalogue with the user's own file over it: an entry of a known name takes the
    /// old one's place, others follow after, and a `default` there counts. A relative `path` of a
    /// source starts at the file's folder.
    ///
    /// # Errors
    /// When the file cannot be read, or with the line of the first thing wrong in it.
    pub fn load(user_file: Option<&Path>) -> Result<Self, CatalogueError> {
        let builtin = Self::builtin();
        let Some(path) = user_file else {
            return Ok(builtin);
        };
        let text = read(path).map_err(|error| CatalogueError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        builtin
            .extended_by(&text, folder)
            .map_err(|fault| CatalogueError::Bad {
                path: path.to_owned(),
                line: line_of(&text, fault.at),
                message: fault.message,
            })
    }

    /// The model of this name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.position(name).map(|at| &self.entries[at])
    }

    /// All models, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// The model to use when nobody names one.
    pub fn default_model(&self) -> &Entry {
        &self.entries[self.default]
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name() == name)
    }

    fn extended_by(mut self, text: &str, folder: &Path) -> Result<Self, Fault> {
        let file: CatalogueFile = toml::from_str(text)?;
        for (i, entry) in file.model.iter().enumerate() {
            let name = entry.get_ref().name();
            if file.model[..i]
                .iter()
                .any(|other| other.get_ref().name() == name)
            {
                let message = format!("the model '{name}' is here twice");
                return Err(Fault::new(entry.span(), message));
            }
        }
        for entry in file.model {
            let mut entry = entry.into_inner();
            entry.resolve_paths(folder);
            match self.position(entry.name()) {
                Some(at) => self.entries[at] = entry,
                None => self.entries.push(entry),
            }
        }
        if let Some(default) = file.default {
            let name = default.get_ref();
            self.default = self.position(name).ok_or_else(|| {
                let message = format!("the default model '{name}' is not in the catalogue");
                Fault::new(default.span(), message)
            })?;
        }
        Ok(self)
    }
}

impl<'a> IntoIterator for &'a Catalogue {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    default: Option<Spanned<String>>,
    #[serde(default)]
    model: Vec<Spanned<Entry>>,
}

/// Something wrong in a text, and the byte where it is.
#[derive(Debug)]
struct Fault {
    at: usize,
    message: String,
}

impl Fault {
    fn new(span: Range<usize>, message: String) -> Self {
        Self {
            at: span.start,
            message,
        }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Self::new(error.span().unwrap_or_default(), error.message().to_owned())
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|&&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
