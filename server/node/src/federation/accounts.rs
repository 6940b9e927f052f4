//! The books between nodes, in the database: what a ledger begins with, and the task that writes what it hands on.

use std::sync::Arc;

use kwaainet_core::Clock;
use kwaainet_federation::{Entry, KeptReceipt, Ledger, SignedReceipt};
use kwaainet_identity::NodeKey;
use kwaainet_store::{ServiceEntry, ServiceRecord, Store, StoreError};
use tokio::sync::mpsc;

use crate::ledger::insist;

/// Receipts and counter-signatures that may wait to be written.
pub const BACKLOG: usize = 32_768;
const BATCH_MAX: usize = 256;

/// The books of the node with this key, going on from what the database has; and what is to be given to
/// [`write_entries`].
///
/// # Errors
/// When the database fails.
pub async fn open_ledger(
    key: NodeKey,
    store: &Store,
    clock: &dyn Clock,
) -> Result<(Ledger, mpsc::Receiver<Entry>), StoreError> {
    let mut last = Vec::new();
    for record in store.last_services(key.id()).await? {
        match SignedReceipt::open(&record.receipt) {
            Ok(receipt) => last.push(receipt),
            // Its chain begins anew, as after a loss.
            Err(error) => tracing::error!(%error, "the database holds a changed receipt"),
        }
    }
    let (entries, inbox) = mpsc::channel(BACKLOG);
    let now_ms = clock.unix_ms().max(0) as u64;
    Ok((Ledger::new(key, now_ms, last, entries), inbox))
}

/// Writes what the ledger hands on, in batches, until the ledger is gone and all is written.
pub async fn write_entries(store: Store, clock: Arc<dyn Clock>, mut inbox: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while inbox.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let entries: Vec<_> = batch.drain(..).map(entry).collect();
        let now_ms = clock.unix_ms();
        insist(&inbox, entries.len(), || {
            store.record_services(&entries, now_ms)
        })
        .await;
    }
}

fn entry(entry: Entry) -> ServiceEntry {
    let kept = match entry {
        Entry::Counter { hash, counter } => return ServiceEntry::Counter { hash, counter },
        Entry::Receipt(kept) => *kept,
    };
    let KeptReceipt { receipt, counter } = kept;
    ServiceEntry::Receipt(ServiceRecord {
        hash: receipt.hash(),
        server: receipt.server,
        asker: receipt.asker,
        // No receipt with a larger number can be opened.
        chain: receipt.place.chain as i64,
        number: receipt.place.number as i64,
        receipt: receipt.as_bytes().to_vec(),
        counter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{ManualClock, NodeId, Tier, Usage};
    use kwaainet_federation::{Accounts, Service};
    use std::path::Path;

    fn service(request: u8) -> Service {
        Service {
            request: [request; 16],
            request_hash: [2; 32],
            model: None,
            usage: Usage {
                prompt_tokens: 12,
                cached_tokens: 4,
                completion_tokens: request.into(),
            },
            began_ms: 1,
            duration_ms: 250,
            energy_mj: 0,
            energy_method: "none",
            transcript_hash: [4; 32],
            complete: true,
        }
    }

    async fn store(dir: &Path) -> Store {
        Store::open(&dir.join("node.db")).await.expect("it opens")
    }

    /// A node that knows the other, does something, and ends.
    async fn with_ledger(store: &Store, key: &NodeKey, peer: NodeId, then: impl FnOnce(&Ledger)) {
        let clock = Arc::new(ManualClock::default());
        let joined = store.join_member(peer, Tier::T1, b"", b"", 1).await;
        joined.expect("it is written");
        let opened = open_ledger(key.clone(), store, clock.as_ref()).await;
        let (ledger, inbox) = opened.expect("it opens");
        then(&ledger);
        drop(ledger);
        write_entries(store.clone(), clock, inbox).await;
    }

    #[tokio::test]
    async fn both_books_hold_the_same_after_restarts() {
        let (here, there) = (
            tempfile::tempdir().expect("a temporary folder"),
            tempfile::tempdir().expect("a temporary folder"),
        );
        let (server_store, asker_store) = (store(here.path()).await, store(there.path()).await);
        let (server, asker) = (NodeKey::generate(), NodeKey::generate());
        for start in 0..3 {
            let mut receipts = Vec::new();
            with_ledger(&server_store, &server, asker.id(), |ledger| {
                let requests = start * 10..start * 10 + 5;
                let served = requests.map(|n| (n, ledger.served(asker.id(), service(n))));
                receipts.extend(served);
            })
            .await;
            let mut counters = Vec::new();
            with_ledger(&asker_store, &asker, server.id(), |ledger| {
                for (request, receipt) in &receipts {
                    let counter = ledger.received(server.id(), receipt, &service(*request));
                    counters.push((receipt.clone(), counter.expect("it is right")));
                }
            })
            .await;
            with_ledger(&server_store, &server, asker.id(), |ledger| {
                for (receipt, counter) in &counters {
                    let taken = ledger.countersigned(asker.id(), receipt, counter);
                    taken.expect("it is right");
                }
            })
            .await;
        }
        let of_server = server_store.services(None, 0, 100).await;
        let of_asker = asker_store.services(None, 0, 100).await;
        let (of_server, of_asker) = (of_server.expect("read"), of_asker.expect("read"));
        assert_eq!(of_server, of_asker);
        assert_eq!(of_server.len(), 15);
        assert!(of_server.iter().all(|(_, kept)| kept.counter.is_some()));
        // Three chains, each of which names the last receipt of the one before.
        let mut previous = [0; 32];
        for (_, kept) in &of_server {
            let receipt = SignedReceipt::open(&kept.receipt).expect("it is good");
            assert_eq!(receipt.place.previous, previous);
            previous = receipt.hash();
        }
        let firsts = of_server.iter().filter(|(_, kept)| kept.number == 1);
        assert_eq!(firsts.count(), 3);
    }
}
