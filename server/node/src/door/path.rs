//! What stands in a request's path and query.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::ApiError;

/// The names in a path, refused in OpenAI's shape if they are no text.
pub(crate) struct ApiPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, state).await;
        let Path(names) = path.map_err(|_| unreadable("a name in the URL is not UTF-8"))?;
        Ok(Self(names))
    }
}

/// The fields of a query; those that the type does not know are passed over.
pub(crate) struct ApiQuery<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::try_from_uri(&parts.uri);
        let message = "the URL's query is malformed, or names a field twice";
        let Query(fields) = query.map_err(|_| unreadable(message))?;
        Ok(Self(fields))
    }
}

fn unreadable(message: &str) -> ApiError {
    ApiError::bad_request(Some("invalid_value"), message)
}
