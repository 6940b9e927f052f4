//! What stands in a request's path and query.

use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
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

/// Clients of CouchDB end the path of a database with a slash, which means nothing.
pub(crate) fn without_last_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let shorter = path.strip_suffix('/').filter(|path| {
        let rest = path.strip_prefix("/couch");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let Some(shorter) = shorter else {
        return request;
    };
    let shorter = match request.uri().query() {
        Some(query) => format!("{shorter}?{query}"),
        None => shorter.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    if let Ok(shorter) = PathAndQuery::try_from(shorter) {
        parts.path_and_query = Some(shorter);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

fn unreadable(message: &str) -> ApiError {
    ApiError::bad_request(Some("invalid_value"), message)
}
