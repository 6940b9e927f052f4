//! The audit log over a real database.

use std::path::Path;

use kwaainet_core::merkle::Frontier;

use super::*;

async fn open(dir: &Path) -> Store {
    Store::open(&dir.join("node.db")).await.expect("it opens")
}

fn entry(at_ms: i64, action: &str, subject: &str) -> Entry {
    Entry {
        at_ms,
        action: Action::new(action).expect("a name"),
        outcome: AuditOutcome::Done,
        actor: subject.into(),
        subject: subject.into(),
        resource: format!("thing {at_ms}"),
        details: Default::default(),
    }
}

async fn found(store: &Store, filter: AuditFilter) -> Vec<u64> {
    let records = store
        .audit_entries(&filter, 0, 100)
        .await
        .expect("it answers");
    records.iter().map(|record| record.index).collect()
}

/// All entries say what the tree commits to.
async fn check(store: &Store) -> u64 {
    let head = store.log_head(Log::Audit).await.expect("it answers");
    let mut frontier = Frontier::default();
    let records = store.audit_entries(&AuditFilter::default(), 0, 1_000).await;
    for record in records.expect("it answers") {
        assert_eq!(record.index, frontier.size());
        frontier.append(record.sealed.leaf_hash(), |_, _| {});
        if let Some(key) = &record.key {
            record.sealed.open(key).expect("it is the key");
        }
    }
    assert_eq!((frontier.size(), frontier.root()), (head.size, head.root));
    head.size
}

#[tokio::test]
async fn entries_are_found_by_what_they_are_about() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).await;
    let first = [
        entry(1, "storage.read", "a"),
        entry(2, "storage.write", "b"),
    ];
    assert_eq!(store.record_audit(&first).await.expect("written"), 0);
    let second = [entry(3, "identity.login", "a")];
    assert_eq!(store.record_audit(&second).await.expect("written"), 2);
    let all = AuditFilter::default;
    assert_eq!(found(&store, all()).await, [0, 1, 2]);
    let of_a = AuditFilter {
        subject: Some("a".into()),
        ..all()
    };
    assert_eq!(found(&store, of_a.clone()).await, [0, 2]);
    let by = |action: &str| AuditFilter {
        action: Some(action.into()),
        ..all()
    };
    assert_eq!(found(&store, by("storage.")).await, [0, 1]);
    assert_eq!(found(&store, by("storage.read")).await, [0]);
    assert_eq!(found(&store, by("storage")).await, [0_u64; 0]);
    let between = AuditFilter {
        since_ms: Some(2),
        until_ms: Some(3),
        ..all()
    };
    assert_eq!(found(&store, between).await, [1]);
    let denied = AuditFilter {
        outcome: Some(AuditOutcome::Denied),
        ..all()
    };
    assert_eq!(found(&store, denied).await, [0_u64; 0]);
    let nobody = AuditFilter {
        subject: Some("c".into()),
        ..all()
    };
    assert_eq!(found(&store, nobody).await, [0_u64; 0]);
    store.close().await;
    let store = open(dir.path()).await;
    assert_eq!(check(&store).await, 3);
    let records = store.audit_entries(&of_a, 1, 10).await.expect("it answers");
    let key = records[0].key.as_ref().expect("it is there");
    assert_eq!(
        records[0].sealed.open(key).expect("it opens").resource,
        "thing 3"
    );
}

#[tokio::test]
async fn who_is_forgotten_is_nowhere_and_the_tree_is_the_same() {
    const NAME: &str = "key:Vergissmeinnicht";
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).await;
    for at in 0..20 {
        let both = [
            entry(at, "storage.read", NAME),
            entry(at, "storage.read", "other"),
        ];
        store.record_audit(&both).await.expect("written");
    }
    let before = store.log_head(Log::Audit).await.expect("it answers");
    assert_eq!(store.forget_audit_subject(NAME).await.expect("written"), 20);
    assert_eq!(store.forget_audit_subject(NAME).await.expect("written"), 0);
    store.scrub().await.expect("it is overwritten");
    assert_eq!(
        store.log_head(Log::Audit).await.expect("it answers"),
        before
    );
    assert_eq!(check(&store).await, 40);
    for file in std::fs::read_dir(dir.path()).expect("it is there") {
        let bytes = std::fs::read(file.expect("it is there").path()).expect("it is read");
        let name = NAME.as_bytes();
        assert!(!bytes.windows(name.len()).any(|window| window == name));
    }
    // Whoever comes again is somebody else.
    store
        .record_audit(&[entry(99, "storage.read", NAME)])
        .await
        .expect("written");
    let of_him = AuditFilter {
        subject: Some(NAME.into()),
        ..AuditFilter::default()
    };
    assert_eq!(found(&store, of_him).await, [40]);
}

#[tokio::test]
async fn what_is_no_entry_is_not_recorded_nor_its_company() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).await;
    let mut long = entry(1, "storage.read", "a");
    long.resource = "x".repeat(20 << 10);
    let refused = store
        .record_audit(&[entry(1, "storage.read", "b"), long])
        .await;
    assert!(matches!(refused, Err(AuditError::Entry(BadEntry::TooLong))));
    assert_eq!(check(&store).await, 0);
}
