//! The door, tested in one process over the scripted backend.

mod auth;
mod chat;
mod completions;
mod conversations;
mod document;
mod embeddings;
mod errors;
mod harness;
mod responses;
mod responses_background;
mod responses_kept;
mod sockets;
