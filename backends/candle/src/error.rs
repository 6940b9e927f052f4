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
    /// candle, which is to compute it, cannot.
    #[error("candle cannot compute the model: {0}")]
    Candle(String),
    /// The model that is to guess for it cannot.
    #[error("its draft model '{draft}' cannot be used: {reason}")]
    Draft {
        /// Which.
        draft: ModelId,
        /// Why.
        reason: String,
    },
    /// Its engine met a fault of ours while it computed.
    #[error("the engine of the model broke down")]
    BrokeDown,
    /// The machine refused a thread, or the loading broke down.
    #[error("loading the model failed: {0}")]
    Fault(String),
}

/// What candle says; its errors may carry a backtrace.
pub(crate) fn first_line(error: &candle_core::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
