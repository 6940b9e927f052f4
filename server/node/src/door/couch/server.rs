//! What is said of the node, and which databases it has.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::Principal;
use kwaainet_openapi::{CouchVendor, CouchWelcome};

use crate::door::{ApiError, App};

/// The release of CouchDB whose HTTP API this is.
const COUCHDB: &str = "3.4.0";

/// Says who is here.
#[utoipa::path(
    get,
    path = "/couch",
    tag = "couchdb",
    operation_id = "couchWelcome",
    responses((status = 200, description = "What this is.", body = CouchWelcome))
)]
pub(crate) async fn welcome(State(app): State<Arc<App>>) -> Json<CouchWelcome> {
    Json(CouchWelcome {
        couchdb: "Welcome",
        version: COUCHDB,
        uuid: app.storage.documents.uuid().to_owned(),
        vendor: CouchVendor { name: "KwaaiNet" },
    })
}

/// Lists the caller's databases, those that he is a member of, and those that he has leave for.
#[utoipa::path(
    get,
    path = "/couch/_all_dbs",
    tag = "couchdb",
    operation_id = "couchAllDbs",
    responses((status = 200, description = "Their names, each once.", body = Vec<String>))
)]
pub(crate) async fn all_dbs(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Vec<String>>, ApiError> {
    let documents = &app.storage.documents;
    let mut found = documents.databases(principal.id()).await?;
    let now = app.clock.unix_ms();
    found.extend(documents.granted_databases(principal.id(), now).await?);
    let mut names: Vec<_> = found.iter().map(|found| found.name.to_string()).collect();
    names.sort_unstable();
    names.dedup();
    Ok(Json(names))
}
