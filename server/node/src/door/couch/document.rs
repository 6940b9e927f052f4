//! One document: read, written, deleted. Design documents are documents with a slash in their ids.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_core::{Principal, random_id};
use kwaainet_openapi::CouchEdited;
use kwaainet_storage::{Access, Draft, Multipart, Refused, Rev, boundary_of};
use kwaainet_store::{DatabaseRecord, DocumentRow};
use serde_json::Value;

use super::asked::{self, Asked};
use super::render::Extras;
use super::{bad_request, not_found, open, reading};
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};

/// Revisions that one request asks for.
const OPEN_REVS_MAX: usize = 1_000;
/// And bytes of what they say.
const OPEN_REVS_BYTES_MAX: usize = 128 << 20;

/// Reads a document.
#[utoipa::path(
    get,
    path = "/couch/{db}/{id}",
    tag = "couchdb",
    operation_id = "couchDocument",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
        ("rev" = Option<String>, Query, description = "This revision rather than the winner."),
        ("revs" = Option<bool>, Query, description = "With the names of its ancestors."),
        ("revs_info" = Option<bool>, Query, description = "With what is known of them."),
        ("conflicts" = Option<bool>, Query, description = "With the other leaves."),
        ("open_revs" = Option<String>, Query, description = "Several leaves: `all`, or an array of revisions."),
        ("latest" = Option<bool>, Query, description = "What followed on the revisions that are named."),
        ("attachments" = Option<bool>, Query, description = "With what hangs on it."),
    ),
    responses(
        (status = 200, description = "The document, or an array for `open_revs`.", body = Object),
        (status = 304, description = "It is what `If-None-Match` names.")
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    read(&app, &principal, (&db, &id), &asked, &headers).await
}

/// Reads a design document.
#[utoipa::path(
    get,
    path = "/couch/{db}/_design/{id}",
    tag = "couchdb",
    operation_id = "couchDesignDocument",
    params(("db" = String, Path, description = "The database's name."), ("id" = String, Path, description = "The id behind `_design/`.")),
    responses((status = 200, description = "The document.", body = Object))
)]
pub(crate) async fn get_design(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = format!("_design/{id}");
    read(&app, &principal, (&db, &id), &asked, &headers).await
}

async fn read(
    app: &App,
    principal: &Principal,
    (db, id): (&str, &str),
    asked: &Asked,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let found = open(app, principal, db, Access::Read).await?;
    let row = app.storage.documents.document(found.key, id).await?;
    let row = row.ok_or_else(|| not_found("missing"))?;
    let extras = Extras::asked(asked)?;
    if let Some(wanted) = asked.text("open_revs") {
        return open_revs(app, &found, &row, wanted, asked, extras).await;
    }
    let latest = asked.is_set("latest")?;
    let node = match asked.rev("rev")? {
        Some(rev) => reading::named(&row, &rev, latest).into_iter().next(),
        None => {
            let winner = row.tree.winner();
            if winner.is_some_and(|winner| winner.deleted) {
                return Err(not_found("deleted"));
            }
            winner
        }
    };
    let node = node.ok_or_else(|| not_found("missing"))?;
    let etag = etag(&node.rev);
    if extras == Extras::default() && headers.get(header::IF_NONE_MATCH) == Some(&etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let said = reading::revision(app, found.key, &row, node, extras).await?;
    let said = said.ok_or_else(|| not_found("missing"))?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind), (header::ETAG, etag)], said).into_response())
}

/// `[{"ok": …}, {"missing": …}]`.
async fn open_revs(
    app: &App,
    found: &DatabaseRecord,
    row: &DocumentRow,
    wanted: &str,
    asked: &Asked,
    extras: Extras,
) -> Result<Response, ApiError> {
    let latest = asked.is_set("latest")?;
    let revs: Vec<Rev> = if wanted == "all" {
        let leaves = row.tree.leaves().into_iter();
        leaves.map(|leaf| leaf.rev.clone()).collect()
    } else {
        asked.json(&["open_revs"])?.unwrap_or_default()
    };
    if revs.len() > OPEN_REVS_MAX {
        return Err(bad_request("Too many open_revs"));
    }
    let (mut said, mut bytes) = (Vec::new(), 0);
    for rev in revs {
        let nodes = reading::named(row, &rev, latest);
        let mut is_here = false;
        for node in nodes {
            if let Some(document) = reading::revision(app, found.key, row, node, extras).await? {
                is_here = true;
                bytes += document.len();
                if bytes > OPEN_REVS_BYTES_MAX {
                    return Err(bad_request("These open_revs are too large for one answer"));
                }
                said.push(format!("{{\"ok\":{document}}}"));
            }
        }
        if !is_here {
            said.push(format!("{{\"missing\":\"{rev}\"}}"));
        }
    }
    let said = format!("[{}]", said.join(","));
    Ok(([(header::CONTENT_TYPE, "application/json")], said).into_response())
}

/// Writes a document.
#[utoipa::path(
    put,
    path = "/couch/{db}/{id}",
    tag = "couchdb",
    operation_id = "couchPutDocument",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
        ("rev" = Option<String>, Query, description = "What it follows on, if its `_rev` does not say so."),
        ("new_edits" = Option<bool>, Query, description = "`false`: it was made elsewhere and keeps its revision."),
    ),
    request_body(content = Object, description = "The document; as `multipart/related`, with attachments in parts of their own."),
    responses(
        (status = 201, description = "It was written.", body = CouchEdited),
        (status = 409, description = "It does not follow on what is current.", body = kwaainet_openapi::CouchError),
        (status = 412, description = "An attachment that it keeps is not there.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    write(&app, &principal, (&db, id), &asked, &headers, body).await
}

/// Writes a design document.
#[utoipa::path(
    put,
    path = "/couch/{db}/_design/{id}",
    tag = "couchdb",
    operation_id = "couchPutDesignDocument",
    params(("db" = String, Path, description = "The database's name."), ("id" = String, Path, description = "The id behind `_design/`.")),
    request_body(content = Object, description = "The document."),
    responses(
        (status = 201, description = "It was written.", body = CouchEdited),
        (status = 409, description = "It does not follow on what is current.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn put_design(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let id = format!("_design/{id}");
    write(&app, &principal, (&db, id), &asked, &headers, body).await
}

async fn write(
    app: &App,
    principal: &Principal,
    (db, id): (&str, String),
    asked: &Asked,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let found = open(app, principal, db, Access::Write).await?;
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let held = asked::held(app, headers, body).await?;
    let mut draft = match boundary_of(kind) {
        Some(boundary) => {
            let mut parts = Multipart::new(&held.bytes, boundary);
            let first = parts.next().ok_or_else(|| bad_request("no parts"))?;
            let mut draft = Draft::parse(asked::parse(first.body)?, &app.storage.limits)?;
            draft.attach(&mut parts, &app.storage.limits)?;
            draft
        }
        None => Draft::parse(asked::parse(&held.bytes)?, &app.storage.limits)?,
    };
    if !draft.id.is_empty() && draft.id != id {
        return Err(bad_request("Document ID must match the URL"));
    }
    draft.id = id;
    let rev = match asked.rev("rev")? {
        Some(rev) => Some(rev),
        None => asked::if_match(headers)?,
    };
    match (&draft.rev, rev) {
        (Some(said), Some(rev)) if *said != rev => {
            let reason = "Document rev from request body and query string have different values";
            return Err(bad_request(reason));
        }
        (None, rev) => draft.rev = rev,
        _ => {}
    }
    kwaainet_storage::check_document_id(&draft.id).map_err(kwaainet_storage::BadDocument::Id)?;
    let replicated = asked.text("new_edits") == Some("false");
    let edited = edit(app, &found, draft, replicated).await?;
    Ok(answer(StatusCode::CREATED, edited))
}

/// Deletes a document: its last revision says that it is gone.
#[utoipa::path(
    delete,
    path = "/couch/{db}/{id}",
    tag = "couchdb",
    operation_id = "couchDeleteDocument",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
        ("rev" = Option<String>, Query, description = "Its revision now; or as `If-Match`."),
    ),
    responses(
        (status = 200, description = "It is deleted.", body = CouchEdited),
        (status = 409, description = "It is another revision by now.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    bury(&app, &principal, (&db, id), &asked, &headers).await
}

/// Deletes a design document.
#[utoipa::path(
    delete,
    path = "/couch/{db}/_design/{id}",
    tag = "couchdb",
    operation_id = "couchDeleteDesignDocument",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The id behind `_design/`."),
        ("rev" = Option<String>, Query, description = "Its revision now; or as `If-Match`."),
    ),
    responses(
        (status = 200, description = "It is deleted.", body = CouchEdited),
        (status = 409, description = "It is another revision by now.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn delete_design(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = format!("_design/{id}");
    bury(&app, &principal, (&db, id), &asked, &headers).await
}

async fn bury(
    app: &App,
    principal: &Principal,
    (db, id): (&str, String),
    asked: &Asked,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let found = open(app, principal, db, Access::Write).await?;
    let row = app.storage.documents.document(found.key, &id).await?;
    let row = row.ok_or_else(|| not_found("missing"))?;
    let rev = match asked.rev("rev")? {
        Some(rev) => Some(rev),
        None => asked::if_match(headers)?,
    };
    let is_gone = row.tree.winner().is_some_and(|winner| winner.deleted);
    let rev = match rev {
        Some(rev) => rev,
        None if is_gone => return Err(not_found("deleted")),
        None => return Err(Refused::Conflict.into()),
    };
    let edited = edit(app, &found, Draft::deletion(id, Some(rev)), false).await?;
    Ok(answer(StatusCode::OK, edited))
}

/// Writes a document under the id that it has, or a new one.
#[utoipa::path(
    post,
    path = "/couch/{db}",
    tag = "couchdb",
    operation_id = "couchPostDocument",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = Object, description = "The document."),
    responses(
        (status = 201, description = "It was written.", body = CouchEdited),
        (status = 409, description = "It does not follow on what is current.", body = kwaainet_openapi::CouchError),
        (status = 412, description = "An attachment that it keeps is not there.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let found = open(&app, &principal, &db, Access::Write).await?;
    let document: Value = asked::json(&app, &headers, body).await?;
    let mut draft = Draft::parse(document, &app.storage.limits)?;
    if draft.id.is_empty() {
        draft.id = random_id();
    }
    let edited = edit(&app, &found, draft, false).await?;
    Ok(answer(StatusCode::CREATED, edited))
}

/// Writes one document and says what became of it.
pub(super) async fn edit(
    app: &App,
    database: &DatabaseRecord,
    draft: Draft,
    replicated: bool,
) -> Result<CouchEdited, ApiError> {
    let (id, rev) = (draft.id.clone(), draft.rev.clone());
    let documents = &app.storage.documents;
    let written = documents.write(database.key, vec![draft], replicated, app.storage.quota);
    let took = written.await?.into_iter().next();
    let took = took.ok_or_else(|| ApiError::internal("one draft has one answer"))??;
    let rev = took.map(|took| took.rev).or(rev);
    Ok(CouchEdited {
        ok: true,
        id,
        rev: rev.map(String::from).unwrap_or_default(),
    })
}

pub(super) fn answer(status: StatusCode, edited: CouchEdited) -> Response {
    let etag = HeaderValue::from_str(&format!("\"{}\"", edited.rev));
    let mut response = (status, Json(edited)).into_response();
    if let Ok(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

pub(crate) fn etag(rev: &Rev) -> HeaderValue {
    let quoted = format!("\"{rev}\"");
    HeaderValue::from_str(&quoted).expect("a revision is graphic ASCII")
}
