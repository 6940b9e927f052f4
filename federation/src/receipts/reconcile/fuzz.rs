//! What is read when books are compared, for [`Family`](crate::fuzz::Family).

use kwaainet_core::NodeId;
use prost::Message;

use super::NOTES_MAX;
use super::talk::{FRAME_MAX, Talk};
use super::wire::{self, Kind};
use crate::infer::list;
use crate::{FrameReader, FrameWriter, Seeded};

/// What comes after a question, or as one: the first byte says which.
pub(crate) fn read_talk(bytes: &[u8]) {
    let Some((which, message)) = bytes.split_first() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without sockets takes nothing of the system");
    let (peer, own) = (NodeId([1; 32]), NodeId([2; 32]));
    let length = (message.len() as u32).to_be_bytes();
    let stream = [&length[..], message].concat();
    runtime.block_on(async {
        let reader = FrameReader::new(&stream[..], FRAME_MAX);
        let mut talk = Talk::new(reader, FrameWriter::new(tokio::io::sink()));
        match which % 3 {
            0 => {
                if let Ok(page) = talk.since(peer, own, 5).await {
                    assert!(page.notes.len() <= NOTES_MAX as usize);
                    let ordered = page.notes.is_sorted_by(|a, b| a.0 < b.0);
                    assert!(ordered && page.notes.iter().all(|(changed, _)| *changed > 5));
                }
            }
            1 => drop(talk.want(&[[7; 32]]).await),
            _ => drop(talk.question().await),
        }
    });
}

pub(crate) fn sample_talk(seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let (which, kind) = match random.below(5) {
        0 => (0, Kind::Page(page(&mut random))),
        1 => {
            let kept = |_| wire::Kept {
                receipt: vec![7; random.below(200) as usize],
                counter: (random.below(2) == 0).then(|| vec![7; 9]),
            };
            let receipts = list::write((0..3).map(kept));
            (1, Kind::Give(wire::Give { receipts }))
        }
        2 => {
            let hashes = vec![7; 32 * random.below(5) as usize];
            (2, Kind::Want(wire::Want { hashes }))
        }
        3 => {
            let after = random.draw();
            (2, Kind::Since(wire::Since { after }))
        }
        _ => (2, Kind::Turn(wire::Turn {})),
    };
    let mut bytes = vec![which];
    let talk = wire::Talk { kind: Some(kind) };
    talk.encode(&mut bytes).expect("a vector takes it all");
    bytes
}

fn page(random: &mut Seeded) -> wire::Page {
    let count = random.below(9);
    let note = |number| wire::Note {
        changed: 6 + number,
        served: random.below(2) == 0,
        chain: random.below(9),
        stream: random.draw() >> 1,
        revision: 1,
        hash: vec![number as u8; 32],
        countersigned: random.below(2) == 0,
    };
    let notes = list::write((0..count).map(note));
    wire::Page {
        book: vec![3; 16],
        last: 6 + count,
        notes,
    }
}
