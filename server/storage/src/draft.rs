//! A document as a client sends it, checked and taken apart. What begins with `_` is the protocol's, the
//! rest is the owner's and is kept as it came.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use md5::{Digest as _, Md5};
use serde_json::{Map, Value};

use crate::envelope::is_envelope;
use crate::{AttachmentDraft, Multipart, Rev, check_document_id, is_local};

/// A history may be longer elsewhere; so much of it is kept here.
const HISTORY_MAX: usize = 1_000;
const ATTACHMENT_NAME_BYTES_MAX: usize = 1_024;
const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// Of an attachment whose type nobody says.
const OCTETS: &str = "application/octet-stream";

/// How large a document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of what it says, as JSON and without its attachments.
    pub document_bytes: usize,
    /// Bytes of one attachment.
    pub attachment_bytes: usize,
    /// Attachments of one document.
    pub attachments: usize,
}

/// Why something is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDocument {
    /// It is no object.
    #[error("Document must be a JSON object")]
    NoObject,
    /// Its id is none.
    #[error(transparent)]
    Id(#[from] crate::BadName),
    /// A member of the protocol's has a wrong shape.
    #[error("Invalid value for {0}")]
    Member(&'static str),
    /// A member that begins with `_` and is none of the protocol's.
    #[error("Bad special document member: {0}")]
    Special(String),
    /// It is too large.
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// An attachment is not what was announced, or not readable.
    #[error("Attachment is malformed: {0}")]
    Attachment(&'static str),
}

/// A document on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Which document; empty if the sender leaves it to the node.
    pub id: String,
    /// What it follows on, or where it is replicated what it is.
    pub rev: Option<Rev>,
    /// The revision with its ancestors, newest first, where the sender gives them.
    pub history: Option<Vec<Rev>>,
    /// Whether it deletes the document.
    pub deleted: bool,
    /// What hangs on it.
    pub attachments: Vec<(String, AttachmentDraft)>,
    /// What it says: a JSON object without the protocol's members.
    pub body: String,
    /// A digest of what it says, the same however its members are ordered.
    pub content: [u8; 16],
    /// Whether what it says is an envelope and nothing else.
    pub is_envelope: bool,
}

impl Draft {
    /// Takes a document apart.
    ///
    /// # Errors
    /// [`BadDocument`] says what is wrong.
    pub fn parse(document: Value, limits: &Limits) -> Result<Self, BadDocument> {
        let Value::Object(members) = document else {
            return Err(BadDocument::NoObject);
        };
        let mut draft = Self::deletion(String::new(), None);
        draft.deleted = false;
        let mut revisions = None;
        let mut said = Map::new();
        for (name, value) in members {
            match name.as_str() {
                "_id" => draft.id = text(value, "_id")?,
                "_rev" => draft.rev = Some(rev(value, "_rev")?),
                "_deleted" => {
                    draft.deleted = value.as_bool().ok_or(BadDocument::Member("_deleted"))?;
                }
                "_revisions" => revisions = Some(value),
                "_attachments" => draft.attachments = attachments(value, limits)?,
                // What the node tells with a document and a client may send back.
                "_conflicts" | "_deleted_conflicts" | "_local_seq" | "_revs_info" => {}
                _ if name.starts_with('_') => return Err(BadDocument::Special(name)),
                _ => {
                    said.insert(name, value);
                }
            }
        }
        if let Some(revisions) = revisions {
            draft.history = Some(history(&revisions, draft.rev.as_ref())?);
        }
        if !draft.id.is_empty() && !is_local(&draft.id) {
            check_document_id(&draft.id)?;
        }
        draft.is_envelope = is_envelope(&said);
        let said = Value::Object(said);
        draft.content = content(&said);
        draft.body = said.to_string();
        if draft.body.len() > limits.document_bytes {
            return Err(BadDocument::TooLarge("The document"));
        }
        Ok(draft)
    }

    /// A tombstone that says nothing.
    pub fn deletion(id: String, rev: Option<Rev>) -> Self {
        Self {
            id,
            rev,
            history: None,
            deleted: true,
            attachments: Vec::new(),
            body: "{}".to_owned(),
            content: content(&Value::Object(Map::new())),
            is_envelope: false,
        }
    }

    /// Takes what follows from the other parts of the message, in the order in which they were announced.
    ///
    /// # Errors
    /// When there are fewer parts, or others, or one is too large.
    pub fn attach(
        &mut self,
        parts: &mut Multipart<'_>,
        limits: &Limits,
    ) -> Result<(), BadDocument> {
        for (_, attachment) in &mut self.attachments {
            let AttachmentDraft::Follows {
                content_type,
                length,
                gzip,
                digest,
                revpos,
            } = attachment
            else {
                continue;
            };
            let part = parts
                .next()
                .ok_or(BadDocument::Attachment("a part is missing"))?;
            if length.is_some_and(|length| length != part.body.len() as u64) {
                return Err(BadDocument::Attachment(
                    "a part is not as long as announced",
                ));
            }
            // What was packed is named by its packed bytes.
            let announced = digest.take();
            if announced.is_some_and(|announced| announced != crate::Digest::of(part.body)) {
                return Err(BadDocument::Attachment("a part is not what was announced"));
            }
            let bytes = match *gzip {
                true => unpack(part.body, limits.attachment_bytes)?,
                false => part.body.to_vec(),
            };
            if bytes.len() > limits.attachment_bytes {
                return Err(BadDocument::TooLarge("An attachment"));
            }
            let content_type = std::mem::take(content_type);
            *attachment = AttachmentDraft::data(content_type, bytes, *revpos);
        }
        Ok(())
    }

    /// What a revision takes besides what it says: bytes, about.
    pub const OVERHEAD: u64 = 128;

    /// Bytes that it adds to what is kept.
    pub fn bytes(&self) -> u64 {
        let attached = self.attachments.iter().map(|(_, attachment)| {
            if let AttachmentDraft::Data { bytes, .. } = attachment {
                bytes.len() as u64
            } else {
                0
            }
        });
        Self::OVERHEAD + self.body.len() as u64 + attached.sum::<u64>()
    }
}

fn text(value: Value, member: &'static str) -> Result<String, BadDocument> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(BadDocument::Member(member)),
    }
}

fn rev(value: Value, member: &'static str) -> Result<Rev, BadDocument> {
    let text = text(value, member)?;
    text.parse().map_err(|_| BadDocument::Member(member))
}

/// `{"start": 3, "ids": ["c", "b", "a"]}`.
fn history(revisions: &Value, rev: Option<&Rev>) -> Result<Vec<Rev>, BadDocument> {
    let wrong = || BadDocument::Member("_revisions");
    let start = revisions["start"].as_u64().ok_or_else(wrong)?;
    let ids = revisions["ids"].as_array().ok_or_else(wrong)?;
    if ids.is_empty() || ids.len() as u64 > start {
        return Err(wrong());
    }
    let ids = ids.iter().take(HISTORY_MAX).zip((1..=start).rev());
    let revs = ids.map(|(id, generation)| {
        let id = id.as_str().ok_or_else(wrong)?;
        Rev::new(generation, id).map_err(|_| wrong())
    });
    let revs = revs.collect::<Result<Vec<_>, _>>()?;
    if rev.is_some_and(|rev| *rev != revs[0]) {
        return Err(wrong());
    }
    Ok(revs)
}

fn attachments(
    value: Value,
    limits: &Limits,
) -> Result<Vec<(String, AttachmentDraft)>, BadDocument> {
    let Value::Object(members) = value else {
        return Err(BadDocument::Member("_attachments"));
    };
    if members.len() > limits.attachments {
        return Err(BadDocument::TooLarge("The number of attachments"));
    }
    let one = |(name, value): (String, Value)| {
        if name.is_empty() || name.len() > ATTACHMENT_NAME_BYTES_MAX || name.starts_with('_') {
            return Err(BadDocument::Attachment("its name cannot be used"));
        }
        Ok((name, attachment(value, limits)?))
    };
    members.into_iter().map(one).collect()
}

fn attachment(value: Value, limits: &Limits) -> Result<AttachmentDraft, BadDocument> {
    let Value::Object(mut members) = value else {
        return Err(BadDocument::Attachment("it is no object"));
    };
    let is_set = |members: &Map<String, Value>, name| members.get(name) == Some(&Value::Bool(true));
    let content_type = match members.remove("content_type") {
        Some(Value::String(text)) if is_header(&text) => text,
        None => OCTETS.to_owned(),
        Some(_) => return Err(BadDocument::Attachment("its content_type cannot be used")),
    };
    let revpos = members.get("revpos").and_then(Value::as_u64);
    if let Some(data) = members.remove("data") {
        let data = data.as_str().map(str::as_bytes);
        let bytes = data.and_then(|data| data_encoding::BASE64_MIME.decode(data).ok());
        let bytes = bytes.ok_or(BadDocument::Attachment("its data is no base64"))?;
        if bytes.len() > limits.attachment_bytes {
            return Err(BadDocument::TooLarge("An attachment"));
        }
        return Ok(AttachmentDraft::data(content_type, bytes, revpos));
    }
    if is_set(&members, "follows") {
        let gzip = match members.get("encoding") {
            None => false,
            Some(Value::String(word)) if word == "gzip" => true,
            Some(_) => return Err(BadDocument::Attachment("its encoding is not supported")),
        };
        let length = if gzip { "encoded_length" } else { "length" };
        let digest = members.get("digest").and_then(Value::as_str);
        return Ok(AttachmentDraft::Follows {
            content_type,
            length: members.get(length).and_then(Value::as_u64),
            gzip,
            digest: digest.and_then(|digest| digest.parse().ok()),
            revpos,
        });
    }
    if is_set(&members, "stub") {
        return Ok(AttachmentDraft::Stub);
    }
    Err(BadDocument::Attachment("it has neither data nor stub"))
}

/// What was packed, if it is no more than so many bytes: a few packed ones may be any number of others.
fn unpack(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, BadDocument> {
    let mut bytes = Vec::new();
    let mut unpacked = MultiGzDecoder::new(packed).take(bytes_max as u64 + 1);
    let read = unpacked.read_to_end(&mut bytes);
    read.map_err(|_| BadDocument::Attachment("a part is not packed as announced"))?;
    Ok(bytes)
}

/// Whether a text may be said in a header.
fn is_header(text: &str) -> bool {
    let is_sound = |byte: u8| (b' '..=b'~').contains(&byte);
    (1..=CONTENT_TYPE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_sound)
}

/// A digest that does not depend on the order of members.
fn content(value: &Value) -> [u8; 16] {
    let mut md5 = Md5::new();
    feed(value, &mut md5);
    md5.finalize().into()
}

fn feed(value: &Value, md5: &mut Md5) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<_> = members.iter().collect();
            names.sort_unstable_by_key(|(name, _)| *name);
            md5.update(b"{");
            for (name, value) in names {
                feed_text(name, md5);
                feed(value, md5);
            }
            md5.update(b"}");
        }
        Value::Array(items) => {
            md5.update(b"[");
            items.iter().for_each(|item| feed(item, md5));
            md5.update(b"]");
        }
        Value::String(text) => feed_text(text, md5),
        other => {
            md5.update(other.to_string());
            md5.update(b",");
        }
    }
}

fn feed_text(text: &str, md5: &mut Md5) {
    md5.update(b"\"");
    md5.update((text.len() as u64).to_be_bytes());
    md5.update(text);
}

#[cfg(test)]
mod tests;
