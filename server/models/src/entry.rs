//! One model of a catalogue. An [`Entry`] comes out of the parser only, so it is always whole and
//! safe: every name is a plain one, every file has a hash, a size and a source.

use std::collections::HashSet;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;

use serde::{Deserialize, Deserializer, de};

use crate::Source;
use crate::names::{FileName, Line, ModelName, Sha256Sum};

/// A model, described.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawEntry")]
pub struct Entry(RawEntry);

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Continues text.
    Generate,
    /// Makes vectors.
    Embed,
}

impl EntryKind {
    /// As a catalogue spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Embed => "embed",
        }
    }
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    name: FileName,
    sha256: Sha256Sum,
    bytes: NonZeroU64,
    #[serde(deserialize_with = "at_least_one")]
    source: Vec<Source>,
}

impl Entry {
    /// What clients call it, and its folder in the cache.
    pub fn name(&self) -> &str {
        self.0.name.as_ref()
    }

    /// The family that it belongs to, for people: the engine asks the file itself.
    pub fn architecture(&self) -> &str {
        self.0.architecture.as_ref()
    }

    /// What it is for.
    pub fn kind(&self) -> EntryKind {
        self.0.kind
    }

    /// How many tokens it was made for, for people: the engine asks the file itself.
    pub fn context(&self) -> u32 {
        self.0.context.get()
    }

    /// The weights' licence: an SPDX id, or its name where it has none.
    pub fn licence(&self) -> &str {
        self.0.licence.as_ref()
    }

    /// One line about it.
    pub fn description(&self) -> &str {
        self.0.description.as_ref()
    }

    /// Its files, at least one.
    pub fn files(&self) -> &[ModelFile] {
        &self.0.file
    }

    /// The size of all files together.
    pub fn bytes(&self) -> u64 {
        let sizes = self.files().iter().map(ModelFile::bytes);
        sizes.fold(0, u64::saturating_add)
    }

    pub(crate) fn resolve_paths(&mut self, base: &Path) {
        let sources = self.0.file.iter_mut().flat_map(|file| &mut file.source);
        sources.for_each(|source| source.resolve(base));
    }
}

impl ModelFile {
    /// Its name in the model's folder; may hold one `/`.
    pub fn name(&self) -> &str {
        self.name.as_ref()
    }

    /// What its bytes must hash to.
    pub fn sha256(&self) -> Sha256Sum {
        self.sha256
    }

    /// Its exact size.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Where to get it, best first; at least one.
    pub fn sources(&self) -> &[Source] {
        &self.source
    }
}

/// An entry before its files were looked at together.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    name: ModelName,
    architecture: Line,
    kind: EntryKind,
    context: NonZeroU32,
    licence: Line,
    description: Line,
    #[serde(deserialize_with = "at_least_one")]
    file: Vec<ModelFile>,
}

impl TryFrom<RawEntry> for Entry {
    type Error = String;

    fn try_from(raw: RawEntry) -> Result<Self, String> {
        let mut names = HashSet::new();
        for file in &raw.file {
            // Some file systems hold 'A' and 'a' for the same name.
            let name = file.name().to_lowercase();
            if !names.insert(name) {
                return Err(format!(
                    "the model '{}' has the file '{}' twice",
                    raw.name, file.name
                ));
            }
        }
        let folders = names.iter().filter_map(|name| name.split_once('/'));
        for (folder, _) in folders {
            if names.contains(folder) {
                return Err(format!(
                    "in the model '{}', '{folder}' is file and folder",
                    raw.name
                ));
            }
        }
        Ok(Self(raw))
    }
}

/// Reads a list and refuses an empty one.
pub(crate) fn at_least_one<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(de::Error::custom(
            "the list is empty; it needs at least one item",
        ));
    }
    Ok(list)
}
