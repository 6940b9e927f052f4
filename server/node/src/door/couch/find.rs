//! `_find`: documents that a selector holds for. Every document is looked at; an index is remembered, as a
//! design document that replicates, and does not make it faster.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use kwaainet_core::Principal;
use kwaainet_openapi::CouchIndexMade;
use kwaainet_storage::{Access, Draft, Mode, Refused, Selector, compare};
use kwaainet_store::{DatabaseRecord, IdRange};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::document::edit;
use super::render::Extras;
use super::{asked, bad_request, open, reading, refused};
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};

/// Documents that are read from the file at once.
const PAGE: u64 = 200;
/// Documents that may be sorted.
const SORTED_MAX: usize = 20_000;
const LIMIT: usize = 25;
const LIMIT_MAX: usize = 10_000;
/// Bytes of documents in one answer, or held to be sorted.
const BYTES_MAX: usize = 64 << 20;
const FIELDS_MAX: usize = 64;

#[derive(Debug, Deserialize)]
pub(crate) struct Find {
    selector: Value,
    limit: Option<usize>,
    skip: Option<usize>,
    sort: Option<Vec<Value>>,
    fields: Option<Vec<String>>,
    bookmark: Option<String>,
    #[serde(default)]
    conflicts: bool,
    #[serde(default)]
    execution_stats: bool,
}

/// Finds documents.
#[utoipa::path(
    post,
    path = "/couch/{db}/_find",
    tag = "couchdb",
    operation_id = "couchFind",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = Object, description = "`selector`, `limit`, `skip`, `sort`, `fields`, `bookmark`."),
    responses((status = 200, description = "`docs`, and a `bookmark` for those that follow.", body = Object))
)]
pub(crate) async fn find(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    refuse_sealed(&found)?;
    let asked: Find = asked::json(&app, &headers, body).await?;
    let selector = Selector::parse(&asked.selector)?;
    let sort = sort(asked.sort.as_deref().unwrap_or_default())?;
    let limit = asked.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
    // A bookmark is how many were told before.
    let bookmark = asked
        .bookmark
        .as_deref()
        .filter(|bookmark| *bookmark != "nil");
    let told: usize = match bookmark {
        Some(text) => text.parse().map_err(|_| bad_request("Invalid bookmark"))?,
        None => 0,
    };
    let skip = told.saturating_add(if told == 0 {
        asked.skip.unwrap_or(0)
    } else {
        0
    });
    let extras = Extras {
        conflicts: asked.conflicts,
        ..Extras::default()
    };
    let wanted = Wanted {
        selector,
        extras,
        // Without an order the first that are found will do.
        enough: sort.is_empty().then(|| skip.saturating_add(limit)),
    };
    let (mut matches, examined) = scan(&app, &found, &wanted).await?;
    if !sort.is_empty() {
        matches.sort_by(|a, b| order(a, b, &sort));
    }
    let docs = matches.into_iter().skip(skip).take(limit);
    let docs: Vec<Value> = docs
        .map(|doc| project(doc, asked.fields.as_deref()))
        .collect();
    let bookmark = if docs.is_empty() {
        asked.bookmark.unwrap_or_else(|| "nil".to_owned())
    } else {
        (skip + docs.len()).to_string()
    };
    let mut said = json!({
        "docs": docs,
        "bookmark": bookmark,
        "warning": "No matching index found, create an index to optimize query time.",
    });
    if asked.execution_stats {
        let returned = said["docs"].as_array().map_or(0, Vec::len);
        said["execution_stats"] = json!({
            "total_keys_examined": 0, "total_docs_examined": examined,
            "total_quorum_docs_examined": 0, "results_returned": returned,
        });
    }
    Ok(Json(said))
}

struct Wanted {
    selector: Selector,
    extras: Extras,
    enough: Option<usize>,
}

/// The documents that are wanted, in the order of their ids, and how many were looked at.
async fn scan(
    app: &App,
    database: &DatabaseRecord,
    wanted: &Wanted,
) -> Result<(Vec<Value>, u64), ApiError> {
    let mut matches = Vec::new();
    let (mut range, mut bytes, mut examined) = (IdRange::default(), 0, 0);
    let documents = &app.storage.documents;
    loop {
        let rows = documents
            .in_range(database.key, &range, PAGE, 0, true)
            .await?;
        let Some(last) = rows.last() else { break };
        range.first = Some(last.id.clone());
        range.without_first = true;
        for row in &rows {
            if row.id.starts_with("_design/") {
                continue;
            }
            examined += 1;
            let said = reading::winner(app, database.key, row, wanted.extras).await?;
            let Some(said) = said else { continue };
            let document: Value = asked::parse(said.as_bytes())?;
            if !wanted.selector.holds(&document) {
                continue;
            }
            bytes += said.len();
            if matches.len() >= SORTED_MAX || bytes > BYTES_MAX {
                return Err(bad_request(
                    "The selector holds for more documents than can be told at once; narrow it or set a limit",
                ));
            }
            matches.push(document);
            if wanted.enough.is_some_and(|enough| matches.len() >= enough) {
                return Ok((matches, examined));
            }
        }
    }
    Ok((matches, examined))
}

/// Fields, and whether each is in descending order.
fn sort(fields: &[Value]) -> Result<Vec<(Vec<String>, bool)>, ApiError> {
    let wrong = || {
        refused(
            axum::http::StatusCode::BAD_REQUEST,
            "invalid_sort_json",
            "Sort must be an array of sort specs",
        )
    };
    if fields.len() > FIELDS_MAX {
        return Err(wrong());
    }
    let one = |field: &Value| {
        let path = |name: &str| name.split('.').map(str::to_owned).collect();
        match field {
            Value::String(name) => Ok((path(name), false)),
            Value::Object(one) if one.len() == 1 => {
                let (name, direction) = one.iter().next().ok_or_else(wrong)?;
                match direction.as_str() {
                    Some("asc") => Ok((path(name), false)),
                    Some("desc") => Ok((path(name), true)),
                    _ => Err(wrong()),
                }
            }
            _ => Err(wrong()),
        }
    };
    fields.iter().map(one).collect()
}

fn order(a: &Value, b: &Value, sort: &[(Vec<String>, bool)]) -> Ordering {
    let at = |value: &Value, path: &[String]| {
        let found = path.iter().try_fold(value, |value, name| value.get(name));
        found.cloned().unwrap_or(Value::Null)
    };
    let orders = sort.iter().map(|(path, descending)| {
        let order = compare(&at(a, path), &at(b, path));
        if *descending { order.reverse() } else { order }
    });
    orders.fold(Ordering::Equal, Ordering::then)
}

/// The document with these fields only.
fn project(document: Value, fields: Option<&[String]>) -> Value {
    let Some(fields) = fields.filter(|fields| !fields.is_empty()) else {
        return document;
    };
    let mut kept = Value::Object(Map::new());
    for field in fields.iter().take(FIELDS_MAX) {
        let path: Vec<&str> = field.split('.').collect();
        let found = path
            .iter()
            .try_fold(&document, |value, name| value.get(name));
        let Some(found) = found else { continue };
        let mut at = &mut kept;
        for name in &path[..path.len() - 1] {
            at = &mut at[*name];
        }
        if at.is_null() || at.is_object() {
            at[path[path.len() - 1]] = found.clone();
        }
    }
    kept
}

/// Says how documents would be found.
#[utoipa::path(
    post,
    path = "/couch/{db}/_explain",
    tag = "couchdb",
    operation_id = "couchExplain",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = Object, description = "As `_find` takes it."),
    responses((status = 200, description = "The index that would be used: all documents.", body = Object))
)]
pub(crate) async fn explain(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    refuse_sealed(&found)?;
    let asked: Find = asked::json(&app, &headers, body).await?;
    Selector::parse(&asked.selector)?;
    sort(asked.sort.as_deref().unwrap_or_default())?;
    Ok(Json(json!({
        "dbname": found.name.as_str(),
        "index": everything(),
        "selector": asked.selector,
        "opts": {"bookmark": asked.bookmark.as_deref().unwrap_or("nil"), "sort": {}, "conflicts": asked.conflicts},
        "limit": asked.limit.unwrap_or(LIMIT),
        "skip": asked.skip.unwrap_or(0),
        "fields": asked.fields,
    })))
}

/// Lists the indexes that are remembered.
#[utoipa::path(
    get,
    path = "/couch/{db}/_index",
    tag = "couchdb",
    operation_id = "couchIndexes",
    params(("db" = String, Path, description = "The database's name.")),
    responses((status = 200, description = "`indexes`.", body = Object))
)]
pub(crate) async fn indexes(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
) -> Result<Json<Value>, ApiError> {
    let found = open(&app, &principal, &db, Access::Read).await?;
    let range = IdRange {
        first: Some("_design/".to_owned()),
        last: Some("_design0".to_owned()),
        ..IdRange::default()
    };
    let rows = app
        .storage
        .documents
        .in_range(found.key, &range, PAGE, 0, true)
        .await?;
    let mut indexes = vec![everything()];
    for row in &rows {
        let Some(body) = &row.body else { continue };
        let document: Value = asked::parse(body.json.as_bytes())?;
        let views = document["views"].as_object();
        for (name, view) in views.into_iter().flatten() {
            if document["language"] == "query" {
                let def = &view["options"]["def"];
                indexes.push(json!({"ddoc": row.id, "name": name, "type": "json", "def": def}));
            }
        }
    }
    Ok(Json(
        json!({"total_rows": indexes.len(), "indexes": indexes}),
    ))
}

#[derive(Debug, Deserialize)]
struct MakeIndex {
    index: Value,
    ddoc: Option<String>,
    name: Option<String>,
}

/// Remembers an index.
#[utoipa::path(
    post,
    path = "/couch/{db}/_index",
    tag = "couchdb",
    operation_id = "couchMakeIndex",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = Object, description = "`index` with its `fields`, `ddoc`, `name`."),
    responses((status = 200, description = "It is remembered.", body = CouchIndexMade))
)]
pub(crate) async fn make_index(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CouchIndexMade>, ApiError> {
    let found = open(&app, &principal, &db, Access::Write).await?;
    refuse_sealed(&found)?;
    let asked: MakeIndex = asked::json(&app, &headers, body).await?;
    let fields = asked.index["fields"].as_array();
    let fields = fields.ok_or_else(|| bad_request("An index needs `fields`"))?;
    let fields = sort(fields)?.into_iter();
    let fields: Map<_, _> = fields
        .map(|(path, descending)| {
            let direction = if descending { "desc" } else { "asc" };
            (path.join("."), Value::from(direction))
        })
        .collect();
    let def = asked.index.clone();
    let view = json!({"map": {"fields": fields}, "reduce": "_count", "options": {"def": def}});
    // One name for one definition, so that asking twice makes one index.
    let fresh = Draft::parse(view.clone(), &app.storage.limits)?.content;
    let fresh = data_encoding::HEXLOWER.encode(&fresh);
    let name = asked.name.unwrap_or_else(|| fresh.clone());
    let ddoc = asked.ddoc.unwrap_or(fresh);
    let ddoc = ddoc.strip_prefix("_design/").unwrap_or(&ddoc);
    let id = format!("_design/{ddoc}");
    let row = app.storage.documents.document(found.key, &id).await?;
    let mut document = json!({"language": "query", "views": {}});
    let mut rev = None;
    if let Some(row) = &row
        && let Some(winner) = row.tree.winner().filter(|winner| !winner.deleted)
    {
        let body = row.body.as_ref().ok_or(Refused::Conflict)?;
        document = asked::parse(body.json.as_bytes())?;
        rev = Some(winner.rev.clone());
    }
    let made = |result| CouchIndexMade {
        result,
        id: id.clone(),
        name: name.clone(),
    };
    if document["views"][&name] == view {
        return Ok(Json(made("exists")));
    }
    let views = document["views"].as_object_mut();
    let views = views.ok_or_else(|| bad_request("The design document has no `views`"))?;
    views.insert(name.clone(), view);
    document["_id"] = Value::from(id.as_str());
    let mut draft = Draft::parse(document, &app.storage.limits)?;
    draft.rev = rev;
    edit(&app, &found, draft, false).await?;
    Ok(Json(made("created")))
}

fn everything() -> Value {
    json!({"ddoc": null, "name": "_all_docs", "type": "special", "def": {"fields": [{"_id": "asc"}]}})
}

/// Nobody here can see into an encrypted document.
fn refuse_sealed(database: &DatabaseRecord) -> Result<(), ApiError> {
    if database.mode == Mode::E2ee {
        let reason =
            "This database holds encrypted documents; only holders of its key can search it";
        return Err(bad_request(reason));
    }
    Ok(())
}
