//! Leave to use a database for a while and for a purpose: given, listed, taken back. It holds from the next request
//! on, and so does its end (`membership`).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use kwaainet_core::{Principal, random_id};
use kwaainet_openapi::{
    NewStorageGrant, StorageDeleted, StorageGrant, StorageGrantAccess, StorageGrantList,
};
use kwaainet_storage::{Access, Grant, check_document_id};

use super::open;
use crate::door::body::ApiJson;
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};

const WHO_BYTES_MAX: usize = 256;
const PURPOSE_BYTES_MAX: usize = 1_024;
const DOCUMENTS_MAX: usize = 1_000;
/// No leave is longer.
const LONGEST_MS: i64 = 10 * 366 * 24 * 3_600 * 1_000;

/// Lists the leave that a database has given and that is not over.
#[utoipa::path(
    get,
    path = "/v1/storage/databases/{db}/grants",
    tag = "storage",
    operation_id = "listStorageGrants",
    params(("db" = String, Path, description = "The database's name.")),
    responses((status = 200, description = "The grants.", body = StorageGrantList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
) -> Result<Json<StorageGrantList>, ApiError> {
    let found = open(&app, &principal, &db, Access::Admin).await?;
    let now = app.clock.unix_ms();
    let grants = app.storage.documents.grants(found.key, now).await?;
    Ok(Json(StorageGrantList {
        object: "list",
        data: grants.into_iter().map(wire).collect(),
    }))
}

/// Gives somebody leave to read or edit documents, for a purpose and until a time.
#[utoipa::path(
    post,
    path = "/v1/storage/databases/{db}/grants",
    tag = "storage",
    operation_id = "createStorageGrant",
    params(("db" = String, Path, description = "The database's name.")),
    request_body = NewStorageGrant,
    responses((status = 201, description = "It holds from now on.", body = StorageGrant))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    ApiJson(asked): ApiJson<NewStorageGrant>,
) -> Result<(StatusCode, Json<StorageGrant>), ApiError> {
    let found = open(&app, &principal, &db, Access::Admin).await?;
    let now = app.clock.unix_ms();
    let grant = grant(&app, asked, now).await?;
    if !app.storage.documents.grant(found.key, &grant).await? {
        let message = "The database has given leave to too many; take some back first.";
        let status = StatusCode::TOO_MANY_REQUESTS;
        return Err(ApiError::refused(status, Some("too_many_grants"), message));
    }
    let both = (&app.store, &app.storage.documents);
    let keyring = &app.storage.keyring;
    keyring.share(both, &found, &grant.grantee).await?;
    Ok((StatusCode::CREATED, Json(wire(grant))))
}

/// Takes leave back, at once. What was read by then was read.
#[utoipa::path(
    delete,
    path = "/v1/storage/databases/{db}/grants/{id}",
    tag = "storage",
    operation_id = "revokeStorageGrant",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "Which."),
    ),
    responses((status = 200, description = "It is nothing any more.", body = StorageDeleted))
)]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
) -> Result<Json<StorageDeleted>, ApiError> {
    let found = open(&app, &principal, &db, Access::Admin).await?;
    if !app.storage.documents.revoke_grant(found.key, &id).await? {
        return Err(ApiError::not_found(
            "id",
            "grant_not_found",
            "No such grant.",
        ));
    }
    Ok(Json(StorageDeleted {
        object: "storage.grant",
        id,
        deleted: true,
    }))
}

async fn grant(app: &App, asked: NewStorageGrant, now_ms: i64) -> Result<Grant, ApiError> {
    let wrong = |field: &str, what: &str| {
        let message = format!("Invalid '{field}': expected {what}.");
        ApiError::invalid(field, "invalid_value", message)
    };
    if !(1..=WHO_BYTES_MAX).contains(&asked.to.len()) {
        return Err(wrong("to", "a principal or a DID"));
    }
    if !(1..=PURPOSE_BYTES_MAX).contains(&asked.purpose.len()) {
        return Err(wrong("purpose", "1 to 1024 bytes of text"));
    }
    let expires_at_ms = asked.expires_at.saturating_mul(1_000);
    if expires_at_ms <= now_ms || expires_at_ms - now_ms > LONGEST_MS {
        return Err(wrong("expires_at", "a time to come, within ten years"));
    }
    let documents = asked.documents.map(|ids| {
        let count = ids.len();
        let ids: BTreeSet<String> = ids.into_iter().collect();
        let sound = (1..=DOCUMENTS_MAX).contains(&count)
            && ids.iter().all(|id| check_document_id(id).is_ok());
        let refused = || wrong("documents", "1 to 1000 ids of documents");
        sound.then_some(ids).ok_or_else(refused)
    });
    // Whoever has several DIDs comes as the first of them.
    let account = match asked.to.starts_with("did:") {
        true => app.store.account(&asked.to, now_ms).await?,
        false => None,
    };
    Ok(Grant {
        id: format!("grant-{}", random_id()),
        grantee: account.map_or(asked.to, |account| account.did),
        access: match asked.access {
            StorageGrantAccess::Read => Access::Read,
            StorageGrantAccess::Write => Access::Write,
        },
        purpose: asked.purpose,
        documents: documents.transpose()?,
        created_at_ms: now_ms,
        expires_at_ms,
    })
}

fn wire(grant: Grant) -> StorageGrant {
    StorageGrant {
        object: "storage.grant",
        id: grant.id,
        to: grant.grantee,
        access: match grant.access {
            Access::Write | Access::Admin => StorageGrantAccess::Write,
            Access::Read | Access::Nothing => StorageGrantAccess::Read,
        },
        purpose: grant.purpose,
        documents: grant.documents.map(|ids| ids.into_iter().collect()),
        created_at: grant.created_at_ms / 1_000,
        expires_at: grant.expires_at_ms / 1_000,
    }
}
