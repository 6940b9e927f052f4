use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{Kwaai, Other};

/// `POST /v1/rerank`, in the shape that Cohere and Jina share.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct RerankRequest {
    /// The name of a model that embeds.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 256,
        example = "all-minilm-l6-v2"
    )]
    pub model: Option<String>,
    /// What is looked for.
    #[schema(required, nullable = false, min_length = 1)]
    pub query: Option<String>,
    /// Texts, or objects with a `text`; at most 1,000. Each has to fit into the model's context.
    #[serde(default)]
    #[schema(required, nullable = false, value_type = Vec<RerankDocument>, min_items = 1, max_items = 1000)]
    pub documents: Option<Vec<Value>>,
    /// Give only the best so many.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub top_n: Option<i64>,
    /// Repeat the documents' texts; false if not given.
    #[serde(default)]
    pub return_documents: Option<bool>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// A text that is ranked.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum RerankDocument {
    /// As it is.
    Text(String),
    /// In an object.
    Object(RerankText),
}

/// A text in an object.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RerankText {
    /// The text.
    #[schema(min_length = 1)]
    pub text: String,
}

/// The documents, best first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reranked {
    /// Of its own.
    pub id: String,
    /// `list`.
    pub object: &'static str,
    /// The model that was asked.
    pub model: String,
    /// Best first; documents of one score in their own order.
    pub results: Vec<RerankResult>,
    /// Tokens counted, as Jina says it.
    pub usage: RerankUsage,
    /// The same as Cohere says it.
    pub meta: RerankMeta,
}

/// A document's place.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RerankResult {
    /// Which document.
    pub index: usize,
    /// From 0 to 1: the cosine of the angle between the vectors of query and document, 0 if it is
    /// negative.
    pub relevance_score: f32,
    /// Its text, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<RerankText>,
}

/// Tokens of a ranking.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RerankUsage {
    /// Over query and documents.
    pub prompt_tokens: u32,
    /// The same.
    pub total_tokens: u32,
}

/// What Cohere's clients read.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RerankMeta {
    /// Which API it is like.
    pub api_version: RerankApiVersion,
    /// Tokens counted.
    pub tokens: RerankTokens,
}

/// Which API it is like.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RerankApiVersion {
    /// `2`.
    pub version: &'static str,
}

/// Tokens of a ranking.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RerankTokens {
    /// Over query and documents.
    pub input_tokens: u32,
}
