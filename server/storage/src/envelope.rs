//! The envelope of an encrypted document, as far as a node that cannot open it may judge: its shape. The
//! client in `clients/js/storage` makes and opens it.

use serde_json::{Map, Value};

/// XChaCha20's nonce in bytes.
const NONCE_BYTES: usize = 24;
/// Poly1305's tag in bytes; no ciphertext is shorter.
const TAG_BYTES: usize = 16;
const KEY_ID_BYTES_MAX: usize = 64;

/// Whether a document without the protocol's members is an envelope and holds nothing beside it:
/// `{"v": 1, "alg": "XC20P", "kid": …, "epoch": …, "parent": … or null, "nonce": …, "ct": …}`, texts of
/// bytes in base64url without padding (RFC 4648, section 5).
pub fn is_envelope(document: &Map<String, Value>) -> bool {
    let bytes = |name: &str| {
        let text = document.get(name)?.as_str()?;
        data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()
    };
    let kid = document.get("kid").and_then(Value::as_str);
    let kid_is_sound = kid.is_some_and(|kid| {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=KEY_ID_BYTES_MAX).contains(&kid.len()) && kid.bytes().all(is_word)
    });
    let parent_is_sound = match document.get("parent") {
        Some(Value::Null) => true,
        Some(Value::String(rev)) => rev.parse::<crate::Rev>().is_ok(),
        _ => false,
    };
    document.len() == 7
        && document.get("v").and_then(Value::as_u64) == Some(1)
        && document.get("alg").and_then(Value::as_str) == Some("XC20P")
        && document.get("epoch").is_some_and(Value::is_u64)
        && kid_is_sound
        && parent_is_sound
        && bytes("nonce").is_some_and(|nonce| nonce.len() == NONCE_BYTES)
        && bytes("ct").is_some_and(|ct| ct.len() > TAG_BYTES)
}

/// What replicating clients write of how far they came (PouchDB's and CouchDB's checkpoints).
const CHECKPOINT: [&str; 20] = [
    "bulk_get_attempts",
    "bulk_get_docs",
    "doc_write_failures",
    "docs_read",
    "docs_written",
    "end_last_seq",
    "end_time",
    "history",
    "last_seq",
    "missing_checked",
    "missing_found",
    "recorded_seq",
    "replication_id_version",
    "replicator",
    "session_id",
    "source_last_seq",
    "start_last_seq",
    "start_time",
    "target",
    "version",
];
const WORD_BYTES_MAX: usize = 128;
const HISTORY_MAX: usize = 100;

/// Whether a local document is a checkpoint of a replication and holds nothing beside it: the one thing in the
/// clear that an encrypted database keeps.
pub fn is_checkpoint(document: &Map<String, Value>) -> bool {
    let is_plain = |value: &Value| match value {
        Value::String(text) => text.len() <= WORD_BYTES_MAX,
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        _ => false,
    };
    let is_entry = |value: &Value| {
        let members = value.as_object();
        members.is_some_and(|members| {
            let mut members = members.iter();
            members.all(|(name, value)| CHECKPOINT.contains(&name.as_str()) && is_plain(value))
        })
    };
    document.iter().all(|(name, value)| {
        let is_known = CHECKPOINT.contains(&name.as_str());
        is_known
            && match value {
                Value::Array(entries) => {
                    entries.len() <= HISTORY_MAX && entries.iter().all(is_entry)
                }
                other => is_plain(other),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_an_envelope_is_one() {
        let nonce = data_encoding::BASE64URL_NOPAD.encode(&[7; 24]);
        let ct = data_encoding::BASE64URL_NOPAD.encode(&[9; 17]);
        let sound = json!({"v": 1, "alg": "XC20P", "kid": "k-1", "epoch": 0, "parent": null,
            "nonce": nonce, "ct": ct});
        let is = |value: &Value| is_envelope(value.as_object().expect("an object"));
        assert!(is(&sound));
        for (name, value) in [
            ("v", json!(2)),
            ("alg", json!("none")),
            ("kid", json!("name of a person")),
            ("epoch", json!(-1)),
            ("parent", json!("x")),
            ("nonce", json!("AAAA")),
            ("ct", json!("plain text!")),
            ("title", json!("beside it")),
        ] {
            let mut other = sound.clone();
            other[name] = value;
            assert!(!is(&other), "{name}");
        }
        assert!(!is(&json!({})));
    }

    #[test]
    fn only_a_checkpoint_is_one() {
        let is = |value: Value| is_checkpoint(value.as_object().expect("an object"));
        assert!(is(
            json!({"session_id": "a", "last_seq": "7-x", "version": 1, "replicator": "pouchdb",
            "history": [{"last_seq": 7, "session_id": "a"}]})
        ));
        assert!(!is(json!({"text": "words"})));
        assert!(!is(json!({"session_id": "words ".repeat(30)})));
        assert!(!is(json!({"history": [{"text": "words"}]})));
        assert!(!is(json!({"history": [["words"]]})));
    }
}
