//! What hangs on a document, each under its own URL.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use kwaainet_core::Principal;
use kwaainet_openapi::CouchEdited;
use kwaainet_storage::{Access, Attachments, Draft, Refused, Rev};
use kwaainet_store::{Content, DatabaseRecord, DocumentRow, DocumentStore};
use serde_json::{Map, Value, json};

use super::asked::{self, Asked};
use super::document::{answer, edit};
use super::{not_found, open_document, refused};
use crate::door::path::ApiPath;
use crate::door::range::{self, Wanted};
use crate::door::{ApiError, App};

/// Reads an attachment.
#[utoipa::path(
    get,
    path = "/couch/{db}/{id}/{*name}",
    tag = "couchdb",
    operation_id = "couchAttachment",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
        ("name" = String, Path, description = "The attachment's name."),
        ("rev" = Option<String>, Query, description = "Of this revision rather than of the winner."),
        ("Range" = Option<String>, Header, description = "One range of bytes."),
    ),
    responses(
        (status = 200, description = "Its bytes.", body = String, content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for.", body = String, content_type = "application/octet-stream"),
        (status = 304, description = "It is what `If-None-Match` names."),
        (status = 416, description = "It has no such range.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id, name)): ApiPath<(String, String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    read(&app, &principal, (&db, &id, &name), &asked, &headers).await
}

/// Reads an attachment of a design document.
#[utoipa::path(
    get,
    path = "/couch/{db}/_design/{id}/{*name}",
    tag = "couchdb",
    operation_id = "couchDesignAttachment",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The id behind `_design/`."),
        ("name" = String, Path, description = "The attachment's name."),
    ),
    responses((status = 200, description = "Its bytes.", body = String, content_type = "application/octet-stream"))
)]
pub(crate) async fn get_of_design(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id, name)): ApiPath<(String, String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = format!("_design/{id}");
    read(&app, &principal, (&db, &id, &name), &asked, &headers).await
}

async fn read(
    app: &App,
    principal: &Principal,
    (db, id, name): (&str, &str, &str),
    asked: &Asked,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let found = open_document(app, principal, (db, id), Access::Read).await?;
    let row = app.storage.documents.document(&found, id).await?;
    let row = row.ok_or_else(|| not_found("missing"))?;
    let rev = asked.rev("rev")?;
    if rev.is_none() && row.tree.winner().is_some_and(|winner| winner.deleted) {
        return Err(not_found("deleted"));
    }
    let hanging = hanging(app, &found, &row, rev.as_ref()).await?;
    let missing = || not_found("Document is missing attachment");
    let attachment = hanging.get(name).ok_or_else(missing)?;
    let documents = &app.storage.documents;
    let content = documents.attachment(&found, &attachment.digest).await?;
    let content = content.ok_or_else(missing)?;
    let length = content.length;

    let digest = attachment.digest.as_str();
    let etag = HeaderValue::from_str(&format!("\"{digest}\""));
    let etag = etag.expect("base64 is ASCII");
    if headers.get(header::IF_NONE_MATCH) == Some(&etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let (status, range) = match range::wanted(headers, length) {
        Wanted::All => (StatusCode::OK, 0..length),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Nothing => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let reason = "Requested range not satisfiable";
            return Err(refused(status, "requested_range_not_satisfiable", reason));
        }
    };
    let kind = HeaderValue::from_str(&attachment.content_type);
    let octets = HeaderValue::from_static("application/octet-stream");
    let mut response = pieces(documents.clone(), content, range.clone()).into_response();
    *response.status_mut() = status;
    let said = response.headers_mut();
    said.insert(header::CONTENT_TYPE, kind.unwrap_or(octets));
    said.insert(header::ETAG, etag);
    said.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let bytes = range.end - range.start;
    said.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    if status == StatusCode::PARTIAL_CONTENT {
        said.insert(header::CONTENT_RANGE, range::said(&range, length));
    }
    // A browser never shows what somebody stored as a page of this node.
    let sandbox = HeaderValue::from_static("sandbox");
    said.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    let nosniff = HeaderName::from_static("x-content-type-options");
    said.insert(nosniff, HeaderValue::from_static("nosniff"));
    Ok(response)
}

fn pieces(documents: DocumentStore, content: Content, range: Range<u64>) -> Body {
    let begin = (documents, content, range);
    Body::from_stream(stream::try_unfold(
        begin,
        move |(documents, content, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let piece = documents.attachment_piece(&content, range.clone()).await;
            let piece = piece.map_err(io::Error::other)?;
            if piece.is_empty() {
                // The document was purged meanwhile; the length that was announced is not kept.
                return Err(io::Error::other("the attachment is gone"));
            }
            let next = range.start + piece.len() as u64..range.end;
            Ok(Some((Bytes::from(piece), (documents, content, next))))
        },
    ))
}

/// Hangs something on a document, which is made if it is not there.
#[utoipa::path(
    put,
    path = "/couch/{db}/{id}/{*name}",
    tag = "couchdb",
    operation_id = "couchPutAttachment",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
        ("name" = String, Path, description = "The attachment's name."),
        ("rev" = Option<String>, Query, description = "The document's revision now; or as `If-Match`."),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "Its bytes."),
    responses(
        (status = 201, description = "It was written.", body = CouchEdited),
        (status = 409, description = "The document is another revision by now.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id, name)): ApiPath<(String, String, String)>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    write(&app, &principal, (&db, &id, &name), &asked, &headers, body).await
}

/// Hangs something on a design document.
#[utoipa::path(
    put,
    path = "/couch/{db}/_design/{id}/{*name}",
    tag = "couchdb",
    operation_id = "couchPutDesignAttachment",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The id behind `_design/`."),
        ("name" = String, Path, description = "The attachment's name."),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "Its bytes."),
    responses(
        (status = 201, description = "It was written.", body = CouchEdited),
        (status = 409, description = "The document is another revision by now.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn put_of_design(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id, name)): ApiPath<(String, String, String)>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let id = format!("_design/{id}");
    write(&app, &principal, (&db, &id, &name), &asked, &headers, body).await
}

async fn write(
    app: &App,
    principal: &Principal,
    (db, id, name): (&str, &str, &str),
    asked: &Asked,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let found = open_document(app, principal, (db, id), Access::Write).await?;
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("application/octet-stream").to_owned();
    let held = asked::held(app, headers, body).await?;
    let new = (name, Some((kind, held.bytes)));
    let edited = rehang(app, &found, id, rev_of(asked, headers)?, new).await?;
    Ok(answer(StatusCode::CREATED, edited))
}

/// Takes something off a document.
#[utoipa::path(
    delete,
    path = "/couch/{db}/{id}/{*name}",
    tag = "couchdb",
    operation_id = "couchDeleteAttachment",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
        ("name" = String, Path, description = "The attachment's name."),
        ("rev" = Option<String>, Query, description = "The document's revision now; or as `If-Match`."),
    ),
    responses(
        (status = 200, description = "It hangs there no more.", body = CouchEdited),
        (status = 409, description = "The document is another revision by now.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id, name)): ApiPath<(String, String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    remove(&app, &principal, (&db, &id, &name), &asked, &headers).await
}

/// Takes something off a design document.
#[utoipa::path(
    delete,
    path = "/couch/{db}/_design/{id}/{*name}",
    tag = "couchdb",
    operation_id = "couchDeleteDesignAttachment",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The id behind `_design/`."),
        ("name" = String, Path, description = "The attachment's name."),
    ),
    responses(
        (status = 200, description = "It hangs there no more.", body = CouchEdited),
        (status = 409, description = "The document is another revision by now.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn delete_of_design(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id, name)): ApiPath<(String, String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = format!("_design/{id}");
    remove(&app, &principal, (&db, &id, &name), &asked, &headers).await
}

async fn remove(
    app: &App,
    principal: &Principal,
    (db, id, name): (&str, &str, &str),
    asked: &Asked,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let found = open_document(app, principal, (db, id), Access::Write).await?;
    let rev = rev_of(asked, headers)?;
    if rev.is_none() {
        return Err(Refused::Conflict.into());
    }
    let edited = rehang(app, &found, id, rev, (name, None)).await?;
    Ok(answer(StatusCode::OK, edited))
}

fn rev_of(asked: &Asked, headers: &HeaderMap) -> Result<Option<Rev>, ApiError> {
    match asked.rev("rev")? {
        Some(rev) => Ok(Some(rev)),
        None => asked::if_match(headers),
    }
}

/// Writes the document anew, the same but for one attachment.
async fn rehang(
    app: &App,
    database: &DatabaseRecord,
    id: &str,
    rev: Option<Rev>,
    (name, new): (&str, Option<(String, Vec<u8>)>),
) -> Result<CouchEdited, ApiError> {
    let row = app.storage.documents.document(database, id).await?;
    let mut document = json!({"_id": id});
    let mut attachments = Map::new();
    if let (Some(row), Some(rev)) = (&row, &rev) {
        let node = row.tree.find(rev).and_then(|node| node.body);
        let body = node.ok_or(Refused::Conflict)?;
        let mut bodies = app.storage.documents.bodies(database, row, &[body]).await?;
        let body = bodies.remove(&body).ok_or(Refused::Conflict)?;
        document = asked::parse(body.json.as_bytes())?;
        document["_id"] = Value::from(id);
        for name in body.attachments.into_keys() {
            attachments.insert(name, json!({"stub": true}));
        }
    }
    if new.is_none() && attachments.remove(name).is_none() {
        return Err(not_found("Document is missing attachment"));
    }
    if let Some((kind, bytes)) = new {
        let data = data_encoding::BASE64.encode(&bytes);
        attachments.insert(name.to_owned(), json!({"content_type": kind, "data": data}));
    }
    document["_attachments"] = Value::Object(attachments);
    let mut draft = Draft::parse(document, &app.storage.limits)?;
    draft.rev = rev;
    edit(app, database, draft, false).await
}

/// What hangs on a revision, or on the winner.
async fn hanging(
    app: &App,
    database: &DatabaseRecord,
    row: &DocumentRow,
    rev: Option<&Rev>,
) -> Result<Attachments, ApiError> {
    let Some(rev) = rev else {
        let body = row.body.as_ref();
        return Ok(body
            .map(|body| body.attachments.clone())
            .unwrap_or_default());
    };
    let number = row.tree.find(rev).and_then(|node| node.body);
    let number = number.ok_or_else(|| not_found("missing"))?;
    let mut bodies = app
        .storage
        .documents
        .bodies(database, row, &[number])
        .await?;
    let body = bodies.remove(&number).ok_or_else(|| not_found("missing"))?;
    Ok(body.attachments)
}
