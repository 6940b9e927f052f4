//! Which protocol a path belongs to, and its words for errors. Handlers, the authentication and the
//! fallbacks all speak of an [`ApiError`]; here, at the way out, it takes the shape that the path's
//! clients know. Nothing else of an answer is touched.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::request_id::RequestId;
use super::{ApiError, anthropic, couch, emissions, ollama};

/// Anthropic's name for what OpenAI calls `x-request-id`.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Whose shapes a path has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
    Ollama,
    CouchDb,
    /// The Carbon Aware SDK's WebApi.
    Emissions,
}

impl Dialect {
    /// The protocol of a path, whether it exists or not.
    pub(crate) fn of(path: &str) -> Self {
        let is_under = |root: &str| {
            let rest = path.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if is_under("/v1/messages") {
            Self::Anthropic
        } else if is_under("/api") {
            Self::Ollama
        } else if is_under("/couch") {
            Self::CouchDb
        } else if is_under("/emissions") {
            Self::Emissions
        } else {
            Self::OpenAi
        }
    }
}

/// Says errors in the words of the path's protocol.
pub(crate) async fn speak(request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let id = request.extensions().get::<RequestId>().cloned();
    let mut response = next.run(request).await;
    let error = response.extensions_mut().remove::<ApiError>();
    match (dialect, error) {
        (Dialect::Anthropic, error) => {
            if let Some(error) = error {
                let id = id.as_ref().and_then(|id| id.0.to_str().ok());
                let body = anthropic::error_body(&error, id);
                response = reworded(response, Json(body).into_response());
                *response.status_mut() = anthropic::status(&error);
            }
            if let Some(id) = id {
                response.headers_mut().insert(REQUEST_ID, id.0);
            }
            response
        }
        (Dialect::Ollama, Some(error)) => {
            let body = Json(ollama::error_body(&error)).into_response();
            reworded(response, body)
        }
        (Dialect::CouchDb, Some(error)) => {
            let body = Json(couch::error_body(&error)).into_response();
            reworded(response, body)
        }
        (Dialect::Emissions, Some(error)) => {
            let body = Json(emissions::error_body(&error)).into_response();
            let mut response = reworded(response, body);
            let kind = HeaderValue::from_static("application/problem+json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        (Dialect::Ollama | Dialect::CouchDb | Dialect::Emissions, None) | (Dialect::OpenAi, _) => {
            response
        }
    }
}

/// The same answer, status and headers, with this body.
fn reworded(old: Response, new: Response) -> Response {
    let (mut head, _) = old.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, new.into_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_one_protocol() {
        for (path, dialect) in [
            ("/v1/messages", Dialect::Anthropic),
            ("/v1/messages/count_tokens", Dialect::Anthropic),
            ("/v1/messagesx", Dialect::OpenAi),
            ("/v1/chat/completions", Dialect::OpenAi),
            ("/api", Dialect::Ollama),
            ("/api/chat", Dialect::Ollama),
            ("/apix", Dialect::OpenAi),
            ("/couch", Dialect::CouchDb),
            ("/couch/notes/_changes", Dialect::CouchDb),
            ("/emissions/bylocation", Dialect::Emissions),
            ("/", Dialect::OpenAi),
        ] {
            assert_eq!(Dialect::of(path), dialect, "{path}");
        }
    }
}
