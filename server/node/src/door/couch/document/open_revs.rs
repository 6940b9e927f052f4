//! `open_revs`: several revisions of one document, as an array or in parts.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use kwaainet_storage::{Node, Rev};
use kwaainet_store::{DatabaseRecord, DocumentRow};

use crate::door::couch::asked::Asked;
use crate::door::couch::parts::{self, Message, related};
use crate::door::couch::render::Extras;
use crate::door::couch::{bad_request, reading};
use crate::door::{ApiError, App};

/// Revisions that one request asks for.
const OPEN_REVS_MAX: usize = 1_000;
/// And bytes of what they say.
const OPEN_REVS_BYTES_MAX: usize = 128 << 20;

/// Those that are wanted: `all`, or an array.
pub(super) async fn answer(
    app: &App,
    found: &DatabaseRecord,
    row: &DocumentRow,
    (wanted, asked): (&str, &Asked),
    headers: &HeaderMap,
    extras: Extras,
) -> Result<Response, ApiError> {
    let revs = open_revs(row, wanted, asked)?;
    match parts::wanted(headers, "multipart/mixed") {
        true => told_in_parts(app, found, row, revs, extras).await,
        false => told(app, found, row, revs, extras).await,
    }
}

/// The revisions that `open_revs` asks for, each with what is known here in its place.
fn open_revs<'a>(
    row: &'a DocumentRow,
    wanted: &str,
    asked: &Asked,
) -> Result<Vec<(Rev, Vec<&'a Node>)>, ApiError> {
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
    let found = revs.into_iter().map(|rev| {
        let nodes = reading::named(row, &rev, latest);
        (rev, nodes)
    });
    Ok(found.collect())
}

/// `[{"ok": …}, {"missing": …}]`.
async fn told(
    app: &App,
    db: &DatabaseRecord,
    row: &DocumentRow,
    revs: Vec<(Rev, Vec<&Node>)>,
    extras: Extras,
) -> Result<Response, ApiError> {
    let (mut said, mut bytes) = (Vec::new(), 0);
    for (rev, nodes) in revs {
        let mut is_here = false;
        for node in nodes {
            if let Some(document) = reading::revision(app, db, row, node, extras).await? {
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

/// The same as `multipart/mixed`, with what hangs on each.
async fn told_in_parts(
    app: &App,
    db: &DatabaseRecord,
    row: &DocumentRow,
    revs: Vec<(Rev, Vec<&Node>)>,
    extras: Extras,
) -> Result<Response, ApiError> {
    let mut message = Message::new("multipart/mixed");
    let mut bytes = 0;
    for (rev, nodes) in revs {
        let mut is_here = false;
        for node in nodes {
            let Some(said) = related(app, db, row, node, extras).await? else {
                continue;
            };
            is_here = true;
            bytes += said.add_to(&mut message, "");
            if bytes > OPEN_REVS_BYTES_MAX {
                return Err(bad_request("These open_revs are too large for one answer"));
            }
        }
        if !is_here {
            let said = format!("{{\"missing\":\"{rev}\"}}");
            message.json("", parts::MISSING, &said);
        }
    }
    Ok(message.answer(app.storage.documents.clone()))
}
