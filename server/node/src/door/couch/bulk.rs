//! Many documents at once: written, read, and compared with what somebody else has.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use kwaainet_core::{Principal, random_id};
use kwaainet_storage::{Access, Draft, Rev, Took};
use kwaainet_store::{DatabaseRecord, DocumentRow};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::asked::{self, Asked};
use super::render::{Extras, quoted};
use super::{bad_request, open, reading, words, words_of_bad};
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};

/// Documents that are read from the file at once.
const CHUNK: usize = 100;
/// Documents of one request.
const DOCUMENTS_MAX: usize = 100_000;

#[derive(Debug, Deserialize)]
pub(crate) struct BulkDocs {
    docs: Vec<Value>,
    new_edits: Option<bool>,
}

/// Writes documents; each is taken or refused by itself.
#[utoipa::path(
    post,
    path = "/couch/{db}/_bulk_docs",
    tag = "couchdb",
    operation_id = "couchBulkDocs",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = Object, description = "`docs`, and `new_edits`: `false` if they were made elsewhere and keep their revisions."),
    responses((status = 201, description = "What became of each; with `new_edits` false, of those that were refused.", body = Vec<Object>))
)]
pub(crate) async fn write(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let found = open(&app, &principal, &db, Access::Write).await?;
    let asked: BulkDocs = asked::json(&app, &headers, body).await?;
    if asked.docs.len() > DOCUMENTS_MAX {
        return Err(bad_request("Too many documents at once"));
    }
    let replicated = asked.new_edits == Some(false);
    let mut drafts = Vec::with_capacity(asked.docs.len());
    let mut answers = Vec::with_capacity(asked.docs.len());
    for document in asked.docs {
        let id = document["_id"].as_str().unwrap_or("").to_owned();
        match Draft::parse(document, &app.storage.limits) {
            Ok(mut draft) => {
                if draft.id.is_empty() {
                    draft.id = random_id();
                }
                answers.push(Ok((draft.id.clone(), draft.rev.clone())));
                drafts.push(draft);
            }
            Err(bad) => answers.push(Err((id, bad))),
        }
    }
    let quota = app.storage.quota;
    let written = app
        .storage
        .documents
        .write(found.key, drafts, replicated, quota);
    let mut written = written.await?.into_iter();
    let answers = answers.into_iter().filter_map(|answer| {
        let refused = |id: String, rev: Option<Rev>, error: &str, reason: String| {
            let mut answer = json!({"id": id, "error": error, "reason": reason});
            if let Some(rev) = rev {
                answer["rev"] = Value::from(rev.to_string());
            }
            Some(answer)
        };
        let (id, rev) = match answer {
            Ok(known) => known,
            Err((id, bad)) => return refused(id, None, words_of_bad(&bad).1, bad.to_string()),
        };
        match written.next()? {
            Err(refusal) => {
                let (_, error, reason) = words(&refusal);
                refused(id, rev, error, reason)
            }
            Ok(Some(Took { id, rev })) if !replicated => {
                Some(json!({"ok": true, "id": id, "rev": rev.to_string()}))
            }
            Ok(_) => None,
        }
    });
    let answers: Vec<_> = answers.collect();
    Ok((StatusCode::CREATED, axum::Json(answers)).into_response())
}

#[derive(Debug, Deserialize)]
struct BulkGet {
    docs: Vec<OneOf>,
}

#[derive(Debug, Deserialize)]
struct OneOf {
    id: String,
    rev: Option<Rev>,
}

/// Reads revisions of documents. Without `rev` all leaves of one.
#[utoipa::path(
    post,
    path = "/couch/{db}/_bulk_get",
    tag = "couchdb",
    operation_id = "couchBulkGet",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("revs" = Option<bool>, Query, description = "With the names of their ancestors."),
        ("latest" = Option<bool>, Query, description = "What followed on the revisions that are named."),
        ("attachments" = Option<bool>, Query, description = "With what hangs on them."),
    ),
    request_body(content = Object, description = "`docs`: objects with `id` and `rev`."),
    responses((status = 200, description = "`results`, in the order of the request.", body = Object))
)]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    let wanted: BulkGet = asked::json(&app, &headers, body).await?;
    let reader = Reader {
        app,
        db: found.key,
        left: wanted.docs.into(),
        rows: Vec::new().into(),
        extras: Extras::asked(&asked)?,
        latest: asked.is_set("latest")?,
        begun: false,
        over: false,
    };
    let body = stream::unfold(reader, |mut reader| async {
        let piece = reader.next().await?;
        Some((Ok::<_, Infallible>(piece), reader))
    });
    let body = Body::from_stream(body);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Puts the answer of `_bulk_get` together, a few documents at a time.
struct Reader {
    app: Arc<App>,
    db: i64,
    left: VecDeque<OneOf>,
    /// Read from the file, and not yet told.
    rows: VecDeque<(OneOf, Option<DocumentRow>)>,
    extras: Extras,
    latest: bool,
    begun: bool,
    over: bool,
}

/// Bytes that are put together before they are sent.
pub(super) const PIECE: usize = 64 << 10;

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let mut out = String::new();
        if !self.begun {
            out.push_str("{\"results\":[");
        }
        while out.len() < PIECE {
            if self.rows.is_empty() && !self.left.is_empty() {
                self.fill().await;
            }
            let Some((one, row)) = self.rows.pop_front() else {
                self.over = true;
                out.push_str("]}");
                break;
            };
            if std::mem::replace(&mut self.begun, true) {
                out.push_str(",\n");
            }
            self.tell(&mut out, &one, row.as_ref()).await;
        }
        Some(out.into())
    }

    async fn fill(&mut self) {
        let count = self.left.len().min(CHUNK);
        let chunk: Vec<_> = self.left.drain(..count).collect();
        let ids: Vec<&str> = chunk.iter().map(|one| one.id.as_str()).collect();
        let found = self
            .app
            .storage
            .documents
            .documents(self.db, &ids, true)
            .await;
        let found = found.unwrap_or_else(|error| {
            tracing::error!(%error, "documents cannot be read");
            Default::default()
        });
        let rows = chunk.into_iter().map(|one| {
            let row = found.get(&one.id).cloned();
            (one, row)
        });
        self.rows = rows.collect();
    }

    async fn tell(&self, out: &mut String, one: &OneOf, row: Option<&DocumentRow>) {
        let id = quoted(&one.id);
        let mut said = Vec::new();
        if let Some(row) = row {
            let nodes = match &one.rev {
                Some(rev) => reading::named(row, rev, self.latest),
                None => row.tree.leaves(),
            };
            for node in nodes {
                let read = reading::revision(&self.app, self.db, row, node, self.extras).await;
                match read {
                    Ok(Some(document)) => said.push(format!("{{\"ok\":{document}}}")),
                    Ok(None) => {}
                    Err(error) => error.record(),
                }
            }
        }
        if said.is_empty() {
            let rev = one.rev.as_ref().map(|rev| format!("\"{rev}\""));
            let rev = rev.as_deref().unwrap_or("\"undefined\"");
            said.push(format!(
                "{{\"error\":{{\"id\":{id},\"rev\":{rev},\"error\":\"not_found\",\"reason\":\"missing\"}}}}"
            ));
        }
        out.push_str(&format!("{{\"id\":{id},\"docs\":[{}]}}", said.join(",")));
    }
}

/// Says which of these revisions are not here.
#[utoipa::path(
    post,
    path = "/couch/{db}/_revs_diff",
    tag = "couchdb",
    operation_id = "couchRevsDiff",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = BTreeMap<String, Vec<String>>, description = "Documents, and for each the revisions."),
    responses((status = 200, description = "Those that are missing, and leaves that they may follow on.", body = Object))
)]
pub(crate) async fn revs_diff(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<axum::Json<Value>, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    let asked: BTreeMap<String, Vec<Rev>> = asked::json(&app, &headers, body).await?;
    let mut said = Map::new();
    for (id, missing, ancestors) in diff(&app, &found, &asked).await? {
        let mut one = json!({ "missing": missing });
        if !ancestors.is_empty() {
            one["possible_ancestors"] = json!(ancestors);
        }
        said.insert(id.to_owned(), one);
    }
    Ok(axum::Json(Value::Object(said)))
}

/// The same in the words of older clients.
#[utoipa::path(
    post,
    path = "/couch/{db}/_missing_revs",
    tag = "couchdb",
    operation_id = "couchMissingRevs",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = BTreeMap<String, Vec<String>>, description = "Documents, and for each the revisions."),
    responses((status = 200, description = "`missing_revs`.", body = Object))
)]
pub(crate) async fn missing_revs(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<axum::Json<Value>, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    let asked: BTreeMap<String, Vec<Rev>> = asked::json(&app, &headers, body).await?;
    let missing = diff(&app, &found, &asked).await?.into_iter();
    let missing: Map<_, _> = missing
        .map(|(id, missing, _)| (id.to_owned(), json!(missing)))
        .collect();
    Ok(axum::Json(json!({ "missing_revs": missing })))
}

/// Documents of which something is missing, with what that is and what it may follow on.
async fn diff<'a>(
    app: &App,
    database: &DatabaseRecord,
    asked: &'a BTreeMap<String, Vec<Rev>>,
) -> Result<Vec<(&'a str, Vec<&'a Rev>, Vec<Rev>)>, ApiError> {
    let mut said = Vec::new();
    let asked: Vec<_> = asked.iter().collect();
    for chunk in asked.chunks(10 * CHUNK) {
        let ids: Vec<&str> = chunk.iter().map(|(id, _)| id.as_str()).collect();
        let found = app
            .storage
            .documents
            .documents(database.key, &ids, false)
            .await?;
        for (id, revs) in chunk {
            let row = found.get(*id);
            let known = row.map(|row| row.tree.nodes()).unwrap_or_default();
            let known: HashSet<&Rev> = known.iter().map(|node| &node.rev).collect();
            let missing: Vec<&Rev> = revs.iter().filter(|rev| !known.contains(rev)).collect();
            let Some(highest) = missing.iter().map(|rev| rev.generation()).max() else {
                continue;
            };
            let leaves = row.map(|row| row.tree.leaves()).unwrap_or_default();
            let ancestors = leaves.into_iter().map(|leaf| &leaf.rev);
            let ancestors = ancestors.filter(|rev| rev.generation() < highest).cloned();
            said.push((id.as_str(), missing, ancestors.collect()));
        }
    }
    Ok(said)
}
