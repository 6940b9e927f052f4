//! The door, tested in one process over the scripted backend.

mod anthropic;
mod audio;
mod auth;
mod batches;
mod chat;
mod completions;
mod conversations;
mod document;
mod embeddings;
mod errors;
mod federation_commands;
mod file_search;
mod files;
mod formats;
mod harness;
mod ollama;
mod points;
mod privacy;
mod rerank;
mod responses;
mod rewards;
mod rewards_between_nodes;
mod routing;
mod sockets;
mod tools;
mod vector_stores;
