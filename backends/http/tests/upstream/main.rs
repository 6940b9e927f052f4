//! The HTTP backend against servers on the loopback interface.

mod conformance;
mod failures;
mod models;
mod openai;
mod server;
mod streams;
