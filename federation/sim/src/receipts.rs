//! Receipts in memory: what a disk would hold, which survives the node.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kwaainet_core::{BoxFuture, NodeId};
use kwaainet_federation::{
    Claim, Cursor, Entry, GivenReceipt, KeptReceipt, Note, NotesPage, ReceiptBook, Service,
    SignedReceipt,
};

/// Receipts of a server that the asker did not sign.
const UNSIGNED_MAX: usize = 4_096;

/// The receipts of one node.
#[derive(Debug)]
pub struct MemoryReceipts {
    node: NodeId,
    pages: Mutex<Pages>,
}

/// Which statement about which stream.
type Place = (NodeId, NodeId, u64, u64, u64);

/// One statement that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The statement, and what the asker signed against it.
    pub kept: KeptReceipt,
    /// The other side handed it over.
    pub returned: bool,
    changed: u64,
}

#[derive(Debug, Default)]
struct Pages {
    rows: BTreeMap<Place, Row>,
    claims: BTreeMap<(NodeId, [u8; 16]), Service>,
    cursors: BTreeMap<NodeId, Cursor>,
    changed: u64,
    chain: u64,
    book: [u8; 16],
}

fn place(receipt: &SignedReceipt) -> Place {
    let place = receipt.place;
    let (server, asker) = (receipt.server, receipt.asker);
    (server, asker, place.chain, place.stream, place.revision)
}

fn is_between((server, asker, ..): &Place, peer: NodeId) -> bool {
    *server == peer || *asker == peer
}

impl Pages {
    fn of_stream(&self, at: &Place) -> impl Iterator<Item = (&Place, &Row)> {
        let (server, asker, chain, stream, _) = *at;
        let all = (server, asker, chain, stream, 0)..=(server, asker, chain, stream, u64::MAX);
        self.rows.range(all)
    }

    /// Whether there is a statement as high, and signed by the asker if that is asked for.
    fn has(&self, at: &Place, signed: bool) -> bool {
        let mut of_stream = self.of_stream(at);
        of_stream.any(|(place, row)| place.4 >= at.4 && (!signed || row.kept.counter.is_some()))
    }

    fn contradicts(&self, receipt: &SignedReceipt) -> bool {
        let at = place(receipt);
        let is_last = receipt.place.link().is_some();
        let mut of_stream = self.of_stream(&at);
        let ended = of_stream.any(|(other, row)| match row.kept.receipt.place.link() {
            Some(_) => is_last || other.4 < at.4,
            None => is_last && other.4 > at.4,
        });
        let Some((number, previous)) = receipt.place.link() else {
            return ended;
        };
        let of_chain = (at.0, at.1, at.2, 0, 0)..=(at.0, at.1, at.2, u64::MAX, u64::MAX);
        let mut links = self.rows.range(of_chain).filter_map(|(_, row)| {
            let link = row.kept.receipt.place.link();
            link.map(|link| (link, row.kept.receipt.hash()))
        });
        ended
            || links.any(|((other, before), hash)| {
                other == number
                    || (other + 1 == number && hash != previous)
                    || (other == number + 1 && before != receipt.hash())
            })
    }

    fn keep(&mut self, kept: KeptReceipt, returned: bool) -> bool {
        let at = place(&kept.receipt);
        let changed = self.changed + 1;
        if let Some(row) = self.rows.get_mut(&at) {
            if row.kept.receipt.hash() != kept.receipt.hash() {
                return false;
            }
            row.returned &= returned;
            if row.kept.counter.is_some() || kept.counter.is_none() {
                return false;
            }
            row.kept.counter = kept.counter;
            row.changed = changed;
        } else {
            if self.has(&at, kept.counter.is_some()) || self.contradicts(&kept.receipt) {
                return false;
            }
            let row = Row {
                kept,
                returned,
                changed,
            };
            self.rows.insert(at, row);
        }
        self.changed = changed;
        self.tidy(&at);
        true
    }

    fn tidy(&mut self, at: &Place) {
        let highest = self.of_stream(at).map(|(place, _)| *place).last();
        let signed = self
            .of_stream(at)
            .filter(|(_, row)| row.kept.counter.is_some());
        let signed = signed.map(|(place, _)| *place).last();
        let all: Vec<Place> = self.of_stream(at).map(|(place, _)| *place).collect();
        for place in all {
            if Some(place) != highest && Some(place) != signed {
                self.rows.remove(&place);
            }
        }
        if let Some(row) = signed.and_then(|signed| self.rows.get(&signed))
            && row.kept.receipt.place.link().is_some()
        {
            let request = row.kept.receipt.service.request;
            self.claims.remove(&(at.0, request));
        }
    }
}

impl MemoryReceipts {
    /// An empty book of a node.
    pub fn new(node: NodeId) -> Self {
        let mut book = [1; 16];
        book[..8].copy_from_slice(&node.0[..8]);
        Self {
            node,
            pages: Mutex::new(Pages {
                book,
                ..Pages::default()
            }),
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a chain, as a node does that starts.
    pub fn next_chain(&self, least: u64) -> u64 {
        let mut pages = self.pages();
        pages.chain = least.max(pages.chain + 1);
        pages.chain
    }

    /// The last receipt with each other node, as its asker and as its server.
    pub fn last(&self) -> Vec<SignedReceipt> {
        let pages = self.pages();
        let mut last: BTreeMap<(NodeId, NodeId), &SignedReceipt> = BTreeMap::new();
        let receipts = pages.rows.values().map(|row| &row.kept.receipt);
        for receipt in receipts.filter(|receipt| receipt.place.link().is_some()) {
            let key = |receipt: &SignedReceipt| {
                (receipt.place.chain, receipt.place.link().map(|link| link.0))
            };
            let known = last.entry((receipt.server, receipt.asker));
            let known = known.or_insert(receipt);
            if key(receipt) > key(known) {
                *known = receipt;
            }
        }
        last.into_values().cloned().collect()
    }

    /// Writes what a ledger hands on.
    pub fn write(&self, entry: Entry) {
        let mut pages = self.pages();
        match entry {
            Entry::Receipt(kept) => {
                pages.keep(*kept, false);
            }
            Entry::Counter { hash, counter } => {
                let mut rows = pages.rows.values();
                let row = rows.find(|row| row.kept.receipt.hash() == hash);
                if let Some(row) = row.cloned() {
                    let counter = Some(counter);
                    let kept = KeptReceipt {
                        counter,
                        ..row.kept
                    };
                    pages.keep(kept, row.returned);
                }
            }
            Entry::Claim(claim) => {
                let Claim { server, seen } = *claim;
                pages.claims.entry((server, seen.request)).or_insert(seen);
            }
        }
    }

    /// All that is kept with a peer, in the order of their places.
    pub fn with(&self, peer: NodeId) -> Vec<Row> {
        let pages = self.pages();
        let rows = pages.rows.iter().filter(|(at, _)| is_between(at, peer));
        rows.map(|(_, row)| row.clone()).collect()
    }

    /// What was seen of a server without a receipt.
    pub fn claims_on(&self, server: NodeId) -> Vec<Service> {
        let pages = self.pages();
        let claims = pages.claims.iter().filter(|((of, _), _)| *of == server);
        claims.map(|(_, seen)| seen.clone()).collect()
    }

    fn note(at: &Place, row: &Row) -> (u64, Note) {
        let note = Note {
            server: at.0,
            chain: at.2,
            stream: at.3,
            revision: at.4,
            hash: row.kept.receipt.hash(),
            countersigned: row.kept.counter.is_some(),
        };
        (row.changed, note)
    }
}

impl ReceiptBook for MemoryReceipts {
    fn changed(
        &self,
        peer: NodeId,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'_, Result<NotesPage, String>> {
        let pages = self.pages();
        let rows = pages.rows.iter();
        let rows = rows.filter(|(at, row)| is_between(at, peer) && row.changed > after);
        let mut notes: Vec<_> = rows.map(|(at, row)| Self::note(at, row)).collect();
        notes.sort_by_key(|(changed, _)| *changed);
        notes.truncate(limit as usize);
        Box::pin(ready(Ok(NotesPage {
            book: pages.book,
            last: pages.changed,
            notes,
        })))
    }

    fn cursor(&self, peer: NodeId) -> BoxFuture<'_, Result<Cursor, String>> {
        let cursor = self.pages().cursors.get(&peer).copied();
        Box::pin(ready(Ok(cursor.unwrap_or_default())))
    }

    fn lacks(
        &self,
        peer: NodeId,
        notes: Vec<Note>,
    ) -> BoxFuture<'_, Result<Vec<[u8; 32]>, String>> {
        let pages = self.pages();
        let lacks = |note: &&Note| {
            let asker = if note.server == peer { self.node } else { peer };
            let at = (note.server, asker, note.chain, note.stream, note.revision);
            !pages.has(&at, note.countersigned)
        };
        let lacking = notes.iter().filter(lacks).map(|note| note.hash);
        Box::pin(ready(Ok(lacking.collect())))
    }

    fn find(
        &self,
        peer: NodeId,
        hashes: Vec<[u8; 32]>,
    ) -> BoxFuture<'_, Result<Vec<GivenReceipt>, String>> {
        let pages = self.pages();
        let rows = pages
            .rows
            .iter()
            .filter(|(at, row)| is_between(at, peer) && hashes.contains(&row.kept.receipt.hash()));
        let found = rows.map(|(_, row)| {
            let bytes = row.kept.receipt.as_bytes().to_vec();
            (bytes, row.kept.counter.clone())
        });
        Box::pin(ready(Ok(found.collect())))
    }

    fn claims(
        &self,
        server: NodeId,
        requests: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Service>, String>> {
        let pages = self.pages();
        let seen = |request: &[u8; 16]| pages.claims.get(&(server, *request)).cloned();
        Box::pin(ready(Ok(requests.iter().filter_map(seen).collect())))
    }

    fn take(
        &self,
        peer: NodeId,
        receipts: Vec<KeptReceipt>,
        cursor: Cursor,
    ) -> BoxFuture<'_, Result<usize, String>> {
        let mut pages = self.pages();
        let mut taken = 0;
        for kept in receipts {
            let unsigned =
                |row: &&Row| row.kept.receipt.server == peer && row.kept.counter.is_none();
            let is_unsigned = kept.receipt.server == peer && kept.counter.is_none();
            if is_unsigned && pages.rows.values().filter(unsigned).count() >= UNSIGNED_MAX {
                continue;
            }
            taken += usize::from(pages.keep(kept, true));
        }
        pages.cursors.insert(peer, cursor);
        Box::pin(ready(Ok(taken)))
    }
}
