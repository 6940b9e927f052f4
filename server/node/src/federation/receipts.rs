//! The receipts of both sides in the database, for comparing them with the peers'.

use std::sync::Arc;

use kwaainet_core::{BoxFuture, Clock, ModelDigest, NodeId, Usage};
use kwaainet_federation::{Cursor, KeptReceipt, Note, NotesPage, ReceiptBook, Service};
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
    ) -> BoxFuture<'_, Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, String>> {
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
