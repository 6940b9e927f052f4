//! Which models there are, where they lie on disk, and how they get there.
//!
//! The [`Catalogue`] names models and, for each of their files, the SHA-256 and the sources in
//! order. The [`Cache`] is the folder that they lie in. [`pull`] brings what is missing from the
//! sources into the cache; only a file that was read to its end and has the catalogue's hash gets
//! its name there. Nothing here opens a model, prints, or reads the environment: folders, endpoint
//! and token come from the caller, and what happens meanwhile is told to his [`Progress`].

mod cache;
mod catalogue;
mod entry;
mod fetch;
mod folder;
mod intake;
mod names;
mod progress;
mod pull;
mod source;

pub use cache::{Cache, ModelFiles};
pub use catalogue::{Catalogue, CatalogueError};
pub use entry::{Entry, EntryKind, ModelFile};
pub use fetch::{HubToken, Limits, SourceError, Sources};
pub use names::Sha256Sum;
pub use progress::Progress;
pub use pull::{PullError, pull};
pub use source::Source;
