//! `/v1/audit` and `/v1/privacy`: what was done is recorded, and who wants to be forgotten is.

use kwaainet_core::merkle::{Checkpoint, Hash, leaf_hash, verify_inclusion};
use kwaainet_core::{ApiKey, Scope};
use kwaainet_identity::{NodeKey, open_note};
use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, TestNode, post};
use crate::rewards::{accounted, ask, bear, key, work};

const ALL: [Scope; 3] = [Scope::Inference, Scope::Rewards, Scope::Audit];

async fn send(node: &TestNode, key: &ApiKey, path: &str, body: Value) -> Answer {
    let mut request = post(path, body.to_string());
    bear(&mut request, key);
    node.ask(request).await
}

fn items<'a>(export: &'a Value, holder: &str) -> &'a Vec<Value> {
    let holders = export["holders"].as_array().expect("a list");
    let found = holders.iter().find(|held| held["holder"] == holder);
    found.expect("it is there")["items"]
        .as_array()
        .expect("a list")
}

#[tokio::test]
async fn everything_about_a_subject_is_told_and_then_gone_from_every_file() {
    const WORDS: &str = "Kanarienvogel";
    let node = TestNode::new().await;
    let (mine, other) = (key(&node, &ALL).await, key(&node, &ALL).await);
    for key in [&mine, &other] {
        let body = json!({"model": MODEL, "input": WORDS});
        assert_eq!(send(&node, key, "/v1/responses", body).await.status, 200);
        work(&node, key).await;
        accounted(&node, key, 1).await;
    }
    let told = send(&node, &mine, "/v1/privacy/export", json!({})).await;
    assert_eq!(told.status, 200, "{}", told.text);
    let told = told.json();
    assert_eq!(told["subject"], format!("key:{}", mine.id()));
    assert_eq!(items(&told, "responses_and_conversations").len(), 1);
    assert!(told.to_string().contains(WORDS));
    assert_eq!(items(&told, "keys")[0]["id"], mine.id().as_str());
    assert!(items(&told, "receipts_and_accounts").len() >= 2);
    let before = accounted(&node, &other, 1).await;

    let gone = send(&node, &mine, "/v1/privacy/erase", json!({})).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    let gone = gone.json();
    let signer = NodeKey::from_seed(&[7; 32]).id();
    let note = gone["receipt"]["note"].as_str().expect("it is signed");
    let text = open_note(note, &format!("kwaainet/{signer}/privacy"), signer).expect("it is good");
    assert!(text.contains("privacy.erase") && !text.contains(mine.id().as_str()));
    // The key is gone too, and the door stays closed.
    let (status, _, code, _) = ask(&node, &mine, "/v1/audit/entries").await.error();
    assert_eq!((status, code.as_deref()), (401, Some("invalid_api_key")));
    assert_eq!(node.get("/v1/models").await.error().0, 401);
    // Others have what they had.
    assert_eq!(accounted(&node, &other, 1).await, before);
    let theirs = send(&node, &other, "/v1/privacy/export", json!({}))
        .await
        .json();
    assert!(theirs.to_string().contains(WORDS));
    let erased = send(&node, &other, "/v1/privacy/erase", json!({})).await;
    assert_eq!(erased.status, 200);
    node.settled().await;
    for word in [WORDS, mine.id().as_str(), other.id().as_str()] {
        for file in std::fs::read_dir(node.data_dir()).expect("it is there") {
            let path = file.expect("it is there").path();
            if !path.is_file() {
                continue;
            }
            let bytes = std::fs::read(&path).expect("it is read");
            let found = bytes
                .windows(word.len())
                .any(|window| window == word.as_bytes());
            assert!(!found, "{word} in {}", path.display());
        }
    }
}

#[tokio::test]
async fn what_was_done_is_in_the_log_and_proved() {
    let node = TestNode::new().await;
    let (mine, other) = (key(&node, &ALL).await, key(&node, &ALL).await);
    for key in [&mine, &other, &mine] {
        let done = send(&node, key, "/v1/privacy/export", json!({})).await;
        assert_eq!(done.status, 200);
    }
    // The node's own settings are the first entry.
    let list = ask(&node, &mine, "/v1/audit/entries").await.json();
    let entries = list["data"].as_array().expect("a list");
    let indexes: Vec<_> = entries
        .iter()
        .map(|entry| entry["index"].as_u64())
        .collect();
    assert_eq!(indexes, [Some(1), Some(3)]);
    assert_eq!(entries[0]["action"], "privacy.export");
    assert_eq!(entries[0]["said"]["actor"], format!("key:{}", mine.id()));
    for (query, count) in [
        ("action=privacy.", 2),
        ("action=storage.", 0),
        ("outcome=denied", 0),
        ("from=2", 1),
        ("limit=1", 1),
        ("until_ms=1", 0),
    ] {
        let list = ask(&node, &mine, &format!("/v1/audit/entries?{query}"))
            .await
            .json();
        assert_eq!(
            list["data"].as_array().map(Vec::len),
            Some(count),
            "{query}"
        );
    }
    let lines = ask(&node, &mine, "/v1/audit/export").await;
    assert_eq!(lines.text.lines().count(), 2);

    let signer = NodeKey::from_seed(&[7; 32]).id();
    let origin = format!("kwaainet/{signer}/audit");
    let note = ask(&node, &mine, "/v1/audit/checkpoint").await.text;
    let head = Checkpoint::parse(open_note(&note, &origin, signer).expect("it is signed"));
    let head = head.expect("a checkpoint");
    assert_eq!(head.size, 4);
    let proof = ask(&node, &mine, "/v1/audit/proofs/inclusion?entry=3")
        .await
        .json();
    let digest = |value: &Value| -> Hash {
        let bytes = data_encoding::HEXLOWER.decode(value.as_str().expect("text").as_bytes());
        bytes.expect("hexadecimal").try_into().expect("32 bytes")
    };
    let hashes: Vec<Hash> = proof["hashes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(digest)
        .collect();
    let leaf = data_encoding::BASE64.decode(proof["leaf"].as_str().expect("text").as_bytes());
    let leaf = leaf_hash(&leaf.expect("base64"));
    verify_inclusion(&leaf, 3, 4, &hashes, &head.root).expect("it is in the log");
    let foreign = ask(&node, &mine, "/v1/audit/proofs/inclusion?entry=2")
        .await
        .error();
    assert_eq!(
        (foreign.0, foreign.2.as_deref()),
        (404, Some("entry_not_found"))
    );
    let proof = ask(&node, &other, "/v1/audit/proofs/consistency?first=1")
        .await
        .json();
    assert_eq!(
        (proof["first"].as_u64(), proof["second"].as_u64()),
        (Some(1), Some(4))
    );
}

#[tokio::test]
async fn only_the_owner_asks_about_others() {
    let node = TestNode::new().await;
    let of_owner = node
        .post("/v1/privacy/export", json!({"subject": "key:somebody"}))
        .await;
    assert_eq!(of_owner.status, 200);
    let (mine, other) = (
        key(&node, &ALL).await,
        key(&node, &[Scope::Inference]).await,
    );
    let theirs = json!({"subject": format!("key:{}", other.id())});
    for path in ["/v1/privacy/export", "/v1/privacy/erase"] {
        let refused = send(&node, &mine, path, theirs.clone()).await.error();
        assert_eq!(
            (refused.0, refused.2.as_deref()),
            (403, Some("insufficient_permissions"))
        );
        let refused = send(&node, &other, path, json!({})).await.error();
        assert_eq!(
            (refused.0, refused.2.as_deref()),
            (403, Some("insufficient_permissions"))
        );
        let refused = node.post(path, json!({})).await.error();
        assert_eq!(
            (refused.0, refused.2.as_deref()),
            (401, Some("invalid_api_key"))
        );
        for bad in [json!({"subject": ""}), json!({"subject": "x".repeat(257)})] {
            let refused = send(&node, &mine, path, bad).await.error();
            assert_eq!((refused.0, refused.3.as_deref()), (400, Some("subject")));
        }
        let refused = send(&node, &mine, path, json!({"subject": 1}))
            .await
            .error();
        assert_eq!(refused.0, 400);
    }
    // The key of the other is still good.
    assert_eq!(ask(&node, &other, "/v1/models").await.status, 200);
    let subject = format!("/v1/audit/entries?subject=key:{}", other.id());
    assert_eq!(ask(&node, &mine, &subject).await.error().0, 403);
    for (path, param) in [
        ("entries?outcome=perhaps", "outcome"),
        ("entries?limit=0", "limit"),
        ("entries?since_ms=x", "since_ms"),
        ("proofs/inclusion?entry=x", "entry"),
        ("proofs/consistency?first=0", "first"),
    ] {
        let refused = ask(&node, &mine, &format!("/v1/audit/{path}"))
            .await
            .error();
        assert_eq!(
            (refused.0, refused.3.as_deref()),
            (400, Some(param)),
            "{path}"
        );
    }
}
