//! Which models there are, and where their files lie. The node knows; the engine asks.

use std::fs::Metadata;
use std::path::PathBuf;
use std::time::SystemTime;

use kwaainet_core::{ModelDigest, ModelId, ModelKind};

/// The models on this machine's disk. Asked often, so it answers from memory or a directory
/// listing, never from the network.
pub trait Library: Send + Sync {
    /// All of them, in a stable order.
    fn list(&self) -> Vec<LibraryEntry>;

    /// The one of this name.
    fn find(&self, model: &ModelId) -> Option<LibraryEntry>;

    /// Takes the digest of a generator's file, which was hashed while the model was loaded and looked like this
    /// before and after.
    fn hashed(&self, _entry: &LibraryEntry, _stamp: FileStamp, _digest: ModelDigest) {}
}

/// By what it is seen that a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Its length.
    pub bytes: u64,
    /// When it changed last.
    pub modified: SystemTime,
}

impl FileStamp {
    /// Of a file; `None` where the system does not say when it changed.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        Some(Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok()?,
        })
    }
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
    /// SHA-256 of a generator's file, where it is known without reading it. What is read counts.
    pub digest: Option<ModelDigest>,
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
