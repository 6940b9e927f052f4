//! An index is taken back: out of the design document that holds it.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::Principal;
use kwaainet_openapi::CouchOk;
use kwaainet_storage::{Access, Draft, Refused};
use serde_json::{Value, json};

use super::asked;
use super::document::edit;
use super::{not_found, open};
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};

/// Forgets an index.
#[utoipa::path(
    delete,
    path = "/couch/{db}/_index/{ddoc}/json/{name}",
    tag = "couchdb",
    operation_id = "couchDeleteIndex",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("ddoc" = String, Path, description = "The design document that holds it, with or without `_design/`."),
        ("name" = String, Path, description = "Its name."),
    ),
    responses((status = 200, description = "It is forgotten.", body = CouchOk))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, ddoc, name)): ApiPath<(String, String, String)>,
) -> Result<Json<CouchOk>, ApiError> {
    let found = open(&app, &principal, &db, Access::Write).await?;
    let missing = || not_found("index_not_found");
    let ddoc = ddoc.strip_prefix("_design/").unwrap_or(&ddoc);
    let id = format!("_design/{ddoc}");
    let row = app.storage.documents.document(&found, &id).await?;
    let row = row.ok_or_else(missing)?;
    let winner = row.tree.winner().filter(|winner| !winner.deleted);
    let rev = winner.ok_or_else(missing)?.rev.clone();
    let body = row.body.as_ref().ok_or(Refused::Conflict)?;
    let mut document: Value = asked::parse(body.json.as_bytes())?;
    let views = document["views"].as_object_mut().ok_or_else(missing)?;
    views.remove(&name).ok_or_else(missing)?;
    let draft = if views.is_empty() {
        Draft::deletion(id, Some(rev))
    } else {
        document["_id"] = json!(id);
        let stubs = body.attachments.keys();
        let stubs = stubs.map(|name| (name.clone(), json!({"stub": true})));
        document["_attachments"] = Value::Object(stubs.collect());
        let mut draft = Draft::parse(document, &app.storage.limits)?;
        draft.rev = Some(rev);
        draft
    };
    edit(&app, &found, draft, false).await?;
    Ok(Json(CouchOk { ok: true }))
}
