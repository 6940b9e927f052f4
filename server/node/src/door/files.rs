//! `/v1/files`. Bytes go from the socket to the disk and back, piece by piece.

mod upload;

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream;
use kwaainet_core::{Principal, PrincipalId};
use kwaainet_openapi::{Deleted, FileList, FileObject, FileUpload, ListOrder};
use kwaainet_store::FileRecord;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::paging::{ListQuery, PageLimits, page_of};
use super::path::{ApiPath, ApiQuery};
use super::{ApiError, App};

pub(crate) use upload::check_expiry;

/// OpenAI's limits of this list.
const PAGE: PageLimits = PageLimits {
    max: 10_000,
    default: 10_000,
};
/// Files of one principal.
const FILES_MAX: u64 = 10_000;
/// Bytes of a file that are read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Stores a file.
#[utoipa::path(
    post,
    path = "/v1/files",
    tag = "files",
    operation_id = "createFile",
    request_body(content = FileUpload, content_type = "multipart/form-data"),
    responses((status = 200, description = "The file.", body = FileObject))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Json<FileObject>, ApiError> {
    let (head, body) = request.into_parts();
    let file = upload::receive(&app, principal.id(), &head.headers, body).await?;
    Ok(Json(wire(&file)))
}

/// Lists files.
#[utoipa::path(
    get,
    path = "/v1/files",
    tag = "files",
    operation_id = "listFiles",
    params(
        ("after" = Option<String>, Query, description = "Go on after this file."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10_000, description = "At most so many; 10,000 if not given."),
        ("order" = inline(Option<ListOrder>), Query, description = "`desc` (newest first, the default) or `asc`."),
        ("purpose" = Option<String>, Query, description = "Only files for this."),
    ),
    responses((status = 200, description = "A page of files.", body = FileList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<FileList>, ApiError> {
    let (purpose, page) = (query.purpose.as_deref(), query.page(PAGE)?);
    let listed = app.store.files(principal.id(), purpose, &page).await?;
    Ok(Json(page_of!(FileList, query.found(listed)?, wire)))
}

/// Shows a file.
#[utoipa::path(
    get,
    path = "/v1/files/{file_id}",
    tag = "files",
    operation_id = "retrieveFile",
    params(("file_id" = String, Path, description = "The file's id.")),
    responses((status = 200, description = "The file.", body = FileObject))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<FileObject>, ApiError> {
    Ok(Json(wire(&find(&app, principal.id(), &id, "id").await?)))
}

/// Deletes a file, also out of all vector stores.
#[utoipa::path(
    delete,
    path = "/v1/files/{file_id}",
    tag = "files",
    operation_id = "deleteFile",
    params(("file_id" = String, Path, description = "The file's id.")),
    responses((status = 200, description = "It is gone.", body = Deleted))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Deleted>, ApiError> {
    if !app.store.delete_file(principal.id(), &id).await? {
        return Err(missing(&id, "id"));
    }
    app.vault.remove(&id).await;
    Ok(Json(Deleted {
        id,
        object: "file",
        deleted: true,
    }))
}

/// Gives a file's bytes.
#[utoipa::path(
    get,
    path = "/v1/files/{file_id}/content",
    tag = "files",
    operation_id = "downloadFile",
    params(("file_id" = String, Path, description = "The file's id.")),
    responses((status = 200, description = "The bytes, as they came.", body = String,
        content_type = "application/octet-stream"))
)]
pub(crate) async fn content(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Response, ApiError> {
    let file = find(&app, principal.id(), &id, "id").await?;
    let opened = app.vault.open(&file.id).await;
    let opened = opened.map_err(|error| disk(&error))?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (header::CONTENT_LENGTH, HeaderValue::from(file.bytes)),
        // A browser saves it and never shows it as a page of this node.
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment"),
        ),
        (
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ),
    ];
    Ok((headers, pieces(opened)).into_response())
}

fn pieces(file: File) -> Body {
    Body::from_stream(stream::try_unfold(file, async |mut file| {
        let mut piece = vec![0; PIECE_BYTES];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, io::Error>((read > 0).then(|| (Bytes::from(piece), file)))
    }))
}

/// The principal's file; `param` is the field that names it.
pub(crate) async fn find(
    app: &App,
    principal: &PrincipalId,
    id: &str,
    param: &'static str,
) -> Result<FileRecord, ApiError> {
    let found = app.store.file(principal, id).await?;
    found.ok_or_else(|| missing(id, param))
}

/// Refuses who has no room for more; `param` is the field that asks for more.
pub(crate) async fn require_room(
    app: &App,
    principal: &PrincipalId,
    param: &str,
) -> Result<(), ApiError> {
    let max = app.vault.limits().principal_bytes;
    if app.store.bytes_of(principal).await? < max {
        return Ok(());
    }
    Err(full(param, max))
}

/// More than the principal may leave here.
fn full(param: &str, max: u64) -> ApiError {
    let message = format!(
        "Your files and vector stores would have more than {max} bytes, or you more than {FILES_MAX} \
         files; delete some first."
    );
    ApiError::invalid(param, "storage_limit_exceeded", message)
}

pub(crate) fn missing(id: &str, param: &str) -> ApiError {
    ApiError::not_found(
        param,
        "file_not_found",
        format!("No such File object: {id}"),
    )
}

/// The disk failed; our log says how.
fn disk(error: &io::Error) -> ApiError {
    ApiError::internal(format!("the folder of files failed: {error}"))
}

fn wire(file: &FileRecord) -> FileObject {
    FileObject {
        id: file.id.clone(),
        object: "file",
        bytes: file.bytes,
        created_at: file.created_at_ms / 1_000,
        expires_at: file.expires_at_ms.map(|ms| ms / 1_000),
        filename: file.filename.clone(),
        purpose: file.purpose.clone(),
        status: "processed",
        status_details: None,
    }
}
