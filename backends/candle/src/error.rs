//! Why a model cannot be used, in sentences that its owner can act on.

use std::io;

use kwaainet_core::ModelId;

/// A model could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The library has no model of this name.
    #[error("there is no model '{0}' here")]
    NotFound(ModelId),
    /// As many models as allowed are loaded, and all are in use.
    #[error("the {limit} models that may be loaded at once are all in use")]
    NoRoom {
        /// How many may be loaded.
        limit: usize,
    },
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
    /// The tokenizer in the file cannot be used.
    #[error("{0}")]
    Tokenizer(String),
    /// Its engine met a fault of ours while it computed.
    #[error("the engine of the model broke down")]
    BrokeDown,
    /// The machine refused a thread, or the loading broke down.
    #[error("loading the model failed: {0}")]
    Fault(String),
}

impl ModelError {
    pub(crate) fn unreadable(file: impl Into<String>, error: &io::Error) -> Self {
        Self::Unreadable {
            file: file.into(),
            reason: error.to_string(),
        }
    }
}
