//! Two nodes make their books agree: each tells the other what changed in its book about the two since it last
//! told, and what the other lacks is handed over. What was lost with a killed process comes back this way.
//!
//! Nothing is believed: whatever comes is checked by the signatures in it, is about these two nodes, and was asked
//! for. A book keeps of each stream the statement with the highest revision, and of those that the asker signed the
//! highest too; two books that have seen the same statements in any order hold the same. So everything here may be
//! cut off anywhere and done again.

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod judge;
mod keep;
mod talk;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwaainet_core::{BoxFuture, NodeId};
use kwaainet_identity::NodeKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::KeptReceipt;
use crate::{FrameError, FrameReader, FrameWriter, Link, Service, infer};
use talk::Talk;

pub use keep::{Reconciler, ReconcilerParts};

/// Notes of a page, and statements that are handed over at a time.
const NOTES_MAX: u32 = 256;
const WANTED_MAX: usize = 64;
/// Pages that are read in one go; the rest the next time.
const PAGES_MAX: usize = 1_024;
/// For all of it.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);
/// Peers whose questions are answered at once.
const INSIDE_MAX: usize = 8;

/// What a book holds of one statement, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Who served; the asker is the other one of the two.
    pub server: NodeId,
    /// See [`Place`](crate::Place), as the next two.
    pub chain: u64,
    /// Of the chain.
    pub stream: u64,
    /// Of the stream.
    pub revision: u64,
    /// Of the receipt.
    pub hash: [u8; 32],
    /// Whether the asker's signature is there too.
    pub countersigned: bool,
}

/// A receipt, and what its asker signed against it, as bytes.
pub type Given = (Vec<u8>, Option<Vec<u8>>);

/// What changed in a book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotesPage {
    /// A random number that the book got when it was made.
    pub book: [u8; 16],
    /// The number of the last change of all.
    pub last: u64,
    /// Each with the number of its last change, in that order.
    pub notes: Vec<(u64, Note)>,
}

/// Up to where a peer's book was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Which book.
    pub book: [u8; 16],
    /// The number of the last change that was seen.
    pub after: u64,
}

/// The receipts that a node keeps, of both sides, over restarts. Errors are for the log.
pub trait ReceiptBook: Send + Sync + 'static {
    /// What changed of this node's receipts with a peer after a number, at most so much of it.
    fn changed(
        &self,
        peer: NodeId,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'_, Result<NotesPage, String>>;

    /// Up to where the peer's book was read; the beginning of no book if it never was.
    fn cursor(&self, peer: NodeId) -> BoxFuture<'_, Result<Cursor, String>>;

    /// Those of a peer's notes that this book lacks: of their stream it has no statement with as high a revision, or
    /// none that the asker signed, if that one is.
    fn lacks(&self, peer: NodeId, notes: Vec<Note>)
    -> BoxFuture<'_, Result<Vec<[u8; 32]>, String>>;

    /// Receipts with a peer by their hashes, with their counter-signatures; those that are there.
    fn find(
        &self,
        peer: NodeId,
        hashes: Vec<[u8; 32]>,
    ) -> BoxFuture<'_, Result<Vec<Given>, String>>;

    /// What this node saw of requests to a server for which it could sign nothing.
    fn claims(
        &self,
        server: NodeId,
        requests: Vec<[u8; 16]>,
    ) -> BoxFuture<'_, Result<Vec<Service>, String>>;

    /// Keeps what a peer handed over, each once and marked as returned, and with it how far its book was read: both
    /// or neither. Leaves out what contradicts what is there, and what is too much of a server's that the asker did not
    /// sign. Says how many are new.
    fn take(
        &self,
        peer: NodeId,
        receipts: Vec<KeptReceipt>,
        cursor: Cursor,
    ) -> BoxFuture<'_, Result<usize, String>>;
}

/// Why books were not compared to the end.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The stream broke off, or something else came than should.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side keeps silent, or ended too early.
    #[error("the other side says nothing")]
    Silent,
    /// The other side says what it should not.
    #[error("the other side said what makes no sense: {0}")]
    Nonsense(&'static str),
    /// This node's own book cannot be used.
    #[error("the book cannot be used: {0}")]
    Book(String),
    /// There is one under way, or there are too many.
    #[error("there are others under way")]
    Busy,
}

/// The books of this node, for comparing.
pub struct Books {
    key: NodeKey,
    book: Arc<dyn ReceiptBook>,
    /// Whose questions are being answered.
    inside: Mutex<HashSet<NodeId>>,
}

impl Books {
    /// Of the node with this key, which countersigns what it finds to be right.
    pub fn new(key: NodeKey, book: Arc<dyn ReceiptBook>) -> Self {
        let inside = Mutex::default();
        Self { key, book, inside }
    }

    /// Compares on a stream of the inference plane that was just dialed, both ways.
    ///
    /// # Errors
    /// When it was cut off. What was taken until then stays.
    pub async fn call(&self, peer: NodeId, link: Link) -> Result<(), Cut> {
        let mut writer = FrameWriter::new(link.writer);
        writer.send(&infer::books_opening()).await?;
        let mut talk = Talk::new(FrameReader::new(link.reader, talk::FRAME_MAX), writer);
        let comparing = async {
            self.pull(peer, &mut talk).await?;
            talk.turn().await?;
            if !self.give(peer, &mut talk).await? {
                return Err(Cut::Silent);
            }
            // The other side may have signed something.
            self.pull(peer, &mut talk).await
        };
        let compared = timeout(WHOLE_WITHIN, comparing).await;
        compared.unwrap_or(Err(Cut::Silent))?;
        talk.end().await
    }

    /// The same on a stream that a peer opened for it.
    ///
    /// # Errors
    /// When it was cut off.
    pub async fn answer<R, W>(
        &self,
        peer: NodeId,
        reader: FrameReader<R>,
        writer: FrameWriter<W>,
    ) -> Result<(), Cut>
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        let _inside = self.enter(peer)?;
        let mut talk = Talk::new(reader, writer);
        let comparing = async {
            if !self.give(peer, &mut talk).await? {
                return Ok(());
            }
            self.pull(peer, &mut talk).await?;
            talk.turn().await?;
            self.give(peer, &mut talk).await.map(drop)
        };
        let compared = timeout(WHOLE_WITHIN, comparing).await;
        compared.unwrap_or(Err(Cut::Silent))
    }

    /// A place until it is dropped; one for each peer.
    fn enter(&self, peer: NodeId) -> Result<Inside<'_>, Cut> {
        let mut inside = self.inside.lock().expect("no holder panics");
        if inside.len() >= INSIDE_MAX || !inside.insert(peer) {
            return Err(Cut::Busy);
        }
        Ok(Inside { books: self, peer })
    }

    /// Reads what changed in the peer's book, and takes what this one lacks.
    async fn pull<R, W>(&self, peer: NodeId, talk: &mut Talk<R, W>) -> Result<(), Cut>
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        let mut cursor = self.book.cursor(peer).await.map_err(Cut::Book)?;
        let mut taken = 0;
        for _ in 0..PAGES_MAX {
            let page = talk.since(peer, self.key.id(), cursor.after).await?;
            let is_other = page.book != cursor.book || page.last < cursor.after;
            if is_other && cursor.after > 0 {
                // It was lost there, or an earlier one was brought back.
                cursor = Cursor::default();
                continue;
            }
            let Some((after, _)) = page.notes.last() else {
                break;
            };
            cursor = Cursor {
                book: page.book,
                after: *after,
            };
            let notes = page.notes.into_iter().map(|(_, note)| note).collect();
            let lacking = self.book.lacks(peer, notes).await.map_err(Cut::Book)?;
            let mut receipts = Vec::new();
            for wanted in lacking.chunks(WANTED_MAX) {
                let given = talk.want(wanted).await?;
                receipts.extend(self.judge(peer, wanted, given).await?);
            }
            let took = self.book.take(peer, receipts, cursor).await;
            taken += took.map_err(Cut::Book)?;
        }
        if taken > 0 {
            tracing::info!(peer = %peer.short(), taken, "receipts were handed over by a peer");
        }
        Ok(())
    }

    /// Tells and hands over whatever the other side asks for, until it says that it is this side's turn (`true`) or
    /// ends.
    async fn give<R, W>(&self, peer: NodeId, talk: &mut Talk<R, W>) -> Result<bool, Cut>
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        // For each page as many questions as it may need, and the next page.
        for _ in 0..PAGES_MAX * (2 + NOTES_MAX as usize / WANTED_MAX) {
            match talk.question().await? {
                talk::Question::Since(after) => {
                    let page = self.book.changed(peer, after, NOTES_MAX).await;
                    talk.page(self.key.id(), page.map_err(Cut::Book)?).await?;
                }
                talk::Question::Want(hashes) => {
                    let found = self.book.find(peer, hashes).await;
                    talk.give(found.map_err(Cut::Book)?).await?;
                }
                talk::Question::Turn => return Ok(true),
                talk::Question::End => return Ok(false),
            }
        }
        Err(Cut::Nonsense("it asks too much"))
    }
}

/// One whose questions are answered.
struct Inside<'a> {
    books: &'a Books,
    peer: NodeId,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut inside = self.books.inside.lock().expect("no holder panics");
        inside.remove(&self.peer);
    }
}
