//! Blobs that come in several parts, so that a broken connection costs no more than the part under way. After
//! each part what is here is synced; `offset` says where to go on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::{Extension, Json};
use kwaainet_core::{Principal, random_id};
use kwaainet_openapi::{NewUpload, StorageDeleted, StorageUpload};
use kwaainet_store::{UploadBegun, UploadRecord};

use super::blobs::{keep, not_larger, take};
use super::{disk, full};
use crate::door::body::ApiJson;
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};

/// Where a part begins.
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Begins an upload.
#[utoipa::path(
    post,
    path = "/v1/storage/uploads",
    tag = "storage",
    operation_id = "createStorageUpload",
    request_body = NewUpload,
    responses((status = 201, description = "It may come.", body = StorageUpload))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(asked): ApiJson<NewUpload>,
) -> Result<(StatusCode, Json<StorageUpload>), ApiError> {
    let max = app.storage.blob_bytes_max;
    if !(1..=max).contains(&asked.bytes) {
        let message = format!("Invalid 'bytes': expected 1 to {max}.");
        return Err(ApiError::invalid("bytes", "invalid_value", message));
    }
    let upload = UploadRecord {
        id: format!("upload-{}", random_id()),
        bytes: asked.bytes,
    };
    let file = app.storage.blobs.hold(&upload.id);
    let file = file.ok_or_else(|| ApiError::internal("a random id is new"))?;
    let begun = app.storage.blobs.begin(&file).await;
    begun.map_err(|error| disk(&error))?;
    let now = app.clock.unix_ms();
    let (documents, quota) = (&app.storage.documents, app.storage.quota);
    let begun = documents.begin_upload(principal.id(), &upload, quota, now);
    let begun = begun.await?;
    if begun != UploadBegun::Done {
        app.storage.blobs.remove(&upload.id).await;
    }
    match begun {
        UploadBegun::Done => Ok((StatusCode::CREATED, Json(wire(&upload, 0, None)))),
        UploadBegun::Full => Err(full(&app)),
        UploadBegun::TooMany => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            let message = "You have too many uploads under way; end some first.";
            Err(ApiError::refused(status, Some("too_many_uploads"), message))
        }
    }
}

/// Says how far an upload came.
#[utoipa::path(
    get,
    path = "/v1/storage/uploads/{id}",
    tag = "storage",
    operation_id = "retrieveStorageUpload",
    params(("id" = String, Path, description = "The upload's id.")),
    responses((status = 200, description = "The upload.", body = StorageUpload))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<StorageUpload>, ApiError> {
    let upload = find(&app, &principal, &id).await?;
    let offset = length(&app, &upload).await?;
    Ok(Json(wire(&upload, offset, None)))
}

/// Takes the next part. The last one makes the blob.
#[utoipa::path(
    put,
    path = "/v1/storage/uploads/{id}",
    tag = "storage",
    operation_id = "appendStorageUpload",
    params(
        ("id" = String, Path, description = "The upload's id."),
        ("Upload-Offset" = u64, Header, description = "Where this part begins: where the upload is."),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "The part."),
    responses(
        (status = 200, description = "How far it is now; `hash` if it is whole.", body = StorageUpload),
        (status = 409, description = "The upload is elsewhere, or another part is on its way.", body = kwaainet_openapi::ErrorBody)
    )
)]
pub(crate) async fn append(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<StorageUpload>, ApiError> {
    let upload = find(&app, &principal, &id).await?;
    let begin = headers
        .get(UPLOAD_OFFSET)
        .and_then(|value| value.to_str().ok());
    let begin: Option<u64> = begin.and_then(|begin| begin.parse().ok());
    let begin = begin.ok_or_else(|| {
        let message = "Invalid 'Upload-Offset': expected a whole number.";
        ApiError::invalid("Upload-Offset", "invalid_value", message)
    })?;
    let held = app.storage.blobs.hold(&upload.id).ok_or_else(busy)?;
    let offset = length(&app, &upload).await?;
    if begin != offset {
        return Err(conflict(format!("The upload is at {offset}.")));
    }
    let body = not_larger(&headers, body, upload.bytes - offset).await?;
    let _place = app.storage.blobs.place().await;
    let opened = app.storage.blobs.append(&held).await;
    let file = opened.map_err(|error| disk(&error))?;
    let came = take(file, &headers, body, upload.bytes - offset).await?;
    let offset = offset + came;
    if offset < upload.bytes {
        return Ok(Json(wire(&upload, offset, None)));
    }
    let blob = keep(&app, &principal, held, upload.bytes).await;
    let documents = &app.storage.documents;
    documents.end_upload(principal.id(), &upload.id).await?;
    Ok(Json(wire(&upload, offset, Some(blob?.hash))))
}

/// Gives an upload up.
#[utoipa::path(
    delete,
    path = "/v1/storage/uploads/{id}",
    tag = "storage",
    operation_id = "cancelStorageUpload",
    params(("id" = String, Path, description = "The upload's id.")),
    responses(
        (status = 200, description = "It is gone.", body = StorageDeleted),
        (status = 409, description = "A part of it is on its way.", body = kwaainet_openapi::ErrorBody)
    )
)]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<StorageDeleted>, ApiError> {
    let upload = find(&app, &principal, &id).await?;
    let _held = app.storage.blobs.hold(&upload.id).ok_or_else(busy)?;
    let documents = &app.storage.documents;
    documents.end_upload(principal.id(), &upload.id).await?;
    app.storage.blobs.remove(&upload.id).await;
    Ok(Json(StorageDeleted {
        object: "storage.upload",
        id: upload.id,
        deleted: true,
    }))
}

async fn find(app: &App, principal: &Principal, id: &str) -> Result<UploadRecord, ApiError> {
    let found = app.storage.documents.upload(principal.id(), id).await?;
    found.ok_or_else(missing)
}

/// How far an upload came. One whose file has become a blob just before a crash is over.
async fn length(app: &App, upload: &UploadRecord) -> Result<u64, ApiError> {
    let length = app.storage.blobs.length(&upload.id).await;
    length.map_err(|error| disk(&error))?.ok_or_else(missing)
}

fn busy() -> ApiError {
    conflict("Another part of this upload is on its way.".to_owned())
}

fn conflict(message: String) -> ApiError {
    ApiError::refused(StatusCode::CONFLICT, Some("upload_conflict"), message)
}

fn missing() -> ApiError {
    ApiError::not_found("id", "upload_not_found", "No such upload.")
}

fn wire(upload: &UploadRecord, offset: u64, hash: Option<String>) -> StorageUpload {
    StorageUpload {
        object: "storage.upload",
        id: upload.id.clone(),
        bytes: upload.bytes,
        offset,
        hash,
    }
}
