//! Documents: their ETag is their revision, and who writes says with `If-Match` what he has seen.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_core::Principal;
use kwaainet_openapi::{StorageDocumentList, StorageRevision};
use kwaainet_storage::{Access, Draft, Refused, Rev};
use kwaainet_store::{DatabaseRecord, IdRange};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{malformed, open, open_document, refused};
use crate::door::body::ApiJson;
use crate::door::couch;
use crate::door::path::{ApiPath, ApiQuery};
use crate::door::{ApiError, App};

const PAGE_MAX: u64 = 1_000;

/// Which page of documents.
#[derive(Debug, Deserialize)]
pub(crate) struct Pages {
    after: Option<String>,
    limit: Option<u64>,
}

/// Lists documents.
#[utoipa::path(
    get,
    path = "/v1/storage/databases/{db}/docs",
    tag = "storage",
    operation_id = "listStorageDocuments",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("after" = Option<String>, Query, description = "Go on after this document."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1_000, description = "At most so many; 1,000 if not given."),
    ),
    responses((status = 200, description = "A page of documents.", body = StorageDocumentList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    ApiQuery(asked): ApiQuery<Pages>,
) -> Result<Json<StorageDocumentList>, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    let limit = asked.limit.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&limit) {
        let message = format!("Invalid 'limit': expected 1 to {PAGE_MAX}.");
        return Err(ApiError::invalid("limit", "invalid_value", message));
    }
    let range = IdRange {
        without_first: asked.after.is_some(),
        first: asked.after,
        ..IdRange::default()
    };
    let documents = &app.storage.documents;
    let mut rows = documents
        .in_range(&found, &range, limit + 1, 0, false)
        .await?;
    let has_more = rows.len() as u64 > limit;
    rows.truncate(limit as usize);
    let data = rows.into_iter().filter_map(|row| {
        let rev = row.tree.winner()?.rev.to_string();
        Some(StorageRevision { id: row.id, rev })
    });
    Ok(Json(StorageDocumentList {
        object: "list",
        data: data.collect(),
        has_more,
    }))
}

/// Shows a document.
#[utoipa::path(
    get,
    path = "/v1/storage/databases/{db}/docs/{id}",
    tag = "storage",
    operation_id = "retrieveStorageDocument",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
    ),
    responses(
        (status = 200, description = "What it says; its revision is the ETag.", body = Object),
        (status = 304, description = "It is what `If-None-Match` names.")
    )
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let found = open_document(&app, &principal, (&db, &id), Access::Read).await?;
    let row = app.storage.documents.document(&found, &id).await?;
    let current = row.as_ref().and_then(|row| {
        let winner = row.tree.winner().filter(|winner| !winner.deleted)?;
        Some((&winner.rev, row.body.as_ref()?))
    });
    let (rev, body) = current.ok_or_else(missing)?;
    let etag = couch::etag(rev);
    if headers.get(header::IF_NONE_MATCH) == Some(&etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let kind = HeaderValue::from_static("application/json");
    let headers = [(header::CONTENT_TYPE, kind), (header::ETAG, etag)];
    Ok((headers, body.json.clone()).into_response())
}

/// Writes a document. Without `If-Match` it must not be there.
#[utoipa::path(
    put,
    path = "/v1/storage/databases/{db}/docs/{id}",
    tag = "storage",
    operation_id = "writeStorageDocument",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
        ("If-Match" = Option<String>, Header, description = "The ETag of what is to be replaced; what hangs on it stays."),
    ),
    request_body(content = Object, description = "What it is to say. Members that begin with `_` are refused."),
    responses(
        (status = 201, description = "It was written.", body = StorageRevision),
        (status = 412, description = "It is another revision by now, or it is there.", body = kwaainet_openapi::ErrorBody)
    )
)]
pub(crate) async fn write(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    headers: HeaderMap,
    ApiJson(mut said): ApiJson<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let found = open_document(&app, &principal, (&db, &id), Access::Write).await?;
    if let Some(name) = said.keys().find(|name| name.starts_with('_')) {
        let message = format!("Invalid '{name}': names that begin with '_' cannot be used here.");
        return Err(ApiError::invalid(name.clone(), "invalid_value", message));
    }
    let rev = seen(&headers)?;
    said.insert("_id".to_owned(), Value::from(id.as_str()));
    if let Some(attachments) = what_hangs(&app, &found, &id, rev.as_ref()).await? {
        said.insert("_attachments".to_owned(), attachments);
    }
    let draft = Draft::parse(Value::Object(said), &app.storage.limits);
    let mut draft = draft.map_err(|bad| malformed(&bad))?;
    if kwaainet_storage::is_local(&draft.id) {
        let message = "Invalid 'id': it is one of the protocol's.";
        return Err(ApiError::invalid("id", "invalid_value", message));
    }
    draft.rev = rev;
    edit(&app, &found, draft, StatusCode::CREATED).await
}

/// Deletes a document. Other copies hear of it; what it said stays in its history until it is compacted or
/// erased.
#[utoipa::path(
    delete,
    path = "/v1/storage/databases/{db}/docs/{id}",
    tag = "storage",
    operation_id = "deleteStorageDocument",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
        ("If-Match" = String, Header, description = "The ETag of what is to be deleted."),
    ),
    responses(
        (status = 200, description = "It is deleted.", body = StorageRevision),
        (status = 412, description = "It is another revision by now.", body = kwaainet_openapi::ErrorBody)
    )
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let found = open_document(&app, &principal, (&db, &id), Access::Write).await?;
    let rev = seen(&headers)?.ok_or_else(|| ApiError::missing("If-Match"))?;
    let row = app.storage.documents.document(&found, &id).await?;
    let winner = row.as_ref().and_then(|row| row.tree.winner());
    if winner.is_none_or(|winner| winner.deleted) {
        return Err(missing());
    }
    edit(&app, &found, Draft::deletion(id, Some(rev)), StatusCode::OK).await
}

/// The revision that the caller has seen.
fn seen(headers: &HeaderMap) -> Result<Option<Rev>, ApiError> {
    let text = headers
        .get(header::IF_MATCH)
        .map(|value| value.to_str().unwrap_or(""));
    let parse = |text: &str| {
        let rev = text.trim().trim_matches('"').parse();
        rev.map_err(|_| {
            ApiError::invalid(
                "If-Match",
                "invalid_value",
                "Invalid 'If-Match': expected an ETag.",
            )
        })
    };
    text.map(parse).transpose()
}

/// Stubs of what hangs on a revision.
async fn what_hangs(
    app: &App,
    database: &DatabaseRecord,
    id: &str,
    rev: Option<&Rev>,
) -> Result<Option<Value>, ApiError> {
    let Some(rev) = rev else { return Ok(None) };
    let row = app.storage.documents.document(database, id).await?;
    let found = row.and_then(|row| Some((row.tree.find(rev)?.body?, row)));
    let Some((body, row)) = found else {
        return Err(refused(&Refused::Conflict));
    };
    let documents = &app.storage.documents;
    let mut bodies = documents.bodies(database, &row, &[body]).await?;
    let names = bodies.remove(&body).map(|body| body.attachments);
    let names: Vec<String> = names.unwrap_or_default().into_keys().collect();
    let stub = |name| (name, serde_json::json!({"stub": true}));
    let stubs: Map<_, _> = names.into_iter().map(stub).collect();
    Ok((!stubs.is_empty()).then_some(Value::Object(stubs)))
}

async fn edit(
    app: &App,
    database: &DatabaseRecord,
    draft: Draft,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let documents = &app.storage.documents;
    let written = documents.write(database, vec![draft], false, app.storage.quota);
    let written = written.await?.into_iter().next();
    let took = written.ok_or_else(|| ApiError::internal("one draft has one answer"))?;
    let took = took.map_err(|refusal| refused(&refusal))?;
    let took = took.ok_or_else(|| ApiError::internal("an edit is never known already"))?;
    let etag = couch::etag(&took.rev);
    let said = StorageRevision {
        id: took.id,
        rev: took.rev.to_string(),
    };
    Ok((status, [(header::ETAG, etag)], Json(said)).into_response())
}

fn missing() -> ApiError {
    ApiError::not_found("id", "document_not_found", "No such document.")
}
