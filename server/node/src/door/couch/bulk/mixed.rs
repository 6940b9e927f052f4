//! `_bulk_get` in parts: each revision one of `multipart/mixed`, with what hangs on it.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use kwaainet_store::DocumentRow;
use serde_json::json;

use super::{OneOf, Reader};
use crate::door::couch::parts::{MISSING, Message, in_header, related};
use crate::door::couch::reading;

/// Sends what a reader reads.
pub(super) fn answer(reader: Reader) -> Response {
    let message = Message::new("multipart/mixed");
    let kind = message.content_type();
    let begin = (reader, Some(message));
    let body = stream::try_unfold(begin, |(mut reader, message)| async {
        let Some(mut message) = message else {
            return Ok(None);
        };
        if let Some(bytes) = next(&mut reader, &mut message).await? {
            return Ok(Some((bytes, (reader, Some(message)))));
        }
        let end = message.ended().next(&reader.app.storage.documents).await?;
        Ok::<_, io::Error>(end.map(|end| (end, (reader, None))))
    });
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
}

/// The next bytes; none at the end of what is wanted.
async fn next(reader: &mut Reader, message: &mut Message) -> io::Result<Option<Bytes>> {
    loop {
        if let Some(bytes) = message.next(&reader.app.storage.documents).await? {
            return Ok(Some(bytes));
        }
        if reader.rows.is_empty() && !reader.left.is_empty() {
            reader.fill().await;
        }
        let Some((one, row)) = reader.rows.pop_front() else {
            return Ok(None);
        };
        tell(reader, message, &one, row.as_ref()).await;
    }
}

async fn tell(reader: &Reader, message: &mut Message, one: &OneOf, row: Option<&DocumentRow>) {
    let id = in_header(&one.id);
    let mut is_here = false;
    if let Some(row) = row {
        let nodes = match &one.rev {
            Some(rev) => reading::named(row, rev, reader.latest),
            None => row.tree.leaves(),
        };
        for node in nodes {
            match related(&reader.app, &reader.db, row, node, reader.extras).await {
                Ok(Some(told)) => {
                    is_here = true;
                    let headers = format!("X-Doc-Id: {id}\r\nX-Rev-Id: {}\r\n", node.rev);
                    told.add_to(message, &headers);
                }
                Ok(None) => {}
                Err(error) => error.record(),
            }
        }
    }
    if !is_here {
        let rev = one.rev.as_ref().map(ToString::to_string);
        let rev = rev.unwrap_or_else(|| "undefined".to_owned());
        let said = json!({"id": one.id, "rev": rev, "error": "not_found", "reason": "missing"});
        let headers = format!("X-Doc-Id: {id}\r\n");
        message.json(&headers, MISSING, &said.to_string());
    }
}
