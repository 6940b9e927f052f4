//! Documents in the order of their ids.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use kwaainet_core::Principal;
use kwaainet_storage::Access;
use kwaainet_store::{DatabaseRecord, DocumentRow, IdRange};
use serde_json::Value;

use super::asked::{self, Asked};
use super::bulk::PIECE;
use super::database::seq_of;
use super::render::{Extras, quoted};
use super::{bad_request, open, reading};
use crate::door::path::ApiPath;
use crate::door::{ApiError, App};

/// Documents that are read from the file at once.
const PAGE: u64 = 200;
/// Keys of one request.
const KEYS_MAX: usize = 100_000;

/// Lists documents.
#[utoipa::path(
    get,
    path = "/couch/{db}/_all_docs",
    tag = "couchdb",
    operation_id = "couchAllDocs",
    params(
        ("db" = String, Path, description = "The database's name."),
        ("include_docs" = Option<bool>, Query, description = "With what they say."),
        ("startkey" = Option<String>, Query, description = "From this id on, in JSON."),
        ("endkey" = Option<String>, Query, description = "Up to this id, in JSON."),
        ("inclusive_end" = Option<bool>, Query, description = "Whether `endkey` belongs to it; so if not given."),
        ("key" = Option<String>, Query, description = "This id alone, in JSON."),
        ("keys" = Option<String>, Query, description = "These ids, as an array in JSON."),
        ("descending" = Option<bool>, Query, description = "From the end."),
        ("limit" = Option<u64>, Query, description = "At most so many."),
        ("skip" = Option<u64>, Query, description = "Without the first so many."),
    ),
    responses((status = 200, description = "`rows`.", body = Object))
)]
pub(crate) async fn all_docs(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    asked: Asked,
) -> Result<Response, ApiError> {
    list(app, &principal, &db, asked).await
}

/// The same with the fields in the body, where many `keys` have room.
#[utoipa::path(
    post,
    path = "/couch/{db}/_all_docs",
    tag = "couchdb",
    operation_id = "couchAllDocsOfKeys",
    params(("db" = String, Path, description = "The database's name.")),
    request_body(content = Object, description = "The fields of the query."),
    responses((status = 200, description = "`rows`.", body = Object))
)]
pub(crate) async fn all_docs_of_keys(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body: Value = asked::json(&app, &headers, body).await?;
    list(app, &principal, &db, asked.with(&body)).await
}

/// Lists design documents.
#[utoipa::path(
    get,
    path = "/couch/{db}/_design_docs",
    tag = "couchdb",
    operation_id = "couchDesignDocs",
    params(("db" = String, Path, description = "The database's name.")),
    responses((status = 200, description = "`rows`.", body = Object))
)]
pub(crate) async fn design_docs(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(db): ApiPath<String>,
    asked: Asked,
) -> Result<Response, ApiError> {
    // What follows a slash is a zero in the order of code points.
    let only =
        serde_json::json!({"startkey": "_design/", "endkey": "_design0", "inclusive_end": false});
    list(app, &principal, &db, asked.with(&only)).await
}

async fn list(
    app: Arc<App>,
    principal: &Principal,
    db: &str,
    asked: Asked,
) -> Result<Response, ApiError> {
    let found = open(&app, principal, db, Access::Read).await?;
    let mut extras = Extras::asked(&asked)?;
    let include_docs = asked.is_set("include_docs")?;
    extras.attachments &= include_docs;
    let skip = asked.number("skip")?.unwrap_or(0);
    let limit = asked.number("limit")?.unwrap_or(u64::MAX);
    let keys: Option<Vec<Value>> = asked.json(&["keys"])?;
    let from = match keys {
        Some(keys) if keys.len() > KEYS_MAX => return Err(bad_request("Too many keys")),
        Some(mut keys) => {
            if asked.is_set("descending")? {
                keys.reverse();
            }
            let keys = keys.into_iter().skip(skip as usize);
            From::Keys(keys.take(limit.min(KEYS_MAX as u64) as usize).collect())
        }
        None => match range(&asked)? {
            Some(range) => From::Range { range, limit, skip },
            None => From::Keys(VecDeque::new()),
        },
    };
    let update_seq = asked.is_set("update_seq")?;
    let update_seq = update_seq.then(|| seq_of(&found, found.update_seq));
    let lister = Lister {
        head: Some(head(&found, skip, update_seq)),
        db: found,
        app,
        from,
        rows: VecDeque::new(),
        extras,
        include_docs,
        begun: false,
        over: false,
    };
    let body = stream::unfold(lister, |mut lister| async {
        let piece = lister.next().await?;
        Some((piece, lister))
    });
    let body = Body::from_stream(body);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn head(found: &DatabaseRecord, skip: u64, update_seq: Option<String>) -> String {
    let update_seq = update_seq.map(|seq| format!("\"update_seq\":\"{seq}\","));
    let update_seq = update_seq.unwrap_or_default();
    let total = found.docs;
    format!("{{\"total_rows\":{total},\"offset\":{skip},{update_seq}\"rows\":[\n")
}

/// A bound of a range. What is no text stands before all ids or behind them.
enum Bound {
    Before,
    At(String),
    Behind,
}

/// The range that is asked for; none if it is empty.
fn range(asked: &Asked) -> Result<Option<IdRange>, ApiError> {
    let bound = |names: &[&str]| -> Result<Option<Bound>, ApiError> {
        let value: Option<Value> = asked.json(names)?;
        Ok(value.map(|value| match value {
            Value::String(text) => Bound::At(text),
            Value::Array(_) | Value::Object(_) => Bound::Behind,
            _ => Bound::Before,
        }))
    };
    let (mut start, mut end) = (
        bound(&["startkey", "start_key"])?,
        bound(&["endkey", "end_key"])?,
    );
    if let Some(key) = bound(&["key"])? {
        let Bound::At(key) = key else { return Ok(None) };
        start = Some(Bound::At(key.clone()));
        end = Some(Bound::At(key));
    }
    let descending = asked.is_set("descending")?;
    let without_end = asked.text("inclusive_end") == Some("false");
    let (low, high) = if descending {
        (end, start)
    } else {
        (start, end)
    };
    let mut range = IdRange {
        descending,
        without_first: descending && without_end,
        without_last: !descending && without_end,
        ..IdRange::default()
    };
    match low {
        None | Some(Bound::Before) => {
            range.without_first = false;
        }
        Some(Bound::At(id)) => range.first = Some(id),
        Some(Bound::Behind) => return Ok(None),
    }
    match high {
        None | Some(Bound::Behind) => {}
        Some(Bound::At(id)) => range.last = Some(id),
        Some(Bound::Before) => return Ok(None),
    }
    Ok(Some(range))
}

/// What is still to be read.
enum From {
    Keys(VecDeque<Value>),
    Range {
        range: IdRange,
        limit: u64,
        skip: u64,
    },
}

/// Puts the answer together, a page at a time.
struct Lister {
    head: Option<String>,
    app: Arc<App>,
    db: DatabaseRecord,
    from: From,
    /// Keys and what was found under them.
    rows: VecDeque<(Value, Option<DocumentRow>)>,
    extras: Extras,
    include_docs: bool,
    begun: bool,
    over: bool,
}

impl Lister {
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        if self.over {
            return None;
        }
        let mut out = self.head.take().unwrap_or_default();
        while out.len() < PIECE {
            if self.rows.is_empty()
                && let Err(error) = self.fill().await
            {
                error.record();
                self.over = true;
                return Some(Err(std::io::Error::other("the documents cannot be read")));
            }
            let Some((key, row)) = self.rows.pop_front() else {
                self.over = true;
                out.push_str("\n]}\n");
                break;
            };
            if std::mem::replace(&mut self.begun, true) {
                out.push_str(",\n");
            }
            self.tell(&mut out, &key, row.as_ref()).await;
        }
        Some(Ok(out.into()))
    }

    async fn fill(&mut self) -> Result<(), ApiError> {
        let documents = &self.app.storage.documents;
        match &mut self.from {
            From::Keys(keys) => {
                let count = keys.len().min(PAGE as usize);
                let keys: Vec<Value> = keys.drain(..count).collect();
                let ids: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
                let found = documents
                    .documents(&self.db, &ids, self.include_docs)
                    .await?;
                self.rows = keys
                    .into_iter()
                    .map(|key| {
                        let row = key.as_str().and_then(|id| found.get(id)).cloned();
                        (key, row)
                    })
                    .collect();
            }
            From::Range { range, limit, skip } => {
                let count = PAGE.min(*limit);
                if count == 0 {
                    return Ok(());
                }
                let with_bodies = self.include_docs;
                let rows = documents.in_range(&self.db, range, count, *skip, with_bodies);
                let rows = rows.await?;
                *skip = 0;
                *limit -= count;
                if (rows.len() as u64) < count {
                    *limit = 0;
                }
                if let Some(last) = rows.last() {
                    // The next page begins behind this one.
                    let at = Some(last.id.clone());
                    if range.descending {
                        (range.last, range.without_last) = (at, true);
                    } else {
                        (range.first, range.without_first) = (at, true);
                    }
                }
                let rows = rows.into_iter();
                self.rows = rows
                    .map(|row| (Value::from(row.id.as_str()), Some(row)))
                    .collect();
            }
        }
        Ok(())
    }

    async fn tell(&self, out: &mut String, key: &Value, row: Option<&DocumentRow>) {
        let winner = row.and_then(|row| Some((row, row.tree.winner()?)));
        let Some((row, winner)) = winner else {
            out.push_str(&format!("{{\"key\":{key},\"error\":\"not_found\"}}"));
            return;
        };
        let (id, rev) = (quoted(&row.id), &winner.rev);
        let deleted = if winner.deleted {
            ",\"deleted\":true"
        } else {
            ""
        };
        let said = if !self.include_docs {
            String::new()
        } else if winner.deleted {
            ",\"doc\":null".to_owned()
        } else {
            let read = reading::winner(&self.app, &self.db, row, self.extras).await;
            let document = read.unwrap_or_else(|error| {
                error.record();
                None
            });
            format!(",\"doc\":{}", document.as_deref().unwrap_or("null"))
        };
        out.push_str(&format!(
            "{{\"id\":{id},\"key\":{id},\"value\":{{\"rev\":\"{rev}\"{deleted}}}{said}}}"
        ));
    }
}
