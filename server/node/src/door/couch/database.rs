//! A database as a whole: made, described, secured, compacted, purged, deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use kwaainet_core::Principal;
use kwaainet_openapi::{CouchDatabase, CouchOk, CouchPurged, CouchSizes};
use kwaainet_storage::{Access, DatabaseName, Rev, Security};
use kwaainet_store::{DatabaseRecord, NewDatabase};

use super::asked::{self, Asked};
use super::{bad_request, open, refused};
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};

/// Documents, and revisions of them, of one purge.
const PURGED_MAX: usize = 10_000;

/// A sequence number as clients see it: with a mark of the database, so that what belongs to an earlier one
/// of the same name is not taken for this one's.
pub(crate) fn seq_of(database: &DatabaseRecord, seq: i64) -> String {
    format!("{seq}-{}", &database.uuid[..8.min(database.uuid.len())])
}

/// The number that a client came to; 0 for one of another database.
pub(crate) fn parse_seq(database: &DatabaseRecord, text: &str) -> Result<i64, ApiError> {
    let text = text.trim_matches('"');
    let (number, mark) = text.split_once('-').unwrap_or((text, ""));
    let number: i64 = number
        .parse()
        .map_err(|_| bad_request("Invalid value for since"))?;
    let is_ours = mark.is_empty() || database.uuid.starts_with(mark);
    Ok(if is_ours { number.max(0) } else { 0 })
}

/// Describes a database.
#[utoipa::path(
    get,
    path = "/couch/{db}",
    tag = "couchdb",
    operation_id = "couchDatabase",
    params(("db" = String, Path, description = "The database's name.")),
    responses((status = 200, description = "The database.", body = CouchDatabase))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
) -> Result<Json<CouchDatabase>, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    let bytes = found.bytes.max(0) as u64;
    Ok(Json(CouchDatabase {
        db_name: found.name.to_string(),
        update_seq: seq_of(&found, found.update_seq),
        purge_seq: found.purge_seq.to_string(),
        doc_count: found.docs,
        doc_del_count: found.deleted_docs,
        sizes: CouchSizes {
            file: bytes,
            external: bytes,
            active: bytes,
        },
        compact_running: false,
        instance_start_time: (found.created_at_ms / 1_000).to_string(),
        disk_format_version: 8,
        mode: found.mode.as_str(),
    }))
}

/// Makes a database, whose owner is the caller.
#[utoipa::path(
    put,
    path = "/couch/{db}",
    tag = "couchdb",
    operation_id = "couchCreateDatabase",
    params(
        ("db" = String, Path, description = "Its name."),
        ("mode" = Option<String>, Query, description = "`e2ee`, `private` (the default) or `public`."),
    ),
    responses(
        (status = 201, description = "It was made.", body = CouchOk),
        (status = 412, description = "There is one of this name.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    asked: Asked,
) -> Result<(StatusCode, Json<CouchOk>), ApiError> {
    let name: Result<DatabaseName, _> = db.parse();
    let name = name.map_err(|bad: kwaainet_storage::BadName| {
        let status = StatusCode::BAD_REQUEST;
        refused(status, "illegal_database_name", bad.to_string())
    })?;
    let mode = asked.text("mode").unwrap_or("private").parse();
    let new = NewDatabase {
        owner: principal.id().clone(),
        name,
        mode: mode.map_err(|()| bad_request("Invalid value for mode"))?,
        created_at_ms: app.clock.unix_ms(),
    };
    if !app.storage.documents.create_database(&new).await? {
        let reason = "The database could not be created, the file already exists.";
        return Err(refused(
            StatusCode::PRECONDITION_FAILED,
            "file_exists",
            reason,
        ));
    }
    Ok((StatusCode::CREATED, Json(CouchOk { ok: true })))
}

/// Deletes a database and all that is in it.
#[utoipa::path(
    delete,
    path = "/couch/{db}",
    tag = "couchdb",
    operation_id = "couchDeleteDatabase",
    params(("db" = String, Path, description = "Its name.")),
    responses((status = 200, description = "It is gone.", body = CouchOk))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    asked: Asked,
) -> Result<Json<CouchOk>, ApiError> {
    // Who forgets a document's id must not lose the database.
    if asked.text("rev").is_some() {
        let reason = "You tried to DELETE a database with a ?=rev parameter. Did you mean to DELETE a document instead?";
        return Err(bad_request(reason));
    }
    let found = open(&app, &principal, &db, Access::Admin).await?;
    app.storage.documents.delete_database(found.key).await?;
    scrub(&app).await?;
    Ok(Json(CouchOk { ok: true }))
}

/// Forgets what all revisions but the current ones say.
#[utoipa::path(
    post,
    path = "/couch/{db}/_compact",
    tag = "couchdb",
    operation_id = "couchCompact",
    params(("db" = String, Path, description = "The database's name.")),
    responses((status = 202, description = "It is done.", body = CouchOk))
)]
pub(crate) async fn compact(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
) -> Result<(StatusCode, Json<CouchOk>), ApiError> {
    let found = open(&app, &principal, &db, Access::Admin).await?;
    app.storage.documents.compact(found.key).await?;
    scrub(&app).await?;
    Ok((StatusCode::ACCEPTED, Json(CouchOk { ok: true })))
}

/// Removes revisions as if they had never been, and overwrites where they lay.
#[utoipa::path(
    post,
    path = "/couch/{db}/_purge",
    tag = "couchdb",
    operation_id = "couchPurge",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = BTreeMap<String, Vec<String>>, description = "Documents, and for each the revisions."),
    responses((status = 201, description = "What was removed.", body = CouchPurged))
)]
pub(crate) async fn purge(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<CouchPurged>), ApiError> {
    let found = open(&app, &principal, &db, Access::Admin).await?;
    let wanted: BTreeMap<String, Vec<Rev>> = asked::json(&app, &headers, body).await?;
    let revisions = wanted.values().map(Vec::len).sum::<usize>();
    if wanted.len().max(revisions) > PURGED_MAX {
        return Err(bad_request("Too many documents to purge at once"));
    }
    let purged = app.storage.documents.purge(found.key, &wanted).await?;
    scrub(&app).await?;
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in wanted.into_keys() {
        let revs = purged.revs.get(&id).into_iter().flatten();
        all.insert(id, revs.map(Rev::to_string).collect());
    }
    Ok((
        StatusCode::CREATED,
        Json(CouchPurged {
            purge_seq: purged.purge_seq.to_string(),
            purged: all,
        }),
    ))
}

/// Says that all writes are on the disk, as they always are once they were answered.
#[utoipa::path(
    post,
    path = "/couch/{db}/_ensure_full_commit",
    tag = "couchdb",
    operation_id = "couchEnsureFullCommit",
    params(("db" = String, Path, description = "The database's name.")),
    responses((status = 201, description = "They are.", body = CouchOk))
)]
pub(crate) async fn full_commit(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
) -> Result<(StatusCode, Json<CouchOk>), ApiError> {
    open(&app, &principal, &db, Access::Write).await?;
    Ok((StatusCode::CREATED, Json(CouchOk { ok: true })))
}

/// Says who may do what. Only admins see it.
#[utoipa::path(
    get,
    path = "/couch/{db}/_security",
    tag = "couchdb",
    operation_id = "couchSecurity",
    params(("db" = String, Path, description = "The database's name.")),
    responses((status = 200, description = "Admins and members.", body = Object))
)]
pub(crate) async fn security(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
) -> Result<Json<Security>, ApiError> {
    let found = open(&app, &principal, &db, Access::Admin).await?;
    Ok(Json(found.security))
}

/// Lets others in: `names` are ids of principals, as `key:<id of an API key>`.
#[utoipa::path(
    put,
    path = "/couch/{db}/_security",
    tag = "couchdb",
    operation_id = "couchSecure",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = Object, description = "Admins and members."),
    responses((status = 200, description = "It holds from now on.", body = CouchOk))
)]
pub(crate) async fn secure(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CouchOk>, ApiError> {
    let found = open(&app, &principal, &db, Access::Admin).await?;
    let security: Security = asked::json(&app, &headers, body).await?;
    if !security.is_bounded() {
        return Err(bad_request("_security names too many"));
    }
    app.storage.documents.secure(found.key, &security).await?;
    Ok(Json(CouchOk { ok: true }))
}

/// Overwrites where something lay that is gone. What a slow reader keeps is overwritten by a later one.
pub(crate) async fn scrub(app: &App) -> Result<(), ApiError> {
    if !app.storage.documents.scrub().await? {
        tracing::warn!(
            "readers keep what was erased in the write-ahead log; a later erasure overwrites it"
        );
    }
    Ok(())
}
