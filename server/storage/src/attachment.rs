//! What hangs on a document: bytes with a name and a type, known by the digest of their content.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::Refused;

/// The attachments of one revision, by name.
pub type Attachments = BTreeMap<String, Attachment>;

/// What is known of an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its media type, as whoever sent it said.
    pub content_type: String,
    /// Names its content.
    pub digest: Digest,
    /// Bytes.
    pub length: u64,
    /// The generation in which it came.
    pub revpos: u64,
}

/// An attachment on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachmentDraft {
    /// With its bytes.
    Data {
        /// Its media type.
        content_type: String,
        /// Its content.
        bytes: Vec<u8>,
        /// Names it.
        digest: Digest,
        /// The generation in which it came, where the sender knows.
        revpos: Option<u64>,
    },
    /// The one that the revision before has under this name.
    Stub,
    /// Its bytes stand in another part of the message.
    Follows {
        /// Its media type.
        content_type: String,
        /// Bytes that will come.
        length: Option<u64>,
        /// Whether they are packed (gzip, RFC 1952).
        gzip: bool,
        /// What they will be.
        digest: Option<Digest>,
        /// The generation in which it came, where the sender knows.
        revpos: Option<u64>,
    },
}

impl AttachmentDraft {
    /// An attachment with these bytes.
    pub fn data(content_type: String, bytes: Vec<u8>, revpos: Option<u64>) -> Self {
        Self::Data {
            content_type,
            digest: Digest::of(&bytes),
            bytes,
            revpos,
        }
    }

    /// What is kept of it in a revision of this generation.
    ///
    /// # Errors
    /// [`Refused::MissingStub`] when it stands for what `before`, the revision it follows on, has not.
    pub fn settle(
        &self,
        name: &str,
        generation: u64,
        before: &Attachments,
    ) -> Result<Attachment, Refused> {
        match self {
            Self::Data {
                content_type,
                bytes,
                digest,
                revpos,
            } => Ok(Attachment {
                content_type: content_type.clone(),
                digest: digest.clone(),
                length: bytes.len() as u64,
                revpos: revpos.unwrap_or(generation),
            }),
            Self::Stub => {
                let known = before.get(name).cloned();
                known.ok_or_else(|| Refused::MissingStub(name.to_owned()))
            }
            Self::Follows { .. } => Err(Refused::MissingStub(name.to_owned())),
        }
    }
}

/// `md5-` and the base64 of an MD5, as CouchDB names contents. It finds equal contents of one database and
/// guards against accidents; against malice it is no guard, and nothing relies on it as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no digest")]
pub struct BadDigest;

impl Digest {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let base64 = data_encoding::BASE64.encode(&Md5::digest(bytes));
        Self(format!("md5-{base64}"))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let decoded = text
            .strip_prefix("md5-")
            .and_then(|base64| data_encoding::BASE64.decode(base64.as_bytes()).ok());
        match decoded {
            Some(bytes) if bytes.len() == 16 => Ok(Self(text.to_owned())),
            _ => Err(BadDigest),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;

    fn try_from(text: String) -> Result<Self, BadDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_couchdbs() {
        // RFC 1321, section A.5, in base64.
        assert_eq!(Digest::of(b"abc").as_str(), "md5-kAFQmDzST7DWlj99KOF/cg==");
        assert!("md5-kAFQmDzST7DWlj99KOF/cg==".parse::<Digest>().is_ok());
        for bad in ["", "md5-", "sha-kAFQmDzST7DWlj99KOF/cg==", "md5-AA=="] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stub_stands_for_what_was_there() {
        let data = AttachmentDraft::data("text/plain".into(), b"abc".to_vec(), None);
        let none = Attachments::new();
        let first = data.settle("a", 3, &none).expect("it has its bytes");
        assert_eq!((first.length, first.revpos), (3, 3));
        let before = Attachments::from([("a".to_owned(), first.clone())]);
        let settled = AttachmentDraft::Stub.settle("a", 4, &before);
        assert_eq!(settled, Ok(first));
        let missing = AttachmentDraft::Stub.settle("b", 4, &before);
        assert_eq!(missing, Err(Refused::MissingStub("b".into())));
    }
}
