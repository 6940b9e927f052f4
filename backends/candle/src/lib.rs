//! The local engine: decoder models from GGUF files, embedders from safetensors.
//!
//! It owns everything between a prompt and a stream of [`kwaainet_core::Event`]s on this machine:
//! files, tokenizer, chat template, arithmetic, batching and sampling. It never opens a socket and
//! never fetches a file; what models there are, a [`Library`] says.

mod audio;
mod backend;
mod costs;
mod detokenize;
mod drafts;
mod embedder;
mod engine;
mod error;
mod foreign;
mod generator;
mod grammar;
mod library;
mod rank;
mod sampler;
mod shelf;
mod stop;
mod template;
#[cfg(test)]
mod testing;
mod text_out;
mod tokenizer;
mod tools;

pub use backend::{CandleBackend, CandleConfig, EngineLimits, EngineStats};
pub use costs::ModelCosts;
pub use error::ModelError;
pub use foreign::Device;
pub use kwaainet_kernels::{Kernel, KvFormat};
pub use library::{FileStamp, Files, Library, LibraryEntry};
