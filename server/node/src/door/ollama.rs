//! Ollama's API under `/api`: chats, continuations, embeddings, and which models there are.
//!
//! What is asked becomes a job like any other; what is said becomes lines of JSON. What Ollama does
//! with models by itself (create, copy, delete, push) does not exist here.

mod answer;
mod chat;
mod embed;
mod generate;
mod models;
mod options;
mod pull;

use std::sync::Arc;

use axum::http::Method;
use axum::response::{IntoResponse, Response};
use kwaainet_core::{Constraints, Hallway, ModelId, Principal, RouteError, Tokenized, civil_date};
use kwaainet_openapi::OllamaError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ApiError, App, params};

/// Takes a scope of its own.
pub(crate) const PULL: &str = "/api/pull";

/// The default tag, which goes without saying.
const LATEST: &str = ":latest";

/// All of its routes.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(models::running))
        .routes(routes!(models::version))
        .routes(routes!(models::tags))
        .routes(routes!(models::ps))
        .routes(routes!(models::show))
        .routes(routes!(pull::pull))
        .routes(routes!(chat::chat))
        .routes(routes!(generate::generate))
        .routes(routes!(embed::embed))
        .routes(routes!(embed::embedding))
}

/// The body of an answer that is no success.
pub(crate) fn error_body(error: &ApiError) -> OllamaError {
    let error = error.sentence();
    OllamaError { error }
}

/// What is said of the paths that Ollama has and this node does not.
pub(crate) fn absent(method: &Method, path: &str) -> Option<&'static str> {
    match (method, path) {
        (&Method::POST, "/api/create" | "/api/copy" | "/api/push")
        | (&Method::DELETE, "/api/delete") => Some(
            "this node does not create, copy, push or delete models; its owner does, with \
             'kwaainet pull' and a catalogue",
        ),
        (&Method::POST | &Method::HEAD, path) if path.starts_with("/api/blobs/") => {
            Some("this node takes no model files; its owner adds them with a catalogue")
        }
        _ => None,
    }
}

/// A model as the client named it, and as the node knows it.
struct Named {
    asked: String,
    id: ModelId,
}

/// Finds the model that is meant: the name itself if there is one, else without the default tag or
/// with it.
fn named(hallway: &Hallway, name: Option<String>) -> Result<Named, ApiError> {
    let asked = params::model(name)?.to_string();
    let snapshot = hallway.snapshot();
    let known = snapshot
        .candidates
        .iter()
        .map(|candidate| &candidate.model.id);
    let is_here = |name: &str| known.clone().any(|id| id.as_str() == name);
    let with_tag = format!("{asked}{LATEST}");
    let id = match asked.strip_suffix(LATEST) {
        _ if is_here(&asked) => asked.as_str(),
        Some(bare) => bare,
        None if is_here(&with_tag) => with_tag.as_str(),
        None => asked.as_str(),
    };
    let id = ModelId::new(id);
    Ok(Named { asked, id })
}

/// Loads a model, as clients ask for with an empty question.
async fn load(
    app: &App,
    principal: &Principal,
    model: &ModelId,
    constraints: &Constraints,
) -> Result<(), ApiError> {
    let (backend, _permit) = app.hallway.question(principal, model, constraints)?;
    let nothing = Tokenized::Text {
        text: String::new(),
        add_special: false,
        parse_special: false,
    };
    backend.tokenize(model.clone(), nothing).await?;
    Ok(())
}

fn not_found(model: &ModelId) -> ApiError {
    RouteError::ModelNotFound(model.clone()).into()
}

/// A time as RFC 3339 writes it.
fn rfc3339(unix_ms: i64) -> String {
    let (days, ms) = (
        unix_ms.div_euclid(86_400_000),
        unix_ms.rem_euclid(86_400_000),
    );
    let (year, month, day) = civil_date(days);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, ms) = (ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// A JSON answer.
fn json<T: serde::Serialize>(value: &T) -> Response {
    axum::Json(value).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_clients_read_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_709_210_096_789), "2024-02-29T12:34:56.789Z");
    }

    #[test]
    fn only_what_ollama_has_is_told_to_be_absent() {
        assert!(absent(&Method::POST, "/api/create").is_some());
        assert!(absent(&Method::DELETE, "/api/delete").is_some());
        assert!(absent(&Method::HEAD, "/api/blobs/sha256:00").is_some());
        assert!(absent(&Method::GET, "/api/create").is_none());
        assert!(absent(&Method::POST, "/api/nothing").is_none());
    }
}
