//! Signed notes: text with a signature under it that a person can read (C2SP, "Note"), as transparency logs sign
//! their checkpoints.
//!
//! A note begins with its own text and never as an envelope does, so neither can be taken for the other.

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::Signature;
use kwaainet_core::NodeId;
use sha2::{Digest, Sha256};

use crate::key::{NodeKey, verify};

/// Says "an Ed25519 signature of the text".
const ED25519: u8 = 1;
/// Signature lines that are looked at.
const SIGNATURES_MAX: usize = 16;

/// Why a note is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// Not the text of one.
    #[error("this is no signed note")]
    Malformed,
    /// The signer's key is not under it.
    #[error("the note is not signed by this key")]
    Unsigned,
    /// Somebody changed it.
    #[error("the note's signature is not good")]
    Signature,
}

/// Signs a text, which has to end with a line feed, under a key's name.
///
/// # Panics
/// When the text does not end so, or the name has a space, a plus or nothing in it.
pub fn sign_note(key: &NodeKey, name: &str, text: &str) -> String {
    assert!(text.ends_with('\n'), "notes are lines");
    assert!(is_name(name), "names of keys have no spaces");
    let signature = key.sign(text.as_bytes()).to_bytes();
    let signed = [&key_id(name, key.id())[..], &signature].concat();
    format!("{text}\n\u{2014} {name} {}\n", BASE64.encode(&signed))
}

/// The text of a note that this node signed under this name.
///
/// # Errors
/// When it did not, or the text was changed.
pub fn open_note<'a>(note: &'a str, name: &str, node: NodeId) -> Result<&'a str, BadNote> {
    let end = note.rfind("\n\n").ok_or(BadNote::Malformed)? + 1;
    let (text, signatures) = (&note[..end], &note[end + 1..]);
    let signatures = signatures.strip_suffix('\n').ok_or(BadNote::Malformed)?;
    let known = key_id(name, node);
    for line in signatures.split('\n').take(SIGNATURES_MAX) {
        let line = line.strip_prefix("\u{2014} ").ok_or(BadNote::Malformed)?;
        let (signer, signed) = line.split_once(' ').ok_or(BadNote::Malformed)?;
        let signed = BASE64.decode(signed.as_bytes());
        let signed = signed.map_err(|_| BadNote::Malformed)?;
        let Some((id, signature)) = signed.split_first_chunk::<4>() else {
            return Err(BadNote::Malformed);
        };
        if signer != name || *id != known {
            continue;
        }
        let signature = Signature::from_slice(signature).map_err(|_| BadNote::Signature)?;
        return match verify(node, text.as_bytes(), &signature) {
            Some(()) => Ok(text),
            None => Err(BadNote::Signature),
        };
    }
    Err(BadNote::Unsigned)
}

/// A node's key as those who check notes are told it.
pub fn note_key(name: &str, node: NodeId) -> String {
    let id = HEXLOWER.encode(&key_id(name, node));
    let public = [&[ED25519][..], &node.0].concat();
    format!("{name}+{id}+{}", BASE64.encode(&public))
}

fn key_id(name: &str, node: NodeId) -> [u8; 4] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(node.0)
        .finalize()
        .into();
    let (id, _) = digest.split_first_chunk().expect("32 are more than 4");
    *id
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "example.org/log";
    const TEXT: &str = "example.org/log\n1\n\nsomething\n";

    /// A note and its key from the documentation of Go's own package (golang.org/x/mod/sumdb/note, BSD-3-Clause).
    #[test]
    fn a_note_that_others_signed_is_good() {
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let note = "If you think cryptography is the answer to your problem,\nthen you don't know what \
                    your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let mut parts = key.split('+');
        let (name, id) = (parts.next().expect("a name"), parts.next().expect("an id"));
        let public = BASE64.decode(parts.next().expect("a key").as_bytes());
        let public = public.expect("base64");
        let node = NodeId(public[1..].try_into().expect("32 bytes"));
        assert_eq!(HEXLOWER.encode(&key_id(name, node)), id);
        assert_eq!(note_key(name, node), key);
        let text = open_note(note, name, node).expect("it is good");
        assert!(text.ends_with("problem is.\n"));
    }

    #[test]
    fn only_the_text_that_was_signed_is_good() {
        let key = NodeKey::generate();
        let note = sign_note(&key, NAME, TEXT);
        assert_eq!(open_note(&note, NAME, key.id()), Ok(TEXT));
        let other = NodeKey::generate().id();
        assert_eq!(open_note(&note, NAME, other), Err(BadNote::Unsigned));
        assert_eq!(open_note(&note, "else", key.id()), Err(BadNote::Unsigned));
        let changed = note.replace("something", "somethinG");
        assert_eq!(open_note(&changed, NAME, key.id()), Err(BadNote::Signature));
        for bad in [TEXT, "", "\n\n", &note[..note.len() - 1]] {
            assert_eq!(open_note(bad, NAME, key.id()), Err(BadNote::Malformed));
        }
    }

    #[test]
    fn signatures_of_others_are_passed_over() {
        let (key, other) = (NodeKey::generate(), NodeKey::generate());
        let (own, foreign) = (sign_note(&key, NAME, TEXT), sign_note(&other, NAME, TEXT));
        let line = &foreign[TEXT.len() + 1..];
        let both = own.replace("\n\n\u{2014}", &format!("\n\n{line}\u{2014}"));
        assert_eq!(open_note(&both, NAME, key.id()), Ok(TEXT));
        assert_eq!(open_note(&both, NAME, other.id()), Ok(TEXT));
    }
}
