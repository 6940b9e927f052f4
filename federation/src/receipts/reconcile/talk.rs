//! One side's messages on a stream, each bounded in length and time, and checked for what can be seen from it alone.

use std::time::Duration;

use kwaainet_core::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::wire::{self, Kind};
use super::{Cut, Given, NOTES_MAX, Note, NotesPage, WANTED_MAX};
use crate::infer::list;
use crate::{FrameReader, FrameWriter};

/// Bytes of a message: that many receipts have at most a quarter of it.
pub(super) const FRAME_MAX: usize = 256 << 10;
/// Until the other side says something. It may have to wait for its disk.
const SAID_WITHIN: Duration = Duration::from_secs(5);
/// Messages of kinds that only newer versions know.
const UNKNOWN_MAX: u32 = 16;
/// What a database can hold.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// What the other side asks.
pub(super) enum Question {
    Since(u64),
    Want(Vec<[u8; 32]>),
    Turn,
    /// It ended.
    End,
}

/// A stream with a peer.
pub(super) struct Talk<R, W> {
    reader: FrameReader<R>,
    writer: FrameWriter<W>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Talk<R, W> {
    pub(super) fn new(mut reader: FrameReader<R>, mut writer: FrameWriter<W>) -> Self {
        reader.set_max(FRAME_MAX);
        writer.set_patience(SAID_WITHIN);
        Self { reader, writer }
    }

    async fn say(&mut self, kind: Kind) -> Result<(), Cut> {
        let kind = Some(kind);
        Ok(self.writer.send(&wire::Talk { kind }).await?)
    }

    /// The next message of a known kind; `None` where the stream ended.
    async fn hear(&mut self) -> Result<Option<Kind>, Cut> {
        for _ in 0..UNKNOWN_MAX {
            let next = timeout(SAID_WITHIN, self.reader.next::<wire::Talk>()).await;
            match next.map_err(|_| Cut::Silent)?? {
                Some(wire::Talk { kind: None }) => {}
                Some(wire::Talk { kind }) => return Ok(kind),
                None => return Ok(None),
            }
        }
        Err(Cut::Nonsense("nothing that is known"))
    }

    /// Asks the peer for what changed after a number.
    pub(super) async fn since(
        &mut self,
        peer: NodeId,
        own: NodeId,
        after: u64,
    ) -> Result<NotesPage, Cut> {
        self.say(Kind::Since(wire::Since { after })).await?;
        let Some(Kind::Page(page)) = self.hear().await? else {
            return Err(Cut::Nonsense("no page where one was due"));
        };
        read_page(page, peer, own, after).map_err(Cut::Nonsense)
    }

    /// Asks for receipts by their hashes.
    pub(super) async fn want(&mut self, hashes: &[[u8; 32]]) -> Result<Vec<Given>, Cut> {
        let hashes = hashes.concat();
        self.say(Kind::Want(wire::Want { hashes })).await?;
        let Some(Kind::Give(given)) = self.hear().await? else {
            return Err(Cut::Nonsense("no receipts where some were due"));
        };
        let given = list::read::<wire::Kept>(&given.receipts, WANTED_MAX, "receipts");
        let given = given.map_err(|_| Cut::Nonsense("no list of receipts"))?;
        Ok(given.into_iter().map(|k| (k.receipt, k.counter)).collect())
    }

    /// The other side's next question.
    pub(super) async fn question(&mut self) -> Result<Question, Cut> {
        match self.hear().await? {
            None => Ok(Question::End),
            Some(Kind::Since(since)) => Ok(Question::Since(since.after.min(NUMBER_MAX))),
            Some(Kind::Want(want)) => match want.hashes.as_chunks::<32>() {
                (hashes, []) if hashes.len() <= WANTED_MAX => Ok(Question::Want(hashes.to_vec())),
                _ => Err(Cut::Nonsense("no hashes, or too many")),
            },
            Some(Kind::Turn(_)) => Ok(Question::Turn),
            Some(Kind::Page(_) | Kind::Give(_)) => Err(Cut::Nonsense("an answer to no question")),
        }
    }

    /// Tells what changed here.
    pub(super) async fn page(&mut self, own: NodeId, page: NotesPage) -> Result<(), Cut> {
        let note = |(changed, note): (u64, Note)| wire::Note {
            changed,
            served: note.server == own,
            chain: note.chain,
            stream: note.stream,
            revision: note.revision,
            hash: note.hash.to_vec(),
            countersigned: note.countersigned,
        };
        let notes = list::write(page.notes.into_iter().map(note));
        let (book, last) = (page.book.to_vec(), page.last);
        self.say(Kind::Page(wire::Page { book, last, notes })).await
    }

    /// Hands receipts over.
    pub(super) async fn give(&mut self, receipts: Vec<Given>) -> Result<(), Cut> {
        let kept = |(receipt, counter)| wire::Kept { receipt, counter };
        let receipts = list::write(receipts.into_iter().map(kept));
        self.say(Kind::Give(wire::Give { receipts })).await
    }

    /// Lets the other side ask.
    pub(super) async fn turn(&mut self) -> Result<(), Cut> {
        self.say(Kind::Turn(wire::Turn {})).await
    }

    /// Says that there is no more to ask.
    pub(super) async fn end(self) -> Result<(), Cut> {
        Ok(self.writer.finish().await?)
    }
}

fn read_page(
    page: wire::Page,
    peer: NodeId,
    own: NodeId,
    after: u64,
) -> Result<NotesPage, &'static str> {
    let book = page.book.as_slice().try_into();
    let book = book.map_err(|_| "a book without a name")?;
    let notes = list::read::<wire::Note>(&page.notes, NOTES_MAX as usize, "notes");
    let notes = notes.map_err(|_| "no list of notes")?;
    let mut before = after;
    let mut read = Vec::with_capacity(notes.len());
    for note in notes {
        let numbers = [note.changed, note.chain, note.stream, note.revision];
        if note.changed <= before || numbers.iter().any(|number| *number > NUMBER_MAX) {
            return Err("notes that are out of order");
        }
        before = note.changed;
        let hash = note.hash.as_slice().try_into();
        let noted = Note {
            server: if note.served { peer } else { own },
            chain: note.chain,
            stream: note.stream,
            revision: note.revision,
            hash: hash.map_err(|_| "a hash of another length")?,
            countersigned: note.countersigned,
        };
        read.push((note.changed, noted));
    }
    Ok(NotesPage {
        book,
        last: page.last,
        notes: read,
    })
}
