//! The books between nodes, in the database: what a ledger begins with, and the task that writes what it hands on.

use std::sync::Arc;

use kwaainet_core::Clock;
use kwaainet_federation::{Claim, Entry, KeptReceipt, Ledger, SignedReceipt};
use kwaainet_identity::NodeKey;
use kwaainet_store::{ClaimRecord, ServiceEntry, ServicePlace, ServiceRecord, Store, StoreError};
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
    let mut least = clock.unix_ms().max(0);
    for record in store.last_services(key.id()).await? {
        // Also what came back of a database that was lost.
        least = least.max(record.place.chain.saturating_add(1));
        match SignedReceipt::open(&record.receipt) {
            Ok(receipt) => last.push(receipt),
            // Its chain begins anew, as after a loss.
            Err(error) => tracing::error!(%error, "the database holds a changed receipt"),
        }
    }
    let (entries, inbox) = mpsc::channel(BACKLOG);
    let chain = store.next_chain(least).await? as u64;
    Ok((Ledger::new(key, chain, last, entries), inbox))
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

pub(super) fn entry(entry: Entry) -> ServiceEntry {
    match entry {
        Entry::Receipt(kept) => ServiceEntry::Receipt(service_record(*kept)),
        Entry::Counter { hash, counter } => ServiceEntry::Counter { hash, counter },
        Entry::Claim(claim) => ServiceEntry::Claim(claim_record(*claim)),
    }
}

/// A receipt as it lies in the database.
pub(super) fn service_record(kept: KeptReceipt) -> ServiceRecord {
    let KeptReceipt { receipt, counter } = kept;
    let (number, previous) = receipt.place.link().unwrap_or_default();
    ServiceRecord {
        hash: receipt.hash(),
        place: ServicePlace {
            server: receipt.server,
            asker: receipt.asker,
            // No receipt with larger numbers can be opened.
            chain: receipt.place.chain as i64,
            stream: receipt.place.stream as i64,
            revision: receipt.place.revision as i64,
        },
        number: number as i64,
        previous,
        request: receipt.service.request,
        receipt: receipt.as_bytes().to_vec(),
        counter,
        returned: false,
    }
}

fn claim_record(Claim { server, seen }: Claim) -> ClaimRecord {
    let fits = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    ClaimRecord {
        server,
        request: seen.request,
        request_hash: seen.request_hash,
        model: seen.model.map(|digest| digest.0),
        prompt_tokens: seen.usage.prompt_tokens,
        cached_tokens: seen.usage.cached_tokens,
        completion_tokens: seen.usage.completion_tokens,
        began_ms: fits(seen.began_ms),
        duration_ms: fits(seen.duration_ms),
        transcript_hash: seen.transcript_hash,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{ManualClock, NodeId, Tier, Usage};
    use kwaainet_federation::{Accounts, Service, Turn};
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
                let served = requests.map(|n| {
                    let stream = ledger.begin(asker.id());
                    let turn = Turn {
                        stream,
                        revision: 1,
                    };
                    (n, ledger.served(asker.id(), turn, service(n)))
                });
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
        let of_server = server_store.services(None, None, 100).await;
        let of_asker = asker_store.services(None, None, 100).await;
        let (of_server, of_asker) = (of_server.expect("read"), of_asker.expect("read"));
        assert_eq!(of_server, of_asker);
        assert_eq!(of_server.len(), 15);
        assert!(of_server.iter().all(|kept| kept.counter.is_some()));
        // Three chains, each of which names the last receipt of the one before.
        let mut previous = [0; 32];
        for kept in &of_server {
            let receipt = SignedReceipt::open(&kept.receipt).expect("it is good");
            assert_eq!(receipt.place.link().map(|link| link.1), Some(previous));
            previous = receipt.hash();
        }
        let firsts = of_server.iter().filter(|kept| kept.number == 1);
        assert_eq!(firsts.count(), 3);
    }
}
