//! One control stream with a peer, after the greeting: pings and their answers, reports, farewells. It decides
//! nothing; what it hears goes to the keeper.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kwaainet_core::{Clock, NodeId};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::allowance::Allowance;
use super::detector::PING_EVERY;
use super::hello::Lines;
use super::introductions::Given;
use super::wire::{
    Answer, Frame, FrameKind, Introductions, Leaving, Lost, Ping, Pong, Report, WireIntroduced,
};
use crate::{FrameError, FrameReader, FrameWriter, Introduced};

/// Bytes of a message at most.
pub(crate) const FRAME_MAX: usize = 64 << 10;
/// Messages that a peer may send at once, and each second.
const BURST: f64 = 200.0;
const RATE: f64 = 100.0;
/// Introductions in one message: less than its bytes may be.
const INTRODUCED_AT_ONCE: usize = 64;
/// Pings without an answer that are remembered.
const ASKED_MAX: usize = 16;
/// For the peer to read a farewell, or to see that another stream is used.
const FAREWELL: Duration = Duration::from_millis(500);
const RETIREMENT: Duration = Duration::from_secs(1);

/// What came from a peer.
#[derive(Debug)]
pub(crate) enum Heard {
    /// With the time that one took there and back, if it answers one.
    Ping(Option<Duration>),
    Report(Report),
    Leaving(Leaving),
    Lost(Lost),
    /// Whose signatures are good.
    Introductions(Vec<Introduced>),
    /// Nothing more comes.
    End(Ended),
}

/// Why a stream is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// This node ended it.
    #[error("it was closed")]
    Closed,
    /// The peer ended it.
    #[error("it hung up")]
    HungUp,
    /// It broke off, or the peer sent nonsense.
    #[error(transparent)]
    Broken(#[from] FrameError),
    /// The peer does not keep to the bounds.
    #[error("it sends too much")]
    Flood,
}

impl Ended {
    /// For whoever looks at the peers: without addresses.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Closed => "its stream was closed",
            Self::HungUp => "it hung up",
            Self::Broken(FrameError::Broken(_)) => "its stream broke off",
            Self::Broken(_) => "it does not keep to the protocol",
            Self::Flood => "it sends too much",
        }
    }
}

/// What a session is told from outside.
#[derive(Clone)]
pub(crate) struct Signals {
    /// To end at once.
    pub(crate) close: CancellationToken,
    /// To end soon: another stream is used.
    pub(crate) retire: CancellationToken,
    /// This node takes no more work.
    pub(crate) drain: CancellationToken,
    /// This node is gone now.
    pub(crate) leave: CancellationToken,
}

/// One stream.
pub(crate) struct Session {
    pub(crate) node: NodeId,
    pub(crate) id: u64,
    pub(crate) lines: Lines,
    /// The answer to the peer's hello, if it is the one that dialed.
    pub(crate) answer: Option<Answer>,
    pub(crate) reports: watch::Receiver<Arc<Frame>>,
    pub(crate) losses: broadcast::Receiver<Lost>,
    pub(crate) given: watch::Receiver<Arc<Vec<Given>>>,
    pub(crate) signals: Signals,
    pub(crate) heard: mpsc::Sender<(NodeId, u64, Duration, Heard)>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Session {
    /// Talks until the stream is over, and says why it is.
    pub(crate) async fn run(self) {
        let Self {
            node,
            id,
            lines,
            answer,
            reports,
            losses,
            given,
            signals,
            heard,
            clock,
        } = self;
        let Signals { close, retire, .. } = signals.clone();
        let asked = Mutex::new(Asked::default());
        let mouth = Mouth {
            asked: &asked,
            reports,
            losses,
            given,
            signals,
            clock: &*clock,
        };
        let ear = Ear {
            asked: &asked,
            name: (node, id),
            heard: &heard,
            clock: &*clock,
        };
        let retired = async {
            retire.cancelled().await;
            tokio::time::sleep(RETIREMENT).await;
        };
        let end = tokio::select! {
            biased;
            () = close.cancelled() => Ended::Closed,
            () = retired => Ended::Closed,
            end = ear.hear(lines.reader) => end,
            end = mouth.speak(lines.writer, answer) => end.unwrap_or_else(Ended::from),
        };
        // Fails only when nobody wants to know.
        let _ = heard
            .send((node, id, clock.monotonic(), Heard::End(end)))
            .await;
    }
}

/// The pings of both sides.
#[derive(Default)]
struct Asked {
    /// Ours on their way: numbers and times, the oldest first.
    ours: VecDeque<(u64, Duration)>,
    /// The other side's last one and when it came, until it is answered.
    theirs: Option<(u64, Duration)>,
}

impl Asked {
    /// The next of ours.
    fn ask(&mut self, now: Duration) -> Ping {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
        let nonce = u64::from_be_bytes(nonce);
        if self.ours.len() == ASKED_MAX {
            self.ours.pop_front();
        }
        self.ours.push_back((nonce, now));
        let answer = self.theirs.take().map(|(nonce, came)| Pong {
            nonce,
            held_us: now.saturating_sub(came).as_micros() as u64,
        });
        Ping { nonce, answer }
    }

    /// One of theirs. How long ours took there and back, if it answers one; that one and all before it are over.
    fn heard(&mut self, ping: Ping, now: Duration) -> Option<Duration> {
        self.theirs = Some((ping.nonce, now));
        let pong = ping.answer?;
        let at = self
            .ours
            .iter()
            .position(|(nonce, _)| *nonce == pong.nonce)?;
        let (_, asked) = self.ours.drain(..=at).next_back()?;
        let held = Duration::from_micros(pong.held_us);
        Some(now.saturating_sub(asked).saturating_sub(held))
    }
}

/// What both halves of a session share.
fn lock(asked: &Mutex<Asked>) -> MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Mouth<'a> {
    asked: &'a Mutex<Asked>,
    reports: watch::Receiver<Arc<Frame>>,
    losses: broadcast::Receiver<Lost>,
    given: watch::Receiver<Arc<Vec<Given>>>,
    signals: Signals,
    clock: &'a dyn Clock,
}

impl Mouth<'_> {
    async fn speak<W: tokio::io::AsyncWrite + Unpin>(
        mut self,
        mut writer: FrameWriter<W>,
        answer: Option<Answer>,
    ) -> Result<Ended, FrameError> {
        if let Some(answer) = answer {
            writer.send(&answer).await?;
        }
        let mut pings = tokio::time::interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.reports.mark_changed();
        self.given.mark_changed();
        let (mut told_draining, mut given) = (false, 0);
        loop {
            let Signals { leave, drain, .. } = &self.signals;
            let kind = tokio::select! {
                biased;
                () = leave.cancelled() => break,
                () = drain.cancelled(), if !told_draining => {
                    told_draining = true;
                    FrameKind::Leaving(Leaving { gone: false })
                }
                _ = pings.tick() => FrameKind::Ping(lock(self.asked).ask(self.clock.monotonic())),
                Ok(()) = self.reports.changed() => {
                    let report = Arc::clone(&self.reports.borrow_and_update());
                    writer.send(&*report).await?;
                    continue;
                }
                Ok(()) = self.given.changed() => {
                    let words = Arc::clone(&self.given.borrow_and_update());
                    given = tell(&mut writer, &words, given).await?;
                    continue;
                }
                // What was missed because there was too much is not needed.
                Ok(lost) = self.losses.recv() => FrameKind::Lost(lost),
            };
            writer.send(&Frame::from(kind)).await?;
        }
        let farewell = FrameKind::Leaving(Leaving { gone: true });
        writer.send(&Frame::from(farewell)).await?;
        writer.finish().await?;
        tokio::time::sleep(FAREWELL).await;
        Ok(Ended::Closed)
    }
}

/// Tells of what was given since the one of this number. Returns the last one's.
async fn tell<W: tokio::io::AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    given: &[Given],
    since: u64,
) -> Result<u64, FrameError> {
    let news = &given[given.partition_point(|given| given.serial <= since)..];
    for some in news.chunks(INTRODUCED_AT_ONCE) {
        let words = some.iter().map(|given| (&given.introduced).into());
        let words = words.collect();
        let frame = FrameKind::Introductions(Introductions { words });
        writer.send(&Frame::from(frame)).await?;
    }
    Ok(given.last().map_or(since, |last| last.serial.max(since)))
}

struct Ear<'a> {
    asked: &'a Mutex<Asked>,
    name: (NodeId, u64),
    heard: &'a mpsc::Sender<(NodeId, u64, Duration, Heard)>,
    clock: &'a dyn Clock,
}

impl Ear<'_> {
    async fn hear<R: tokio::io::AsyncRead + Unpin>(self, mut reader: FrameReader<R>) -> Ended {
        reader.set_max(FRAME_MAX);
        let mut allowance = Allowance::new(BURST, RATE, self.clock.monotonic());
        loop {
            let frame = match reader.next::<Frame>().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ended::HungUp,
                Err(error) => return error.into(),
            };
            let now = self.clock.monotonic();
            if !allowance.takes(now) {
                return Ended::Flood;
            }
            let heard = match frame.kind {
                // Of a later version.
                None => continue,
                Some(FrameKind::Ping(ping)) => Heard::Ping(lock(self.asked).heard(ping, now)),
                Some(FrameKind::Report(report)) => Heard::Report(report),
                Some(FrameKind::Leaving(leaving)) => Heard::Leaving(leaving),
                Some(FrameKind::Lost(lost)) => Heard::Lost(lost),
                Some(FrameKind::Introductions(said)) => {
                    let words = said.words.into_iter().take(INTRODUCED_AT_ONCE);
                    Heard::Introductions(words.filter_map(WireIntroduced::read).collect())
                }
            };
            // Once nobody listens any more, the farewell still has to be sent and answered.
            let _ = self
                .heard
                .send((self.name.0, self.name.1, now, heard))
                .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_and_only_for_what_was_asked() {
        let mut asked = Asked::default();
        let at = Duration::from_secs;
        let pings: Vec<_> = (0..20).map(|s| asked.ask(at(s))).collect();
        let mut answered = |nonce, held| {
            let held_us = Duration::from_millis(held).as_micros() as u64;
            let answer = Some(Pong { nonce, held_us });
            asked.heard(Ping { nonce: 1, answer }, at(21))
        };
        assert_eq!(answered(pings[0].nonce, 0), None, "it was forgotten");
        let took = Duration::from_millis(11_750);
        assert_eq!(answered(pings[9].nonce, 250), Some(took));
        assert_eq!(answered(pings[9].nonce, 250), None);
        assert_eq!(answered(pings[8].nonce, 250), None);
        assert_eq!(answered(pings[10].nonce.wrapping_add(1), 0), None);
        let lied = answered(pings[10].nonce, u64::MAX / 1000);
        assert_eq!(lied, Some(Duration::ZERO));
    }

    #[test]
    fn the_last_ping_is_answered_once() {
        let mut asked = Asked::default();
        let (at, answer) = (Duration::from_millis, None);
        for nonce in [1, 2] {
            assert_eq!(asked.heard(Ping { nonce, answer }, at(nonce)), None);
        }
        let (nonce, held_us) = (2, 7_000);
        assert_eq!(asked.ask(at(9)).answer, Some(Pong { nonce, held_us }));
        assert_eq!(asked.ask(at(10)).answer, None);
    }
}
