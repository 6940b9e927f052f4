//! A peer that hands over what it should not: nothing of it is kept, and the book is as it was.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kwaainet_core::{BoxFuture, NodeId, Usage};
use kwaainet_federation::{
    Claim, CounterSignature, Cursor, Entry, FrameReader, FrameWriter, GivenReceipt, KeptReceipt,
    Link, Note, NotesPage, Place, ReceiptBook, ReceiptBooks, Service, SignedReceipt, Standing,
};
use kwaainet_identity::NodeKey;
use kwaainet_sim::{MemoryReceipts, Row};

/// A book that tells and hands over whatever it likes, each time as if it were a new one.
struct Liar {
    notes: Vec<(u64, Note)>,
    gives: Vec<GivenReceipt>,
    name: u64,
    asked: Arc<AtomicU64>,
}

impl ReceiptBook for Liar {
    fn changed(&self, _: NodeId, after: u64, _: u32) -> BoxFuture<'_, Result<NotesPage, String>> {
        let notes = self.notes.iter().filter(|(changed, _)| *changed > after);
        let mut book = [9; 16];
        book[..8].copy_from_slice(&self.name.to_be_bytes());
        Box::pin(ready(Ok(NotesPage {
            book,
            last: self.notes.len() as u64,
            notes: notes.copied().collect(),
        })))
    }

    fn cursor(&self, _: NodeId) -> BoxFuture<'_, Result<Cursor, String>> {
        Box::pin(ready(Ok(Cursor::default())))
    }

    fn lacks(&self, _: NodeId, _: Vec<Note>) -> BoxFuture<'_, Result<Vec<[u8; 32]>, String>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn find(
        &self,
        _: NodeId,
        hashes: Vec<[u8; 32]>,
    ) -> BoxFuture<'_, Result<Vec<GivenReceipt>, String>> {
        self.asked.fetch_add(hashes.len() as u64, Ordering::Relaxed);
        Box::pin(ready(Ok(self.gives.clone())))
    }

    fn claims(&self, _: NodeId, _: Vec<[u8; 16]>) -> BoxFuture<'_, Result<Vec<Service>, String>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn take(
        &self,
        _: NodeId,
        _: Vec<KeptReceipt>,
        _: Cursor,
    ) -> BoxFuture<'_, Result<usize, String>> {
        Box::pin(ready(Ok(0)))
    }
}

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
        complete: false,
    }
}

fn place(stream: u64, revision: u64, number: u64) -> Place {
    let previous = [0; 32];
    Place {
        chain: 1,
        stream,
        revision,
        standing: match number {
            0 => Standing::Checkpoint,
            _ => Standing::Final { number, previous },
        },
    }
}

fn kept(receipt: &SignedReceipt, asker: Option<&NodeKey>) -> KeptReceipt {
    let sign = |key| CounterSignature::sign(key, receipt.hash(), receipt.service.usage);
    KeptReceipt {
        receipt: receipt.clone(),
        counter: asker.map(|key| sign(key).as_bytes().to_vec()),
    }
}

/// A receipt that is told of, and what is handed over in its place.
type Given = (SignedReceipt, Vec<u8>, Option<Vec<u8>>);

/// An honest node, and one that is not.
struct Two {
    honest: NodeKey,
    liar: NodeKey,
    book: Arc<MemoryReceipts>,
    names: AtomicU64,
    /// How many receipts the liar was asked for.
    asked: Arc<AtomicU64>,
}

impl Two {
    fn new() -> Self {
        let [honest, liar] = [1, 2].map(|n| NodeKey::from_seed(&[n; 32]));
        let book = Arc::new(MemoryReceipts::new(honest.id()));
        Self {
            honest,
            liar,
            book,
            names: AtomicU64::default(),
            asked: Arc::default(),
        }
    }

    fn rows(&self) -> Vec<Row> {
        self.book.with(self.liar.id())
    }

    /// Each is told as if it were news, and handed over as it is.
    async fn hand_over(&self, given: Vec<Given>) -> bool {
        let note = |(n, (receipt, ..)): (u64, &Given)| {
            let note = Note {
                server: match receipt.server == self.honest.id() {
                    true => self.honest.id(),
                    false => self.liar.id(),
                },
                chain: 77,
                stream: n,
                revision: 1 << 40,
                hash: receipt.hash(),
                countersigned: true,
            };
            (n, note)
        };
        let notes = (1..).zip(&given).map(note).collect();
        let gives = given
            .into_iter()
            .map(|(_, bytes, counter)| (bytes, counter));
        let gives = gives.collect();
        self.compare(notes, gives).await
    }

    /// Whether they came to the end.
    async fn compare(&self, notes: Vec<(u64, Note)>, gives: Vec<GivenReceipt>) -> bool {
        let liar = Liar {
            notes,
            gives,
            name: self.names.fetch_add(1, Ordering::Relaxed),
            asked: Arc::clone(&self.asked),
        };
        let ((near_in, far_out), (near_out, far_in)) =
            (tokio::io::duplex(1 << 16), tokio::io::duplex(1 << 16));
        let link = Link {
            reader: Box::new(near_in),
            writer: Box::new(near_out),
        };
        let liar = ReceiptBooks::new(self.liar.clone(), Arc::new(liar));
        let honest = ReceiptBooks::new(self.honest.clone(), Arc::clone(&self.book) as _);
        // The liar is asked; who opens the stream makes no difference.
        let mut reader = FrameReader::new(far_in, 1 << 20);
        let asking = honest.call(self.liar.id(), link);
        let answering = async {
            let opening = reader.next::<()>().await;
            opening.expect("an opening").expect("an opening");
            let writer = FrameWriter::new(far_out);
            liar.answer(self.honest.id(), reader, writer).await
        };
        let (asked, _answered) = tokio::join!(asking, answering);
        asked.is_ok()
    }
}

fn as_it_is(receipt: &SignedReceipt) -> Given {
    (receipt.clone(), receipt.as_bytes().to_vec(), None)
}

#[tokio::test]
async fn what_is_forged_altered_replayed_or_of_others_is_refused_with_no_effect() {
    let two = Two::new();
    let (honest, liar) = (&two.honest, &two.liar);
    let third = NodeKey::from_seed(&[3; 32]);
    let sign = |key: &NodeKey, asker: &NodeKey, place, request| {
        SignedReceipt::sign(key, asker.id(), place, service(request))
    };
    // What the honest one has: an end that the liar signed, and a stream that it asked for itself.
    let old = sign(honest, liar, place(1, 1, 0), 5);
    let end = sign(honest, liar, place(1, 2, 1), 7);
    let asked = sign(liar, honest, place(1, 2, 1), 8);
    two.book
        .write(Entry::Receipt(Box::new(kept(&end, Some(liar)))));
    two.book
        .write(Entry::Receipt(Box::new(kept(&asked, Some(honest)))));
    let before = two.rows();
    assert_eq!(before.len(), 2);

    let lost = sign(honest, liar, place(2, 1, 0), 9);
    let altered = |at: usize| {
        let mut bytes = lost.as_bytes().to_vec();
        bytes[at] ^= 1;
        (lost.clone(), bytes, None)
    };
    let with = |receipt: &SignedReceipt, counter: CounterSignature| {
        let counter = Some(counter.as_bytes().to_vec());
        (receipt.clone(), receipt.as_bytes().to_vec(), counter)
    };
    let mut more = lost.service.usage;
    more.completion_tokens += 1;
    let forged = {
        // In the honest one's name, with the liar's key.
        let mut bytes = lost.as_bytes().to_vec();
        let by_liar = sign(liar, liar, place(2, 1, 0), 9);
        let signature = bytes.len() - 64;
        bytes[signature..].copy_from_slice(&by_liar.as_bytes()[signature..]);
        (lost.clone(), bytes, None)
    };
    let bad = [
        ("forged", forged),
        ("altered", altered(60)),
        ("altered at its end", altered(lost.as_bytes().len() - 1)),
        ("no receipt", (lost.clone(), b"nothing".to_vec(), None)),
        ("replayed", as_it_is(&old)),
        (
            "of another asker",
            as_it_is(&sign(honest, &third, place(1, 1, 0), 1)),
        ),
        (
            "of another server",
            as_it_is(&sign(&third, honest, place(1, 1, 0), 1)),
        ),
        (
            "of two others",
            as_it_is(&sign(&third, liar, place(1, 1, 0), 1)),
        ),
        (
            "its own for itself",
            as_it_is(&sign(liar, liar, place(1, 1, 0), 1)),
        ),
        (
            "another than asked for",
            (old.clone(), lost.as_bytes().to_vec(), None),
        ),
        (
            "countersigned by a third",
            with(
                &lost,
                CounterSignature::sign(&third, lost.hash(), lost.service.usage),
            ),
        ),
        (
            "countersigned for another",
            with(
                &lost,
                CounterSignature::sign(liar, old.hash(), lost.service.usage),
            ),
        ),
        (
            "countersigned with other counts",
            with(&lost, CounterSignature::sign(liar, lost.hash(), more)),
        ),
        (
            "a second end",
            as_it_is(&sign(liar, honest, place(1, 3, 2), 8)),
        ),
        (
            "a second one with its number",
            as_it_is(&sign(liar, honest, place(9, 1, 1), 8)),
        ),
        (
            "one that follows nothing",
            as_it_is(&sign(liar, honest, place(9, 1, 2), 8)),
        ),
        (
            "a checkpoint after the end",
            as_it_is(&sign(liar, honest, place(1, 3, 0), 8)),
        ),
        (
            "another end of the same",
            as_it_is(&sign(liar, honest, place(1, 2, 1), 9)),
        ),
    ];
    for (n, (what, given)) in (1..).zip(bad) {
        assert!(two.hand_over(vec![given]).await, "{what}");
        assert_eq!(two.asked.load(Ordering::Relaxed), n, "{what}");
        assert!(two.rows() == before, "{what}");
    }
    // The good among the bad is kept all the same, once.
    for _ in 0..2 {
        assert!(two.hand_over(vec![altered(70), as_it_is(&lost)]).await);
        let rows = two.rows();
        assert_eq!(rows.len(), 3);
        let back = rows.iter().find(|row| row.kept.receipt == lost);
        assert!(back.is_some_and(|row| row.returned && row.kept.counter.is_none()));
    }
}

#[tokio::test]
async fn lists_that_are_too_long_or_out_of_order_end_it() {
    let two = Two::new();
    let receipt = SignedReceipt::sign(&two.liar, two.honest.id(), place(1, 1, 0), service(1));
    let note = |changed| {
        let note = Note {
            server: two.liar.id(),
            chain: 1,
            stream: changed,
            revision: 1,
            hash: receipt.hash(),
            countersigned: false,
        };
        (changed, note)
    };
    let gives = || vec![(receipt.as_bytes().to_vec(), None)];
    let lies = [
        ("too many notes", (1..=300).map(note).collect(), gives()),
        ("the same twice", vec![note(1), note(1)], gives()),
        ("backwards", vec![note(2), note(1)], gives()),
        ("no such number", vec![note(u64::MAX)], gives()),
        (
            "more than was asked for",
            vec![note(1)],
            [gives(), gives()].concat(),
        ),
        ("too long", vec![note(1)], vec![(vec![0; 1 << 20], None)]),
    ];
    for (what, notes, gives) in lies {
        assert!(!two.compare(notes, gives).await, "{what}");
        assert!(two.rows().is_empty(), "{what}");
    }
    let notes = vec![note(1)];
    let gives = gives();
    assert!(two.compare(notes, gives).await);
    assert_eq!(two.rows().len(), 1);
}

#[tokio::test]
async fn only_what_was_seen_is_signed_later() {
    let two = Two::new();
    let sign =
        |place, request| SignedReceipt::sign(&two.liar, two.honest.id(), place, service(request));
    for request in 1..=3 {
        let claim = Claim {
            server: two.liar.id(),
            seen: service(request),
        };
        two.book.write(Entry::Claim(Box::new(claim)));
    }
    let right = sign(place(1, 1, 1), 1);
    let mut said = service(2);
    said.usage.completion_tokens += 1;
    let wrong = SignedReceipt::sign(&two.liar, two.honest.id(), place(2, 1, 0), said);
    let unseen = sign(place(3, 1, 0), 9);
    let given = [&right, &wrong, &unseen].map(as_it_is);
    assert!(two.hand_over(given.into()).await);
    let rows = two.rows();
    let signed = |receipt: &SignedReceipt| {
        let row = rows.iter().find(|row| row.kept.receipt == *receipt);
        row.expect("it is kept").kept.counter.is_some()
    };
    assert_eq!(
        [signed(&right), signed(&wrong), signed(&unseen)],
        [true, false, false]
    );
    let claims = two.book.claims_on(two.liar.id());
    let left: Vec<_> = claims.iter().map(|seen| seen.request[0]).collect();
    assert_eq!(left, [2, 3]);
}
