//! The replication protocol of Apache CouchDB, which PouchDB speaks too (CouchDB 3's HTTP API). Document
//! databases live under `/couch/{db}`; each principal has names of his own.
//!
//! What is decided about documents is decided in `kwaainet-storage` and kept by `kwaainet-store`; here are
//! the protocol's paths, parameters and words. Errors are `{"error": …, "reason": …}` (`dialect`).

mod asked;
mod attachments;
mod bulk;
mod changes;
mod copy;
mod database;
mod document;
mod find;
mod indexes;
mod listing;
mod locals;
mod parts;
mod reading;
mod render;
mod replicate;
mod server;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use kwaainet_core::Principal;
use kwaainet_openapi::CouchError;
use kwaainet_storage::{Access, BadDocument, BadSelector, Refused};
use kwaainet_store::{DatabaseRecord, WriteError};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::membership::{self, Denied};
use super::{ApiError, App, recorded};
pub(crate) use changes::event_stream;
pub(crate) use database::{scrub, seq_of};
pub(crate) use document::etag;
pub(crate) use reading::whole_document;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(server::welcome))
        .routes(routes!(server::all_dbs))
        .routes(routes!(replicate::replicate))
        .routes(routes!(
            database::show,
            database::create,
            database::delete,
            document::post
        ))
        .routes(routes!(database::compact))
        .routes(routes!(database::purge))
        .routes(routes!(database::full_commit))
        .routes(routes!(database::security, database::secure))
        .routes(routes!(listing::all_docs, listing::all_docs_of_keys))
        .routes(routes!(listing::design_docs))
        .routes(routes!(bulk::write))
        .routes(routes!(bulk::read))
        .routes(routes!(bulk::revs_diff))
        .routes(routes!(bulk::missing_revs))
        .routes(routes!(changes::get, changes::post))
        .routes(routes!(find::find))
        .routes(routes!(find::explain))
        .routes(routes!(find::indexes, find::make_index))
        .routes(routes!(indexes::delete))
        .routes(routes!(locals::get, locals::put, locals::delete))
        .routes(routes!(
            document::get_design,
            document::put_design,
            document::delete_design
        ))
        .routes(routes!(
            attachments::get_of_design,
            attachments::put_of_design,
            attachments::delete_of_design
        ))
        .routes(routes!(document::get, document::put, document::delete))
        .routes(routes!(copy::copy))
        .routes(routes!(
            attachments::get,
            attachments::put,
            attachments::delete
        ))
}

/// The same for what the node does by itself, as somebody who is not there: no key is asked for. The audit log has it
/// all the same.
pub(crate) fn inside(app: Arc<App>, principal: Principal) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .layer(from_fn_with_state(Arc::clone(&app), recorded::record))
        .layer(Extension(principal))
        .with_state(app)
}

/// Finds a database, refuses who may not do that much with it as a whole, and opens what is sealed in it. Whoever may
/// do nothing does not learn that it is there.
pub(super) async fn open(
    app: &App,
    principal: &Principal,
    name: &str,
    needed: Access,
) -> Result<DatabaseRecord, ApiError> {
    let found = membership::open(app, principal, name, needed).await;
    found.map_err(denied)
}

/// The same for one document, which somebody may have leave for alone.
pub(super) async fn open_document(
    app: &App,
    principal: &Principal,
    document: (&str, &str),
    needed: Access,
) -> Result<DatabaseRecord, ApiError> {
    let found = membership::open_document(app, principal, document, needed).await;
    found.map_err(denied)
}

/// A database without opening it.
pub(super) async fn find_database(
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
        Denied::Missing => not_found("Database does not exist."),
        Denied::Forbidden => {
            let reason = "You are not allowed to access this db.";
            refused(StatusCode::FORBIDDEN, "forbidden", reason)
        }
        Denied::Sealed(error) => error,
        Denied::Store(error) => error.into(),
    }
}

/// An error in CouchDB's words.
pub(super) fn refused(
    status: StatusCode,
    error: &'static str,
    reason: impl Into<String>,
) -> ApiError {
    ApiError::refused(status, Some(error), reason)
}

pub(super) fn not_found(reason: &str) -> ApiError {
    refused(StatusCode::NOT_FOUND, "not_found", reason)
}

pub(super) fn bad_request(reason: impl Into<String>) -> ApiError {
    refused(StatusCode::BAD_REQUEST, "bad_request", reason)
}

/// The words for an edit that was not taken: status, error, reason.
fn words(refusal: &Refused) -> (StatusCode, &'static str, String) {
    let (status, error) = match refusal {
        Refused::Conflict => (StatusCode::CONFLICT, "conflict"),
        Refused::MissingStub(_) => (StatusCode::PRECONDITION_FAILED, "missing_stub"),
        Refused::NotEncrypted => (StatusCode::FORBIDDEN, "forbidden"),
        Refused::NoRev => (StatusCode::BAD_REQUEST, "bad_request"),
        Refused::Full => (StatusCode::PAYLOAD_TOO_LARGE, "quota_exceeded"),
    };
    (status, error, refusal.to_string())
}

impl From<Refused> for ApiError {
    fn from(refusal: Refused) -> Self {
        let (status, error, reason) = words(&refusal);
        refused(status, error, reason)
    }
}

impl From<BadDocument> for ApiError {
    fn from(bad: BadDocument) -> Self {
        let (status, error) = words_of_bad(&bad);
        refused(status, error, bad.to_string())
    }
}

fn words_of_bad(bad: &BadDocument) -> (StatusCode, &'static str) {
    match bad {
        BadDocument::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "document_too_large"),
        BadDocument::Special(_) => (StatusCode::BAD_REQUEST, "doc_validation"),
        BadDocument::Id(_) => (StatusCode::BAD_REQUEST, "illegal_docid"),
        _ => (StatusCode::BAD_REQUEST, "bad_request"),
    }
}

impl From<BadSelector> for ApiError {
    fn from(bad: BadSelector) -> Self {
        refused(StatusCode::BAD_REQUEST, "invalid_selector", bad.to_string())
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NoDatabase => not_found("Database does not exist."),
            // It was opened before it was sealed; who asks again opens it anew.
            WriteError::Locked => {
                let reason = "The database is being encrypted. Try again.";
                refused(StatusCode::CONFLICT, "conflict", reason)
            }
            WriteError::Failed => Self::internal(error.to_string()),
        }
    }
}

/// What CouchDB would say.
pub(super) fn error_body(error: &ApiError) -> CouchError {
    let said = error.body().error;
    let code = said.code.as_deref().unwrap_or("bad_request");
    let error = match code {
        "invalid_api_key" => "unauthorized",
        "insufficient_permissions" | "foreign_origin" | "database_sealed" => "forbidden",
        "request_too_large" => "too_large",
        "unknown_url" => "not_found",
        "method_not_supported" => "method_not_allowed",
        "unsupported_content_type" => "bad_content_type",
        "invalid_value" | "invalid_type" => "bad_request",
        "internal_error" => "internal_server_error",
        "overloaded" => "service_unavailable",
        other => other,
    };
    CouchError {
        error: error.to_owned(),
        reason: said.message,
    }
}
