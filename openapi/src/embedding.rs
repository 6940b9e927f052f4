use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{Kwaai, Other};

/// `POST /v1/embeddings`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct EmbeddingRequest {
    /// The model's name.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "all-minilm-l6-v2"
    )]
    pub model: Option<String>,
    /// What is embedded, at most 2,048 inputs.
    #[serde(default)]
    #[schema(required, nullable = false, value_type = EmbeddingInput)]
    pub input: Option<Value>,
    /// How the vectors are written.
    #[serde(default)]
    pub encoding_format: Option<EncodingFormat>,
    /// Keep the first so many components and normalise again.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub dimensions: Option<i64>,
    /// The caller's name for his user; not kept.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub user: Option<String>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// One input or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum EmbeddingInput {
    /// One text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// One list of token ids.
    Tokens(Vec<u32>),
    /// Several lists of token ids.
    TokenLists(Vec<Vec<u32>>),
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// A JSON array.
    #[default]
    Float,
    /// Base64 of 32-bit floats, lowest byte first.
    Base64,
}

/// The vectors.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmbeddingList {
    /// `list`.
    pub object: &'static str,
    /// One for each input, in order.
    pub data: Vec<Embedding>,
    /// The model that made them.
    pub model: String,
    /// Tokens counted.
    pub usage: EmbeddingUsage,
}

/// One vector of unit length.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Embedding {
    /// `embedding`.
    pub object: &'static str,
    /// Which input.
    pub index: u32,
    /// The vector.
    pub embedding: EmbeddingVector,
}

/// A vector as it was asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EmbeddingVector {
    /// A JSON array.
    Float(Vec<f32>),
    /// Base64 of 32-bit floats, lowest byte first.
    Base64(String),
}

/// Tokens of an embedding request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmbeddingUsage {
    /// Over all inputs, the model's own start and end tokens included.
    pub prompt_tokens: u32,
    /// The same.
    pub total_tokens: u32,
}
