//! Many nodes in one process and one thread, for tests of everything above the
//! [`PeerTransport`](kwaainet_federation::PeerTransport) seam.
//!
//! A [`Net`] carries the streams: with delay, loss and limits that follow from its seed, cut and healed, its
//! nodes crashed, frozen and started again. Time is tokio's, paused, so that a minute takes as long as what
//! happens in it. A [`World`] is a federation on it whose engines are made up; whoever wants real backends
//! builds nodes of his own from [`Net::join`], [`MemoryBook`] and [`SimClock`].

mod book;
mod chaos;
mod clock;
mod engine;
mod net;
mod pipe;
mod receipts;
mod transport;
mod world;

pub use book::MemoryBook;
pub use chaos::Chaos;
pub use clock::SimClock;
pub use engine::Engine;
pub use net::{Net, Weather};
pub use receipts::{MemoryReceipts, Row};
pub use transport::SimTransport;
pub use world::{Node, World, node_id, node_key, run};
