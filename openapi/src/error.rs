use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Every answer that is not a success.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorObject,
}

/// OpenAI's error object.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorObject {
    /// One sentence for a person.
    pub message: String,
    /// `invalid_request_error`, `requests` (too many of them) or `server_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The request's field that is at fault.
    pub param: Option<String>,
    /// A word for a program.
    pub code: Option<String>,
}
