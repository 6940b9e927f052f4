//! Replications, erasures and grants as they are kept.

use kwaainet_storage::{Access, Grant};

use super::*;

const URL: &str = "https://other/couch/notes";

fn new(db: i64, id: &str, url: &str, direction: Direction) -> NewReplication {
    NewReplication {
        id: id.to_owned(),
        db,
        owner: "ada".into(),
        key: None,
        url: url.to_owned(),
        direction,
        live: false,
        state: ReplicationState::Pending,
        now_ms: 1,
    }
}

fn seal(id: &str) -> ReplicationSecrets {
    ReplicationSecrets {
        secret: format!("sealed for {id}").into_bytes(),
        opens: Some(b"opens".to_vec()),
    }
}

impl Open {
    async fn keep(&self, new: &NewReplication) -> Option<ReplicationRecord> {
        self.store
            .keep_replication(new, seal)
            .await
            .expect("it answers")
    }

    async fn erase(&self, name: &str, id: &str, ids: &[&str]) -> bool {
        let found = self.find("ada", name).await.expect("it is there");
        let new = NewErasure {
            id: id.to_owned(),
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            sealed: Some(b"sealed ids".to_vec()),
            now_ms: 5,
        };
        self.store.erase(&found, &new).await.expect("it answers")
    }

    async fn erasure(&self, id: &str) -> ErasureRecord {
        let found = self.store.erasure(&"ada".into(), id).await;
        found.expect("it answers").expect("it is there")
    }
}

#[tokio::test]
async fn a_replication_that_is_asked_for_anew_stays_itself() {
    let open = Open::new().await;
    let db = open.database("ada", "notes", Mode::Private).await;
    let first = open.keep(&new(db.key, "one", URL, Direction::Push)).await;
    let first = first.expect("there is room");
    assert_eq!((first.id.as_str(), first.revision), ("one", 1));
    assert_eq!(
        (first.name.as_str(), first.secret.clone()),
        ("notes", seal("one").secret)
    );
    let came = WayRecord {
        since: Some("7-x".into()),
        read: 5,
        written: 4,
        refused: 1,
    };
    for _ in 0..2 {
        let told = open.store.replication_came(("one", 1), Way::Push, &came, 2);
        told.await.expect("it answers");
    }
    let done = ReplicationState::Completed;
    let told = open.store.replication_is(("one", 1), done, None, 3);
    told.await.expect("it answers");
    assert!(
        open.store
            .open_replications()
            .await
            .expect("it answers")
            .is_empty()
    );
    let again = open.keep(&new(db.key, "two", URL, Direction::Pull)).await;
    let again = again.expect("there is room");
    assert_eq!((again.id.as_str(), again.revision), ("one", 2));
    assert_eq!(
        (again.push.read, again.push.since.as_deref()),
        (10, Some("7-x"))
    );
    assert_eq!(again.state, ReplicationState::Pending);
    // Whoever still works on the earlier one changes nothing.
    let told = open.store.replication_is(("one", 1), done, Some("late"), 4);
    told.await.expect("it answers");
    let open_ones = open.store.open_replications().await.expect("it answers");
    assert_eq!(open_ones, [again]);
    let of_bob = open.store.forget_replication(&"bob".into(), "one").await;
    assert!(!of_bob.expect("it answers"));
    for n in 0..63 {
        let url = format!("{URL}{n}");
        let kept = open
            .keep(&new(db.key, &format!("n{n}"), &url, Direction::Pull))
            .await;
        assert!(kept.is_some(), "{n}");
    }
    let full = open
        .keep(&new(db.key, "last", "https://last", Direction::Pull))
        .await;
    assert_eq!(full, None);
    assert!(
        open.keep(&new(db.key, "x", URL, Direction::Both))
            .await
            .is_some()
    );
    assert!(
        open.store
            .delete_database(db.key)
            .await
            .expect("it answers")
    );
    let left = open.store.replications(&"ada".into()).await;
    assert!(left.expect("it answers").is_empty());
    open.close().await;
}

#[tokio::test]
async fn an_erasure_is_complete_when_the_last_copy_is_gone() {
    let open = Open::new().await;
    let db = open.database("ada", "notes", Mode::Private).await;
    open.write(&db, json!([{"_id": "a"}, {"_id": "b"}, {"_id": "kept"}]))
        .await;
    assert!(open.erase("notes", "alone", &["a"]).await);
    let alone = open.erasure("alone").await;
    assert_eq!((alone.documents, alone.completed_at_ms), (1, Some(5)));
    assert!(
        open.store
            .open_erasures(9)
            .await
            .expect("it answers")
            .is_empty()
    );

    open.keep(&new(db.key, "copy", URL, Direction::Push)).await;
    // That it was pushed once is not forgotten.
    open.keep(&new(db.key, "copy", URL, Direction::Pull)).await;
    open.keep(&new(db.key, "source", "https://source", Direction::Pull))
        .await;
    assert!(open.erase("notes", "both", &["b", "unknown"]).await);
    open.store
        .forget_replication(&"ada".into(), "copy")
        .await
        .expect("it answers");
    open.store
        .delete_database(db.key)
        .await
        .expect("it answers");
    let waiting = open.store.open_erasures(9).await.expect("it answers");
    assert_eq!(waiting.len(), 1, "it outlives replication and database");
    assert_eq!(
        (waiting[0].secret_of.as_str(), waiting[0].secret.clone()),
        ("copy", seal("copy").secret)
    );
    let which = ("both", URL);
    open.store
        .erasure_failed(which, "nobody there", 6)
        .await
        .expect("it answers");
    let tried = open.erasure("both").await;
    assert_eq!((tried.replicas[0].tries, tried.completed_at_ms), (1, None));
    assert_eq!(
        tried.replicas[0].last_error.as_deref(),
        Some("nobody there")
    );
    open.store
        .erasure_acknowledged(which, 7)
        .await
        .expect("it answers");
    let complete = open.erasure("both").await;
    assert_eq!((complete.documents, complete.completed_at_ms), (1, Some(7)));
    assert_eq!(complete.replicas[0].acknowledged_at_ms, Some(7));
    assert!(
        open.store
            .open_erasures(9)
            .await
            .expect("it answers")
            .is_empty()
    );
    open.store.scrub().await.expect("it answers");
    let dir = open.close().await;
    let file = std::fs::read(dir.path().join("storage.db")).expect("it can be read");
    assert!(!file.windows(10).any(|part| part == b"sealed ids"));
}

#[tokio::test]
async fn what_was_erased_comes_back_by_nobody_but_its_owner() {
    let open = Open::new().await;
    let db = open.database("ada", "notes", Mode::Private).await;
    open.database("ada", "others", Mode::Private).await;
    let old = json!([{"_id": "a", "_rev": "2-b", "_revisions": {"start": 2, "ids": ["b", "a"]}}]);
    let bring = async |docs: &Value| {
        let docs = docs.as_array().expect("an array").iter();
        let drafts = docs.map(|doc| Draft::parse(doc.clone(), &LIMITS).expect("it is sound"));
        let written = open.store.write(&db, drafts.collect(), true, QUOTA).await;
        written.expect("it is written")
    };
    assert!(bring(&old).await[0].as_ref().expect("taken").is_some());
    assert!(open.erase("notes", "e", &["a"]).await);
    assert!(!open.erase("others", "e", &["a"]).await, "it is another's");
    assert_eq!(bring(&old).await, [Ok(None)]);
    assert!(open.find("ada", "notes").await.expect("it is there").docs == 0);
    let anew = open.write(&db, json!([{"_id": "a", "n": 1}])).await;
    let anew = anew[0].as_ref().expect("taken").as_ref().expect("new");
    assert_eq!(anew.rev.generation(), 1_025);
    assert_eq!(bring(&old).await, [Ok(None)], "not beside it either");
    let next = json!([{"_id": "a", "_rev": "1026-z",
        "_revisions": {"start": 1_026, "ids": ["z", anew.rev.hash()]}}]);
    assert!(bring(&next).await[0].as_ref().expect("taken").is_some());
    assert!(open.erase("notes", "again", &["a"]).await);
    let anew = open.write(&db, json!([{"_id": "a", "n": 1}])).await;
    let anew = anew[0].as_ref().expect("taken").as_ref().expect("new");
    assert_eq!(anew.rev.generation(), 2_049, "above all that ever was");
    open.close().await;
}

#[tokio::test]
async fn leave_leads_to_a_database_until_its_time() {
    let open = Open::new().await;
    let db = open.database("ada", "notes", Mode::Private).await;
    let grant = |id: &str, documents: Option<&str>| Grant {
        id: id.to_owned(),
        grantee: "bob".into(),
        access: Access::Read,
        purpose: "p".into(),
        documents: documents.map(|id| [id.to_owned()].into()),
        created_at_ms: 1,
        expires_at_ms: 10,
    };
    let granted = async |now| {
        let name = "notes".parse().expect("a name");
        let found = open.store.granted(&"bob".into(), &name, now).await;
        found
            .expect("it answers")
            .map(|(found, grants)| (found.key, grants.len()))
    };
    assert_eq!(granted(2).await, None);
    assert!(
        open.store
            .grant(db.key, &grant("one", Some("a")))
            .await
            .expect("it answers")
    );
    assert_eq!(granted(2).await, Some((db.key, 1)));
    let listed = async |now| {
        let found = open.store.granted_databases(&"bob".into(), now).await;
        found.expect("it answers").len()
    };
    assert_eq!(listed(2).await, 0, "not as a whole");
    assert!(
        open.store
            .grant(db.key, &grant("two", None))
            .await
            .expect("it answers")
    );
    assert_eq!((granted(2).await, listed(2).await), (Some((db.key, 2)), 1));
    assert_eq!((granted(10).await, listed(10).await), (None, 0));
    assert_eq!(
        open.store
            .grants(db.key, 2)
            .await
            .expect("it answers")
            .len(),
        2
    );
    assert!(
        open.store
            .revoke_grant(db.key, "one")
            .await
            .expect("it answers")
    );
    assert!(
        !open
            .store
            .revoke_grant(db.key, "one")
            .await
            .expect("it answers")
    );
    assert!(
        !open
            .store
            .grant(db.key + 1, &grant("three", None))
            .await
            .expect("it answers")
    );
    assert!(
        open.store
            .delete_database(db.key)
            .await
            .expect("it answers")
    );
    assert_eq!(granted(2).await, None);
    open.close().await;
}
