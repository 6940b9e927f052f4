use serde::Serialize;
use utoipa::ToSchema;

use crate::ModelPlaces;

/// `GET /v1/models`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelList {
    /// `list`.
    pub object: &'static str,
    /// What can be asked for now.
    pub data: Vec<Model>,
}

/// One model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Model {
    /// The name to ask for.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// When it came to this node: seconds since 1970.
    pub created: i64,
    /// Which backend serves it.
    pub owned_by: String,
    /// Extension: `generate`, `embed`, `transcribe` or `unknown`.
    pub kind: &'static str,
    /// Extension: its context in tokens, once known.
    pub context_length: Option<u32>,
    /// Extension: whether it is in memory there; if not, the first request loads it.
    pub loaded: bool,
    /// Extension: where it is served.
    pub kwaai: ModelPlaces,
}
