//! The door, tested in one process over the scripted backend.

mod audio;
mod auth;
mod batches;
mod chat;
mod completions;
mod document;
mod embeddings;
mod errors;
mod files;
mod harness;
mod rerank;
mod sockets;
mod vector_stores;
