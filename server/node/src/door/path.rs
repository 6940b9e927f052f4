//! What stands in a request's path and query.

use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, Uri};
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

/// CouchDB's own method, which no route can name, becomes a request that one can.
pub(crate) fn copy_as_post(mut request: Request) -> Request {
    let is_document = request.uri().path().starts_with("/couch/");
    if request.method().as_str() == "COPY" && is_document {
        let path = format!("{}/_copy", request.uri().path().trim_end_matches('/'));
        *request.method_mut() = Method::POST;
        return with_path(request, &path);
    }
    request
}

/// Clients of CouchDB end the path of a database with a slash, which means nothing.
pub(crate) fn without_last_slash(request: Request) -> Request {
    let path = request.uri().path();
    let shorter = path.strip_suffix('/').filter(|path| {
        let rest = path.strip_prefix("/couch");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    match shorter.map(str::to_owned) {
        Some(shorter) => with_path(request, &shorter),
        None => request,
    }
}

/// The same request with another path.
fn with_path(mut request: Request, path: &str) -> Request {
    let path = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    if let Ok(path) = PathAndQuery::try_from(path) {
        parts.path_and_query = Some(path);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

fn unreadable(message: &str) -> ApiError {
    ApiError::bad_request(Some("invalid_value"), message)
}
