use kwaainet_core::{ApiKey, KeyRecord, Scope, Scopes, SessionToken};

use super::*;
use crate::Store;

const DID: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
const CHAIN: &str = "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a";

async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("node.db");
    let store = Store::open(&path).await.expect("it opens");
    (dir, store)
}

async fn account(store: &Store, now_ms: i64) -> AccountRecord {
    let found = store.account(DID, now_ms).await.expect("it answers");
    found.expect("it is there")
}

fn link(linked: &str, account: &str) -> LinkRecord {
    LinkRecord {
        linked: linked.into(),
        account: account.into(),
        message: "text".into(),
        signature: "0x".into(),
        created_at_ms: 3,
    }
}

#[tokio::test]
async fn an_account_is_let_in_for_as_long_as_the_key_is_good() {
    let (_dir, store) = store().await;
    assert_eq!(store.account(DID, 1).await.expect("it answers"), None);
    store
        .see_account(DID, [1; 16], None, 1)
        .await
        .expect("made");
    assert!(!account(&store, 1).await.admitted);

    let key = ApiKey::generate();
    let record = KeyRecord {
        id: key.id().clone(),
        name: "phone".into(),
        hash: key.hash(),
        scopes: Scopes::ALL,
        created_at_ms: 1,
        expires_at_ms: Some(100),
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    store.insert_key(&record).await.expect("stored");
    let admission = Admission {
        by: key.id().to_string(),
        scopes: [Scope::Storage].into_iter().collect(),
    };
    // The handle stays what it was.
    let seen = store.see_account(DID, [2; 16], Some(&admission), 2).await;
    seen.expect("updated");
    store
        .see_account(DID, [3; 16], None, 3)
        .await
        .expect("seen");
    let now = account(&store, 5).await;
    assert!(now.admitted && now.scopes == admission.scopes);
    assert_eq!((now.handle, now.created_at_ms), ([1; 16], 1));
    assert!(!account(&store, 100).await.admitted, "the key is over");
    assert!(store.revoke_key(key.id(), 6).await.expect("it answers"));
    assert!(!account(&store, 7).await.admitted);
}

#[tokio::test]
async fn a_did_belongs_to_one_account() {
    let (_dir, store) = store().await;
    let other = "did:key:z6Mkother";
    for did in [DID, other] {
        let handle = [did.len() as u8; 16];
        store.see_account(did, handle, None, 1).await.expect("made");
    }
    let put = async |linked: &str, account: &str| {
        let link = link(linked, account);
        store.link_account(&link).await.expect("it answers")
    };
    assert_eq!(put(CHAIN, DID).await, Linked::Done);
    assert_eq!(put(CHAIN, DID).await, Linked::Done, "again");
    assert_eq!(put(CHAIN, other).await, Linked::Taken);
    assert_eq!(put(other, DID).await, Linked::Taken, "an account itself");
    let found = store.account(CHAIN, 1).await.expect("it answers");
    let found = found.expect("it leads to the account");
    assert_eq!((found.did.as_str(), found.links, found.chains), (DID, 1, 1));
    assert_eq!(
        store.account_links(DID).await.expect("one"),
        [link(CHAIN, DID)]
    );
    for number in 0..63 {
        let did = format!("did:key:z{number}");
        assert_eq!(put(&did, DID).await, Linked::Done);
    }
    assert_eq!(put("did:key:zmore", DID).await, Linked::Full);
    assert!(!store.unlink_account(other, CHAIN).await.expect("not his"));
    assert!(store.unlink_account(DID, CHAIN).await.expect("his"));
    assert_eq!(store.account(CHAIN, 1).await.expect("it answers"), None);
}

#[tokio::test]
async fn sessions_are_found_ended_and_bounded() {
    let (_dir, store) = store().await;
    store
        .see_account(DID, [1; 16], None, 1)
        .await
        .expect("made");
    let row = async |created_at_ms| {
        let token = SessionToken::generate();
        let row = SessionRow {
            id: token.id().clone(),
            hash: token.hash(),
            scopes: Scopes::ALL,
            created_at_ms,
            expires_at_ms: 1_000,
            ended_at_ms: None,
            account: account(&store, 1).await,
        };
        store.insert_session(&row).await.expect("stored");
        row
    };
    let first = row(2).await;
    let found = store.session(&first.id, 1).await.expect("it answers");
    assert_eq!(found.as_ref(), Some(&first));
    assert!(
        !store
            .end_session("did:key:zother", &first.id, 5)
            .await
            .expect("not his")
    );
    for now in [5, 9] {
        assert!(store.end_session(DID, &first.id, now).await.expect("his"));
    }
    let ended = store.session(&first.id, 1).await.expect("it answers");
    assert_eq!(ended.and_then(|session| session.ended_at_ms), Some(5));
    for created in 3..70 {
        row(created).await;
    }
    assert_eq!(store.sessions(DID, 1).await.expect("it answers").len(), 64);
    assert_eq!(store.session(&first.id, 1).await.expect("it answers"), None);
    assert_eq!(store.sweep_accounts(1_000).await.expect("it answers"), 0);
    let week = 8 * 24 * 3_600 * 1_000;
    assert_eq!(store.sweep_accounts(week).await.expect("it answers"), 1);
    assert_eq!(store.account(DID, week).await.expect("it answers"), None);
}

#[tokio::test]
async fn places_are_taken_once_and_what_is_revoked_does_not_count_as_shown() {
    let (_dir, store) = store().await;
    store
        .see_account(DID, [1; 16], None, 1)
        .await
        .expect("made");
    let take = async |id: &str| {
        let next = std::cell::Cell::new(0_u32);
        let random = |below: u32| {
            next.set(next.get() + 1);
            next.get() % below
        };
        let taken = store.take_place(id, "owner", 4, random, 1).await;
        taken.expect("it answers")
    };
    let mut places = Vec::new();
    for number in 0..6 {
        let taken = take(&format!("urn:{number}")).await.expect("it is new");
        places.push((taken.list, taken.place));
    }
    places.sort_unstable();
    assert_eq!(places[..4], [(1, 0), (1, 1), (1, 2), (1, 3)]);
    assert!(places[4..].iter().all(|(list, _)| *list == 2), "{places:?}");
    assert_eq!(take("urn:3").await, None, "used");
    assert_eq!(
        store.revoked_places(1).await.expect("answers"),
        Some(vec![])
    );
    assert_eq!(store.revoked_places(3).await.expect("answers"), None);

    let shown = ShownCredential {
        account: DID.into(),
        issuer: "did:key:zissuer".into(),
        credential: Some("urn:0".into()),
        shown_at_ms: 1,
        good_until_ms: 50,
    };
    store.show_credential(&shown).await.expect("kept");
    assert_eq!(account(&store, 49).await.verified_until_ms, Some(50));
    assert_eq!(account(&store, 50).await.verified_until_ms, None);
    for _ in 0..2 {
        assert!(store.revoke_credential("urn:0", 7).await.expect("answers"));
    }
    assert!(!store.revoke_credential("urn:9", 7).await.expect("answers"));
    assert_eq!(account(&store, 49).await.verified_until_ms, None);
    store.show_credential(&shown).await.expect("answers");
    let late = account(&store, 49).await;
    assert_eq!(late.verified_until_ms, None, "it was revoked meanwhile");
    let revoked = store.revoked_places(1).await.expect("answers");
    assert_eq!(revoked.map(|places| places.len()), Some(1));

    let ids = [vec![1], vec![2]];
    assert!(!store.is_capability_revoked(&ids).await.expect("answers"));
    store.revoke_capability(&[2], 1).await.expect("kept");
    assert!(store.is_capability_revoked(&ids).await.expect("answers"));
}

#[tokio::test]
async fn another_did_takes_an_accounts_place_with_all_that_it_has() {
    let (_dir, store) = store().await;
    store
        .see_account(DID, [1; 16], None, 1)
        .await
        .expect("made");
    store.link_account(&link(CHAIN, DID)).await.expect("linked");
    let keep = async |account: &str, id: u8, max| {
        let passkey = PasskeyRecord {
            id: vec![id],
            account: account.into(),
            record: "{}".into(),
        };
        store.keep_passkey(&passkey, max, 1).await.expect("answers")
    };
    assert_eq!(keep(DID, 1, 1).await, PasskeyKept::Done);
    assert_eq!(keep(DID, 1, 1).await, PasskeyKept::Done, "it is the same");
    assert_eq!(keep(DID, 2, 1).await, PasskeyKept::Full);
    assert_eq!(keep("did:key:zother", 1, 1).await, PasskeyKept::Taken);
    let prepared = store.prepare_account(DID, [7; 32], CHAIN).await;
    prepared.expect("kept");
    assert_eq!(account(&store, 1).await.next_key, Some([7; 32]));
    let new = "did:key:znew";
    assert!(
        store
            .succeed_account(&link(new, DID))
            .await
            .expect("answers")
    );
    assert_eq!(store.account(DID, 1).await.expect("answers"), None);
    let now = store.account(new, 1).await.expect("answers");
    let now = now.expect("it is there");
    assert_eq!((now.passkeys, now.links, now.handle), (1, 1, [1; 16]));
    assert_eq!((now.next_key, now.recovery.as_deref()), (None, Some(CHAIN)));
    let taken = store.succeed_account(&link(new, new)).await;
    assert!(!taken.expect("answers"), "it is an account");
}
