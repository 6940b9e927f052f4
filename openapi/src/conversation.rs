use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{InputItem, Metadata};

/// `POST /v1/conversations`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct ConversationRequest {
    /// What it begins with, at most 20.
    #[serde(default)]
    #[schema(value_type = Option<Vec<InputItem>>, max_items = 20)]
    pub items: Option<Vec<Value>>,
    /// Up to 16 pairs that are kept with it.
    #[serde(default)]
    #[schema(value_type = Option<Metadata>)]
    pub metadata: Option<BTreeMap<String, String>>,
}

/// `POST /v1/conversations/{id}`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct ConversationUpdate {
    /// Takes the place of all pairs; null for none.
    #[serde(default, deserialize_with = "crate::present")]
    #[schema(required, value_type = Option<Metadata>)]
    pub metadata: Option<Option<BTreeMap<String, String>>>,
}

/// `POST /v1/conversations/{id}/items`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct ConversationItemsRequest {
    /// What is added, at most 20.
    #[serde(default)]
    #[schema(required, nullable = false, value_type = Vec<InputItem>, min_items = 1, max_items = 20)]
    pub items: Option<Vec<Value>>,
}

/// Items that responses follow on and are added to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Conversation {
    /// Starts with `conv_`.
    pub id: String,
    /// `conversation`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: i64,
    /// As given.
    #[schema(value_type = Metadata)]
    pub metadata: BTreeMap<String, String>,
}
