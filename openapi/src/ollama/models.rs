//! Embeddings, and which models there are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::OllamaError;
use crate::Kwaai;

/// `POST /api/embed`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct OllamaEmbedRequest {
    /// The model's name; `name:latest` is `name`.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "all-minilm-l6-v2"
    )]
    pub model: Option<String>,
    /// One text or several. One that is longer than the model's context is refused, whatever
    /// `truncate` says.
    #[serde(default)]
    #[schema(required, nullable = false, value_type = crate::Stop)]
    pub input: Option<Value>,
    /// Keep the first so many components and normalise again.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub dimensions: Option<i64>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
}

/// The vectors, of unit length.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaEmbeddings {
    /// As it was asked for.
    pub model: String,
    /// One for each input, in order.
    pub embeddings: Vec<Vec<f32>>,
    /// What it took in all.
    pub total_duration: u64,
    /// Always 0: not told apart.
    pub load_duration: u64,
    /// Tokens over all inputs.
    pub prompt_eval_count: u32,
}

/// `POST /api/embeddings`, the older form.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct OllamaEmbeddingRequest {
    /// The model's name; `name:latest` is `name`.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "all-minilm-l6-v2"
    )]
    pub model: Option<String>,
    /// The text.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
}

/// The vector, of unit length.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaEmbedding {
    /// Empty for an empty text.
    pub embedding: Vec<f32>,
}

/// `POST /api/show` and `POST /api/pull`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct OllamaModelRequest {
    /// The model's name; `name:latest` is `name`.
    #[schema(min_length = 1, max_length = 256, example = "smollm2-135m-instruct")]
    pub model: Option<String>,
    /// The same under its older name.
    #[serde(default)]
    pub name: Option<String>,
    /// Of a pull: `false` for one answer in place of a stream.
    #[serde(default)]
    pub stream: Option<bool>,
}

/// `GET /api/tags` and `GET /api/ps`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaModels {
    /// Those that can be asked for; of `ps`, those in memory.
    pub models: Vec<OllamaModel>,
}

/// One model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaModel {
    /// The name to ask for.
    pub name: String,
    /// The same.
    pub model: String,
    /// When it came to this node.
    pub modified_at: String,
    /// Bytes of its files; 0 if they are not here.
    pub size: u64,
    /// The SHA-256 of its first file; zeros where that is not known.
    pub digest: String,
    /// More about it.
    pub details: OllamaDetails,
    /// Of `ps`: far away, since a model leaves when its place is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Of `ps`: 0, since nothing lies in a graphics card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_vram: Option<u64>,
    /// Of `ps`: its context in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
}

/// More about a model; what is not known is empty.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct OllamaDetails {
    /// Always empty.
    pub parent_model: String,
    /// `gguf` or `safetensors`.
    pub format: String,
    /// Its architecture.
    pub family: String,
    /// The same.
    pub families: Vec<String>,
    /// Always empty.
    pub parameter_size: String,
    /// As its file's name tells.
    pub quantization_level: String,
}

/// All about a model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaShown {
    /// The weights' licence, where known.
    pub license: String,
    /// Always empty: there are no Modelfiles here.
    pub modelfile: String,
    /// Always empty.
    pub parameters: String,
    /// Always empty: the model's own template is used.
    pub template: String,
    /// More about it.
    pub details: OllamaDetails,
    /// `general.architecture`, and `<architecture>.context_length` where known.
    #[schema(value_type = Object)]
    pub model_info: BTreeMap<String, Value>,
    /// `completion` and `tools`, or `embedding`.
    pub capabilities: Vec<&'static str>,
    /// When it came to this node.
    pub modified_at: String,
}

/// A piece of a pull.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct OllamaProgress {
    /// `success` is the last.
    pub status: String,
    /// Of the file that is fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Those that are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
}

/// A line of a pull.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OllamaPullLine {
    /// More of it.
    Piece(OllamaProgress),
    /// It failed, and nothing follows.
    Failed(OllamaError),
}

/// `GET /api/version`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaVersion {
    /// The version of Ollama whose API this is.
    pub version: &'static str,
}
