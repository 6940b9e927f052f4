//! `_local` documents: never replicated, without history.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kwaainet_core::Principal;
use kwaainet_openapi::CouchEdited;
use kwaainet_storage::{Access, Draft, Mode, Refused, is_checkpoint};
use kwaainet_store::LocalEdit;
use serde_json::{Map, Value};

use super::asked::{self, Asked};
use super::render::quoted;
use super::{bad_request, not_found, open};
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};

/// Bytes of such a document. Checkpoints are far smaller.
const BYTES_MAX: usize = 256 << 10;
const ID_BYTES_MAX: usize = 1_024;
/// Of a checkpoint, which is named by a digest.
const SEALED_ID_BYTES_MAX: usize = 64;

/// Reads such a document.
#[utoipa::path(
    get,
    path = "/couch/{db}/_local/{id}",
    tag = "couchdb",
    operation_id = "couchLocal",
    params(("db" = String, Path, description = "The database's name."), ("id" = String, Path, description = "The document's id.")),
    responses((status = 200, description = "The document.", body = Object))
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
) -> Result<Response, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    let kept = app.storage.documents.local(found.key, &id).await?;
    let (rev, json) = kept.ok_or_else(|| not_found("missing"))?;
    let inner = &json[1..json.len() - 1];
    let comma = if inner.is_empty() { "" } else { "," };
    let id = quoted(&format!("_local/{id}"));
    let said = format!("{{\"_id\":{id},\"_rev\":\"0-{rev}\"{comma}{inner}}}");
    Ok(([(header::CONTENT_TYPE, "application/json")], said).into_response())
}

/// Writes such a document.
#[utoipa::path(
    put,
    path = "/couch/{db}/_local/{id}",
    tag = "couchdb",
    operation_id = "couchPutLocal",
    params(("db" = String, Path, description = "The database's name."), ("id" = String, Path, description = "The document's id.")),
    request_body(content = Object, description = "The document."),
    responses(
        (status = 201, description = "It was written.", body = CouchEdited),
        (status = 409, description = "It is another revision by now.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<CouchEdited>), ApiError> {
    // Who may only read keeps his checkpoints elsewhere; this is a write.
    let found = open(&app, &principal, &db, Access::Write).await?;
    if id.len() > ID_BYTES_MAX {
        return Err(bad_request("Document id is too long"));
    }
    let mut document: Value = asked::json(&app, &headers, body).await?;
    let rev = document.as_object_mut().and_then(|d| d.remove("_rev"));
    let rev = rev.as_ref().and_then(Value::as_str).or(asked.text("rev"));
    let rev = rev.map(local_rev).transpose()?;
    let deleted = document["_deleted"] == Value::Bool(true);
    let draft = Draft::parse(document, &app.storage.limits)?;
    if draft.body.len() > BYTES_MAX || !draft.attachments.is_empty() {
        return Err(bad_request(
            "A local document is small and has no attachments",
        ));
    }
    if found.mode == Mode::E2ee {
        let said: Map<String, Value> = asked::parse(draft.body.as_bytes())?;
        if id.len() > SEALED_ID_BYTES_MAX || !is_checkpoint(&said) {
            return Err(Refused::NotEncrypted.into());
        }
    }
    let said = (!deleted).then_some(draft.body.as_str());
    edit(&app, found.key, id, rev, said)
        .await
        .map(|edited| (StatusCode::CREATED, Json(edited)))
}

/// Deletes such a document.
#[utoipa::path(
    delete,
    path = "/couch/{db}/_local/{id}",
    tag = "couchdb",
    operation_id = "couchDeleteLocal",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
        ("rev" = Option<String>, Query, description = "Its revision now."),
    ),
    responses(
        (status = 200, description = "It is gone.", body = CouchEdited),
        (status = 409, description = "It is another revision by now.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    asked: Asked,
) -> Result<Json<CouchEdited>, ApiError> {
    let found = open(&app, &principal, &db, Access::Write).await?;
    let known = app.storage.documents.local(found.key, &id).await?;
    let (known, _) = known.ok_or_else(|| not_found("missing"))?;
    let rev = asked.text("rev").map(local_rev).transpose()?;
    let edited = edit(&app, found.key, id, rev.or(Some(known)), None);
    edited.await.map(Json)
}

async fn edit(
    app: &App,
    db: i64,
    id: String,
    rev: Option<i64>,
    json: Option<&str>,
) -> Result<CouchEdited, ApiError> {
    let documents = &app.storage.documents;
    let edited = documents.edit_local(db, &id, rev, json, app.storage.quota);
    match edited.await? {
        LocalEdit::Now(rev) => Ok(CouchEdited {
            ok: true,
            id: format!("_local/{id}"),
            rev: format!("0-{rev}"),
        }),
        LocalEdit::Conflict => Err(Refused::Conflict.into()),
        LocalEdit::Full => Err(Refused::Full.into()),
    }
}

/// `0-<n>`.
fn local_rev(text: &str) -> Result<i64, ApiError> {
    let number = text.trim_matches('"').strip_prefix("0-");
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| bad_request("Invalid rev format"))
}
