//! GGUF files through the crate's door: what is read from sound ones, what is said of others.

mod config;
mod file;
#[path = "../support/mod.rs"]
mod support;
