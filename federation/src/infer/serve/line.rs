//! The stream to an asker: frames out, and an eye on whether it still wants them.

use std::time::Duration;

use kwaainet_core::Load;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{FrameError, FrameReader, FrameWriter, Link};

use super::super::PROGRESS_EVERY;
use super::super::quiet::Quiet;
use super::super::wire::asks::{Ask, Open, ask};
use super::super::wire::refusal::{self, Refusal};
use super::super::wire::says::{Checkpoint, Progress, Say, say};
use super::super::wire::{FRAME_MAX, OPEN_MAX};

/// How long an asker may take nothing: longer than the HTTP door waits for its client, who is whom all wait for.
const PARKED_MAX: Duration = Duration::from_secs(90);
/// For the frame at hand after the asker asked to stop.
const LAST_FRAME_MAX: Duration = Duration::from_secs(1);
/// Until a refusal is taken.
const REJECT_MAX: Duration = Duration::from_secs(1);
/// How long a place is kept for an asker who asked somebody else before.
const HELD_MAX: Duration = Duration::from_secs(1);
/// Until the asker signed.
const COUNTERSIGN_MAX: Duration = Duration::from_secs(2);
/// Messages of kinds that only newer versions know.
const UNKNOWN_MAX: u32 = 16;

pub(super) type Reader = FrameReader<Box<dyn AsyncRead + Send + Unpin>>;
pub(super) type Writer = FrameWriter<Box<dyn AsyncWrite + Send + Unpin>>;

/// Why the work ends before its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The asker wants no more of it, and the counts.
    Cancelled,
    /// The asker is not there any more, or talks nonsense.
    Gone,
    /// The time that it may take is over.
    OutOfTime,
}

/// The first message of a stream.
pub(super) enum First {
    /// A request.
    Open(Box<Open>),
    /// What follows is about the books of the two.
    Books,
}

/// A stream to an asker.
pub(super) struct Line {
    reader: Reader,
    writer: Writer,
    quiet: Quiet,
    due: Option<Instant>,
    cancelled: bool,
    counters: Counters,
}

/// What the asker signed against checkpoints.
#[derive(Default)]
struct Counters {
    /// Checkpoints that he did not sign yet.
    due: u32,
    last: Option<Vec<u8>>,
}

impl Counters {
    /// Takes one, if there is a checkpoint that it could be for.
    fn take(&mut self, counter: Vec<u8>) -> Result<(), Stop> {
        self.due = self.due.checked_sub(1).ok_or(Stop::Gone)?;
        self.last = Some(counter);
        Ok(())
    }
}

impl Line {
    pub(super) fn new(link: Link) -> Self {
        let mut writer = FrameWriter::new(link.writer);
        writer.set_patience(PARKED_MAX);
        Self {
            reader: FrameReader::new(link.reader, OPEN_MAX),
            writer,
            quiet: Quiet::new(PROGRESS_EVERY),
            due: None,
            cancelled: false,
            counters: Counters::default(),
        }
    }

    /// Both halves, for another kind of talk.
    pub(super) fn into_halves(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// How long the next message is; `None` where the stream ended before it.
    pub(super) async fn announced(&mut self) -> Result<Option<usize>, FrameError> {
        self.reader.announced().await
    }

    /// The first message, if it is the right one.
    pub(super) async fn open(&mut self) -> Result<First, FrameError> {
        let first = self.reader.next::<Ask>().await?;
        self.reader.set_max(FRAME_MAX);
        match first.and_then(|ask| ask.kind) {
            Some(ask::Kind::Open(open)) => Ok(First::Open(open)),
            Some(ask::Kind::Books(_)) => Ok(First::Books),
            _ => Err(std::io::Error::other("it does not open with a request").into()),
        }
    }

    /// The last message as it came.
    pub(super) fn last_read(&self) -> &[u8] {
        self.reader.last()
    }

    /// The last message as it was sent.
    pub(super) fn last_sent(&self) -> &[u8] {
        self.writer.last()
    }

    /// So much time from now on.
    pub(super) fn set_budget(&mut self, budget: Duration) {
        self.due = Some(Instant::now() + budget);
    }

    /// Waits for the work, says four times a second that it does, and stops waiting when the asker stops.
    pub(super) async fn until<F: Future>(&mut self, work: F) -> Result<F::Output, Stop> {
        let mut work = std::pin::pin!(work);
        loop {
            if self.cancelled {
                return Err(Stop::Cancelled);
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                return Err(Stop::OutOfTime);
            }
            tokio::select! {
                biased;
                stop = left(&mut self.reader, &mut self.counters) => return Err(stop),
                done = &mut work => return Ok(done),
                () = self.quiet.passed() => {}
            }
            self.send(say::Kind::Progress(Progress::default())).await?;
        }
    }

    /// Waits for the asker to want the place that is kept.
    pub(super) async fn wanted(&mut self) -> Result<(), Stop> {
        let word = async {
            for _ in 0..UNKNOWN_MAX {
                match self.reader.next::<Ask>().await {
                    Ok(Some(Ask { kind: None })) => {}
                    Ok(Some(Ask {
                        kind: Some(ask::Kind::Go(_)),
                    })) => return Ok(()),
                    Ok(Some(Ask {
                        kind: Some(ask::Kind::Cancel(_)),
                    })) => return Err(Stop::Cancelled),
                    Ok(_) | Err(_) => return Err(Stop::Gone),
                }
            }
            Err(Stop::Gone)
        };
        let word = timeout(HELD_MAX, word).await;
        word.unwrap_or(Err(Stop::OutOfTime))
    }

    /// Writes a frame; the asker takes it when it likes, but not later than all has to be over.
    pub(super) async fn send(&mut self, kind: say::Kind) -> Result<(), Stop> {
        let say = Say::from(kind);
        let due = self.due.unwrap_or_else(|| Instant::now() + PARKED_MAX);
        let mut sending = std::pin::pin!(timeout_at(due + LAST_FRAME_MAX, self.writer.send(&say)));
        let sent = if self.cancelled {
            sending.await
        } else {
            tokio::select! {
                biased;
                sent = &mut sending => sent,
                stop = left(&mut self.reader, &mut self.counters) => match stop {
                    // Half a frame would spoil the rest, of which the counts are a part.
                    Stop::Cancelled => {
                        self.cancelled = true;
                        let sent = timeout(LAST_FRAME_MAX, sending).await;
                        sent.map_err(|_| Stop::Gone)?
                    }
                    stop => return Err(stop),
                },
            }
        };
        self.quiet.note();
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Stop::Gone),
        }
    }

    /// Writes a checkpoint, against which the asker may sign while the stream goes on.
    pub(super) async fn checkpoint(&mut self, receipt: Vec<u8>) -> Result<(), Stop> {
        self.counters.due += 1;
        self.send(say::Kind::Checkpoint(Checkpoint { receipt }))
            .await
    }

    /// What the asker signed last against a checkpoint, once.
    pub(super) fn checkpoint_counter(&mut self) -> Option<Vec<u8>> {
        self.counters.last.take()
    }

    /// Says no, and no more.
    pub(super) async fn reject(&mut self, refusal: Refusal, load: Option<Load>) {
        let reject = Say::from(say::Kind::Reject(refusal::write(refusal, load)));
        let sent = timeout(REJECT_MAX, self.writer.send(&reject)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!("a refusal was not taken");
        }
    }

    /// What the asker signed, if it does so soon.
    pub(super) async fn countersign(&mut self) -> Option<Vec<u8>> {
        let signed = async {
            let mut others = 0;
            while others < UNKNOWN_MAX {
                match self.reader.next::<Ask>().await.ok()??.kind {
                    Some(ask::Kind::Countersign(signed)) if signed.checkpoint => {
                        self.counters.take(signed.counter).ok()?;
                    }
                    Some(ask::Kind::Countersign(signed)) => return Some(signed.counter),
                    // It wanted no more just when there was no more.
                    Some(ask::Kind::Cancel(_)) | None => others += 1,
                    Some(ask::Kind::Open(_) | ask::Kind::Go(_) | ask::Kind::Books(_)) => {
                        return None;
                    }
                }
            }
            None
        };
        timeout(COUNTERSIGN_MAX, signed).await.ok().flatten()
    }
}

/// Ends when the asker stops wanting. May be dropped and called again.
async fn left<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>, counters: &mut Counters) -> Stop {
    let mut unknown = 0;
    while unknown < UNKNOWN_MAX {
        let Ok(Some(Ask { kind })) = reader.next::<Ask>().await else {
            return Stop::Gone;
        };
        match kind {
            None => unknown += 1,
            Some(ask::Kind::Cancel(_)) => return Stop::Cancelled,
            Some(ask::Kind::Countersign(signed)) if signed.checkpoint => {
                if let Err(stop) = counters.take(signed.counter) {
                    return stop;
                }
            }
            Some(_) => return Stop::Gone,
        }
    }
    Stop::Gone
}
