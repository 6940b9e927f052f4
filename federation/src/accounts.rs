//! Receipts of work between nodes: the server signs, the asker counts for himself and signs that.

use kwaainet_core::{ModelDigest, NodeId, Usage};

/// What a server says of one request that it served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The request's id, chosen by the asker.
    pub request: [u8; 16],
    /// SHA-256 of the opening message as it was sent.
    pub request_hash: [u8; 32],
    /// Of the model.
    pub model: Option<ModelDigest>,
    /// Tokens.
    pub usage: Usage,
    /// Milliseconds since 1970, by the server's clock.
    pub began_ms: u64,
    /// From the opening to the end.
    pub duration_ms: u64,
    /// Millijoules, and how that is known; 0 and `none` where it is not.
    pub energy_mj: u64,
    /// `none`, `modelled` or `measured`.
    pub energy_method: &'static str,
    /// SHA-256 of all that was said: of each message as it was sent, in order.
    pub transcript_hash: [u8; 32],
    /// Whether the asker has all of it.
    pub complete: bool,
}

/// Why a receipt is not countersigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receipt is not right: {0}")]
pub struct BadReceipt(pub String);

/// Which of a server's statements about a stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// See [`Accounts::begin`].
    pub stream: u64,
    /// From 1. The highest about a stream counts.
    pub revision: u64,
}

/// Where receipts are made, checked and kept. Never waits for a disk.
pub trait Accounts: Send + Sync + 'static {
    /// A number for one more stream that is served to the asker, which no other stream of this start has.
    fn begin(&self, asker: NodeId) -> u64;

    /// The server's signed checkpoint of a stream that goes on.
    fn checkpoint(&self, asker: NodeId, turn: Turn, service: Service) -> Vec<u8>;

    /// The server's signed receipt, the last word on a stream, chained to the last one for the same asker.
    fn served(&self, asker: NodeId, turn: Turn, service: Service) -> Vec<u8>;

    /// The asker's signed counts under a server's checkpoint; as [`Self::received`].
    ///
    /// # Errors
    /// When they differ, or it is no checkpoint of the server's.
    fn checkpointed(
        &self,
        server: NodeId,
        checkpoint: &[u8],
        seen: &Service,
    ) -> Result<Vec<u8>, BadReceipt>;

    /// The asker's signed counts under a server's receipt, if that says what the asker saw too: `seen` has
    /// everything but times and energy from the asker's own counting.
    ///
    /// # Errors
    /// When they differ, or the receipt is not the server's.
    fn received(
        &self,
        server: NodeId,
        receipt: &[u8],
        seen: &Service,
    ) -> Result<Vec<u8>, BadReceipt>;

    /// Keeps what the asker saw of a stream for which he got no receipt that he could sign: his own note, which
    /// nobody signed.
    fn claimed(&self, server: NodeId, seen: Service);

    /// Keeps the asker's counter-signature with the receipt or the checkpoint that was made for him.
    ///
    /// # Errors
    /// When it is not his, or is for another receipt.
    fn countersigned(
        &self,
        asker: NodeId,
        receipt: &[u8],
        counter: &[u8],
    ) -> Result<(), BadReceipt>;
}
