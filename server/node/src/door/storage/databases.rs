//! Databases: made, listed, watched, exported, erased, deleted.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream;
use kwaainet_core::Principal;
use kwaainet_openapi::{
    NewStorageDatabase, StorageDatabase, StorageDatabaseList, StorageDeleted, StorageMode,
    StorageUsage,
};
use kwaainet_storage::{Access, Mode};
use kwaainet_store::{DatabaseRecord, IdRange, NewDatabase};
use serde::Deserialize;

use super::{find_database, mode, open};
use crate::door::body::ApiJson;
use crate::door::couch::{self, seq_of};
use crate::door::path::{ApiPath, ApiQuery};
use crate::door::recorded::Noted;
use crate::door::{ApiError, App};

/// Documents that are read from the file at once.
const PAGE: u64 = 100;

/// Lists the caller's databases, those that he is a member of, and those that he has leave for.
#[utoipa::path(
    get,
    path = "/v1/storage/databases",
    tag = "storage",
    operation_id = "listStorageDatabases",
    responses((status = 200, description = "The databases.", body = StorageDatabaseList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<StorageDatabaseList>, ApiError> {
    let documents = &app.storage.documents;
    let mut found = documents.databases(principal.id()).await?;
    let now = app.clock.unix_ms();
    found.extend(documents.granted_databases(principal.id(), now).await?);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(StorageDatabaseList {
        object: "list",
        data: found.iter().map(wire).collect(),
    }))
}

/// Makes a database.
#[utoipa::path(
    post,
    path = "/v1/storage/databases",
    tag = "storage",
    operation_id = "createStorageDatabase",
    request_body = NewStorageDatabase,
    responses(
        (status = 201, description = "It was made.", body = StorageDatabase),
        (status = 409, description = "There is one of this name.", body = kwaainet_openapi::ErrorBody)
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(asked): ApiJson<NewStorageDatabase>,
) -> Result<(StatusCode, Extension<Noted>, Json<StorageDatabase>), ApiError> {
    let name = asked.name.parse();
    let new = NewDatabase {
        owner: principal.id().clone(),
        name: name.map_err(|bad: kwaainet_storage::BadName| {
            ApiError::invalid("name", "invalid_value", bad.to_string())
        })?,
        mode: match asked.mode {
            Some(StorageMode::E2ee) => Mode::E2ee,
            Some(StorageMode::Public) => Mode::Public,
            Some(StorageMode::Private) | None => Mode::Private,
        },
        created_at_ms: app.clock.unix_ms(),
        wrap: None,
    };
    let new = app.storage.keyring.seal_new(&principal, new)?;
    if !app.storage.documents.create_database(&new).await? {
        let message = "You have a database of this name, or too many databases.";
        let code = Some("database_exists");
        return Err(ApiError::refused(StatusCode::CONFLICT, code, message));
    }
    let found = open(&app, &principal, new.name.as_str(), Access::Admin).await?;
    let noted = Extension(Noted::default().on(found.name.as_str()));
    Ok((StatusCode::CREATED, noted, Json(wire(&found))))
}

/// Shows a database.
#[utoipa::path(
    get,
    path = "/v1/storage/databases/{db}",
    tag = "storage",
    operation_id = "retrieveStorageDatabase",
    params(("db" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The database.", body = StorageDatabase))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
) -> Result<Json<StorageDatabase>, ApiError> {
    Ok(Json(wire(
        &open(&app, &principal, &db, Access::Read).await?,
    )))
}

/// Deletes a database and all that is in it, and overwrites where it lay.
#[utoipa::path(
    delete,
    path = "/v1/storage/databases/{db}",
    tag = "storage",
    operation_id = "deleteStorageDatabase",
    params(("db" = String, Path, description = "Its name.")),
    responses((status = 200, description = "It is gone.", body = StorageDeleted))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
) -> Result<Json<StorageDeleted>, ApiError> {
    let found = find_database(&app, &principal, &db, Access::Admin).await?;
    app.storage.documents.delete_database(found.key).await?;
    couch::scrub(&app).await?;
    Ok(Json(StorageDeleted {
        object: "storage.database",
        id: db,
        deleted: true,
    }))
}

/// Where a stream of changes begins.
#[derive(Debug, Deserialize)]
pub(crate) struct Since {
    since: Option<String>,
}

/// Tells each change as a server-sent event, without end; its id is where to go on.
#[utoipa::path(
    get,
    path = "/v1/storage/databases/{db}/changes",
    tag = "storage",
    operation_id = "streamStorageChanges",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("since" = Option<String>, Query, description = "What comes after this; all if not given, `now` for what comes from now on."),
        ("Last-Event-ID" = Option<String>, Header, description = "The same, as browsers say it when they come again."),
    ),
    responses((status = 200, description = "The changes.", body = String, content_type = "text/event-stream"))
)]
pub(crate) async fn changes(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    ApiQuery(asked): ApiQuery<Since>,
    headers: axum::http::HeaderMap,
) -> Result<Response, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    let last = headers.get("last-event-id");
    let last = last.and_then(|last| last.to_str().ok()).map(str::to_owned);
    couch::event_stream(app, &principal, found, last.or(asked.since).as_deref())
}

/// Gives every document with its attachments, one in a line.
#[utoipa::path(
    get,
    path = "/v1/storage/databases/{db}/export",
    tag = "storage",
    operation_id = "exportStorageDatabase",
    params(("db" = String, Path, description = "The database's name.")),
    responses((status = 200, description = "The documents.", body = String, content_type = "application/x-ndjson"))
)]
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
) -> Result<Response, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    let begin = Some((app, found, IdRange::default()));
    let body = stream::try_unfold(begin, |state| async {
        let Some((app, found, mut range)) = state else {
            return Ok::<_, io::Error>(None);
        };
        let page = page_of_export(&app, &found, &mut range).await;
        let page = page.map_err(|error| {
            error.record();
            io::Error::other("the documents cannot be read")
        })?;
        Ok(page.map(|page| (page, Some((app, found, range)))))
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response())
}

async fn page_of_export(
    app: &App,
    found: &DatabaseRecord,
    range: &mut IdRange,
) -> Result<Option<Bytes>, ApiError> {
    let rows = app
        .storage
        .documents
        .in_range(found, range, PAGE, 0, true)
        .await?;
    let Some(last) = rows.last() else {
        return Ok(None);
    };
    range.first = Some(last.id.clone());
    range.without_first = true;
    let mut lines = String::new();
    for row in &rows {
        if let Some(document) = couch::whole_document(app, found, row).await? {
            lines.push_str(&document);
            lines.push('\n');
        }
    }
    Ok(Some(lines.into()))
}

/// Says how much the caller keeps here.
#[utoipa::path(
    get,
    path = "/v1/storage/usage",
    tag = "storage",
    operation_id = "retrieveStorageUsage",
    responses((status = 200, description = "Bytes, and bytes times seconds.", body = StorageUsage))
)]
pub(crate) async fn usage(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<StorageUsage>, ApiError> {
    let documents = &app.storage.documents;
    let meter = documents.meter_of(principal.id()).await?;
    Ok(Json(StorageUsage {
        object: "storage.usage",
        bytes: documents.held(principal.id()).await?,
        bytes_max: app.storage.quota,
        byte_seconds: meter.as_ref().map_or(0, |meter| meter.byte_seconds),
        metered_at: meter.map(|meter| meter.metered_at_ms / 1_000),
    }))
}

fn wire(found: &DatabaseRecord) -> StorageDatabase {
    StorageDatabase {
        object: "storage.database",
        name: found.name.to_string(),
        owner: found.owner.as_str().to_owned(),
        mode: mode(found.mode),
        encrypted: found.is_encrypted(),
        created_at: found.created_at_ms / 1_000,
        documents: found.docs,
        deleted: found.deleted_docs,
        bytes: found.bytes,
        last_seq: seq_of(found, found.update_seq),
    }
}
