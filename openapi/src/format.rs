use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{FormatKind, Other, PredictionKind};

/// What the text of an answer has to be.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ResponseFormat {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    #[schema(required, nullable = false, value_type = FormatKind)]
    pub kind: Option<String>,
    /// With `json_schema`: which.
    #[serde(default)]
    pub json_schema: Option<JsonSchemaFormat>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// A JSON schema with a name. The text validates against it, strict or not.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct JsonSchemaFormat {
    /// Letters, digits, `_` and `-`, at most 64.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 64,
        pattern = "^[A-Za-z0-9_-]+$"
    )]
    pub name: Option<String>,
    /// What the format is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The schema.
    #[serde(default)]
    #[schema(required, nullable = false, value_type = Object)]
    pub schema: Option<Value>,
    /// Makes no difference: the schema is always followed.
    #[serde(default)]
    pub strict: Option<bool>,
}

/// Extension: a language that the text belongs to. One of these.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct StructuredOutputs {
    /// JSON that validates against this schema, an object or JSON in a string.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub json: Option<Value>,
    /// Any JSON object.
    #[serde(default)]
    pub json_object: Option<bool>,
    /// A regular expression for the whole text.
    #[serde(default)]
    #[schema(min_length = 1)]
    pub regex: Option<String>,
    /// One of these texts.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 1024)]
    pub choice: Option<Vec<String>>,
    /// A grammar in Lark's notation.
    #[serde(default)]
    #[schema(min_length = 1)]
    pub grammar: Option<String>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// What an answer will probably be.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Prediction {
    /// `content`.
    #[serde(rename = "type")]
    #[schema(required, nullable = false, value_type = PredictionKind)]
    pub kind: Option<String>,
    /// The text, whole or in parts.
    #[serde(default)]
    #[schema(required, nullable = false, value_type = crate::ChatContent)]
    pub content: Option<Value>,
}
