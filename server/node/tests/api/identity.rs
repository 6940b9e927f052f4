//! Signing in, accounts, credentials and capabilities, as a client sees them.

mod credentials;
mod passkeys;
mod refusals;

use axum::body::Body;
use axum::http::Request;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use kwaainet_core::{ApiKey, KeyRecord};
use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, TestNode};

/// Somebody with a `did:key`, or an account of Ethereum.
pub(crate) enum Person {
    Key(p256::ecdsa::SigningKey),
    Ethereum(k256::ecdsa::SigningKey),
}

impl Person {
    pub(crate) fn with_key(seed: u8) -> Self {
        Self::Key(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).expect("a scalar"))
    }

    pub(crate) fn with_wallet(seed: u8) -> Self {
        Self::Ethereum(k256::ecdsa::SigningKey::from_slice(&[seed; 32]).expect("a scalar"))
    }

    pub(crate) fn did(&self) -> String {
        match self {
            Self::Key(key) => {
                let point = key.verifying_key().to_sec1_point(true);
                let key = kwaainet_identity::PublicKey::p256(point.as_bytes());
                format!("did:key:{}", key.expect("a point"))
            }
            Self::Ethereum(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let hash = keccak(&point.as_bytes()[1..]);
                format!("did:pkh:eip155:1:0x{}", HEXLOWER.encode(&hash[12..]))
            }
        }
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        use p256::ecdsa::signature::Signer;
        match self {
            Self::Key(key) => {
                let signature: p256::ecdsa::Signature = key.sign(text.as_bytes());
                format!("u{}", BASE64URL_NOPAD.encode(&signature.to_bytes()))
            }
            Self::Ethereum(key) => {
                let prefixed = format!("\x19Ethereum Signed Message:\n{}{text}", text.len());
                let hash = keccak(prefixed.as_bytes());
                let (signature, id) = key.sign_prehash_recoverable(&hash);
                let bytes = [&signature.to_bytes()[..], &[27 + id.to_byte()]].concat();
                format!("0x{}", HEXLOWER.encode(&bytes))
            }
        }
    }
}

fn keccak(bytes: &[u8]) -> [u8; 32] {
    use sha3::Digest;
    sha3::Keccak256::digest(bytes).into()
}

pub(crate) async fn ask(
    node: &TestNode,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:11435");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = match body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    node.ask(request.body(body).expect("it is a request")).await
}

pub(crate) async fn key(node: &TestNode, scopes: &str) -> ApiKey {
    let key = ApiKey::generate();
    let record = KeyRecord {
        id: key.id().clone(),
        name: "test".into(),
        hash: key.hash(),
        scopes: scopes.parse().expect("scopes"),
        created_at_ms: 1,
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    node.store.insert_key(&record).await.expect("it is stored");
    key
}

/// Signs in; `token` is what is shown beside, if anything.
pub(crate) async fn sign_in(node: &TestNode, person: &Person, token: Option<&str>) -> Answer {
    let asked = json!({"account": person.did()});
    let challenge = ask(node, "POST", "/v1/auth/challenge", token, Some(asked)).await;
    assert_eq!(challenge.status, 200, "{}", challenge.text);
    let message = challenge.json()["message"]
        .as_str()
        .expect("a text")
        .to_owned();
    let signed = json!({"message": message, "signature": person.sign(&message)});
    ask(node, "POST", "/v1/auth/verify", token, Some(signed)).await
}

pub(crate) fn token(session: &Answer) -> String {
    assert_eq!(session.status, 200, "{}", session.text);
    session.json()["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

/// Has somebody sign for an errand of whoever has this session.
pub(crate) async fn errand(
    node: &TestNode,
    session: &str,
    purpose: &str,
    signer: &Person,
    path: &str,
) -> Answer {
    let asked = json!({"account": signer.did(), "purpose": purpose});
    let challenge = ask(
        node,
        "POST",
        "/v1/auth/challenge",
        Some(session),
        Some(asked),
    )
    .await;
    assert_eq!(challenge.status, 200, "{}", challenge.text);
    let message = challenge.json()["message"]
        .as_str()
        .expect("a text")
        .to_owned();
    let signed = json!({"message": message, "signature": signer.sign(&message)});
    ask(node, "POST", path, Some(session), Some(signed)).await
}

#[tokio::test]
async fn a_key_lets_somebody_in_who_then_comes_back_without_it() {
    let node = TestNode::new().await;
    let key = key(&node, "inference identity").await;
    let person = Person::with_key(3);
    let refused = sign_in(&node, &person, None).await;
    assert_eq!(refused.error().0, 403, "a stranger");
    let first = sign_in(&node, &person, Some(&key.reveal())).await;
    let session = first.json();
    assert_eq!(session["subject"], person.did());
    assert_eq!(session["tier"], 1);
    assert_eq!(
        session["scopes"],
        json!(["inference", "identity"]),
        "the key's"
    );
    assert!(first.text.contains("kws_"));

    let second = token(&sign_in(&node, &person, None).await);
    let me = ask(&node, "GET", "/v1/identity/me", Some(&second), None).await;
    assert_eq!(me.json()["subject"], person.did(), "{}", me.text);
    assert_eq!(me.json()["tiers"][2]["lacks"], "link an account on a chain");
    let work = json!({"model": MODEL, "prompt": "x"});
    let done = ask(&node, "POST", "/v1/completions", Some(&second), Some(work)).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(node.settled().await, [1, 0, 0]);
    let storage = ask(&node, "GET", "/v1/rewards/balance", Some(&second), None).await;
    assert_eq!(storage.error().0, 403, "the key had no such scope");

    let ended = ask(
        &node,
        "DELETE",
        "/v1/auth/sessions/current",
        Some(&second),
        None,
    )
    .await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    let me = ask(&node, "GET", "/v1/identity/me", Some(&second), None).await;
    assert_eq!(me.error().2.as_deref(), Some("invalid_session"));

    assert!(
        node.store
            .revoke_key(key.id(), 5)
            .await
            .expect("it answers")
    );
    let refused = sign_in(&node, &person, None).await;
    assert_eq!(refused.error().0, 403, "whoever let him in is gone");
    let first = token(&first);
    let me = ask(&node, "GET", "/v1/identity/me", Some(&first), None).await;
    assert_eq!(me.error().0, 403, "and so is what he may do");
}

#[tokio::test]
async fn at_a_node_without_keys_whoever_is_at_the_machine_is_let_in() {
    let node = TestNode::new().await;
    let person = Person::with_wallet(4);
    let session = sign_in(&node, &person, None).await;
    let token = token(&session);
    assert_eq!(session.json()["tier"], 2, "a wallet");
    let me = ask(&node, "GET", "/v1/identity/me", Some(&token), None).await;
    assert_eq!(me.json()["principal"], person.did());
    let owner = ask(&node, "GET", "/v1/identity/me", None, None).await;
    assert_eq!(owner.json()["principal"], "owner");
    assert_eq!(owner.json()["tier"], Value::Null);
    let mine = ask(&node, "GET", "/v1/auth/sessions", Some(&token), None).await;
    assert_eq!(mine.json()["data"].as_array().map(Vec::len), Some(1));
    let forged = ask(&node, "GET", "/v1/models", Some("kws_x_y"), None).await;
    assert_eq!(
        forged.error().0,
        401,
        "a bad session is not taken for the owner"
    );

    // From the first key on, nobody comes in whom none lets in.
    let key = key(&node, "inference identity").await.reveal();
    let closed = ask(&node, "GET", "/v1/models", Some(&token), None).await;
    assert_eq!(closed.error().0, 403);
    assert_eq!(sign_in(&node, &person, None).await.error().0, 403);
    assert_eq!(sign_in(&node, &person, Some(&key)).await.status, 200);
    let again = ask(&node, "GET", "/v1/identity/me", Some(&token), None).await;
    assert_eq!(again.status, 200, "{}", again.text);
}

#[tokio::test]
async fn strangers_may_what_the_owner_says_and_their_tier_unlocks() {
    let mut config = kwaainet::config::Config::default();
    config.identity.strangers = vec!["inference".into(), "identity".into(), "storage".into()];
    let node = TestNode::with(config).await;
    key(&node, "inference").await;
    let session = sign_in(&node, &Person::with_key(9), None).await;
    assert_eq!(session.json()["tier"], 0);
    assert_eq!(session.json()["scopes"], json!(["inference", "identity"]));
    let asked = json!({"account": Person::with_key(9).did(), "scopes": ["storage"]});
    let challenge = ask(&node, "POST", "/v1/auth/challenge", None, Some(asked)).await;
    let message = challenge.json()["message"]
        .as_str()
        .expect("a text")
        .to_owned();
    let signature = Person::with_key(9).sign(&message);
    let signed = json!({"message": message, "signature": signature});
    let refused = ask(&node, "POST", "/v1/auth/verify", None, Some(signed)).await;
    assert_eq!(refused.error().0, 403, "tier 1 unlocks it");
    let one = |_| json!({"model": MODEL, "prompt": "x"});
    let token = token(&session);
    let done = ask(
        &node,
        "POST",
        "/v1/completions",
        Some(&token),
        Some(one(())),
    )
    .await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(node.settled().await, [1, 0, 0]);
}

#[tokio::test]
async fn accounts_are_linked_by_what_their_owners_sign() {
    let node = TestNode::new().await;
    let (person, wallet) = (Person::with_key(3), Person::with_wallet(5));
    let session = token(&sign_in(&node, &person, None).await);
    let links = "/v1/identity/links";
    let linked = errand(&node, &session, "link", &wallet, links).await;
    assert_eq!(linked.status, 200, "{}", linked.text);
    let statement = format!("This account belongs to {}", person.did());
    let message = linked.json()["message"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(message.contains(&statement), "{message}");

    let me = ask(&node, "GET", "/v1/identity/me", Some(&session), None).await;
    assert_eq!(
        (me.json()["tier"].clone(), me.json()["links"].clone()),
        (json!(2), json!(1))
    );
    let as_wallet = sign_in(&node, &wallet, None).await;
    assert_eq!(as_wallet.json()["subject"], person.did(), "one account");
    let mine = ask(&node, "GET", links, Some(&session), None).await;
    assert_eq!(mine.json()["data"][0]["linked"], wallet.did());

    let other = token(&sign_in(&node, &Person::with_key(8), None).await);
    let taken = errand(&node, &other, "link", &wallet, links).await;
    assert_eq!(
        (taken.error().0, taken.error().2.as_deref()),
        (409, Some("did_taken"))
    );
    let path = format!("{links}/{}", wallet.did());
    let not_his = ask(&node, "DELETE", &path, Some(&other), None).await;
    assert_eq!(not_his.error().0, 404);
    let gone = ask(&node, "DELETE", &path, Some(&session), None).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    let me = ask(&node, "GET", "/v1/identity/me", Some(&session), None).await;
    assert_eq!(me.json()["tier"], 1);
}

#[tokio::test]
async fn another_key_takes_an_accounts_place() {
    use sha2::Digest;
    let node = TestNode::new().await;
    let (old, next, rescuer) = (
        Person::with_key(3),
        Person::with_key(4),
        Person::with_wallet(5),
    );
    let session = token(&sign_in(&node, &old, None).await);
    let hash: [u8; 32] = sha2::Sha256::digest(next.did()).into();
    let prepared = json!({"next_key_sha256": HEXLOWER.encode(&hash), "recovery": rescuer.did()});
    let prepared = ask(
        &node,
        "POST",
        "/v1/identity/prepare",
        Some(&session),
        Some(prepared),
    )
    .await;
    assert_eq!(prepared.status, 200, "{}", prepared.text);
    let path = "/v1/identity/succeed";
    let wrong = errand(&node, &session, "succeed", &Person::with_key(6), path).await;
    assert_eq!(wrong.error().0, 403, "another one was named");
    let done = errand(&node, &session, "succeed", &next, path).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let me = ask(&node, "GET", "/v1/identity/me", Some(&session), None).await;
    assert_eq!(me.error().0, 401, "its sessions end");
    let again = sign_in(&node, &next, None).await;
    assert_eq!(again.json()["subject"], next.did());

    // The key is lost; whoever was named puts another one in its place.
    let rescue = token(&sign_in(&node, &rescuer, None).await);
    let third = Person::with_key(7);
    let asked = json!({"account": third.did(), "purpose": "succeed", "of": next.did()});
    let challenge = ask(
        &node,
        "POST",
        "/v1/auth/challenge",
        Some(&rescue),
        Some(asked.clone()),
    )
    .await;
    let message = challenge.json()["message"]
        .as_str()
        .expect("a text")
        .to_owned();
    let signed = json!({"message": message, "signature": third.sign(&message)});
    let other = token(&sign_in(&node, &Person::with_key(9), None).await);
    let refused = ask(
        &node,
        "POST",
        "/v1/auth/challenge",
        Some(&other),
        Some(asked),
    )
    .await;
    assert_eq!(refused.error().0, 403, "not his to recover");
    let done = ask(&node, "POST", path, Some(&rescue), Some(signed)).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let session = sign_in(&node, &third, None).await;
    assert_eq!(session.json()["subject"], third.did());
}

#[tokio::test]
async fn a_capability_does_a_part_of_what_its_maker_may() {
    let node = TestNode::new().await;
    let key = key(&node, "inference identity carbon").await;
    let wanted = json!({"scopes": ["inference"], "paths": ["/v1/models"], "expires_in": 60});
    let path = "/v1/auth/capabilities";
    let made = ask(&node, "POST", path, Some(&key.reveal()), Some(wanted)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let capability = made.json()["token"].as_str().expect("a token").to_owned();
    let models = ask(&node, "GET", "/v1/models", Some(&capability), None).await;
    assert_eq!(models.status, 200, "{}", models.text);
    for elsewhere in ["/v1/files", "/v1/identity/me"] {
        let refused = ask(&node, "GET", elsewhere, Some(&capability), None).await;
        assert_eq!(refused.error().0, 403, "{elsewhere}");
    }
    let more = json!({"scopes": ["storage"]});
    let refused = ask(&node, "POST", path, Some(&key.reveal()), Some(more)).await;
    assert_eq!(
        refused.error().2.as_deref(),
        Some("insufficient_permissions")
    );
    let identity = json!({"scopes": ["identity"]});
    let made = ask(
        &node,
        "POST",
        path,
        Some(&key.reveal()),
        Some(identity.clone()),
    )
    .await;
    let delegate = made.json()["token"].as_str().expect("a token").to_owned();
    let me = ask(&node, "GET", "/v1/identity/me", Some(&delegate), None).await;
    assert_eq!(me.json()["delegated"], true, "{}", me.text);
    let refused = ask(&node, "POST", path, Some(&delegate), Some(identity)).await;
    assert_eq!(refused.error().0, 403, "it makes no others");
    let entered = sign_in(&node, &Person::with_key(3), Some(&delegate)).await;
    assert_eq!(entered.error().0, 403, "and lets nobody in");

    let revoke = json!({"token": capability});
    let revoked = ask(
        &node,
        "POST",
        "/v1/auth/capabilities/revoke",
        Some(&key.reveal()),
        Some(revoke),
    )
    .await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    let models = ask(&node, "GET", "/v1/models", Some(&capability), None).await;
    assert_eq!(models.error().2.as_deref(), Some("invalid_capability"));
    assert!(
        node.store
            .revoke_key(key.id(), 5)
            .await
            .expect("it answers")
    );
    let me = ask(&node, "GET", "/v1/identity/me", Some(&delegate), None).await;
    assert_eq!(me.error().0, 401, "its maker is gone");
}

#[tokio::test]
async fn work_that_an_account_leaves_behind_is_done_as_that_account() {
    let node = TestNode::new().await;
    let person = Person::with_key(3);
    let session = token(&sign_in(&node, &person, None).await);
    let line = json!({
        "custom_id": "a", "method": "POST", "url": "/v1/completions",
        "body": {"model": MODEL, "prompt": "x"}
    });
    let boundary = "b";
    let form = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n\
         {line}\r\n--{boundary}--\r\n"
    );
    let request = Request::post("/v1/files")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {session}"))
        .header(
            "content-type",
            format!("multipart/form-data; boundary={boundary}"),
        )
        .body(Body::from(form))
        .expect("it is a request");
    let file = node.ask(request).await;
    assert_eq!(file.status, 200, "{}", file.text);
    let batch = json!({
        "input_file_id": file.json()["id"], "endpoint": "/v1/completions", "completion_window": "24h"
    });
    let batch = ask(&node, "POST", "/v1/batches", Some(&session), Some(batch)).await;
    assert_eq!(batch.status, 200, "{}", batch.text);
    let path = format!(
        "/v1/batches/{}",
        batch.json()["id"].as_str().expect("an id")
    );
    let done = async {
        loop {
            let now = ask(&node, "GET", &path, Some(&session), None).await.json();
            if ["completed", "failed"].contains(&now["status"].as_str().unwrap_or("")) {
                return now;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let done = tokio::time::timeout(crate::harness::SOON, done)
        .await
        .expect("in time");
    assert_eq!(done["request_counts"]["completed"], 1, "{done}");
    assert_eq!(node.settled().await, [1, 0, 0]);
    let owners = ask(&node, "GET", &path, None, None).await;
    assert_eq!(owners.error().0, 404, "it is not the owner's");
}
