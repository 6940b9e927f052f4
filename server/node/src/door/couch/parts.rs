//! Answers in parts (RFC 2046, section 5.1; RFC 2387): a document, and behind it the bytes of what hangs on it, as they
//! are and never whole in memory.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use kwaainet_core::random_id;
use kwaainet_storage::{Attachments, Node};
use kwaainet_store::{Content, DatabaseRecord, DocumentRow, DocumentStore};

use super::reading;
use super::render::Extras;
use crate::door::{ApiError, App};

/// Whether a request would rather have an answer in parts: its `Accept` names the type, and JSON not before it.
pub(super) fn wanted(headers: &HeaderMap, kind: &str) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let ranges = accepts.filter_map(|value| value.to_str().ok());
    let mut ranges = ranges.flat_map(|value| value.split(',')).map(|range| {
        let essence = range.split(';').next().unwrap_or("");
        essence.trim().to_ascii_lowercase()
    });
    let known = ranges.find(|range| range == kind || range == "application/json");
    known.is_some_and(|known| known == kind)
}

/// The type of a part that says that something is not here.
pub(super) const MISSING: &str = "application/json; error=\"true\"";

/// A revision, as JSON where nothing hangs on it.
pub(super) enum Told {
    Json(String),
    Parts(Message),
}

/// A revision with what hangs on it as `multipart/related`; none if what it says is not here.
pub(super) async fn related(
    app: &App,
    db: &DatabaseRecord,
    row: &DocumentRow,
    node: &Node,
    extras: Extras,
) -> Result<Option<Told>, ApiError> {
    let said = reading::with_parts(app, db, row, node, extras).await?;
    let Some((said, attachments)) = said else {
        return Ok(None);
    };
    if attachments.is_empty() {
        return Ok(Some(Told::Json(said)));
    }
    let mut message = Message::new("multipart/related");
    message.json("", "application/json", &said);
    message.contents(app, db, &attachments).await?;
    Ok(Some(Told::Parts(message)))
}

impl Told {
    /// Makes it a part of a message; about how many bytes it has in memory.
    pub(super) fn add_to(self, message: &mut Message, headers: &str) -> usize {
        let before = message.bytes();
        match self {
            Self::Json(said) => message.json(headers, "application/json", &said),
            Self::Parts(inner) => message.message(headers, inner),
        }
        message.bytes() - before
    }
}

/// A message that grows by parts.
pub(super) struct Message {
    kind: &'static str,
    boundary: String,
    pieces: VecDeque<Piece>,
}

enum Piece {
    Words(String),
    /// Bytes of a content.
    Content(Content, Range<u64>),
}

impl Message {
    /// Without parts, of this type.
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            boundary: random_id(),
            pieces: VecDeque::new(),
        }
    }

    /// Its content type.
    pub(super) fn content_type(&self) -> String {
        format!("{}; boundary=\"{}\"", self.kind, self.boundary)
    }

    /// A part that is JSON.
    pub(super) fn json(&mut self, headers: &str, kind: &str, said: &str) {
        let boundary = &self.boundary;
        self.words(format!(
            "--{boundary}\r\n{headers}Content-Type: {kind}\r\n\r\n{said}\r\n"
        ));
    }

    /// A part that is another message.
    pub(super) fn message(&mut self, headers: &str, inner: Self) {
        let (boundary, kind) = (&self.boundary, inner.content_type());
        self.words(format!(
            "--{boundary}\r\n{headers}Content-Type: {kind}\r\n\r\n"
        ));
        self.pieces.extend(inner.ended().pieces);
        self.words("\r\n".to_owned());
    }

    /// Parts with what hangs on a document.
    pub(super) async fn contents(
        &mut self,
        app: &App,
        db: &DatabaseRecord,
        attachments: &Attachments,
    ) -> Result<(), ApiError> {
        for (name, attachment) in attachments {
            let found = app.storage.documents.attachment(db, &attachment.digest);
            let gone = || ApiError::internal("what hangs on a document is not in the database");
            let content = found.await?.ok_or_else(gone)?;
            let length = content.length;
            let (boundary, kind) = (&self.boundary, &attachment.content_type);
            let name = in_header(name);
            self.words(format!(
                "--{boundary}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
                 Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
            ));
            self.pieces.push_back(Piece::Content(content, 0..length));
            self.words("\r\n".to_owned());
        }
        Ok(())
    }

    /// The same with its end.
    pub(super) fn ended(mut self) -> Self {
        let end = format!("--{}--", self.boundary);
        self.words(end);
        self
    }

    /// Sends it, with its end.
    pub(super) fn answer(self, documents: DocumentStore) -> Response {
        let kind = HeaderValue::from_str(&self.content_type()).expect("letters fit a header");
        let begin = (documents, self.ended());
        let body = stream::try_unfold(begin, |(documents, mut message)| async {
            let piece = message.next(&documents).await?;
            Ok::<_, io::Error>(piece.map(|piece| (piece, (documents, message))))
        });
        ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
    }

    /// The next bytes of what is there by now; none if there is nothing.
    pub(super) async fn next(&mut self, documents: &DocumentStore) -> io::Result<Option<Bytes>> {
        while let Some(piece) = self.pieces.pop_front() {
            let (content, range) = match piece {
                Piece::Words(words) => return Ok(Some(words.into())),
                Piece::Content(_, range) if range.is_empty() => continue,
                Piece::Content(content, range) => (content, range),
            };
            let bytes = documents.attachment_piece(&content, range.clone()).await;
            let bytes = bytes.map_err(io::Error::other)?;
            if bytes.is_empty() {
                // It was purged meanwhile; the length that was announced is not kept.
                return Err(io::Error::other("an attachment is gone"));
            }
            let rest = range.start + bytes.len() as u64..range.end;
            self.pieces.push_front(Piece::Content(content, rest));
            return Ok(Some(bytes.into()));
        }
        Ok(None)
    }

    /// Those in memory.
    fn bytes(&self) -> usize {
        let words = self.pieces.iter().map(|piece| match piece {
            Piece::Words(words) => words.len(),
            Piece::Content(..) => 0,
        });
        words.sum()
    }

    fn words(&mut self, words: String) {
        self.pieces.push_back(Piece::Words(words));
    }
}

/// A name as it can stand in a header. The order of parts says which is which.
pub(super) fn in_header(name: &str) -> String {
    let sound = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '"' && c != '\\';
    name.chars()
        .map(|c| if sound(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_for_who_names_them_first() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a header"));
            wanted(&headers, "multipart/mixed")
        };
        assert!(wants("multipart/mixed"));
        assert!(wants("text/plain, Multipart/Mixed;q=0.9, application/json"));
        assert!(!wants("application/json, multipart/mixed"));
        assert!(!wants("multipart/related"));
        assert!(!wants("*/*"));
        assert!(!wanted(&HeaderMap::new(), "multipart/mixed"));
    }

    #[test]
    fn no_name_breaks_out_of_its_header() {
        assert_eq!(in_header("a b\"\\\r\nü.txt"), "a b_____.txt");
    }
}
