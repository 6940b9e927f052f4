//! The audit log has every access to storage and identity: who, whose, what, how it ended, and nothing of what it said.

use kwaainet_core::{ApiKey, Scope};
use serde_json::{Value, json};

use crate::harness::TestNode;
use crate::identity::{self, Person, errand, sign_in, token};
use crate::rewards::key;

const WORDS: &str = "Kanarienvogel";

async fn ask(node: &TestNode, who: &ApiKey, method: &str, path: &str, body: Option<Value>) -> u16 {
    let shown = who.reveal();
    let answer = identity::ask(node, method, path, Some(&shown), body).await;
    answer.status.as_u16()
}

/// What the log says of the caller.
async fn entries(node: &TestNode, who: &ApiKey) -> Vec<Value> {
    let shown = who.reveal();
    let list = identity::ask(node, "GET", "/v1/audit/entries", Some(&shown), None).await;
    list.json()["data"].as_array().expect("a list").clone()
}

/// Each as its action, its outcome and on what.
fn told(entries: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let told = entries.iter().map(|entry| {
        let on = text(&entry["said"]["resource"]);
        format!(
            "{} {} {on}",
            text(&entry["action"]),
            text(&entry["outcome"])
        )
    });
    told.collect()
}

#[tokio::test]
async fn every_access_to_storage_is_recorded_for_whose_data_it_is() {
    let node = TestNode::new().await;
    let all = [Scope::Storage, Scope::Audit];
    let (mine, other) = (key(&node, &all).await, key(&node, &all).await);
    let audit_only = key(&node, &[Scope::Audit]).await;
    let docs = json!({"docs": [{"_id": "a", "said": WORDS}, {"_id": "b"}]});
    let member = json!({"members": {"names": [format!("key:{}", other.id())]}});
    for (who, method, path, body, status) in [
        (&mine, "PUT", "/couch/notes", None, 201),
        (&mine, "PUT", "/couch/notes", None, 412),
        (&mine, "POST", "/couch/notes/_bulk_docs", Some(docs), 201),
        (&mine, "GET", "/couch/notes/a", None, 200),
        (&mine, "HEAD", "/couch/notes/missing%2Fone", None, 404),
        (&mine, "PUT", "/couch/notes/_security", Some(member), 200),
        (&other, "GET", "/couch/notes/a", None, 200),
        (&other, "DELETE", "/couch/notes", None, 403),
        (&audit_only, "GET", "/couch/notes/a", None, 403),
        (&other, "PUT", "/couch/mine", None, 201),
        (&mine, "DELETE", "/couch/notes", None, 200),
    ] {
        let got = ask(&node, who, method, path, body).await;
        assert_eq!(got, status, "{method} {path}");
    }
    let entries_of_mine = entries(&node, &mine).await;
    assert_eq!(
        told(&entries_of_mine),
        [
            "storage.database.create done notes",
            "storage.database.create failed notes",
            "storage.documents.write done notes",
            "storage.document.read done notes/a",
            "storage.document.read failed notes/missing/one",
            "storage.security.write done notes",
            "storage.document.read done notes/a",
            "storage.database.delete denied notes",
            "storage.database.delete done notes",
        ]
    );
    assert_eq!(
        entries_of_mine[2]["said"]["details"],
        json!({"status": 201, "count": 2})
    );
    let stranger = format!("key:{}", other.id());
    assert_eq!(entries_of_mine[6]["said"]["actor"], stranger);
    let theirs = entries(&node, &other).await;
    assert_eq!(told(&theirs), ["storage.database.create done mine"]);
    let denied = entries(&node, &audit_only).await;
    assert_eq!(told(&denied), ["storage.document.read denied notes/a"]);
    let all = json!([entries_of_mine, theirs, denied]).to_string();
    assert!(!all.contains(WORDS), "contents are in the log");
}

#[tokio::test]
async fn signing_in_and_what_follows_is_recorded_for_the_account() {
    let node = TestNode::new().await;
    let door = identity::key(&node, "identity audit").await;
    let (person, wallet) = (Person::with_key(7), Person::with_wallet(8));
    let session = token(&sign_in(&node, &person, Some(&door.reveal())).await);
    let linked = errand(&node, &session, "link", &wallet, "/v1/identity/links").await;
    assert_eq!(linked.status, 200, "{}", linked.text);
    // Nobody knows who did not show his key.
    let forged = json!({"message": "none", "signature": "u"});
    let refused = identity::ask(&node, "POST", "/v1/auth/verify", None, Some(forged)).await;
    assert_eq!(refused.status, 400);
    let ended = identity::ask(
        &node,
        "DELETE",
        "/v1/auth/sessions/current",
        Some(&session),
        None,
    )
    .await;
    assert_eq!(ended.status, 200);
    let again = token(&sign_in(&node, &person, Some(&door.reveal())).await);
    let list = identity::ask(&node, "GET", "/v1/audit/entries", Some(&again), None).await;
    let list = list.json()["data"].as_array().expect("a list").clone();
    let told = told(&list);
    let started: Vec<&str> = told
        .iter()
        .map(|one| one.rsplit_once(' ').map_or("", |(deed, _)| deed))
        .collect();
    assert_eq!(
        started,
        [
            "identity.session.create done",
            "identity.link.create done",
            "identity.session.end done",
            "identity.session.create done",
        ]
    );
    assert_eq!(list[1]["said"]["resource"], wallet.did());
    let filter = kwaainet_store::AuditFilter {
        outcome: Some(kwaainet_audit::AuditOutcome::Failed),
        ..kwaainet_store::AuditFilter::default()
    };
    let failed = node.store.audit_entries(&filter, 0, 10).await;
    let failed = failed.expect("it answers");
    let opened = failed[0]
        .sealed
        .open(failed[0].key.as_ref().expect("a key"));
    assert_eq!(opened.expect("it opens").actor, "stranger");
}
