//! The inference plane: one stream for each request, over a [`PeerTransport`](crate::PeerTransport).
//!
//! The asker opens with everything that the work needs. The server accepts, or refuses before it did anything;
//! then come events as they are made, and at the end the counts with a signed receipt, which the asker signs
//! against. While there is nothing to say the server says just that, four times a second, so that slow is told
//! from gone. Whatever the other side says is checked: a peer is not this node.

mod account;
mod ask;
mod quiet;
mod serve;
mod wire;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
#[cfg(any(test, feature = "fuzz"))]
mod samples;
#[cfg(test)]
mod tests;

pub use ask::PeerBackend;
pub use serve::InferenceDoor;
pub(crate) use wire::list;

use std::time::Duration;

/// Between two signs of life of a server that has nothing to say.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Four of those.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// The message that opens a stream on which books are compared.
pub(crate) fn books_opening() -> impl prost::Message {
    wire::asks::Ask::from(wire::asks::ask::Kind::Books(wire::asks::Books {}))
}
