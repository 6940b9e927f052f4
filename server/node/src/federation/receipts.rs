//! The receipts of both sides in the database, for comparing them with the peers'.

use std::sync::Arc;

use kwaainet_core::{BoxFuture, Clock, ModelDigest, NodeId, Usage};
use kwaainet_federation::{
    Cursor, GivenReceipt, KeptReceipt, Note, NotesPage, ReceiptBook, Service,
};
use kwaainet_store::{ClaimRecord, ServiceCursor, ServicePlace, ServiceRecord, Store, StoreError};

use super::accounts::service_record;

/// Receipts of one server that its asker has not signed, at most: whoever signs what nobody asked for fills no disk.
const UNSIGNED_MAX: u32 = 4_096;

/// The book of one node.
pub struct StoreReceipts {
    node: NodeId,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl StoreReceipts {
    /// The book of this node, in its database.
    pub fn new(node: NodeId, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { node, store, clock }
    }

    /// Where the statement of a note stands among this node's with a peer.
    fn place(&self, peer: NodeId, note: &Note) -> ServicePlace {
        let asker = if note.server == peer { self.node } else { peer };
        ServicePlace {
            server: note.server,
            asker,
            // No larger numbers come from anywhere.
            chain: note.chain as i64,
            stream: note.stream as i64,
            revision: note.revision as i64,
        }
    }
}

impl ReceiptBook for StoreReceipts {
    fn changed(
        &self,
        peer: NodeId,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'_, Result<NotesPage, String>> {
        Box::pin(async move {
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let changes = self.store.changed_services(peer, after, limit).await;
            let changes = changes.map_err(told)?;
            let noted = |(number, record): &(i64, ServiceRecord)| (*number as u64, note(record));
            Ok(NotesPage {
                book: changes.book,
                last: changes.last as u64,
                notes: changes.changed.iter().map(noted).collect(),
            })
        })
    }

    fn cursor(&self, peer: NodeId) -> BoxFuture<'_, Result<Cursor, String>> {
        Box::pin(async move {
            let cursor = self.store.service_cursor(peer).await.map_err(told)?;
            let cursor = cursor.map(|cursor| Cursor {
                book: cursor.book,
                after: cursor.seen as u64,
            });
            Ok(cursor.unwrap_or_default())
        })
    }

    fn lacks(
        &self,
        peer: NodeId,
        notes: Vec<Note>,
    ) -> BoxFuture<'_, Result<Vec<[u8; 32]>, String>> {
        Box::pin(async move {
            let place = |note: &Note| (self.place(peer, note), note.countersigned);
            let places: Vec<_> = notes.iter().map(place).collect();
            let has = self.store.has_services(&places).await.map_err(told)?;
            let lacking = notes.iter().zip(has).filter(|(_, has)| !has);
            Ok(lacking.map(|(note, _)| note.hash).collect())
        })
    }

    fn find(
        &self,
        peer: NodeId,
        hashes: Vec<[u8; 32]>,
    ) -> BoxFuture<'_, Result<Vec<GivenReceipt>, String>> {
        Box::pin(async move {
            let found = self.store.services_by_hash(peer, &hashes).await;
            let found = found.map_err(told)?.into_iter();
            Ok(found.map(|kept| (kept.receipt, kept.counter)).collect())
        })
    }

    fn claims(
        &self,
        server: NodeId,
        requests: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Service>, String>> {
        Box::pin(async move {
            let claims = self.store.claims_on(server, &requests).await;
            Ok(claims.map_err(told)?.into_iter().map(seen).collect())
        })
    }

    fn take(
        &self,
        peer: NodeId,
        receipts: Vec<KeptReceipt>,
        cursor: Cursor,
    ) -> BoxFuture<'_, Result<usize, String>> {
        Box::pin(async move {
            let returned = true;
            let record = |kept| ServiceRecord {
                returned,
                ..service_record(kept)
            };
            let records: Vec<_> = receipts.into_iter().map(record).collect();
            let cursor = ServiceCursor {
                book: cursor.book,
                seen: i64::try_from(cursor.after).unwrap_or(i64::MAX),
            };
            let now_ms = self.clock.unix_ms();
            let taken = self
                .store
                .take_services(peer, &records, cursor, UNSIGNED_MAX, now_ms);
            taken.await.map_err(told)
        })
    }
}

fn told(error: StoreError) -> String {
    error.to_string()
}

fn note(record: &ServiceRecord) -> Note {
    let place = &record.place;
    Note {
        server: place.server,
        chain: place.chain as u64,
        stream: place.stream as u64,
        revision: place.revision as u64,
        hash: record.hash,
        countersigned: record.counter.is_some(),
    }
}

fn seen(claim: ClaimRecord) -> Service {
    Service {
        request: claim.request,
        request_hash: claim.request_hash,
        model: claim.model.map(ModelDigest),
        usage: Usage {
            prompt_tokens: claim.prompt_tokens,
            cached_tokens: claim.cached_tokens,
            completion_tokens: claim.completion_tokens,
        },
        began_ms: claim.began_ms.max(0) as u64,
        duration_ms: claim.duration_ms.max(0) as u64,
        energy_mj: 0,
        energy_method: "none",
        transcript_hash: claim.transcript_hash,
        complete: false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::accounts::{entry, open_ledger};
    use super::*;
    use kwaainet_core::{ManualClock, Tier};
    use kwaainet_federation::{
        Accounts, Entry, FrameReader, FrameWriter, Ledger, Link, ReceiptBooks, Seeded, Turn,
    };
    use kwaainet_identity::NodeKey;
    use tokio::sync::mpsc;

    /// One of two nodes.
    struct Side {
        _dir: tempfile::TempDir,
        store: Store,
        key: NodeKey,
        ledger: Ledger,
        entries: mpsc::Receiver<Entry>,
    }

    impl Side {
        async fn new(n: u8) -> Self {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let store = Store::open(&dir.path().join("node.db")).await;
            let store = store.expect("it opens");
            let key = NodeKey::from_seed(&[n; 32]);
            let ledger = open_ledger(key.clone(), &store, &ManualClock::default()).await;
            let (ledger, entries) = ledger.expect("it opens");
            Self {
                _dir: dir,
                store,
                key,
                ledger,
                entries,
            }
        }

        /// Writes what the ledger handed on, but for what is lost with a process that is killed.
        async fn write(&mut self, random: &mut Seeded) {
            while let Ok(next) = self.entries.try_recv() {
                if random.below(4) > 0 {
                    let kept = self.store.record_services(&[entry(next)], 1).await;
                    kept.expect("it is written");
                }
            }
        }

        fn books(&self) -> ReceiptBooks {
            let (store, clock) = (self.store.clone(), Arc::new(ManualClock::default()));
            let book = StoreReceipts::new(self.key.id(), store, clock);
            ReceiptBooks::new(self.key.clone(), Arc::new(book))
        }

        /// All that is kept, without what only this side knows of it.
        async fn kept(&self) -> Vec<ServiceRecord> {
            let kept = self.store.services(None, None, 10_000).await;
            let returned = false;
            let plain = |kept| ServiceRecord { returned, ..kept };
            kept.expect("it answers").into_iter().map(plain).collect()
        }
    }

    fn said(request: u64, tokens: u32) -> Service {
        Service {
            request: [request as u8; 16],
            request_hash: [2; 32],
            model: None,
            usage: Usage {
                prompt_tokens: 12,
                cached_tokens: 4,
                completion_tokens: tokens,
            },
            began_ms: 1,
            duration_ms: 250,
            energy_mj: 0,
            energy_method: "none",
            transcript_hash: [tokens as u8; 32],
            complete: false,
        }
    }

    /// A stream of which one side or the other may see less, and that may end without an end.
    fn stream(server: &Side, asker: &Side, request: u64, random: &mut Seeded) {
        let (s, a) = (server.key.id(), asker.key.id());
        let stream = server.ledger.begin(a);
        let checkpoints = random.below(4) as u32;
        for revision in 1..=checkpoints + 1 {
            let turn = Turn {
                stream,
                revision: revision.into(),
            };
            let seen = said(request, revision);
            let is_last = revision > checkpoints;
            let receipt = match is_last {
                true => server.ledger.served(a, turn, seen.clone()),
                false => server.ledger.checkpoint(a, turn, seen.clone()),
            };
            if random.below(4) == 0 {
                return asker.ledger.claimed(s, seen);
            }
            let counter = match is_last {
                true => asker.ledger.received(s, &receipt, &seen),
                false => asker.ledger.checkpointed(s, &receipt, &seen),
            };
            let counter = counter.expect("it is right");
            if random.below(4) > 0 {
                let back = server.ledger.countersigned(a, &receipt, &counter);
                back.expect("it is right");
            }
        }
    }

    async fn compare(caller: &Side, answerer: &Side) {
        let ((near_in, far_out), (near_out, far_in)) =
            (tokio::io::duplex(1 << 12), tokio::io::duplex(1 << 12));
        let link = Link {
            reader: Box::new(near_in),
            writer: Box::new(near_out),
        };
        let answering = async {
            let mut reader = FrameReader::new(far_in, 1 << 20);
            let opening = reader.next::<()>().await;
            opening.expect("an opening").expect("an opening");
            let (books, writer) = (answerer.books(), FrameWriter::new(far_out));
            books.answer(caller.key.id(), reader, writer).await
        };
        let books = caller.books();
        let (called, answered) = tokio::join!(books.call(answerer.key.id(), link), answering);
        called.expect("to its end");
        answered.expect("to its end");
    }

    #[tokio::test]
    async fn two_databases_hold_the_same_after_losses_on_both_sides() {
        let mut returned = 0;
        for seed in 0..3 {
            let mut random = Seeded::new(seed);
            let (mut one, mut two) = (Side::new(1).await, Side::new(2).await);
            for request in 0..40 {
                match random.below(2) {
                    0 => stream(&one, &two, request, &mut random),
                    _ => stream(&two, &one, request, &mut random),
                }
                if request % 10 == 9 {
                    one.write(&mut random).await;
                    two.write(&mut random).await;
                }
                if random.below(20) == 0 {
                    compare(&one, &two).await;
                }
            }
            compare(&one, &two).await;
            let kept = one.kept().await;
            assert_eq!(kept, two.kept().await, "seed {seed}");
            assert!(kept.len() >= 30, "seed {seed}: {}", kept.len());
            for (side, peer) in [(&one, &two), (&two, &one)] {
                let all = side.store.services(None, None, 10_000).await;
                let all = all.expect("it answers").into_iter();
                returned += all.filter(|kept| kept.returned).count();
                let changes = async || {
                    let changes = side.store.changed_services(peer.key.id(), 0, 1).await;
                    changes.expect("it answers").last
                };
                let before = changes().await;
                compare(peer, side).await;
                assert_eq!(changes().await, before, "there is nothing more to tell");
            }
            // One that lost its database gets back all that was between the two.
            let lost = Side::new(1).await;
            let joined = lost
                .store
                .join_member(two.key.id(), Tier::T1, b"", b"", 1)
                .await;
            joined.expect("it is written");
            compare(&lost, &two).await;
            assert_eq!(lost.kept().await, kept, "seed {seed}");
        }
        assert!(returned > 30, "{returned}");
    }
}
