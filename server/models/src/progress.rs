//! What a pull tells its caller while it runs.

use crate::{ModelFile, Source, SourceError};

/// Listens to a pull. Every method may be left out; none may block for long, since the download
/// waits for it. `()` hears nothing.
pub trait Progress: Send + Sync {
    /// Another process pulls the same model; this one waits for it. Said once.
    fn waiting(&self, _model: &str) {}

    /// A file is missing and will be fetched. `advanced` is about this file until `done`.
    fn started(&self, _file: &ModelFile) {}

    /// A source is asked; one whose host did not answer for an earlier file is not. The count of bytes begins again at zero. A wheel gives its first byte
    /// only when pip is done with it, which may take minutes.
    fn trying(&self, _file: &ModelFile, _source: &Source) {}

    /// So many more bytes of the file are here.
    fn advanced(&self, _bytes: u64) {}

    /// The source did not give the file. If there is another one, `trying` follows.
    fn source_failed(&self, _file: &ModelFile, _source: &Source, _error: &SourceError) {}

    /// The file is verified and in the cache.
    fn done(&self, _file: &ModelFile) {}
}

impl Progress for () {}
