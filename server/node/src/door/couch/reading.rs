//! Fetches what a document says, and what hangs on it where that is wanted.

use kwaainet_storage::{Attachments, Node, Rev};
use kwaainet_store::{Body, DatabaseRecord, DocumentRow};

use super::asked::Asked;
use super::render::{self, Contents, Extras, Hanging};
use crate::door::{ApiError, App, body};

/// Bytes of contents that are put into one document.
const INLINE_BYTES_MAX: u64 = 128 << 20;

impl Extras {
    /// What a query asks for.
    pub(super) fn asked(asked: &Asked) -> Result<Self, ApiError> {
        let meta = asked.is_set("meta")?;
        Ok(Self {
            revs: asked.is_set("revs")?,
            revs_info: meta || asked.is_set("revs_info")?,
            conflicts: meta || asked.is_set("conflicts")?,
            deleted_conflicts: meta || asked.is_set("deleted_conflicts")?,
            local_seq: asked.is_set("local_seq")?,
            attachments: asked.is_set("attachments")?,
        })
    }
}

/// A revision as the protocol has it; none if what it says is not here.
pub(super) async fn revision(
    app: &App,
    db: &DatabaseRecord,
    row: &DocumentRow,
    node: &Node,
    extras: Extras,
) -> Result<Option<String>, ApiError> {
    let Some(body) = body_of(app, db, row, node).await? else {
        return Ok(None);
    };
    said(app, db, row, node, &body, extras).await.map(Some)
}

/// The same with what hangs on it in parts of their own, which are named in their order.
pub(super) async fn with_parts(
    app: &App,
    db: &DatabaseRecord,
    row: &DocumentRow,
    node: &Node,
    extras: Extras,
) -> Result<Option<(String, Attachments)>, ApiError> {
    let body = body_of(app, db, row, node).await?;
    Ok(body.map(|body| {
        let tree = (&row.tree, row.seq);
        let said = render::document(&row.id, node, &body, extras, tree, &Hanging::Follows);
        (said, body.attachments)
    }))
}

/// What a revision says; none if that is not here.
async fn body_of(
    app: &App,
    db: &DatabaseRecord,
    row: &DocumentRow,
    node: &Node,
) -> Result<Option<Body>, ApiError> {
    let winner = row.tree.winner();
    let is_winner = winner.is_some_and(|winner| winner.rev == node.rev);
    Ok(match (&row.body, node.body) {
        (Some(body), _) if is_winner => Some(body.clone()),
        (_, Some(number)) => {
            let mut found = app.storage.documents.bodies(db, row, &[number]).await?;
            found.remove(&number)
        }
        (_, None) => None,
    })
}

/// What the winner says, which must have been read with its row.
pub(super) async fn winner(
    app: &App,
    db: &DatabaseRecord,
    row: &DocumentRow,
    extras: Extras,
) -> Result<Option<String>, ApiError> {
    match row.tree.winner() {
        Some(winner) => revision(app, db, row, winner, extras).await,
        None => Ok(None),
    }
}

/// The winner with what hangs on it; none of a deleted document.
pub(crate) async fn whole_document(
    app: &App,
    db: &DatabaseRecord,
    row: &DocumentRow,
) -> Result<Option<String>, ApiError> {
    let extras = Extras {
        attachments: true,
        ..Extras::default()
    };
    winner(app, db, row, extras).await
}

async fn said(
    app: &App,
    db: &DatabaseRecord,
    row: &DocumentRow,
    node: &Node,
    kept: &Body,
    extras: Extras,
) -> Result<String, ApiError> {
    let inline = if extras.attachments {
        let lengths = kept
            .attachments
            .values()
            .map(|attachment| attachment.length);
        lengths.sum::<u64>()
    } else {
        0
    };
    // What is put together here and what comes in share one bound on memory.
    let place = inline.min(app.storage.body_bytes_max as u64) as usize;
    let _place = body::place(&app.storage.bodies, place).await?;
    let contents = if inline > 0 {
        contents(app, db, kept).await?
    } else {
        Contents::new()
    };
    let tree = (&row.tree, row.seq);
    let hanging = Hanging::Inline(contents);
    Ok(render::document(
        &row.id, node, kept, extras, tree, &hanging,
    ))
}

async fn contents(app: &App, db: &DatabaseRecord, body: &Body) -> Result<Contents, ApiError> {
    let mut contents = Contents::new();
    let mut left = INLINE_BYTES_MAX;
    for attachment in body.attachments.values() {
        if contents.contains_key(&attachment.digest) || attachment.length > left {
            continue;
        }
        left -= attachment.length;
        if let Some(bytes) = whole(app, db, &attachment.digest).await? {
            let base64 = data_encoding::BASE64.encode(&bytes);
            contents.insert(attachment.digest.clone(), base64);
        }
    }
    Ok(contents)
}

/// A content in memory.
async fn whole(
    app: &App,
    db: &DatabaseRecord,
    digest: &kwaainet_storage::Digest,
) -> Result<Option<Vec<u8>>, ApiError> {
    let documents = &app.storage.documents;
    let Some(content) = documents.attachment(db, digest).await? else {
        return Ok(None);
    };
    let length = content.length;
    let mut bytes = Vec::with_capacity(length as usize);
    while (bytes.len() as u64) < length {
        let at = bytes.len() as u64;
        let piece = documents.attachment_piece(&content, at..length).await?;
        if piece.is_empty() {
            return Ok(None);
        }
        bytes.extend(piece);
    }
    Ok(Some(bytes))
}

/// The revision that a request names, or with `latest` what followed on it.
pub(super) fn named<'a>(row: &'a DocumentRow, rev: &Rev, latest: bool) -> Vec<&'a Node> {
    if latest {
        row.tree.latest_of(rev)
    } else {
        row.tree.find(rev).into_iter().collect()
    }
}
