//! Blobs under their BLAKE3: whole, in ranges, and as proof that they are here.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream;
use http_body_util::BodyExt;
use kwaainet_core::{Principal, random_id};
use kwaainet_openapi::{StorageBlob, StorageBlobList, StorageDeleted, StorageProof};
use kwaainet_store::BlobRecord;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::{disk, full};
use crate::blobs;
use crate::door::body::{PIECE_MAX, too_large, too_slow};
use crate::door::path::{ApiPath, ApiQuery};
use crate::door::range::{self, Wanted};
use crate::door::{ApiError, App, body};

const PAGE_MAX: u32 = 1_000;
/// Bytes that are read from the disk at once.
const PIECE: usize = 64 << 10;
const HASH_DIGITS: usize = 64;

/// Which page of blobs.
#[derive(Debug, Deserialize)]
pub(crate) struct Pages {
    after: Option<String>,
    limit: Option<u32>,
}

/// Lists the caller's blobs.
#[utoipa::path(
    get,
    path = "/v1/storage/blobs",
    tag = "storage",
    operation_id = "listStorageBlobs",
    params(
        ("after" = Option<String>, Query, description = "Go on after this hash."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1_000, description = "At most so many; 1,000 if not given."),
    ),
    responses((status = 200, description = "A page of blobs.", body = StorageBlobList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(asked): ApiQuery<Pages>,
) -> Result<Json<StorageBlobList>, ApiError> {
    let limit = asked.limit.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&limit) {
        let message = format!("Invalid 'limit': expected 1 to {PAGE_MAX}.");
        return Err(ApiError::invalid("limit", "invalid_value", message));
    }
    let after = asked.after.as_deref().unwrap_or("");
    let found = app
        .storage
        .documents
        .blobs(principal.id(), after, limit + 1);
    let mut found = found.await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    Ok(Json(StorageBlobList {
        object: "list",
        data: found.iter().map(wire).collect(),
        has_more,
    }))
}

/// Keeps a blob.
#[utoipa::path(
    post,
    path = "/v1/storage/blobs",
    tag = "storage",
    operation_id = "createStorageBlob",
    request_body(content = String, content_type = "application/octet-stream", description = "Its bytes."),
    responses((status = 201, description = "It is kept.", body = StorageBlob))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<StorageBlob>), ApiError> {
    let max = app.storage.blob_bytes_max;
    let body = not_larger(&headers, body, max).await?;
    let _place = app.storage.blobs.place().await;
    let name = format!("new-{}", random_id());
    let held = app.storage.blobs.hold(&name);
    let held = held.ok_or_else(|| ApiError::internal("a random id is new"))?;
    let begun = app.storage.blobs.begin(&held).await;
    begun.map_err(|error| disk(&error))?;
    let opened = app.storage.blobs.append(&held).await;
    let file = opened.map_err(|error| disk(&error))?;
    let bytes = match take(file, &headers, body, max).await {
        Ok(bytes) => bytes,
        Err(error) => {
            app.storage.blobs.remove(&name).await;
            return Err(error);
        }
    };
    let blob = keep(&app, &principal, held, bytes).await?;
    Ok((StatusCode::CREATED, Json(wire(&blob))))
}

/// The same body, unless it says of itself that it is larger: then nothing of it is written.
pub(super) async fn not_larger(
    headers: &HeaderMap,
    body: Body,
    max: u64,
) -> Result<Body, ApiError> {
    match body::declared(headers) {
        Some(declared) if declared as u64 > max => Err(too_large(headers, body, larger(max)).await),
        _ => Ok(body),
    }
}

/// Appends a body to a file, at most so many bytes, and syncs it; how many came.
pub(super) async fn take(
    mut file: File,
    headers: &HeaderMap,
    mut body: Body,
    max: u64,
) -> Result<u64, ApiError> {
    let mut bytes = 0;
    let ended = loop {
        let frame = match tokio::time::timeout(PIECE_MAX, body.frame()).await {
            Err(_) => break Err(too_slow()),
            Ok(None) => break Ok(()),
            Ok(Some(Err(_))) => {
                let message = "the request body ended early";
                break Err(ApiError::bad_request(None, message));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if bytes + data.len() as u64 > max {
            return Err(too_large(headers, body, larger(max)).await);
        }
        let written = blobs::write(&mut file, data).await;
        written.map_err(|error| disk(&error))?;
        bytes += data.len() as u64;
    };
    // What came before a broken end is kept, so that an upload can go on there.
    blobs::settle(file).await.map_err(|error| disk(&error))?;
    ended.map(|()| bytes)
}

/// Makes a blob of a whole file and notes whose it is.
pub(super) async fn keep(
    app: &App,
    principal: &Principal,
    held: blobs::Held,
    bytes: u64,
) -> Result<BlobRecord, ApiError> {
    let hash = app.storage.blobs.hash(&held).await;
    let hash = hash.map_err(|error| disk(&error))?.to_hex().to_string();
    let _settling = app.storage.blobs.settling().await;
    let adopted = app.storage.blobs.adopt(held, &hash).await;
    adopted.map_err(|error| disk(&error))?;
    let blob = BlobRecord {
        hash,
        bytes,
        created_at_ms: app.clock.unix_ms(),
    };
    let documents = &app.storage.documents;
    let held = documents.hold_blob(principal.id(), &blob, app.storage.quota);
    if !held.await? {
        // Nobody else may have brought the same bytes.
        if !documents.blob_is_held(&blob.hash).await? {
            app.storage.blobs.remove(&blob.hash).await;
        }
        return Err(full(app));
    }
    Ok(blob)
}

/// Gives a blob's bytes.
#[utoipa::path(
    get,
    path = "/v1/storage/blobs/{hash}",
    tag = "storage",
    operation_id = "downloadStorageBlob",
    params(
        ("hash" = String, Path, description = "Its BLAKE3 in hexadecimal digits."),
        ("Range" = Option<String>, Header, description = "One range of bytes."),
    ),
    responses(
        (status = 200, description = "The bytes.", body = String, content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for.", body = String, content_type = "application/octet-stream"),
        (status = 416, description = "It has no such range.", body = kwaainet_openapi::ErrorBody)
    )
)]
pub(crate) async fn content(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(hash): ApiPath<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let blob = find(&app, &principal, &hash).await?;
    let (status, range) = match range::wanted(&headers, blob.bytes) {
        Wanted::All => (StatusCode::OK, 0..blob.bytes),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Nothing => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let message = "The blob has no such range.";
            return Err(ApiError::refused(status, Some("invalid_range"), message));
        }
    };
    let file = app.storage.blobs.open(&blob.hash, range.start).await;
    let file = file.map_err(|error| disk(&error))?;
    let count = range.end - range.start;
    let begin = (file.take(count), count);
    let body = stream::try_unfold(begin, async |(mut file, left)| {
        if left == 0 {
            return Ok::<_, io::Error>(None);
        }
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        if read == 0 {
            return Err(io::Error::other("the blob's file is too short"));
        }
        piece.truncate(read);
        Ok(Some((Bytes::from(piece), (file, left - read as u64))))
    });
    let mut response = Body::from_stream(body).into_response();
    *response.status_mut() = status;
    let said = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    said.insert(header::CONTENT_TYPE, octets);
    said.insert(header::CONTENT_LENGTH, HeaderValue::from(count));
    said.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let disposition = HeaderValue::from_static("attachment");
    said.insert(header::CONTENT_DISPOSITION, disposition);
    let nosniff = HeaderName::from_static("x-content-type-options");
    said.insert(nosniff, HeaderValue::from_static("nosniff"));
    if status == StatusCode::PARTIAL_CONTENT {
        said.insert(header::CONTENT_RANGE, range::said(&range, blob.bytes));
    }
    Ok(response)
}

/// Deletes a blob. Its bytes go when nobody has it any more.
#[utoipa::path(
    delete,
    path = "/v1/storage/blobs/{hash}",
    tag = "storage",
    operation_id = "deleteStorageBlob",
    params(("hash" = String, Path, description = "Its BLAKE3 in hexadecimal digits.")),
    responses((status = 200, description = "It is gone.", body = StorageDeleted))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(hash): ApiPath<String>,
) -> Result<Json<StorageDeleted>, ApiError> {
    let blob = find(&app, &principal, &hash).await?;
    let documents = &app.storage.documents;
    let _settling = app.storage.blobs.settling().await;
    if documents.release_blob(principal.id(), &blob.hash).await? == Some(true) {
        app.storage.blobs.remove(&blob.hash).await;
    }
    Ok(Json(StorageDeleted {
        object: "storage.blob",
        id: blob.hash,
        deleted: true,
    }))
}

/// Which slice is to be proved.
#[derive(Debug, Deserialize)]
pub(crate) struct Slice {
    offset: u64,
}

/// Proves that a blob is here: a slice that the caller chooses, with the hashes that lead to the blob's. It
/// shows that the bytes are here now, not that there is more than one copy.
#[utoipa::path(
    get,
    path = "/v1/storage/blobs/{hash}/proof",
    tag = "storage",
    operation_id = "proveStorageBlob",
    params(
        ("hash" = String, Path, description = "The blob's BLAKE3 in hexadecimal digits."),
        ("offset" = u64, Query, description = "A byte of the slice; choose it at random."),
    ),
    responses((status = 200, description = "The proof.", body = StorageProof))
)]
pub(crate) async fn prove(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(hash): ApiPath<String>,
    ApiQuery(slice): ApiQuery<Slice>,
) -> Result<Json<StorageProof>, ApiError> {
    let blob = find(&app, &principal, &hash).await?;
    if slice.offset >= blob.bytes.max(1) {
        let message = "Invalid 'offset': the blob has no such byte.";
        return Err(ApiError::invalid("offset", "invalid_value", message));
    }
    let _place = app.storage.blobs.place().await;
    let proof = app
        .storage
        .blobs
        .prove(&blob.hash, blob.bytes, slice.offset);
    let proof = proof.await.map_err(|error| disk(&error))?;
    let hex = |value: &[u8; 32]| data_encoding::HEXLOWER.encode(value);
    Ok(Json(StorageProof {
        object: "storage.proof",
        hash: blob.hash,
        bytes: blob.bytes,
        offset: proof.offset,
        slice: data_encoding::BASE64.encode(&proof.slice),
        siblings: proof.siblings.iter().map(hex).collect(),
    }))
}

async fn find(app: &App, principal: &Principal, hash: &str) -> Result<BlobRecord, ApiError> {
    let missing = || ApiError::not_found("hash", "blob_not_found", "No such blob.");
    let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hash {
        return Err(missing());
    }
    let found = app.storage.documents.blob(principal.id(), hash).await?;
    found.ok_or_else(missing)
}

fn larger(max: u64) -> String {
    format!("the blob is larger than {max} bytes")
}

fn wire(blob: &BlobRecord) -> StorageBlob {
    StorageBlob {
        object: "storage.blob",
        hash: blob.hash.clone(),
        bytes: blob.bytes,
        created_at: blob.created_at_ms / 1_000,
    }
}
