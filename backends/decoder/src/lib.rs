//! Decoder models from GGUF files.
//!
//! It owns the reading of a file, which it never believes, what the file says of the model's shape and
//! habits, and the one graph that computes it. It never opens a socket, never starts a thread and knows no tokenizer; who calls it
//! decides what is computed and when.

mod config;
mod error;
mod gguf;
mod graph;

pub use config::{Activation, Keys, ModelConfig, Rope, RopeStyle, Window};
pub use error::FileError;
pub use gguf::{Gguf, RawTensor, Tensor, Value};
pub use graph::{Decoder, KvCache, Part, Work};
