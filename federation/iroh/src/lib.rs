//! The members' plane: streams between nodes over iroh, by a preset of our own. Nobody outside is asked
//! where a node is, and no relay is used, unless the owner configured it.
//!
//! A stream belongs to a connection, and a connection to a pair of nodes and a plane: each node keeps one
//! that it dialed, on which it opens streams, and takes one that the other dialed, on which the other does.

mod address;
mod config;
mod connections;
mod dial;
mod doctor;
mod door;
mod interfaces;
mod quic;
mod relay;
mod serve;
mod transport;

pub use address::Hidden;
pub use config::{IrohConfig, RelayToken};
pub use doctor::{Finding, Grade, Reach};
pub use relay::{Relay, RelayConfig, RelayError, RelayTls};
pub use transport::{Gate, IrohError, IrohTransport};
