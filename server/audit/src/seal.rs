//! Entries at rest: a commitment for the tree, and a ciphertext for those who have the subject's key.

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use kwaainet_core::merkle::{Hash, leaf_hash};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{Action, AuditOutcome, BadEntry, Entry};

const SALT: usize = 32;
const NONCE: usize = 24;
const VERSION: u8 = 1;

/// The key of one subject. Whoever destroys it erases what the log says of him.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectKey(Zeroizing<[u8; 32]>);

impl SubjectKey {
    /// A new one.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn generate() -> Self {
        Self(Zeroizing::new(random()))
    }

    /// The one of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// To be kept.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey")
    }
}

/// An entry that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit entry was changed, or is sealed with another key")]
pub struct Unreadable;

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// What was done.
    pub action: Action,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// SHA-256 of a salt and of what is sealed.
    pub commitment: [u8; 32],
    /// Of the ciphertext.
    pub nonce: [u8; NONCE],
    /// The salt and what is sealed.
    pub ciphertext: Vec<u8>,
}

/// What was sealed.
#[derive(Clone, PartialEq, Deserialize)]
pub struct Opened {
    /// Who did it.
    pub actor: String,
    /// Whom it is about.
    pub subject: String,
    /// On what.
    pub resource: String,
    /// What else there is to say.
    pub details: Map<String, Value>,
    /// With these bytes anybody can see that the commitment is to this: a salt of 32 bytes, and JSON.
    #[serde(skip)]
    pub preimage: Vec<u8>,
}

/// Without what it says of people.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

impl Sealed {
    /// Seals an entry with its subject's key.
    ///
    /// # Errors
    /// When it says too much.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn seal(entry: &Entry, key: &SubjectKey) -> Result<Self, BadEntry> {
        let salt: [u8; SALT] = random();
        let preimage = [&salt[..], &entry.private()?].concat();
        let mut sealed = Self {
            at_ms: entry.at_ms,
            action: entry.action.clone(),
            outcome: entry.outcome,
            commitment: commit(&preimage),
            nonce: random(),
            ciphertext: Vec::new(),
        };
        let payload = Payload {
            msg: &preimage,
            aad: &sealed.leaf(),
        };
        let ciphertext = key.cipher().encrypt((&sealed.nonce).into(), payload);
        sealed.ciphertext = ciphertext.expect("so little can always be encrypted");
        Ok(sealed)
    }

    /// Opens it, and checks that it is what the tree commits to.
    ///
    /// # Errors
    /// When it is not, or the key is another.
    pub fn open(&self, key: &SubjectKey) -> Result<Opened, Unreadable> {
        let payload = Payload {
            msg: &self.ciphertext,
            aad: &self.leaf(),
        };
        let preimage = key.cipher().decrypt((&self.nonce).into(), payload);
        let preimage = preimage.map_err(|_| Unreadable)?;
        if preimage.len() < SALT || commit(&preimage) != self.commitment {
            return Err(Unreadable);
        }
        let opened: Opened = serde_json::from_slice(&preimage[SALT..]).map_err(|_| Unreadable)?;
        Ok(Opened { preimage, ..opened })
    }

    /// Its bytes in the Merkle tree: a version byte of 1, the time in milliseconds, the action after its length in one
    /// byte, the outcome in one byte (0 done, 1 denied, 2 failed), the commitment. Numbers begin with the most
    /// significant byte.
    pub fn leaf(&self) -> Vec<u8> {
        let action = self.action.as_str().as_bytes();
        let mut leaf = Vec::with_capacity(43 + action.len());
        leaf.push(VERSION);
        leaf.extend(self.at_ms.to_be_bytes());
        // No name of an action is longer than 64 bytes.
        leaf.push(action.len() as u8);
        leaf.extend(action);
        leaf.push(self.outcome as u8);
        leaf.extend(self.commitment);
        leaf
    }

    /// Of its leaf.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.leaf())
    }
}

fn commit(preimage: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"kwaainet audit commitment 1\0")
        .chain_update(preimage)
        .finalize()
        .into()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            at_ms: 5,
            action: Action::new("storage.document.read").expect("a name"),
            outcome: AuditOutcome::Done,
            actor: "owner".into(),
            subject: "key:somebody".into(),
            resource: "db/doc".into(),
            details: Map::from_iter([("count".to_owned(), Value::from(3))]),
        }
    }

    #[test]
    fn what_was_sealed_is_opened_with_its_key_alone() {
        let key = SubjectKey::generate();
        let sealed = Sealed::seal(&entry(), &key).expect("it is short");
        let opened = sealed.open(&key).expect("it is the key");
        assert_eq!(
            (opened.actor.as_str(), opened.subject.as_str()),
            ("owner", "key:somebody")
        );
        assert_eq!(opened.details["count"], 3);
        assert_eq!(commit(&opened.preimage), sealed.commitment);
        assert_eq!(sealed.open(&SubjectKey::generate()), Err(Unreadable));
        let again = SubjectKey::from_bytes(*key.as_bytes());
        assert_eq!(sealed.open(&again), Ok(opened));
        for change in [
            |sealed: &mut Sealed| sealed.at_ms += 1,
            |sealed: &mut Sealed| sealed.outcome = AuditOutcome::Denied,
            |sealed: &mut Sealed| sealed.commitment[0] ^= 1,
            |sealed: &mut Sealed| sealed.ciphertext[0] ^= 1,
            |sealed: &mut Sealed| sealed.nonce[0] ^= 1,
        ] {
            let mut changed = sealed.clone();
            change(&mut changed);
            assert_eq!(changed.open(&key), Err(Unreadable));
        }
    }

    #[test]
    fn nothing_of_it_can_be_seen_or_guessed_from_outside() {
        let key = SubjectKey::generate();
        let (one, other) = (Sealed::seal(&entry(), &key), Sealed::seal(&entry(), &key));
        let (one, other) = (one.expect("short"), other.expect("short"));
        // The same twice commits to something else, so a guess cannot be checked.
        assert_ne!(one.commitment, other.commitment);
        let seen = format!("{one:?} {:?} {:?}", entry(), one.open(&key))
            + &String::from_utf8_lossy(&one.leaf());
        assert!(!seen.contains("somebody"), "{seen}");
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for bad in ["", "Read", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(Action::new(bad), Err(BadEntry::Action), "{bad}");
        }
        let long = Entry {
            resource: "x".repeat(17 << 10),
            ..entry()
        };
        let sealed = Sealed::seal(&long, &SubjectKey::generate());
        assert_eq!(sealed, Err(BadEntry::TooLong));
    }
}
