//! Why a model cannot be used, in sentences that its owner can act on.

use kwaainet_core::ModelId;
use kwaainet_decoder::FileError;

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
    /// Something is wrong with one of its files.
    #[error(transparent)]
    File(#[from] FileError),
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
