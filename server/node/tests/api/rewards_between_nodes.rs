//! What nodes did for each other comes to the same on both sides, once both have signed.

use kwaainet::config::Config;
use kwaainet::rewards::{Paying, once};
use kwaainet_core::{ManualClock, Usage as Tokens};
use kwaainet_federation::{CounterSignature, Place, Service, SignedReceipt, Standing};
use kwaainet_identity::NodeKey;
use kwaainet_store::{DocumentStore, ServiceEntry, ServicePlace, ServiceRecord, Store};

/// The only receipt of a chain.
fn record(server: &NodeKey, asker: &NodeKey, chain: u64, signed: bool) -> ServiceRecord {
    let service = Service {
        request: [chain as u8; 16],
        request_hash: [2; 32],
        model: None,
        usage: Tokens::default(),
        began_ms: 1,
        duration_ms: 36_000,
        energy_mj: 0,
        energy_method: "none",
        transcript_hash: [4; 32],
        complete: true,
    };
    let previous = [0; 32];
    let place = Place {
        chain,
        stream: 1,
        revision: 0,
        standing: Standing::Final {
            number: 1,
            previous,
        },
    };
    let receipt = SignedReceipt::sign(server, asker.id(), place, service);
    let counter = CounterSignature::sign(asker, receipt.hash(), Tokens::default());
    ServiceRecord {
        hash: receipt.hash(),
        place: ServicePlace {
            server: server.id(),
            asker: asker.id(),
            chain: chain as i64,
            stream: 1,
            revision: 0,
        },
        number: 1,
        previous,
        request: [chain as u8; 16],
        receipt: receipt.as_bytes().to_vec(),
        counter: signed.then(|| counter.as_bytes().to_vec()),
        returned: false,
    }
}

async fn earned(store: &Store, subject: &str) -> i64 {
    let accounts = store.ledger_accounts(Some(subject), None, 10).await;
    let accounts = accounts.expect("it answers");
    let provider = accounts
        .iter()
        .find(|account| account.kind.name() == "provider");
    provider.map_or(0, |account| account.balance())
}

#[tokio::test]
async fn work_between_nodes_is_paid_once_both_have_signed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&dir.path().join("node.db")).await;
    let store = store.expect("it opens");
    let documents = DocumentStore::open(&dir.path().join("storage.db")).await;
    let (documents, _writer) = documents.expect("it opens");
    let (own, peer, stranger) = (
        NodeKey::generate(),
        NodeKey::generate(),
        NodeKey::generate(),
    );
    let mut forged = record(&own, &peer, 3, false);
    let by_stranger = CounterSignature::sign(&stranger, forged.hash, Tokens::default());
    forged.counter = Some(by_stranger.as_bytes().to_vec());
    let kept = [
        record(&own, &peer, 1, true),
        record(&own, &peer, 2, false),
        forged,
        record(&peer, &own, 1, true),
    ];
    let entries: Vec<_> = kept.iter().cloned().map(ServiceEntry::Receipt).collect();
    store.record_services(&entries, 1).await.expect("written");
    let paying = Paying::new(&Config::default(), Some(own.id()));
    let clock = ManualClock::default();
    // A hundredth of an hour on a machine of class one.
    const ONE: i64 = 1_000_000;
    let theirs = format!("peer:{}", peer.id());
    for _ in 0..2 {
        once((&store, &documents), &clock, &paying)
            .await
            .expect("it is done");
        assert_eq!(earned(&store, "owner").await, ONE, "the other two wait");
        assert_eq!(earned(&store, &theirs).await, ONE);
    }
    let signed = ServiceEntry::Counter {
        hash: kept[1].hash,
        counter: record(&own, &peer, 2, true).counter.expect("it is there"),
    };
    store.record_services(&[signed], 2).await.expect("written");
    for _ in 0..2 {
        once((&store, &documents), &clock, &paying)
            .await
            .expect("it is done");
        assert_eq!(earned(&store, "owner").await, 2 * ONE);
    }
}
