//! `_changes`: what changed since, as one list, as the next that comes, or as a stream that goes on.

mod walk;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use kwaainet_core::Principal;
use kwaainet_storage::{Access, Selector};
use kwaainet_store::DatabaseRecord;
use serde_json::Value;

use super::asked::{self, Asked};
use super::database::parse_seq;
use super::render::Extras;
use super::{bad_request, open};
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};
use walk::Walk;

/// How long a client waits if it does not say so, and at most without a sign of life.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Signs of life come no faster.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
/// Between events of the plain face.
const EVENTS_HEARTBEAT: Duration = Duration::from_secs(15);
const IDS_MAX: usize = 100_000;

/// How changes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feed {
    /// One list of what there is.
    Normal,
    /// The same, which waits while it would be empty.
    Longpoll,
    /// Lines, without end.
    Continuous,
    /// Server-sent events, without end.
    EventSource,
}

/// Which changes are told.
#[derive(Debug)]
enum Filter {
    All,
    Ids(HashSet<String>),
    Selector(Selector),
    Design,
}

/// What is asked for.
#[derive(Debug)]
struct Options {
    feed: Feed,
    filter: Filter,
    since: i64,
    limit: u64,
    descending: bool,
    all_leaves: bool,
    include_docs: bool,
    extras: Extras,
    /// A sign of life after so long; none without.
    heartbeat: Option<Duration>,
    /// The end after so long, where there are no signs of life.
    timeout: Duration,
}

/// Tells what changed.
#[utoipa::path(
    get,
    path = "/couch/{db}/_changes",
    tag = "couchdb",
    operation_id = "couchChanges",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("since" = Option<String>, Query, description = "What comes after this; `now` for what comes from now on."),
        ("limit" = Option<u64>, Query, description = "At most so many."),
        ("feed" = Option<String>, Query, description = "`normal`, `longpoll`, `continuous` or `eventsource`."),
        ("style" = Option<String>, Query, description = "`main_only` (the winner of each) or `all_docs` (all leaves)."),
        ("include_docs" = Option<bool>, Query, description = "With what they say."),
        ("descending" = Option<bool>, Query, description = "The newest first."),
        ("filter" = Option<String>, Query, description = "`_doc_ids`, `_selector` or `_design`."),
        ("heartbeat" = Option<u64>, Query, description = "Milliseconds between signs of life."),
        ("timeout" = Option<u64>, Query, description = "Milliseconds to wait without them."),
    ),
    responses((status = 200, description = "The changes.", body = Object))
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    asked: Asked,
) -> Result<Response, ApiError> {
    tell(app, &principal, &db, &asked, &Value::Null).await
}

/// The same with `doc_ids` or `selector` in the body.
#[utoipa::path(
    post,
    path = "/couch/{db}/_changes",
    tag = "couchdb",
    operation_id = "couchFilteredChanges",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = Object, description = "`doc_ids` or `selector`."),
    responses((status = 200, description = "The changes.", body = Object))
)]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body: Value = asked::json(&app, &headers, body).await?;
    tell(app, &principal, &db, &asked, &body).await
}

async fn tell(
    app: Arc<App>,
    principal: &Principal,
    db: &str,
    asked: &Asked,
    body: &Value,
) -> Result<Response, ApiError> {
    let found = open(&app, principal, db, Access::Read).await?;
    let options = options(&found, asked, body)?;
    answer(app, principal, found, options)
}

fn answer(
    app: Arc<App>,
    principal: &Principal,
    found: DatabaseRecord,
    options: Options,
) -> Result<Response, ApiError> {
    let kind = match options.feed {
        Feed::EventSource => "text/event-stream",
        _ => "application/json",
    };
    let walk = Walk::begin(app, principal.clone(), found, options)?;
    let body = stream::unfold(walk, |mut walk| async {
        let piece = walk.next().await?;
        Some((piece, walk))
    });
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Tells changes as server-sent events, without what documents say.
pub(crate) fn event_stream(
    app: Arc<App>,
    principal: &Principal,
    found: DatabaseRecord,
    since: Option<&str>,
) -> Result<Response, ApiError> {
    let since = match since {
        None | Some("") => 0,
        Some("now") => found.update_seq,
        Some(text) => parse_seq(&found, text)?,
    };
    let options = Options {
        feed: Feed::EventSource,
        filter: Filter::All,
        since,
        limit: u64::MAX,
        descending: false,
        all_leaves: false,
        include_docs: false,
        extras: Extras::default(),
        heartbeat: Some(EVENTS_HEARTBEAT),
        timeout: TIMEOUT,
    };
    answer(app, principal, found, options)
}

fn options(found: &DatabaseRecord, asked: &Asked, body: &Value) -> Result<Options, ApiError> {
    let feed = match asked.text("feed") {
        None | Some("normal") => Feed::Normal,
        Some("longpoll") => Feed::Longpoll,
        Some("continuous") => Feed::Continuous,
        Some("eventsource") => Feed::EventSource,
        Some(_) => {
            return Err(bad_request(
                "Supported `feed` types: normal, continuous, longpoll, eventsource",
            ));
        }
    };
    let since = match asked.text("since") {
        None | Some("") => 0,
        Some("now") => found.update_seq,
        Some(text) => parse_seq(found, text)?,
    };
    let milliseconds = |name: &str| -> Result<Option<Duration>, ApiError> {
        if asked.text(name) == Some("true") {
            return Ok(Some(TIMEOUT));
        }
        let number = asked.number::<u64>(name)?.filter(|number| *number > 0);
        Ok(number.map(Duration::from_millis))
    };
    let heartbeat = match asked.text("heartbeat") {
        Some("false") => None,
        _ => milliseconds("heartbeat")?,
    };
    let include_docs = asked.is_set("include_docs")?;
    let mut extras = Extras::asked(asked)?;
    extras.attachments &= include_docs;
    Ok(Options {
        feed,
        filter: filter(asked, body)?,
        since,
        // As CouchDB has it, 0 is 1.
        limit: asked.number("limit")?.unwrap_or(u64::MAX).max(1),
        descending: asked.is_set("descending")?,
        all_leaves: asked.text("style") == Some("all_docs"),
        include_docs,
        extras,
        heartbeat: heartbeat.map(|heartbeat| heartbeat.clamp(HEARTBEAT_MIN, TIMEOUT)),
        timeout: milliseconds("timeout")?.unwrap_or(TIMEOUT).min(TIMEOUT),
    })
}

fn filter(asked: &Asked, body: &Value) -> Result<Filter, ApiError> {
    match asked.text("filter") {
        None | Some("") => Ok(Filter::All),
        Some("_design") => Ok(Filter::Design),
        Some("_doc_ids") => {
            let ids = match body.get("doc_ids") {
                Some(ids) => serde_json::from_value(ids.clone()).ok(),
                None => asked.json(&["doc_ids"])?,
            };
            let ids: HashSet<String> =
                ids.ok_or_else(|| bad_request("`doc_ids` must be an array of ids"))?;
            if ids.len() > IDS_MAX {
                return Err(bad_request("Too many doc_ids"));
            }
            Ok(Filter::Ids(ids))
        }
        Some("_selector") => {
            let selector = body
                .get("selector")
                .ok_or_else(|| bad_request("Selector must be specified in POST payload"))?;
            Ok(Filter::Selector(Selector::parse(selector)?))
        }
        Some(_) => Err(bad_request(
            "This node runs no filter functions; there are _doc_ids, _selector and _design",
        )),
    }
}
