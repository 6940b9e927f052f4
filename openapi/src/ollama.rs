//! Ollama's API. Durations are in nanoseconds, times as RFC 3339 writes them.

mod generate;
mod models;

use serde::Serialize;
use utoipa::ToSchema;

pub use generate::{
    OllamaCalled, OllamaChatAnswer, OllamaChatLine, OllamaChatRequest, OllamaEnd, OllamaFormat,
    OllamaFunction, OllamaGenerateAnswer, OllamaGenerateLine, OllamaGenerateRequest, OllamaLogprob,
    OllamaMessage, OllamaOptions, OllamaRole, OllamaSaid, OllamaTokenLogprob, OllamaTool,
    OllamaToolCall,
};
pub use models::{
    OllamaDetails, OllamaEmbedRequest, OllamaEmbedding, OllamaEmbeddingRequest, OllamaEmbeddings,
    OllamaModel, OllamaModelRequest, OllamaModels, OllamaProgress, OllamaPullLine, OllamaShown,
    OllamaVersion,
};

/// Every answer of these paths that is not a success, and the last line of a stream that failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OllamaError {
    /// One sentence for a person.
    pub error: String,
}
