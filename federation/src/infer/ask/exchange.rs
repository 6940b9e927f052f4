//! One stream with a peer, from the opening to whatever comes last: frames in, silence and loss out.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{BackendError, ModelId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::{DialError, FrameError, FrameReader, FrameWriter, Plane};

use super::super::SILENCE_MAX;
use super::super::account::Account;
use super::super::quiet::Quiet;
use super::super::wire::asks::{Ask, Countersign, ask};
use super::super::wire::request::{self, Request, Wanted};
use super::super::wire::says::{self, Say, say};
use super::super::wire::{Bad, FRAME_MAX, error, refusal};
use super::watch::Watch;
use super::{InFlight, Peer};

/// Bytes of an opening message for which a second more is waited.
const BYTES_A_SECOND: usize = 128 << 10;
/// Frames without news, one after the other: half an hour of progress.
const IDLE_FRAMES_MAX: u32 = 7_200;
/// Frames that may still come after the peer was asked to stop, before it says whether it had begun.
const LAST_FRAMES_MAX: u32 = 16;
/// A counter-signature is short, and the answer waits for it.
const COUNTERSIGN_MAX: Duration = Duration::from_millis(250);

type Reader = FrameReader<Box<dyn AsyncRead + Send + Unpin>>;
type Writer = FrameWriter<Box<dyn AsyncWrite + Send + Unpin>>;

/// A stream for one request.
pub(super) struct Exchange {
    guard: InFlight,
    model: ModelId,
    /// Names of fields that the request gives itself.
    own: [&'static str; 2],
    reader: Reader,
    writer: Writer,
    watch: Watch,
    quiet: Quiet,
    idle_frames: u32,
    opening_bytes: usize,
    /// What the server did is signed, or it signs nothing.
    settled: bool,
    pub(super) account: Account,
}

impl Exchange {
    pub(super) async fn open(guard: InFlight, request: Request) -> Result<Self, BackendError> {
        let peer = &guard.0;
        let mut watch =
            Watch::begin(peer.views.clone(), peer.node).map_err(|why| peer.failed(why))?;
        let dialing = peer.transport.dial(peer.node, Plane::Inference);
        let dialing = timeout(watch.patience(), dialing);
        let link = tokio::select! {
            biased;
            link = dialing => link.unwrap_or(Err(DialError::Timeout(peer.node))),
            why = watch.gone() => return Err(peer.failed(why)),
        };
        let link = link.map_err(|error| {
            peer.unanswered();
            tracing::debug!(peer = %peer.node.short(), "{error}");
            peer.failed("cannot be reached")
        })?;
        let (id, digest, model) = (request.id, request.digest, request.model.clone());
        let own = own_names(&request.work);
        let mut writer = FrameWriter::new(link.writer);
        let opening = Ask::from(ask::Kind::Open(request::write(request).into()));
        let sent = tokio::select! {
            biased;
            sent = writer.send(&opening) => sent,
            why = watch.gone() => return Err(peer.failed(why)),
        };
        sent.map_err(|error| broken(peer, &error))?;
        let account = Account::new(peer.books.clone(), id, digest, writer.last());
        let opening_bytes = writer.last().len();
        let more = Duration::from_secs((opening_bytes / BYTES_A_SECOND) as u64);
        Ok(Self {
            guard,
            model,
            own,
            reader: FrameReader::new(link.reader, FRAME_MAX),
            writer,
            watch,
            quiet: Quiet::new(SILENCE_MAX + more),
            idle_frames: 0,
            opening_bytes,
            settled: false,
            account,
        })
    }

    /// How long the request was.
    pub(super) fn opening_bytes(&self) -> usize {
        self.opening_bytes
    }

    fn peer(&self) -> &Peer {
        &self.guard.0
    }

    /// Waits until the peer accepts.
    pub(super) async fn accepted(&mut self) -> Result<(), BackendError> {
        let said = self.answer().await?;
        self.is_accepted(said)
    }

    /// Waits until the peer keeps a place; or accepts at once, if it knows no better: then it is false.
    pub(super) async fn held(&mut self) -> Result<bool, BackendError> {
        match self.answer().await? {
            say::Kind::Hold(_) => Ok(true),
            said => self.is_accepted(said).map(|()| false),
        }
    }

    /// Takes the place that is kept, and waits until the peer accepts.
    pub(super) async fn go(&mut self) -> Result<(), BackendError> {
        let message = Ask::from(ask::Kind::Go(Default::default()));
        let told = self.writer.send(&message).await;
        told.map_err(|error| broken(self.peer(), &error))?;
        self.accepted().await
    }

    /// The peer's first words; without any, it is noted that it did not answer.
    async fn answer(&mut self) -> Result<say::Kind, BackendError> {
        let said = self.frame().await;
        said.inspect_err(|_| self.peer().unanswered())
    }

    fn is_accepted(&self, said: say::Kind) -> Result<(), BackendError> {
        match said {
            say::Kind::Accept(accept) => {
                tracing::debug!(
                    peer = %self.peer().node.short(),
                    queue = accept.queue,
                    first_token_ms = accept.first_token_ms,
                    "accepted"
                );
                Ok(())
            }
            say::Kind::Reject(reject) => {
                let refused = refusal::read(reject, &self.own);
                let (refusal, load) = refused.map_err(|bad| self.lied(&bad))?;
                tracing::debug!(peer = %self.peer().node.short(), ?load, "refused");
                Err(refusal.into_error(&self.peer().name, &self.model))
            }
            _ => Err(self.out_of_turn()),
        }
    }

    /// Whether the peer had begun before it heard that it should not. Whoever had not just hangs up.
    pub(super) async fn began_after_all(&mut self) -> bool {
        for _ in 0..LAST_FRAMES_MAX {
            match self.reader.next::<Say>().await {
                Ok(Some(Say {
                    kind: Some(say::Kind::Accept(_)),
                })) => return true,
                Ok(Some(Say {
                    kind: Some(say::Kind::Progress(_) | say::Kind::Hold(_)) | None,
                })) => {}
                Ok(_) | Err(_) => return false,
            }
        }
        false
    }

    /// The next frame that says anything.
    pub(super) async fn frame(&mut self) -> Result<say::Kind, BackendError> {
        self.quiet.note();
        let mut begun = self.reader.begun();
        loop {
            // What is here is read before anything is made of the peer's state.
            let said = tokio::select! {
                biased;
                said = self.reader.next::<Say>() => said,
                why = self.watch.gone() => return Err(self.peer().failed(why)),
                () = self.quiet.passed() => {
                    // A long frame on a slow line is no silence.
                    if self.reader.begun() == begun {
                        return Err(self.timeout("says nothing"));
                    }
                    begun = self.reader.begun();
                    self.quiet.note();
                    continue;
                }
            };
            begun = 0;
            let said = said.map_err(|error| broken(self.peer(), &error))?;
            let said = said.ok_or_else(|| self.peer().failed("broke off"))?;
            match said.kind {
                Some(say::Kind::Progress(_)) | None => self.idle()?,
                Some(say::Kind::Checkpoint(checkpoint)) => {
                    self.idle()?;
                    self.checkpoint(&checkpoint.receipt).await?;
                }
                Some(kind) => {
                    self.idle_frames = 0;
                    self.quiet.restart(SILENCE_MAX);
                    return Ok(kind);
                }
            }
        }
    }

    /// A frame that only says that the peer is there, or that only a newer version understands.
    fn idle(&mut self) -> Result<(), BackendError> {
        self.quiet.restart(SILENCE_MAX);
        self.idle_frames += 1;
        match self.idle_frames <= IDLE_FRAMES_MAX {
            true => Ok(()),
            false => Err(self.timeout("makes no progress")),
        }
    }

    /// The last frame is a part of the answer, of which a hash is signed.
    pub(super) fn count_last(&mut self) {
        self.account.message(self.reader.last());
    }

    /// Signs against a checkpoint, if it is right.
    async fn checkpoint(&mut self, checkpoint: &[u8]) -> Result<(), BackendError> {
        let node = self.peer().node;
        let Some(counter) = self.account.checkpointed(node, checkpoint) else {
            return Ok(());
        };
        let checkpoint = true;
        let message = Ask::from(ask::Kind::Countersign(Countersign {
            counter,
            checkpoint,
        }));
        match timeout(COUNTERSIGN_MAX, self.writer.send(&message)).await {
            Ok(sent) => sent.map_err(|error| broken(self.peer(), &error)),
            // Half a message may be on its way.
            Err(_) => Err(self.timeout("takes nothing")),
        }
    }

    /// Signs against the receipt, if it is right, and ends the stream.
    pub(super) async fn countersign(&mut self, receipt: &[u8], complete: bool) {
        if receipt.is_empty() {
            self.settled = true;
            return;
        }
        let node = self.peer().node;
        if let Some(counter) = self.account.counter(node, receipt, complete) {
            self.settled = true;
            let checkpoint = false;
            let message = Ask::from(ask::Kind::Countersign(Countersign {
                counter,
                checkpoint,
            }));
            // A server that does not want it any more has its own receipt all the same.
            let _sent = timeout(COUNTERSIGN_MAX, self.writer.send(&message)).await;
        }
    }

    /// Asks the peer to stop, and to say what it did.
    pub(super) async fn cancel(&mut self) -> Result<(), BackendError> {
        let message = Ask::from(ask::Kind::Cancel(Default::default()));
        let told = self.writer.send(&message).await;
        told.map_err(|error| broken(self.peer(), &error))
    }

    /// The peer's error, as it is here.
    pub(super) fn error(&self, failed: Option<says::Error>) -> BackendError {
        let read = failed.map(|failed| error::read(failed, &self.own));
        match read {
            Some(Ok(error)) => error,
            Some(Err(bad)) => self.lied(&bad),
            None => self.peer().failed("failed and does not say why"),
        }
    }

    pub(super) fn lied(&self, bad: &Bad) -> BackendError {
        self.peer()
            .failed(format_args!("sent what makes no sense: {bad}"))
    }

    pub(super) fn out_of_turn(&self) -> BackendError {
        self.peer().failed("sent something out of turn")
    }

    fn timeout(&self, what: &str) -> BackendError {
        let reason = format!("{} {what}", self.peer().name);
        tracing::warn!(peer = %self.peer().node.short(), "{reason}");
        BackendError::Timeout { reason }
    }

    /// A place among those that are settled after they were dropped.
    pub(super) fn farewell_place(&self) -> Option<OwnedSemaphorePermit> {
        let places = Arc::clone(&self.peer().farewell_places);
        places.try_acquire_owned().ok()
    }

    pub(super) fn farewells(&self) -> TaskTracker {
        self.peer().farewells.clone()
    }
}

impl Drop for Exchange {
    /// However it ended: what was seen and not signed is noted, so that it can be compared with what the server
    /// says later.
    fn drop(&mut self) {
        if !self.settled {
            self.account.claim(self.guard.0.node);
        }
    }
}

fn own_names(work: &Wanted) -> [&'static str; 2] {
    match work {
        Wanted::Generate { params, .. } => {
            let grammar = params.grammar.as_ref();
            let format = grammar.map_or("response_format", |grammar| grammar.param);
            [params.max_tokens_param, format]
        }
        _ => ["request"; 2],
    }
}

fn broken(peer: &Peer, error: &FrameError) -> BackendError {
    match error {
        FrameError::Broken(error) => {
            tracing::debug!(peer = %peer.node.short(), "{error}");
            peer.failed("broke off")
        }
        FrameError::TooLong { .. } | FrameError::TooSlow | FrameError::Malformed(_) => {
            peer.failed(format_args!("cannot be talked to: {error}"))
        }
    }
}
