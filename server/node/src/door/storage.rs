//! Storage in plain JSON: the same databases as under `/couch`, with ETags in place of a protocol of
//! revisions, and blobs under their hashes. Errors are this API's own.

pub(crate) mod blobs;
pub(crate) mod databases;
pub(crate) mod documents;
pub(crate) mod erasures;
pub(crate) mod grants;
pub(crate) mod replications;
pub(crate) mod uploads;

use std::sync::Arc;

use axum::http::StatusCode;
use kwaainet_core::Principal;
use kwaainet_openapi::StorageMode;
use kwaainet_storage::{Access, BadDocument, Mode, Refused};
use kwaainet_store::DatabaseRecord;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::membership::{self, Denied};
use super::{ApiError, App};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(databases::list, databases::create))
        .routes(routes!(databases::show, databases::delete))
        .routes(routes!(databases::changes))
        .routes(routes!(databases::export))
        .routes(routes!(erasures::create))
        .routes(routes!(erasures::show))
        .routes(routes!(grants::list, grants::create))
        .routes(routes!(grants::revoke))
        .routes(routes!(replications::list, replications::create))
        .routes(routes!(replications::show, replications::delete))
        .routes(routes!(databases::usage))
        .routes(routes!(documents::list))
        .routes(routes!(
            documents::show,
            documents::write,
            documents::delete
        ))
        .routes(routes!(blobs::list, blobs::create))
        .routes(routes!(blobs::content, blobs::delete))
        .routes(routes!(blobs::prove))
        .routes(routes!(uploads::create))
        .routes(routes!(uploads::show, uploads::append, uploads::cancel))
}

/// Finds a database, refuses who may not do that much with it as a whole, and opens what is sealed in it.
async fn open(
    app: &App,
    principal: &Principal,
    name: &str,
    needed: Access,
) -> Result<DatabaseRecord, ApiError> {
    let found = membership::open(app, principal, name, needed).await;
    found.map_err(denied)
}

/// The same for one document, which somebody may have leave for alone.
async fn open_document(
    app: &App,
    principal: &Principal,
    document: (&str, &str),
    needed: Access,
) -> Result<DatabaseRecord, ApiError> {
    let found = membership::open_document(app, principal, document, needed).await;
    found.map_err(denied)
}

/// A database without opening it.
async fn find_database(
    app: &App,
    principal: &Principal,
    name: &str,
    needed: Access,
) -> Result<DatabaseRecord, ApiError> {
    let found = membership::database(app, principal, name, needed).await;
    found.map_err(denied)
}

fn denied(denied: Denied) -> ApiError {
    match denied {
        Denied::Missing => ApiError::not_found("db", "database_not_found", "No such database."),
        Denied::Forbidden => ApiError::forbidden("You may not do this with the database."),
        Denied::Sealed(error) => error,
        Denied::Store(error) => error.into(),
    }
}

fn mode(mode: Mode) -> StorageMode {
    match mode {
        Mode::E2ee => StorageMode::E2ee,
        Mode::Private => StorageMode::Private,
        Mode::Public => StorageMode::Public,
    }
}

/// An edit that was not taken.
fn refused(refusal: &Refused) -> ApiError {
    let message = refusal.to_string();
    let (status, code) = match refusal {
        Refused::Conflict => (StatusCode::PRECONDITION_FAILED, "revision_mismatch"),
        Refused::MissingStub(_) | Refused::NoRev => (StatusCode::BAD_REQUEST, "invalid_value"),
        Refused::NotEncrypted => (StatusCode::FORBIDDEN, "not_encrypted"),
        Refused::Full => (StatusCode::PAYLOAD_TOO_LARGE, "storage_limit_exceeded"),
    };
    ApiError::refused(status, Some(code), message)
}

/// What is no document.
fn malformed(bad: &BadDocument) -> ApiError {
    let status = match bad {
        BadDocument::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    ApiError::refused(status, Some("invalid_document"), bad.to_string())
}

/// The disk failed; our log says how.
fn disk(error: &std::io::Error) -> ApiError {
    ApiError::internal(format!("the folder of blobs failed: {error}"))
}

/// More than the principal may leave here.
fn full(app: &App) -> ApiError {
    let max = app.storage.quota;
    let message = format!("Your databases and blobs would have more than {max} bytes.");
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    ApiError::refused(status, Some("storage_limit_exceeded"), message)
}
