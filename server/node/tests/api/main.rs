//! The door, tested in one process over the scripted backend.

mod anthropic;
mod auth;
mod chat;
mod completions;
mod document;
mod embeddings;
mod errors;
mod formats;
mod harness;
mod points;
mod ollama;
mod sockets;
mod tools;
