//! Seals what a database says before it goes to the disk, and opens it again. One random key for each database;
//! who may have that key is for [`SharingKey`](crate::SharingKey).
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) with a random nonce for each text, which is bound to its place: the
//! database, and the revision, the piece of an attachment or the local document that it is. What was moved from one
//! place to another does not open.

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

use crate::{Digest, Rev};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// What keys are derived for (BLAKE3's key derivation mode).
const CONTENT: &str = "kwaainet 2026-11 storage: what databases say";
const NAMES: &str = "kwaainet 2026-11 storage: names of attachments";

/// What was sealed does not open: another key, another place, or changed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is sealed does not open with this key")]
pub struct Unopened;

/// The key of one database: 32 random bytes. Never printed; kept only wrapped.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// A new one.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn generate() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).expect("the operating system gives random bytes");
        Self(key)
    }

    pub(crate) fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

/// Where something sealed lies in its database.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// What a revision of a document says, with the list of what hangs on it.
    Revision {
        /// The document's id.
        document: &'a str,
        /// The revision.
        rev: &'a Rev,
    },
    /// A piece of an attachment.
    Piece {
        /// The attachment's.
        digest: &'a Digest,
        /// Which piece, from 0.
        n: u64,
    },
    /// What a local document says.
    Local {
        /// Its id.
        id: &'a str,
        /// Its revision.
        rev: i64,
    },
}

impl Place<'_> {
    /// Names the place within a database; no two places have the same name.
    fn name(self, database: &str) -> Vec<u8> {
        let mut name = Vec::with_capacity(128);
        let mut text = |text: &str| {
            name.extend((text.len() as u64).to_be_bytes());
            name.extend(text.as_bytes());
        };
        text(database);
        let number = match self {
            Self::Revision { document, rev } => {
                text("revision");
                text(document);
                text(rev.hash());
                rev.generation()
            }
            Self::Piece { digest, n } => {
                text("piece");
                text(digest.as_str());
                n
            }
            Self::Local { id, rev } => {
                text("local");
                text(id);
                rev as u64
            }
        };
        name.extend(number.to_be_bytes());
        name
    }
}

/// Seals and opens for one database.
#[derive(Clone)]
pub struct Seal {
    key: DataKey,
    content: Zeroizing<[u8; 32]>,
    names: Zeroizing<[u8; 32]>,
    database: String,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({})", self.database)
    }
}

impl Seal {
    /// Bytes that a sealed text has more than the text.
    pub const OVERHEAD: usize = 1 + NONCE_BYTES + TAG_BYTES;

    /// With the key of the database that has this UUID.
    pub fn new(key: DataKey, database: &str) -> Self {
        Self {
            content: Zeroizing::new(blake3::derive_key(CONTENT, key.bytes())),
            names: Zeroizing::new(blake3::derive_key(NAMES, key.bytes())),
            key,
            database: database.to_owned(),
        }
    }

    /// The database's key, to be wrapped for whom else may open it.
    pub fn key(&self) -> &DataKey {
        &self.key
    }

    /// Seals bytes for a place: a version, a nonce, the ciphertext with its tag.
    ///
    /// # Panics
    /// When the operating system gives no randomness, or there are more bytes than fit into memory.
    pub fn seal(&self, place: Place<'_>, bytes: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
        let name = place.name(&self.database);
        let payload = Payload {
            msg: bytes,
            aad: &name,
        };
        let ciphertext = self.cipher().encrypt(&nonce.into(), payload);
        let ciphertext = ciphertext.expect("what is in memory is short enough");
        let mut sealed = Vec::with_capacity(bytes.len() + Self::OVERHEAD);
        sealed.push(VERSION);
        sealed.extend(nonce);
        sealed.extend(ciphertext);
        sealed
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    /// When it was not, or was changed since.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(Unopened)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Unopened)?;
        let name = place.name(&self.database);
        let payload = Payload {
            msg: ciphertext,
            aad: &name,
        };
        let opened = self.cipher().decrypt(&(*nonce).into(), payload);
        opened.map_err(|_| Unopened)
    }

    /// Names a content without telling which it is: equal contents of one database have one name, and nobody without
    /// the key can say whether a content that he knows is among them.
    pub fn name(&self, digest: &Digest) -> String {
        let hash = blake3::keyed_hash(&self.names, digest.as_str().as_bytes());
        hash.to_hex().to_string()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.content).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rev(text: &str) -> Rev {
        text.parse().expect("it is a revision")
    }

    #[test]
    fn only_the_same_key_and_place_open_and_only_unchanged_bytes() {
        let key = DataKey::generate();
        let seal = Seal::new(key.clone(), "db");
        let (one, two) = (rev("1-a"), rev("2-a"));
        let digest = Digest::of(b"abc");
        let place = Place::Revision {
            document: "a",
            rev: &one,
        };
        let sealed = seal.seal(place, b"words");
        assert_eq!(sealed.len(), 5 + Seal::OVERHEAD);
        assert_ne!(sealed, seal.seal(place, b"words"), "a nonce for each");
        assert_eq!(
            Seal::new(key.clone(), "db").open(place, &sealed),
            Ok(b"words".to_vec())
        );
        let elsewhere = [
            Place::Revision {
                document: "b",
                rev: &one,
            },
            Place::Revision {
                document: "a",
                rev: &two,
            },
            Place::Piece {
                digest: &digest,
                n: 1,
            },
            Place::Local { id: "a", rev: 1 },
        ];
        for place in elsewhere {
            assert_eq!(seal.open(place, &sealed), Err(Unopened), "{place:?}");
        }
        assert_eq!(Seal::new(key, "other").open(place, &sealed), Err(Unopened));
        let other = Seal::new(DataKey::generate(), "db");
        assert_eq!(other.open(place, &sealed), Err(Unopened));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open(place, &changed), Err(Unopened), "byte {at}");
            assert_eq!(seal.open(place, &sealed[..at]), Err(Unopened));
        }
    }

    #[test]
    fn a_content_has_one_name_in_a_database_that_says_nothing() {
        let digest = Digest::of(b"abc");
        let (one, two) = (DataKey::generate(), DataKey::generate());
        let (one, two) = (Seal::new(one, "db"), Seal::new(two, "db"));
        assert_eq!(one.name(&digest), one.name(&Digest::of(b"abc")));
        assert_ne!(one.name(&digest), one.name(&Digest::of(b"abd")));
        assert_ne!(one.name(&digest), two.name(&digest));
        assert_eq!(format!("{one:?} {:?}", one.key()), "Seal(db) DataKey");
    }
}
