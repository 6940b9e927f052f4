//! Replications that the node drives: asked for, looked at, ended. Only by the owner of the database.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use kwaainet_core::{Principal, random_id};
use kwaainet_identity::{FetchError, client_to};
use kwaainet_openapi::{
    NewStorageReplication, StorageDeleted, StorageDirection, StorageReplicated, StorageReplication,
    StorageReplicationList,
};
use kwaainet_storage::Access;
use kwaainet_store::{
    DatabaseRecord, Direction, NewReplication, ReplicationRecord, ReplicationSecrets,
    ReplicationState, Sealed, Way, WayRecord,
};
use reqwest::Url;

use super::open;
use crate::door::body::ApiJson;
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};
use crate::replication::{Authorization, erase_url, may_reach_local, opening, secrets};

const URL_BYTES_MAX: usize = 2_048;
const TOKEN_BYTES_MAX: usize = 8_192;
/// To look whether a place may be asked at all.
const LOOK_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Lists the caller's replications.
#[utoipa::path(
    get,
    path = "/v1/storage/replications",
    tag = "storage",
    operation_id = "listStorageReplications",
    responses((status = 200, description = "The replications.", body = StorageReplicationList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<StorageReplicationList>, ApiError> {
    let documents = &app.storage.documents;
    let found = documents.replications(principal.id()).await?;
    Ok(Json(StorageReplicationList {
        object: "list",
        data: found.iter().map(wire).collect(),
    }))
}

/// Replicates a database of the caller's with one at another node of his. Asked for again between the same two, it
/// takes the place of what was asked for before, and goes on where that was.
#[utoipa::path(
    post,
    path = "/v1/storage/replications",
    tag = "storage",
    operation_id = "createStorageReplication",
    request_body = NewStorageReplication,
    responses((status = 201, description = "It begins.", body = StorageReplication))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(asked): ApiJson<NewStorageReplication>,
) -> Result<(StatusCode, Json<StorageReplication>), ApiError> {
    let found = open(&app, &principal, &asked.database, Access::Admin).await?;
    owned(&principal, &found)?;
    let bearer = Authorization::bearer(asked.token.trim());
    let fits = (1..=TOKEN_BYTES_MAX).contains(&asked.token.trim().len());
    let authorization = bearer.filter(|_| fits).ok_or_else(|| {
        let message = "Invalid 'token': expected a key of the other node's.";
        ApiError::invalid("token", "invalid_value", message)
    })?;
    let place = place(&app, &principal, &asked.url).await?;
    let terms = Terms {
        direction: match asked.direction {
            StorageDirection::Push => Direction::Push,
            StorageDirection::Pull => Direction::Pull,
            StorageDirection::Both => Direction::Both,
        },
        live: asked.live.unwrap_or(false),
        state: ReplicationState::Pending,
    };
    let kept = keep(&app, &principal, &found, (&place, &authorization), terms).await?;
    app.bells.replications.ring();
    Ok((StatusCode::CREATED, Json(wire(&kept))))
}

/// Shows a replication.
#[utoipa::path(
    get,
    path = "/v1/storage/replications/{id}",
    tag = "storage",
    operation_id = "retrieveStorageReplication",
    params(("id" = String, Path, description = "Which.")),
    responses((status = 200, description = "How far it is.", body = StorageReplication))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<StorageReplication>, ApiError> {
    let found = app.storage.documents.replication(&id).await?;
    let found = found.filter(|found| found.owner == *principal.id());
    found.as_ref().map(wire).map(Json).ok_or_else(missing)
}

/// Ends a replication. What was copied stays where it is, and is not erased there any more when it is erased here.
#[utoipa::path(
    delete,
    path = "/v1/storage/replications/{id}",
    tag = "storage",
    operation_id = "deleteStorageReplication",
    params(("id" = String, Path, description = "Which.")),
    responses((status = 200, description = "It is ended, and its token is gone.", body = StorageDeleted))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<StorageDeleted>, ApiError> {
    let documents = &app.storage.documents;
    if !documents.forget_replication(principal.id(), &id).await? {
        return Err(missing());
    }
    app.bells.replications.ring();
    Ok(Json(StorageDeleted {
        object: "storage.replication",
        id,
        deleted: true,
    }))
}

/// Only the owner replicates a database, and by himself.
///
/// # Errors
/// When the caller is not that.
pub(crate) fn owned(principal: &Principal, found: &DatabaseRecord) -> Result<(), ApiError> {
    if principal.is_delegated() {
        let message = "A capability cannot leave a replication behind that outlives it.";
        return Err(ApiError::forbidden(message));
    }
    if found.owner != *principal.id() {
        return Err(ApiError::forbidden("Only its owner replicates a database."));
    }
    Ok(())
}

/// Where a database is at another node: checked, and in one form.
pub(crate) async fn place(app: &App, principal: &Principal, url: &str) -> Result<String, ApiError> {
    let wrong = || {
        let message = "Invalid 'url': expected the database at another node, as 'https://host/couch/notes'; \
                       'http' only within your own network.";
        ApiError::invalid("url", "invalid_value", message)
    };
    let parsed: Option<Url> = url.trim_end_matches('/').parse().ok();
    let parsed = parsed.filter(|parsed| {
        let is_plain = parsed.username().is_empty() && parsed.password().is_none();
        let is_bare = parsed.query().is_none() && parsed.fragment().is_none();
        is_plain && is_bare && url.len() <= URL_BYTES_MAX && erase_url(parsed).is_some()
    });
    let parsed = parsed.ok_or_else(wrong)?;
    let local = may_reach_local(app, principal.id());
    match client_to(&parsed, local, LOOK_MAX).await {
        // Who is not there now may be later.
        Ok(_) | Err(FetchError::Unreachable(_)) => Ok(parsed.to_string()),
        Err(FetchError::Address) => Err(ApiError::forbidden(
            "This address is in the node's own network, where only its owner may replicate; he can allow it with \
             'storage.local_replicas'.",
        )),
        Err(_) => Err(wrong()),
    }
}

/// What a replication is to do.
pub(crate) struct Terms {
    /// Which way.
    pub(crate) direction: Direction,
    /// Whether it goes on for ever.
    pub(crate) live: bool,
    /// Whether the node is to drive it, or who asks does.
    pub(crate) state: ReplicationState,
}

/// Keeps a replication; what is shown there is sealed.
pub(crate) async fn keep(
    app: &App,
    principal: &Principal,
    database: &DatabaseRecord,
    (url, authorization): (&str, &Authorization),
    terms: Terms,
) -> Result<ReplicationRecord, ApiError> {
    let secrets = secrets(app)?;
    let new = NewReplication {
        id: format!("replication-{}", random_id()),
        db: database.key,
        owner: principal.id().clone(),
        key: principal.key().cloned(),
        url: url.to_owned(),
        direction: terms.direction,
        live: terms.live,
        state: terms.state,
        now_ms: app.clock.unix_ms(),
    };
    let opens = principal.sharing_secret();
    let opens = opens.filter(|_| database.sealed != Sealed::Not);
    let seal = |id: &str| ReplicationSecrets {
        secret: secrets.seal(id, authorization.bytes()),
        opens: opens.map(|opens| secrets.seal(&opening(id), opens.bytes())),
    };
    let kept = app.storage.documents.keep_replication(&new, seal).await?;
    kept.ok_or_else(|| {
        let message = "You, or this node, have too many replications; end some first.";
        let status = StatusCode::TOO_MANY_REQUESTS;
        ApiError::refused(status, Some("too_many_replications"), message)
    })
}

fn missing() -> ApiError {
    ApiError::not_found("id", "replication_not_found", "No such replication.")
}

fn wire(record: &ReplicationRecord) -> StorageReplication {
    let goes = |way| record.direction.ways().contains(&way);
    StorageReplication {
        object: "storage.replication",
        id: record.id.clone(),
        database: record.name.clone(),
        url: record.url.clone(),
        direction: match record.direction {
            Direction::Push => StorageDirection::Push,
            Direction::Pull => StorageDirection::Pull,
            Direction::Both => StorageDirection::Both,
        },
        live: record.live,
        state: record.state.as_str(),
        push: goes(Way::Push).then(|| came(&record.push)),
        pull: goes(Way::Pull).then(|| came(&record.pull)),
        last_error: record.last_error.clone(),
        created_at: record.created_at_ms / 1_000,
        updated_at: record.updated_at_ms / 1_000,
    }
}

fn came(way: &WayRecord) -> StorageReplicated {
    StorageReplicated {
        since: way.since.clone(),
        docs_read: way.read,
        docs_written: way.written,
        doc_write_failures: way.refused,
    }
}
