//! The sealing client's test vectors, opened here by other libraries than the client's.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use serde_json::Value;
use sha2::{Digest, Sha256};

const VECTORS: &str = include_str!("../../../clients/js/storage/vectors/envelope.json");

/// RFC 2104.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.map(|b| b ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message);
    let outer = Sha256::new().chain_update(pad(0x5c));
    outer.chain_update(inner.finalize()).finalize().to_vec()
}

/// RFC 5869 without salt, for one block.
fn derive(key: &[u8], path: &[&str]) -> Vec<u8> {
    let mut info = "kwaainet storage 1".to_owned();
    for part in path {
        info.push('\0');
        info.push_str(part);
    }
    let pseudorandom = hmac(&[0; 32], key);
    hmac(&pseudorandom, &[info.as_bytes(), &[1]].concat())
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a text");
    let decoded = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes());
    decoded.expect("base64url")
}

#[test]
fn the_clients_vectors_are_opened_by_other_libraries() {
    let vectors: Value = serde_json::from_str(VECTORS).expect("it is JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let root = bytes(&vectors["root"]);
    let context = derive(&root, &["context", &text(&vectors["context"])]);
    let own = derive(&context, &["database", &text(&vectors["name"])]);
    let ids = derive(&own, &["ids"]);
    let opaque = |kind: &str, name: &str| {
        let mac = hmac(&ids, format!("{kind}\0{name}").as_bytes());
        data_encoding::BASE64URL_NOPAD.encode(&mac)
    };
    let cases = vectors["cases"].as_array().expect("an array");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let (document, sealed) = (&case["document"], &case["sealed"]);
        let doc = opaque("document", &text(&document["_id"]));
        let db = opaque("database", "");
        assert_eq!(
            (&case["db"], &sealed["_id"]),
            (&db.clone().into(), &doc.clone().into())
        );
        let epoch = sealed["epoch"].as_u64().expect("a number");
        let key = derive(&own, &["epoch", &epoch.to_string()]);
        let kid = data_encoding::BASE64URL_NOPAD.encode(&derive(&key, &["key id"])[..16]);
        assert_eq!(sealed["kid"], kid);
        let parent = &sealed["parent"];
        let aad = format!(
            r#"{{"db":"{db}","doc":"{doc}","epoch":{epoch},"kid":"{kid}","parent":{parent},"v":1}}"#
        );
        let key = derive(&key, &["document", &doc]);
        let cipher = XChaCha20Poly1305::new_from_slice(&key).expect("32 bytes");
        let nonce: [u8; 24] = bytes(&sealed["nonce"]).try_into().expect("24 bytes");
        let payload = Payload {
            msg: &bytes(&sealed["ct"]),
            aad: aad.as_bytes(),
        };
        let padded = cipher.decrypt(&nonce.into(), payload).expect("it is whole");
        let length = u32::from_le_bytes(padded[..4].try_into().expect("4 bytes")) as usize;
        let said: Value = serde_json::from_slice(&padded[4..4 + length]).expect("it is JSON");
        let mut expected = document.clone();
        expected.as_object_mut().expect("an object").remove("_rev");
        assert_eq!(said, expected);
        assert!(padded[4 + length..].iter().all(|byte| *byte == 0));

        let mut envelope = sealed.as_object().expect("an object").clone();
        envelope.retain(|name, _| !name.starts_with('_'));
        assert!(
            kwaainet_storage::is_envelope(&envelope),
            "the node takes it"
        );
    }
}
