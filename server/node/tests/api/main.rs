//! The door, tested in one process over the scripted backend.

mod anthropic;
mod auth;
mod batches;
mod chat;
mod completions;
mod document;
mod embeddings;
mod errors;
mod files;
mod formats;
mod harness;
mod ollama;
mod points;
mod rerank;
mod sockets;
mod tools;
mod vector_stores;
