//! The KwaaiNet node: the HTTP door, the wiring of all parts, the command line.
//!
//! Everything here is glue. What a request means is `kwaainet-core`'s, how it is computed the
//! backends', what is kept the store's.

pub mod audit;
mod batches;
pub mod bell;
mod blobs;
pub mod carbon;
mod client;
pub mod commands;
pub mod config;
pub mod doctor;
pub mod door;
pub mod federation;
mod housekeeping;
pub mod identity;
mod indexing;
mod keyring;
mod ledger;
mod library;
pub mod metrics;
pub mod node;
mod privacy;
mod replication;
pub mod rewards;
mod server;
pub mod shelf;
mod shred;
mod snapshot;
pub mod storage;
pub mod telemetry;
pub mod terminal;
pub mod vault;
mod wiring;

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The local engine's name as a backend.
pub const LOCAL_BACKEND: &str = "local";
