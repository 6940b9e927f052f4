use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{ActivityAnchor, Attributes, Kwaai, Metadata, Other, Ranker};

/// `POST /v1/vector_stores`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct VectorStoreRequest {
    /// What it is called.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub name: Option<String>,
    /// What is in it.
    #[serde(default)]
    pub description: Option<String>,
    /// Files to put into it at once, at most 500.
    #[serde(default)]
    #[schema(max_items = 500)]
    pub file_ids: Option<Vec<String>>,
    /// How these files are cut into pieces.
    #[serde(default)]
    #[schema(value_type = Option<ChunkingStrategy>)]
    pub chunking_strategy: Option<Value>,
    /// When it is emptied.
    #[serde(default)]
    pub expires_after: Option<VectorStoreExpiry>,
    /// Up to 16 pairs of strings.
    #[serde(default)]
    #[schema(value_type = Option<Metadata>)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// `POST /v1/vector_stores/{vector_store_id}`: what is not given stays.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct VectorStoreUpdate {
    /// What it is called.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub name: Option<String>,
    /// When it is emptied; null for never.
    #[serde(default, deserialize_with = "crate::present")]
    #[schema(value_type = Option<VectorStoreExpiry>)]
    pub expires_after: Option<Option<VectorStoreExpiry>>,
    /// Up to 16 pairs of strings; null for none.
    #[serde(default, deserialize_with = "crate::present")]
    #[schema(value_type = Option<Metadata>)]
    pub metadata: Option<Option<BTreeMap<String, String>>>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// When a vector store is emptied.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VectorStoreExpiry {
    /// `last_active_at`: the last time that something was put in or searched.
    #[schema(required, nullable = false, example = "last_active_at", value_type = ActivityAnchor)]
    pub anchor: Option<String>,
    /// Days from then on, 1 to 365.
    #[schema(required, nullable = false, minimum = 1, maximum = 365)]
    pub days: Option<i64>,
}

/// A vector store.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VectorStore {
    /// Names it in other requests.
    pub id: String,
    /// `vector_store`.
    pub object: &'static str,
    /// Seconds since 1970, as all times here.
    pub created_at: i64,
    /// What it is called; may be empty.
    pub name: String,
    /// What is in it.
    pub description: Option<String>,
    /// Bytes of texts and vectors.
    pub usage_bytes: u64,
    /// Its files.
    pub file_counts: FileCounts,
    /// `in_progress` while a file is being read, `completed`, or `expired`.
    pub status: &'static str,
    /// When it is emptied.
    pub expires_after: Option<VectorStoreExpiry>,
    /// When that will be, if nobody uses it.
    pub expires_at: Option<i64>,
    /// When something was last put in or searched.
    pub last_active_at: i64,
    /// As its owner gave it.
    #[schema(value_type = Option<Metadata>)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Extension: the model that makes its vectors.
    pub model: String,
}

/// Files by how far they are.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FileCounts {
    /// Not yet read.
    pub in_progress: u64,
    /// To be found.
    pub completed: u64,
    /// Not to be read.
    pub failed: u64,
    /// Called off.
    pub cancelled: u64,
    /// The sum.
    pub total: u64,
}

/// A page of vector stores.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VectorStoreList {
    /// `list`.
    pub object: &'static str,
    /// The vector stores.
    pub data: Vec<VectorStore>,
    /// The first one's id.
    pub first_id: Option<String>,
    /// The last one's id; give it as `after` to go on.
    pub last_id: Option<String>,
    /// Whether there is more.
    pub has_more: bool,
}

/// How a file is cut into pieces.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ChunkingStrategy {
    /// As the model likes it: pieces of its whole context, at most 800 tokens, that share a half.
    Auto,
    /// As told.
    Static {
        /// How.
        #[serde(rename = "static")]
        fixed: StaticChunking,
    },
}

/// How a file is cut into pieces of one size.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StaticChunking {
    /// Tokens of a piece, from 100 to 4,096 and no more than the model's context.
    #[schema(minimum = 100, maximum = 4096)]
    pub max_chunk_size_tokens: i64,
    /// How many of them it shares with the next piece, at most half of them.
    #[schema(minimum = 0)]
    pub chunk_overlap_tokens: i64,
}

/// `POST /v1/vector_stores/{vector_store_id}/files`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct VectorStoreFileRequest {
    /// The file: text, Markdown, JSON, CSV or HTML.
    #[schema(required, nullable = false, example = "file-abc")]
    pub file_id: Option<String>,
    /// Up to 16 pairs of a name and a string, a number or a boolean, for filters.
    #[serde(default)]
    #[schema(value_type = Option<Attributes>)]
    pub attributes: Option<Value>,
    /// How it is cut into pieces.
    #[serde(default)]
    #[schema(value_type = Option<ChunkingStrategy>)]
    pub chunking_strategy: Option<Value>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// `POST /v1/vector_stores/{vector_store_id}/files/{file_id}`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct VectorStoreFileUpdate {
    /// In place of those it has; null for none.
    #[serde(default, deserialize_with = "crate::present")]
    #[schema(required, value_type = Option<Attributes>)]
    pub attributes: Option<Option<Value>>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// A file in a vector store.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VectorStoreFile {
    /// The file's id.
    pub id: String,
    /// `vector_store.file`.
    pub object: &'static str,
    /// Bytes of its texts and vectors.
    pub usage_bytes: u64,
    /// When it was put in.
    pub created_at: i64,
    /// In which store.
    pub vector_store_id: String,
    /// `in_progress`, `completed`, `failed` or `cancelled`.
    pub status: &'static str,
    /// Why it failed.
    pub last_error: Option<VectorStoreFileError>,
    /// How it is cut into pieces.
    pub chunking_strategy: ChunkingStrategy,
    /// As its owner gave them.
    #[schema(value_type = Option<Object>)]
    pub attributes: Option<Value>,
}

/// Why a file could not be read.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VectorStoreFileError {
    /// `unsupported_file`, `invalid_file` or `server_error`.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
}

/// A page of files in a vector store.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VectorStoreFileList {
    /// `list`.
    pub object: &'static str,
    /// The files.
    pub data: Vec<VectorStoreFile>,
    /// The first one's id.
    pub first_id: Option<String>,
    /// The last one's id; give it as `after` to go on.
    pub last_id: Option<String>,
    /// Whether there is more.
    pub has_more: bool,
}

/// The text of a file in a vector store.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VectorStoreFileContent {
    /// `vector_store.file_content.page`.
    pub object: &'static str,
    /// One text: all of it.
    pub data: Vec<VectorSearchContent>,
    /// Always false.
    pub has_more: bool,
    /// Always null.
    pub next_page: Option<String>,
}

/// `POST /v1/vector_stores/{vector_store_id}/file_batches`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct VectorStoreFileBatchRequest {
    /// The files, at most 500.
    #[serde(default)]
    #[schema(max_items = 500)]
    pub file_ids: Option<Vec<String>>,
    /// Or the files, each with attributes and a strategy of its own.
    #[serde(default)]
    pub files: Option<Vec<VectorStoreFileRequest>>,
    /// For all of `file_ids`.
    #[serde(default)]
    #[schema(value_type = Option<Attributes>)]
    pub attributes: Option<Value>,
    /// For all of `file_ids`.
    #[serde(default)]
    #[schema(value_type = Option<ChunkingStrategy>)]
    pub chunking_strategy: Option<Value>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// Files that were put into a vector store together.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VectorStoreFileBatch {
    /// Names them in other requests.
    pub id: String,
    /// `vector_store.files_batch`.
    pub object: &'static str,
    /// When they were put in.
    pub created_at: i64,
    /// Into which store.
    pub vector_store_id: String,
    /// `in_progress`, `completed`, `failed` (none of them could be read) or `cancelled`.
    pub status: &'static str,
    /// How far they are.
    pub file_counts: FileCounts,
}

/// `POST /v1/vector_stores/{vector_store_id}/search`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct VectorSearchRequest {
    /// What is looked for: a text, or several of which one has to be near.
    #[serde(default)]
    #[schema(required, nullable = false, value_type = VectorSearchQuery)]
    pub query: Option<Value>,
    /// At most so many pieces, 1 to 50; 10 if not given.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 50)]
    pub max_num_results: Option<i64>,
    /// Only in files with such attributes: `{"type": "eq", "key": …, "value": …}` (also `ne`, `gt`, `gte`,
    /// `lt`, `lte`, `in`, `nin`), or `{"type": "and", "filters": […]}` (also `or`).
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub filters: Option<Value>,
    /// How results are ranked.
    #[serde(default)]
    pub ranking_options: Option<RankingOptions>,
    /// False: queries are used as they are.
    #[serde(default)]
    pub rewrite_query: Option<bool>,
    /// Extension: what the request demands of the place where it is served.
    #[serde(default)]
    pub kwaai: Option<Kwaai>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// What is looked for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum VectorSearchQuery {
    /// One text.
    One(String),
    /// Up to 16.
    Many(Vec<String>),
}

/// How results are ranked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RankingOptions {
    /// `auto` or `none`: by the score alone.
    #[serde(default)]
    #[schema(value_type = Option<Ranker>)]
    pub ranker: Option<String>,
    /// Only pieces with at least this score, from 0 to 1.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub score_threshold: Option<f64>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// What was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VectorSearchResults {
    /// `vector_store.search_results.page`.
    pub object: &'static str,
    /// What was looked for.
    pub search_query: Vec<String>,
    /// Nearest first.
    pub data: Vec<VectorSearchResult>,
    /// Always false: there is one page.
    pub has_more: bool,
    /// Always null.
    pub next_page: Option<String>,
}

/// A piece of a file that was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VectorSearchResult {
    /// Which file.
    pub file_id: String,
    /// Its name.
    pub filename: String,
    /// From 0 to 1: the cosine of the angle between the vectors of query and piece, 0 if it is negative.
    pub score: f32,
    /// The file's attributes.
    #[schema(value_type = Option<Object>)]
    pub attributes: Option<Value>,
    /// The piece.
    pub content: Vec<VectorSearchContent>,
}

/// A text that was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VectorSearchContent {
    /// `text`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The text.
    pub text: String,
}
