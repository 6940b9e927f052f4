//! Erasing: here at once, and at every replica until it has acknowledged.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use kwaainet_core::{Principal, random_id};
use kwaainet_openapi::{EraseRequest, Erased, ErasedReplica, ErasedReplicaState};
use kwaainet_storage::Access;
use kwaainet_store::{DatabaseRecord, ErasureRecord, ErasureReplica, NewErasure};

use super::open;
use crate::door::body::ApiJson;
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};
use crate::identity::locked;
use crate::replication::secrets;

/// Documents that one request erases, and bytes of their ids, since replicas are told all in one request.
const ERASED_MAX: usize = 10_000;
const IDS_BYTES_MAX: usize = 1 << 20;
const NAME_BYTES_MAX: usize = 64;

/// Erases documents as if they had never been: all their revisions, and what hangs on them, here and in the file
/// where they lay. No replication brings them back. Databases at other nodes to which this one was pushed are asked
/// to do the same until they say that they have.
#[utoipa::path(
    post,
    path = "/v1/storage/databases/{db}/erase",
    tag = "storage",
    operation_id = "eraseStorageDocuments",
    params(("db" = String, Path, description = "The database's name.")),
    request_body = EraseRequest,
    responses(
        (status = 200, description = "They are gone here; this is who has to follow.", body = Erased),
        (status = 409, description = "An erasure of another database has this id.", body = kwaainet_openapi::ErrorBody)
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    ApiJson(asked): ApiJson<EraseRequest>,
) -> Result<Json<Erased>, ApiError> {
    let found = open(&app, &principal, &db, Access::Admin).await?;
    let bytes = asked.ids.iter().map(String::len).sum::<usize>();
    if !(1..=ERASED_MAX).contains(&asked.ids.len()) || bytes > IDS_BYTES_MAX {
        let message =
            format!("Invalid 'ids': expected 1 to {ERASED_MAX} ids of at most 1 MiB together.");
        return Err(ApiError::invalid("ids", "invalid_value", message));
    }
    let id = match asked.erasure {
        Some(id) if is_name(&id) => id,
        Some(_) => {
            let message = "Invalid 'erasure': expected letters, digits and '-', at most 64.";
            return Err(ApiError::invalid("erasure", "invalid_value", message));
        }
        None => format!("erasure-{}", random_id()),
    };
    let sealed = match secrets(&app) {
        Ok(secrets) => {
            let ids = serde_json::to_vec(&asked.ids).expect("texts are JSON");
            Some(secrets.seal(&id, &ids))
        }
        // Replicas cannot be told without it.
        Err(_) if has_copies(&app, &found).await? => return Err(locked()),
        Err(_) => None,
    };
    let documents = &app.storage.documents;
    let new = NewErasure {
        id,
        ids: asked.ids,
        sealed,
        now_ms: app.clock.unix_ms(),
    };
    if !documents.erase(&found, &new).await? {
        let message = "An erasure of another database has this id.";
        let code = Some("erasure_exists");
        return Err(ApiError::refused(StatusCode::CONFLICT, code, message));
    }
    if documents.scrub().await? {
        documents.overwritten(&new.id).await?;
    }
    app.bells.erasures.ring();
    let erased = documents.erasure(&found.owner, &new.id).await?;
    let erased = erased.ok_or_else(|| ApiError::internal("an erasure stays for a while"))?;
    Ok(Json(wire(erased)))
}

/// Shows an erasure of the caller's, and which replicas have followed.
#[utoipa::path(
    get,
    path = "/v1/storage/erasures/{id}",
    tag = "storage",
    operation_id = "retrieveStorageErasure",
    params(("id" = String, Path, description = "Which.")),
    responses((status = 200, description = "How far it is.", body = Erased))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Erased>, ApiError> {
    let found = app.storage.documents.erasure(principal.id(), &id).await?;
    let missing = || ApiError::not_found("id", "erasure_not_found", "No such erasure.");
    found.map(wire).map(Json).ok_or_else(missing)
}

async fn has_copies(app: &App, database: &DatabaseRecord) -> Result<bool, ApiError> {
    let documents = &app.storage.documents;
    let all = documents.replications(&database.owner).await?;
    Ok(all.iter().any(|one| one.db == database.key && one.has_copy))
}

fn is_name(id: &str) -> bool {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_sound)
}

fn wire(record: ErasureRecord) -> Erased {
    Erased {
        object: "storage.erasure",
        id: record.id,
        database: record.name,
        documents: record.documents,
        revisions: record.revisions,
        overwritten: record.overwritten,
        complete: record.completed_at_ms.is_some(),
        replicas: record.replicas.into_iter().map(replica).collect(),
        created_at: record.created_at_ms / 1_000,
        completed_at: record.completed_at_ms.map(|at| at / 1_000),
    }
}

fn replica(record: ErasureReplica) -> ErasedReplica {
    ErasedReplica {
        url: record.url,
        state: match record.acknowledged_at_ms {
            Some(_) => ErasedReplicaState::Acknowledged,
            None => ErasedReplicaState::Pending,
        },
        tries: record.tries,
        asked_at: record.asked_at_ms.map(|at| at / 1_000),
        acknowledged_at: record.acknowledged_at_ms.map(|at| at / 1_000),
        last_error: record.last_error,
    }
}
