//! Why a model file cannot be used, in sentences that its owner can act on.
//!
//! They may quote the file, but never more of it than fits a line.

use std::io;

/// Of a text from the file, in a message.
const QUOTED_CHARS_MAX: usize = 80;

/// Something is wrong with a file of a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A file could not be read.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// Which, without its directory.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// Not the kind of file that was expected.
    #[error("the model file is not a GGUF file")]
    NotGguf,
    /// The file ends within its header.
    #[error("the model file is cut short: its header goes on beyond byte {len}, where it ends")]
    HeaderCutShort {
        /// Bytes in the file.
        len: u64,
    },
    /// The file ends within a tensor.
    #[error("the model file is cut short: tensor {tensor} ends at byte {end}, the file has {len}")]
    CutShort {
        /// The tensor that ends last.
        tensor: String,
        /// Where it should end.
        end: u64,
        /// Bytes in the file.
        len: u64,
    },
    /// The file contradicts itself or its format.
    #[error("the model file is malformed: {0}")]
    Malformed(String),
    /// The file is sound, but of a kind that is not computed here.
    #[error("unknown architecture '{name}'; the known ones are {known}")]
    UnknownArchitecture {
        /// What the file says.
        name: String,
        /// All that there are, with commas.
        known: String,
    },
    /// A feature of a known architecture that is not computed here.
    #[error("the model needs {0}, which is not supported")]
    Unsupported(String),
}

impl FileError {
    /// The system refused to read `file`, named without its directory.
    pub fn unreadable(file: impl Into<String>, error: &io::Error) -> Self {
        Self::Unreadable {
            file: file.into(),
            reason: error.to_string(),
        }
    }

    /// The file contradicts itself or its format.
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }
}

/// As much of a text from the file as a message can hold.
pub(crate) fn quoted(text: &str) -> &str {
    let end = text.char_indices().nth(QUOTED_CHARS_MAX);
    end.map_or(text, |(end, _)| &text[..end])
}
