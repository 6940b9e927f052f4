//! Any OpenAI-compatible server as a backend: Ollama, llama.cpp, vLLM, a hosted API, another node.
//!
//! Owns the connection to one upstream and the translation between OpenAI's wire format and the
//! node's own nouns. It never retries, never follows a redirect, never shows the upstream's
//! address or our key to a caller, and never logs what is said. Requests come from the hallway;
//! text goes on to it as it arrives, unbuffered. Configuration comes from the node, which also
//! calls [`HttpBackend::refresh`] from time to time.

mod backend;
mod calls;
mod chat;
mod chunk;
mod config;
mod embed;
mod errors;
mod generate;
mod logprobs;
mod models;
mod request;
mod sse;
mod translate;
mod upstream;

pub use backend::HttpBackend;
pub use config::{ConfigError, HttpConfig, Secret};
