//! `/v1/rewards`: what work came to, who is told of it, and what proves it.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use data_encoding::{BASE64, HEXLOWER};
use kwaainet_core::merkle::{Checkpoint, Hash, leaf_hash, verify_consistency, verify_inclusion};
use kwaainet_core::{ApiKey, Scope, Scopes};
use kwaainet_identity::{NodeKey, open_note};
use kwaainet_testkit::Script;
use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, SOON, TestNode, get};
use crate::identity;

/// Makes a key that may do these.
pub(crate) async fn key(node: &TestNode, scopes: &[Scope]) -> ApiKey {
    let scopes: Scopes = scopes.iter().copied().collect();
    identity::key(node, &scopes.to_string()).await
}

pub(crate) async fn ask(node: &TestNode, key: &ApiKey, path: &str) -> Answer {
    let mut request = get(path);
    bear(&mut request, key);
    node.ask(request).await
}

pub(crate) fn bear(request: &mut Request<Body>, key: &ApiKey) {
    let bearer = format!("Bearer {}", key.reveal());
    let bearer = bearer.parse().expect("it is a header");
    request.headers_mut().insert("authorization", bearer);
}

/// Has a key work a little: long enough to be worth something.
pub(crate) async fn work(node: &TestNode, key: &ApiKey) {
    node.script.set(Script {
        delay: Duration::from_millis(2),
        ..Script::words(4)
    });
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]});
    let mut request = crate::harness::post("/v1/chat/completions", body.to_string());
    bear(&mut request, key);
    assert_eq!(node.ask(request).await.status, 200);
}

/// Waits until the key's work is accounted for, and gives its transfers.
pub(crate) async fn accounted(node: &TestNode, key: &ApiKey, at_least: usize) -> Vec<Value> {
    let accounted = async {
        loop {
            let list = ask(node, key, "/v1/rewards/transfers").await.json();
            let data = list["data"].as_array().expect("a list").clone();
            if data.len() >= at_least {
                return data;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, accounted)
        .await
        .expect("it is paid")
}

const BOTH: [Scope; 2] = [Scope::Inference, Scope::Rewards];

#[tokio::test]
async fn work_is_paid_once_by_who_asked_and_told_to_him_alone() {
    let node = TestNode::new().await;
    let (mine, other) = (key(&node, &BOTH).await, key(&node, &BOTH).await);
    work(&node, &mine).await;
    let transfers = accounted(&node, &mine, 1).await;
    let kinds: Vec<_> = transfers.iter().map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds[0], Some("credit"));
    let balance = ask(&node, &mine, "/v1/rewards/balance").await.json();
    let subject = format!("key:{}", mine.id());
    let accounts = balance["data"].as_array().expect("a list");
    assert!(accounts.iter().all(|account| account["subject"] == subject));
    let of = |kind: &str| {
        accounts
            .iter()
            .find(|account| account["kind"] == kind)
            .expect("it is there")
    };
    assert_eq!(of("consumer")["balance"], 0);
    let owed = of("settlement")["balance"].as_i64().expect("a number");
    assert!(owed <= 0);
    let none = ask(&node, &other, "/v1/rewards/transfers").await.json();
    assert_eq!(none["data"], json!([]));
    let none = ask(&node, &other, "/v1/rewards/balance").await.json();
    assert_eq!(none["data"], json!([]));
    let id = transfers[0]["id"].as_str().expect("text");
    let proof = ask(
        &node,
        &other,
        &format!("/v1/rewards/proofs/inclusion?transfer={id}"),
    )
    .await;
    let code = Some("transfer_not_found".into());
    assert_eq!(
        proof.error(),
        (
            404,
            "invalid_request_error".into(),
            code,
            Some("transfer".into())
        )
    );

    let node = node.restarted().await;
    work(&node, &mine).await;
    let more = accounted(&node, &mine, transfers.len() + 1).await;
    assert_eq!(more[..transfers.len()], transfers, "nothing is paid twice");
    let statement = ask(&node, &mine, "/v1/rewards/statement").await.json();
    let statements = statement["accounts"].as_array().expect("a list");
    let settlement = statements
        .iter()
        .find(|one| one["kind"] == "settlement")
        .expect("it is there");
    let debits = settlement["lines"][0]["debits"].as_i64().expect("a number");
    assert_eq!(settlement["closing"].as_i64(), Some(-debits));
    node.comes_to_rest().await;
}

#[tokio::test]
async fn proofs_and_the_checkpoint_fit_together() {
    let node = TestNode::new().await;
    let mine = key(&node, &BOTH).await;
    work(&node, &mine).await;
    accounted(&node, &mine, 1).await;
    let signer = NodeKey::from_seed(&[7; 32]).id();
    let origin = format!("kwaainet/{signer}/ledger");
    let mut heads = Vec::new();
    for _ in 0..3 {
        let note = ask(&node, &mine, "/v1/rewards/checkpoint").await;
        assert_eq!(note.status, 200);
        let text = open_note(&note.text, &origin, signer).expect("it is signed");
        heads.push(Checkpoint::parse(text).expect("a checkpoint"));
        let before = accounted(&node, &mine, 1).await.len();
        work(&node, &mine).await;
        accounted(&node, &mine, before + 1).await;
    }
    let hash = |value: &Value| -> Hash {
        let digits = value.as_str().expect("text");
        let bytes = HEXLOWER.decode(digits.as_bytes()).expect("hexadecimal");
        bytes.try_into().expect("32 bytes")
    };
    let hashes = |value: &Value| -> Vec<Hash> {
        value["hashes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(hash)
            .collect()
    };
    let (first, last) = (&heads[0], &heads[2]);
    let path = format!(
        "/v1/rewards/proofs/consistency?first={}&second={}",
        first.size, last.size
    );
    let proof = ask(&node, &mine, &path).await.json();
    let good = verify_consistency(
        (first.size, &first.root),
        (last.size, &last.root),
        &hashes(&proof),
    );
    good.expect("the ledger only grew");
    assert_eq!(hash(&proof["first_root"]), first.root);
    for transfer in accounted(&node, &mine, 1).await {
        let (id, index) = (
            transfer["id"].as_str().expect("text"),
            transfer["index"].as_u64(),
        );
        let index = index.expect("a number");
        if index >= last.size {
            continue;
        }
        let path = format!(
            "/v1/rewards/proofs/inclusion?transfer={id}&size={}",
            last.size
        );
        let proof = ask(&node, &mine, &path).await.json();
        let leaf = BASE64.decode(proof["leaf"].as_str().expect("text").as_bytes());
        let leaf = leaf_hash(&leaf.expect("base64"));
        let good = verify_inclusion(&leaf, index, last.size, &hashes(&proof), &last.root);
        good.expect("it is in the ledger");
    }
    node.settled().await;
}

#[tokio::test]
async fn every_form_has_every_transfer_and_pages_go_on() {
    let node = TestNode::new().await;
    let mine = key(&node, &BOTH).await;
    work(&node, &mine).await;
    let count = accounted(&node, &mine, 2).await.len();
    for (format, kind, lines) in [
        ("jsonl", "application/jsonl", count),
        ("csv", "text/csv; charset=utf-8", count + 1),
    ] {
        let path = format!("/v1/rewards/transfers?format={format}");
        let answer = ask(&node, &mine, &path).await;
        assert_eq!(answer.headers["content-type"], kind);
        assert_eq!(answer.text.lines().count(), lines, "{}", answer.text);
    }
    let answer = ask(&node, &mine, "/v1/rewards/transfers?format=beancount").await;
    assert_eq!(answer.text.matches("  transfer: ").count(), count);
    let first = ask(&node, &mine, "/v1/rewards/transfers?limit=1")
        .await
        .json();
    assert_eq!(first["has_more"], true);
    let next = first["data"][0]["index"].as_u64().expect("a number") + 1;
    let path = format!("/v1/rewards/transfers?from={next}&limit=1000");
    let rest = ask(&node, &mine, &path).await.json();
    assert_eq!(rest["data"].as_array().map(Vec::len), Some(count - 1));
    node.settled().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_name() {
    let node = TestNode::new().await;
    for (path, param) in [
        ("balance?limit=0", "limit"),
        ("balance?after=xyz", "after"),
        ("transfers?from=-1", "from"),
        ("transfers?limit=1001", "limit"),
        ("transfers?format=xml", "format"),
        ("statement?month=2026-13", "month"),
        ("statement?month=9999-01", "month"),
        ("statement?month=2026-1", "month"),
        ("proofs/inclusion?transfer=1", "transfer"),
        (
            "proofs/inclusion?transfer=00000000000000000000000000000001&size=x",
            "size",
        ),
        ("proofs/consistency?first=0", "first"),
        ("proofs/consistency?first=2&second=1", "first"),
        ("proofs/consistency?first=5&second=9", "second"),
    ] {
        let (status, _, code, at) = node.get(&format!("/v1/rewards/{path}")).await.error();
        assert_eq!(
            (status, code.as_deref(), at.as_deref()),
            (400, Some("invalid_value"), Some(param)),
            "{path}"
        );
    }
    for path in ["proofs/consistency", "proofs/inclusion"] {
        let (status, _, code, _) = node.get(&format!("/v1/rewards/{path}")).await.error();
        assert_eq!(
            (status, code.as_deref()),
            (400, Some("missing_required_parameter")),
            "{path}"
        );
    }
    let tariff = node.get("/v1/rewards/tariff").await.json();
    assert_eq!(tariff["tariff"]["compute_hour"], 100_000_000);
    let sha256 = tariff["sha256"].as_str().expect("text");
    assert!(
        tariff["note"]
            .as_str()
            .is_some_and(|note| note.contains(sha256))
    );
}

#[tokio::test]
async fn it_takes_the_scope() {
    let node = TestNode::new().await;
    let inference = key(&node, &[Scope::Inference]).await;
    let paths = [
        "balance",
        "transfers",
        "statement",
        "tariff",
        "checkpoint",
        "proofs/inclusion",
        "proofs/consistency",
    ];
    for path in paths {
        let path = format!("/v1/rewards/{path}");
        let (status, _, code, _) = ask(&node, &inference, &path).await.error();
        assert_eq!(
            (status, code.as_deref()),
            (403, Some("insufficient_permissions"))
        );
        let (status, _, code, _) = node.get(&path).await.error();
        assert_eq!((status, code.as_deref()), (401, Some("invalid_api_key")));
    }
}
