//! Which models there are, and where their files lie. The node knows; the engine asks.

use std::path::PathBuf;

use kwaainet_core::{ModelId, ModelKind};

/// The models on this machine's disk. Asked often, so it answers from memory or a directory
/// listing, never from the network.
pub trait Library: Send + Sync {
    /// All of them, in a stable order.
    fn list(&self) -> Vec<LibraryEntry>;

    /// The one of this name.
    fn find(&self, model: &ModelId) -> Option<LibraryEntry>;
}

/// A model that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryEntry {
    /// As clients name it.
    pub id: ModelId,
    /// What to load.
    pub files: Files,
    /// When it came to be here: seconds since 1970.
    pub created: i64,
}

/// Where a model lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// A decoder: one GGUF file.
    Gguf(PathBuf),
    /// An embedder: a directory in the layout of sentence-transformers (`config.json`,
    /// `tokenizer.json`, `model.safetensors`, optionally `1_Pooling/config.json` and
    /// `sentence_bert_config.json`).
    Embedder(PathBuf),
    /// A Whisper: a directory as Hugging Face's hub has `openai/whisper-*` (`config.json`,
    /// `tokenizer.json`, `model.safetensors`, optionally `generation_config.json`).
    Whisper(PathBuf),
}

impl Files {
    /// What the model is for.
    pub fn kind(&self) -> ModelKind {
        match self {
            Self::Gguf(_) => ModelKind::Generate,
            Self::Embedder(_) => ModelKind::Embed,
            Self::Whisper(_) => ModelKind::Transcribe,
        }
    }
}
