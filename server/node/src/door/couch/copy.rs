//! `COPY`, a method of CouchDB's own: it comes here as a `POST` (`path::copy_as_post`), which anybody may send, too.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use kwaainet_core::Principal;
use kwaainet_openapi::CouchEdited;
use kwaainet_storage::{Access, Draft, check_document_id};
use reqwest::Url;
use serde_json::Value;

use super::asked::{self, Asked};
use super::document::{answer, edit};
use super::render::Extras;
use super::{bad_request, not_found, open_document, reading};
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};

const DESTINATION: HeaderName = HeaderName::from_static("destination");

/// Copies a document, with what hangs on it, to another id.
#[utoipa::path(
    post,
    path = "/couch/{db}/{id}/_copy",
    tag = "couchdb",
    operation_id = "couchCopyDocument",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("id" = String, Path, description = "The document's id."),
        ("rev" = Option<String>, Query, description = "This revision rather than the winner."),
        ("Destination" = String, Header, description = "The other id, escaped; with `?rev=` if there is such a document."),
    ),
    responses(
        (status = 201, description = "It was copied. So it is with the method `COPY` at the document's own URL.", body = CouchEdited),
        (status = 409, description = "There is a document of the other id.", body = kwaainet_openapi::CouchError)
    )
)]
pub(crate) async fn copy(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((db, id)): ApiPath<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (to, rev) = destination(&headers)?;
    let found = open_document(&app, &principal, (&db, &id), Access::Read).await?;
    open_document(&app, &principal, (&db, &to), Access::Write).await?;
    let row = app.storage.documents.document(&found, &id).await?;
    let row = row.ok_or_else(|| not_found("missing"))?;
    let node = match asked.rev("rev")? {
        Some(rev) => row.tree.find(&rev),
        None => row.tree.winner().filter(|winner| !winner.deleted),
    };
    let node = node.ok_or_else(|| not_found("missing"))?;
    let extras = Extras {
        attachments: true,
        ..Extras::default()
    };
    let said = reading::revision(&app, &found, &row, node, extras).await?;
    let said = said.ok_or_else(|| not_found("missing"))?;
    let mut document: Value = asked::parse(said.as_bytes())?;
    document["_id"] = Value::from(to.as_str());
    let mut draft = Draft::parse(document, &app.storage.limits)?;
    draft.rev = rev;
    let edited = edit(&app, &found, draft, false).await?;
    Ok(answer(StatusCode::CREATED, edited))
}

/// The other id, and what it follows on there.
fn destination(headers: &HeaderMap) -> Result<(String, Option<kwaainet_storage::Rev>), ApiError> {
    let wrong = || bad_request("Destination header must name a document");
    let text = headers.get(DESTINATION).ok_or_else(wrong)?;
    let text = text.to_str().map_err(|_| wrong())?;
    let (id, query) = text.split_once('?').unwrap_or((text, ""));
    // Escaped as a part of a path, in which a plus is one.
    let id = id.replace('+', "%2B").replace('&', "%26");
    let url = Url::parse(&format!("http://localhost/?id={id}&{query}")).map_err(|_| wrong())?;
    let field = |name| {
        let mut pairs = url.query_pairs();
        let found = pairs.find(|(field, _)| field == name);
        found.map(|(_, value)| value.into_owned())
    };
    let id = field("id").filter(|id| check_document_id(id).is_ok());
    let rev = field("rev").map(|rev| asked::parse_rev(&rev)).transpose()?;
    Ok((id.ok_or_else(wrong)?, rev))
}
