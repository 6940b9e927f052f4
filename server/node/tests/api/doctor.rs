//! The doctor: over HTTP, and as a command beside a node and without one.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use kwaainet::config::{Config, Federation};
use kwaainet::federation::Setup;
use kwaainet_core::{ApiKey, KeyRecord, Scope, Tier};
use kwaainet_identity::{KeyFile, NodeKey};
use kwaainet_store::Store;
use serde_json::Value;

use crate::harness::{TestNode, get, parts};

const PATH: &str = "/v1/kwaai/doctor";

fn federation() -> Federation {
    Federation {
        enabled: true,
        port: 0,
        bind: vec!["127.0.0.1".parse().expect("an address")],
        lan: false,
        ..Federation::default()
    }
}

/// Runs `kwaainet doctor --json` on a data directory, beside whatever runs there.
async fn doctor(dir: &Path, listen: &str) -> (Output, Value) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_kwaainet"))
        .args(["doctor", "--json", "--listen", listen])
        .env_clear()
        .env("HOME", dir)
        .env("KWAAINET_DATA_DIR", dir)
        .env("KWAAINET_FEDERATION_ENABLED", "true")
        .env("KWAAINET_FEDERATION_PORT", "0")
        .env("KWAAINET_FEDERATION_BIND", "127.0.0.1")
        .env("KWAAINET_FEDERATION_LAN", "false")
        .output()
        .await
        .expect("it runs");
    let report = serde_json::from_slice(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = report.unwrap_or_else(|_| panic!("no JSON, but: {error}"));
    assert_eq!(report["ok"], output.status.success(), "{report:#}");
    (output, report)
}

fn found(report: &Value, about: &str) -> Vec<(String, String)> {
    let data = report["data"].as_array().expect("a list");
    let about = data.iter().filter(|found| found["about"] == about);
    let pair = |found: &Value| {
        let text = |field: &str| found[field].as_str().expect("text").to_owned();
        (text("grade"), text("says"))
    };
    about.map(pair).collect()
}

#[tokio::test]
async fn a_node_that_works_alone_says_so_to_whoever_may_see_it() {
    let node = TestNode::new().await;
    let report = node.get(PATH).await.json();
    assert_eq!(
        (&report["object"], &report["ok"]),
        (&"kwaai.doctor".into(), &true.into())
    );
    assert_eq!(found(&report, "federation")[0].0, "good");

    let key = ApiKey::generate();
    let record = KeyRecord {
        id: key.id().clone(),
        name: "test".into(),
        hash: key.hash(),
        scopes: [Scope::Inference].into_iter().collect(),
        created_at_ms: 1,
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    node.store.insert_key(&record).await.expect("it is stored");
    let mut request = get(PATH);
    let bearer = format!("Bearer {}", key.reveal())
        .parse()
        .expect("a header");
    request.headers_mut().insert("authorization", bearer);
    assert_eq!(node.ask(request).await.status, 403, "it names addresses");
    assert_eq!(node.get(PATH).await.status, 401);
}

#[tokio::test]
async fn the_running_node_is_asked_how_its_members_are() {
    let (mut parts, _script, dir) = parts(Config::default()).await;
    let key = KeyFile::new(dir.path().join("node.key"));
    set_permissions(dir.path(), Permissions::from_mode(0o700)).expect("set");
    parts.federation = Some(Setup {
        key: key.load_or_create(None).expect("it is made"),
        config: federation(),
        relay_token: None,
        relay: None,
    });
    let stranger = NodeKey::generate().id();
    let joined = parts.store.join_member(stranger, Tier::T1, b"", b"", 1);
    joined.await.expect("it is written");
    let lock = kwaainet::node::DataDirLock::take(dir.path()).expect("it is free");
    let node = kwaainet::node::Node::start(parts).await.expect("it starts");
    let listen = node.address().to_string();
    let (_, report) = doctor(dir.path(), &listen).await;
    assert_eq!(found(&report, "key")[0].0, "good", "{report:#}");
    assert!(found(&report, "door").is_empty(), "it is the node's own");
    let listens = found(&report, "listen");
    assert!(listens[0].1.contains("UDP 127.0.0.1"), "{listens:?}");
    let (_, says) = &found(&report, "peer")[0];
    assert!(says.contains(&stranger.short()), "{says}");
    node.shutdown().await;
    drop(lock);
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_broken() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let _lock = kwaainet::node::DataDirLock::take(dir.path()).expect("it is free");
    let (output, report) = doctor(dir.path(), "127.0.0.1:9").await;
    assert_eq!(output.status.code(), Some(1));
    let (grade, says) = &found(&report, "node")[0];
    assert_eq!(grade, "bad");
    assert!(says.contains("no node answers"), "{says}");
}

#[tokio::test]
async fn without_a_node_the_members_are_looked_for_and_nothing_is_left_open() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    set_permissions(dir.path(), Permissions::from_mode(0o700)).expect("set");
    let (output, report) = doctor(dir.path(), "127.0.0.1:0").await;
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("read").count(),
        1,
        "its lock"
    );

    let store = Store::open(&dir.path().join("node.db"))
        .await
        .expect("it opens");
    let stranger = NodeKey::generate().id();
    let joined = store.join_member(stranger, Tier::T1, b"", b"", 1).await;
    joined.expect("it is written");
    store.close().await;
    let key = KeyFile::new(dir.path().join("node.key"));
    key.create(&NodeKey::generate(), None).expect("written");
    let (output, report) = doctor(dir.path(), "127.0.0.1:0").await;
    assert_eq!(output.status.code(), Some(1));
    let (grade, says) = &found(&report, "peer")[0];
    assert_eq!(grade, "bad");
    assert!(says.contains("no address"), "{says}");

    set_permissions(key.path(), Permissions::from_mode(0o644)).expect("set");
    let (_, report) = doctor(dir.path(), "127.0.0.1:0").await;
    assert!(found(&report, "key")[0].1.contains("chmod 600"));
}
