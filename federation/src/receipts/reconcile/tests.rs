//! Whoever does not keep to the protocol is cut off soon. What lies within it come to is shown with the simulation.

use std::future::ready;

use prost::Message;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::wire::{self, Kind};
use super::*;
use crate::Seeded;
use crate::infer::list;

const PEER: NodeId = NodeId([7; 32]);

/// An empty book.
struct Nothing;

impl ReceiptBook for Nothing {
    fn changed(&self, _: NodeId, _: u64, _: u32) -> BoxFuture<'_, Result<NotesPage, String>> {
        Box::pin(ready(Ok(NotesPage::default())))
    }

    fn cursor(&self, _: NodeId) -> BoxFuture<'_, Result<Cursor, String>> {
        Box::pin(ready(Ok(Cursor::default())))
    }

    fn lacks(&self, _: NodeId, notes: Vec<Note>) -> BoxFuture<'_, Result<Vec<[u8; 32]>, String>> {
        let hashes = notes.into_iter().map(|note| note.hash).collect();
        Box::pin(ready(Ok(hashes)))
    }

    fn find(&self, _: NodeId, _: Vec<[u8; 32]>) -> BoxFuture<'_, Result<Vec<Given>, String>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn claims(&self, _: NodeId, _: Vec<[u8; 16]>) -> BoxFuture<'_, Result<Vec<Service>, String>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn take(
        &self,
        _: NodeId,
        receipts: Vec<KeptReceipt>,
        _: Cursor,
    ) -> BoxFuture<'_, Result<usize, String>> {
        assert!(receipts.is_empty(), "nothing of this is good");
        Box::pin(ready(Ok(0)))
    }
}

fn books() -> Arc<Books> {
    Arc::new(Books::new(NodeKey::generate(), Arc::new(Nothing)))
}

/// Answers a peer at the other end of the pipe.
async fn answer(books: &Books, far: DuplexStream) -> Result<(), Cut> {
    let (reader, writer) = tokio::io::split(far);
    let reader = FrameReader::new(reader, crate::FRAME_MAX);
    books.answer(PEER, reader, FrameWriter::new(writer)).await
}

fn framed(kind: Kind) -> Vec<u8> {
    let kind = Some(kind);
    let message = wire::Talk { kind }.encode_to_vec();
    let mut frame = (message.len() as u32).to_be_bytes().to_vec();
    frame.extend(message);
    frame
}

fn any(seeded: &mut Seeded) -> Kind {
    let note = wire::Note {
        changed: seeded.below(3),
        hash: vec![1; 32],
        ..wire::Note::default()
    };
    let kept = wire::Kept {
        receipt: vec![1; 40],
        counter: None,
    };
    match seeded.below(5) {
        0 => Kind::Since(wire::Since {
            after: seeded.draw(),
        }),
        1 => Kind::Page(wire::Page {
            book: vec![1; 16],
            last: seeded.below(4),
            notes: list::write([note]),
        }),
        2 => Kind::Want(wire::Want {
            hashes: vec![2; 64],
        }),
        3 => Kind::Give(wire::Give {
            receipts: list::write([kept]),
        }),
        _ => Kind::Turn(wire::Turn {}),
    }
}

#[tokio::test(start_paused = true)]
async fn changed_messages_are_answered_or_cut_off() {
    let books = books();
    for seed in 0..1_000 {
        let mut seeded = Seeded::new(seed);
        let mut bytes = Vec::new();
        for _ in 0..=seeded.below(4) {
            let mut frame = framed(any(&mut seeded));
            if seeded.below(2) == 0 {
                let at = seeded.below(frame.len() as u64) as usize;
                frame[at] ^= 1 << seeded.below(8);
            }
            bytes.extend(frame);
        }
        let (mut near, far) = duplex(1 << 20);
        near.write_all(&bytes).await.expect("there is room");
        let answering = timeout(Duration::from_secs(30), answer(&books, far));
        if seeded.below(2) == 0 {
            drop(near);
            assert!(answering.await.is_ok(), "seed {seed}: it hangs");
        } else {
            assert!(answering.await.is_ok(), "seed {seed}: it hangs");
            drop(near);
        }
    }
}

#[tokio::test]
async fn too_much_of_anything_ends_it() {
    let much = Kind::Want(wire::Want {
        hashes: vec![2; (WANTED_MAX + 1) * 32],
    });
    let cut = Kind::Want(wire::Want {
        hashes: vec![2; 33],
    });
    let long = Kind::Give(wire::Give {
        receipts: vec![0; talk::FRAME_MAX],
    });
    for kind in [much, cut, long] {
        let books = books();
        let (mut near, far) = duplex(1 << 20);
        near.write_all(&framed(kind)).await.expect("there is room");
        let error = answer(&books, far).await.expect_err("it is too much");
        assert!(
            matches!(error, Cut::Nonsense(_) | Cut::Frame(_)),
            "{error:?}"
        );
    }
    let books = books();
    let (near, far) = duplex(1 << 20);
    let (mut hears, mut asks) = tokio::io::split(near);
    let asking = async move {
        let question = framed(Kind::Since(wire::Since { after: 0 }));
        while asks.write_all(&question).await.is_ok() {}
    };
    let hearing = async move {
        let mut sink = tokio::io::sink();
        tokio::io::copy(&mut hears, &mut sink).await.is_ok()
    };
    let (answered, (), _) = tokio::join!(answer(&books, far), asking, hearing);
    let error = answered.expect_err("it asks too much");
    assert!(matches!(error, Cut::Nonsense(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_holds_one_place_for_a_while() {
    let books = books();
    let (_near, far) = duplex(64);
    let (_other, second) = duplex(64);
    let both = async { tokio::join!(answer(&books, far), answer(&books, second)) };
    let (first, second) = timeout(Duration::from_secs(10), both).await.expect("soon");
    assert!(matches!(first, Err(Cut::Silent)), "{first:?}");
    assert!(matches!(second, Err(Cut::Busy)), "{second:?}");
    let (_near, far) = duplex(64);
    let again = answer(&books, far).await;
    assert!(matches!(again, Err(Cut::Silent)), "{again:?}");
}
