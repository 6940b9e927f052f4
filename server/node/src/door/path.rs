//! What stands in a request's path.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::ApiError;

/// The names in a path, refused in OpenAI's shape if they are no text.
pub(crate) struct ApiPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, state).await;
        let Path(names) = path.map_err(|_| {
            let message = "an id in the URL is not UTF-8";
            ApiError::bad_request(StatusCode::BAD_REQUEST, Some("invalid_value"), message)
        })?;
        Ok(Self(names))
    }
}
