//! What others keep here, and identities that were verified for them, are paid once, whatever is done again.

use std::time::Duration;

use kwaainet::config::Config;
use kwaainet::rewards::{Paying, once};
use kwaainet_core::{Clock, ManualClock, PrincipalId};
use kwaainet_store::{
    BlobRecord, DocumentStore, GroupWriter, MatchedHour, Store, VerificationKind,
};

const GB: u64 = 1_000_000_000;
const HOUR_MS: i64 = 3_600_000;
const MONTH: Duration = Duration::from_secs(30 * 24 * 3_600);

struct Books {
    store: Store,
    documents: DocumentStore,
    _writer: GroupWriter,
    clock: ManualClock,
    paying: Paying,
    _dir: tempfile::TempDir,
}

impl Books {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&dir.path().join("node.db")).await;
        let opened = DocumentStore::open(&dir.path().join("storage.db")).await;
        let (documents, _writer) = opened.expect("it opens");
        Self {
            store: store.expect("it opens"),
            documents,
            _writer,
            clock: ManualClock::default(),
            paying: Paying::new(&Config::default(), None),
            _dir: dir,
        }
    }

    async fn holds(&self, owner: &str, bytes: u64) {
        let blob = BlobRecord {
            hash: format!("{bytes:064x}"),
            bytes,
            created_at_ms: 0,
        };
        let owner = PrincipalId::new(owner);
        let held = self.documents.hold_blob(&owner, &blob, u64::MAX);
        assert!(held.await.expect("it answers"));
    }

    async fn pay(&self) {
        let stores = (&self.store, &self.documents);
        let paid = once(stores, &self.clock, &self.paying).await;
        paid.expect("it is done");
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        let metered = self.documents.meter(self.clock.unix_ms()).await;
        metered.expect("it is metered");
    }

    async fn balance(&self, subject: &str, kind: &str) -> i64 {
        let accounts = self.store.ledger_accounts(Some(subject), None, 100).await;
        let accounts = accounts.expect("it answers");
        let found = accounts.iter().find(|account| account.kind.name() == kind);
        found.map_or(0, |account| account.balance())
    }
}

#[tokio::test]
async fn a_gigabyte_for_a_month_is_fifty_vda_however_it_is_cut() {
    let books = Books::new().await;
    books.holds("key:a", GB).await;
    books.holds("key:b", 3).await;
    // Who keeps his own things on his own node earns nothing.
    books.holds("owner", 5 * GB).await;
    books.pass(Duration::ZERO).await;
    let mut left = MONTH;
    let mut step = Duration::from_millis(60_007);
    while !left.is_zero() {
        step = (step * 3).min(left);
        left -= step;
        books.pass(step).await;
        books.pay().await;
        books.pay().await;
    }
    books.pay().await;
    let earned = books.balance("owner", "provider").await;
    assert_eq!(earned, 50_000_000, "three bytes are worth less than one");
    assert_eq!(books.balance("key:a", "settlement").await, -50_000_000);
    assert_eq!(books.balance("key:b", "settlement").await, -1);
    assert_eq!(books.balance("", "rounding").await, 1);
    // Nothing new, nothing paid; and a clock that went back counts nothing.
    books.pay().await;
    let metered = books.documents.meter(5).await;
    metered.expect("it is metered");
    books.pay().await;
    assert_eq!(books.balance("owner", "provider").await, earned);
}

#[tokio::test]
async fn what_was_verified_is_paid_by_who_asked() {
    let books = Books::new().await;
    let noted = async |who: &str, kind| {
        let who = PrincipalId::new(who);
        let noted = books.store.note_verification(&who, kind, 7);
        noted.await.expect("it is noted");
    };
    noted("key:a", VerificationKind::Identity).await;
    noted("did:key:z6Mk", VerificationKind::MultiChain).await;
    books.pay().await;
    books.pay().await;
    noted("key:a", VerificationKind::Identity).await;
    noted("owner", VerificationKind::Identity).await;
    books.pay().await;
    assert_eq!(books.balance("owner", "provider").await, 52_000_000);
    assert_eq!(books.balance("key:a", "settlement").await, -50_000_000);
    assert_eq!(
        books.balance("did:key:z6Mk", "settlement").await,
        -2_000_000
    );
}

#[tokio::test]
async fn a_bonus_follows_the_evidence_of_the_hour() {
    for (evidence, matched_mwh, bonus) in [
        (None, 1_000, 0),
        (Some("local_meter"), 1_000, 3_000),
        (Some("cross_checked"), 1_000, 5_000),
        (Some("cross_checked"), 600, 3_800),
        (Some("cross_checked"), 499, 0),
    ] {
        let books = Books::new().await;
        books.holds("key:a", GB).await;
        books.pass(Duration::ZERO).await;
        let hours = [MatchedHour {
            hour_ms: 30 * 24 * HOUR_MS - HOUR_MS,
            load_mwh: 1_000,
            matched_mwh,
            seen_s: 3_600,
            evidence,
        }];
        let kept = books.store.set_matched_hours(&hours).await;
        kept.expect("they are kept");
        books.pass(MONTH).await;
        books.pay().await;
        let earned = books.balance("owner", "provider").await;
        assert_eq!(
            earned,
            50_000_000 + 50_000_000 * bonus / 10_000,
            "{evidence:?} {matched_mwh}"
        );
        assert_eq!(books.balance("key:a", "settlement").await, -50_000_000);
    }
}
