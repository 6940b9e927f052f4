//! All that this node knows of one peer. Pure: what happened is told to it, with the time.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Load, ModelFacts, NodeId, PeerFacts};
use tokio_util::sync::CancellationToken;

use super::backoff;
use super::described::Described;
use super::detector::{Detector, Hearing};
use super::hearsay::Hearsay;
use super::membership::{Membership, Outdated};
use super::progress::Progress;
use super::wire::Report;
use crate::{Member, PeerState, PeerView};

/// From when on a peer that does not answer does not hear, even if its own pings arrive, and until when that may
/// pass: on a direct path, and on a relayed one.
const UNANSWERED: [[Duration; 2]; 2] = [
    [Duration::from_millis(950), Duration::from_millis(1250)],
    [Duration::from_millis(1900), Duration::from_millis(2500)],
];
/// Of two streams the one that both sides keep may be doubted once it was silent for so long.
const FRESH: Duration = Duration::from_millis(500);
/// What routing takes for the way to a peer that has to be called first, there and back: rather too long, so that of
/// two that are alike the one goes first that answers.
const CALL: Duration = Duration::from_millis(150);
/// How long whoever refused this node is left alone.
pub(crate) const REFUSED_WAIT: Duration = Duration::from_secs(5);

/// One member.
pub(crate) struct Peer {
    pub(crate) member: Member,
    /// As the book had it last; the peer itself may have said something newer since.
    pub(crate) booked: Member,
    /// When it was put into the book, if it was by this run of the node.
    pub(crate) joined: Option<Duration>,
    pub(crate) live: Option<Live>,
    pub(crate) calls: Calls,
    /// No stream with it is kept: others come first here,
    pub(crate) is_left_out: bool,
    /// or others came first there.
    pub(crate) is_full: bool,
    /// What others handed on of it.
    pub(crate) hearsay: Option<Hearsay>,
    membership: Membership,
    detector: Detector,
    progress: Progress,
    described: Described,
    load: Load,
    models: Arc<[ModelFacts]>,
    rtt: Rtt,
    relayed: bool,
}

/// The stream that is used with a peer.
pub(crate) struct Live {
    pub(crate) id: u64,
    /// Whether this node dialed it.
    pub(crate) dialed: bool,
    pub(crate) close: CancellationToken,
    pub(crate) retire: CancellationToken,
    /// When the last ping came, and the last that answered one.
    pinged: Duration,
    answered: Duration,
}

/// The calls to a peer.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) under_way: bool,
    /// Since it last answered.
    failures: u32,
    /// Not before.
    next: Duration,
}

impl Calls {
    /// Whether to call now.
    pub(crate) fn are_due(&self, now: Duration) -> bool {
        !self.under_way && now >= self.next
    }

    /// One failed.
    pub(crate) fn failed(&mut self, here: NodeId, there: NodeId, now: Duration) {
        self.next = now + backoff::wait(self.failures, here, there);
        self.failures = self.failures.saturating_add(1);
    }

    /// Not for so long.
    pub(crate) fn wait(&mut self, time: Duration, now: Duration) {
        self.next = now + time;
    }

    /// It is worth while to begin anew.
    pub(crate) fn reset(&mut self) {
        (self.failures, self.next) = (0, Duration::ZERO);
    }
}

/// What a report has that the last one had not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    Numbers,
    Models,
}

/// There and back.
#[derive(Clone, Copy, Debug, Default)]
struct Rtt {
    /// Smoothed as TCP does it (RFC 6298).
    smooth: Option<Duration>,
    /// What others are told: it moves only when it matters.
    told: Duration,
}

impl Rtt {
    fn measured(&mut self, rtt: Duration) -> bool {
        let smooth = self.smooth.map_or(rtt, |before| before * 7 / 8 + rtt / 8);
        let matters = smooth.abs_diff(self.told) > self.told / 8;
        if matters {
            self.told = smooth;
        }
        self.smooth = Some(smooth);
        matters
    }
}

/// What to do with a second stream to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Second {
    /// It is the one to use.
    Use,
    /// The first one stays.
    Leave,
    /// The first one was with an earlier run of the peer, like all else that is open with it.
    Restarted,
}

impl Peer {
    /// A member of whom nothing else is known.
    pub(crate) fn new(member: Member) -> Self {
        Self {
            booked: member.clone(),
            member,
            joined: None,
            live: None,
            calls: Calls::default(),
            is_left_out: false,
            is_full: false,
            hearsay: None,
            membership: Membership::default(),
            detector: Detector::default(),
            progress: Progress::default(),
            described: Described::default(),
            load: Load::default(),
            models: Arc::default(),
            rtt: Rtt::default(),
            relayed: false,
        }
    }

    /// Which.
    pub(crate) fn node(&self) -> NodeId {
        self.member.node
    }

    /// Of its last greeting.
    pub(crate) fn incarnation(&self) -> u64 {
        self.membership.incarnation()
    }

    /// How it is.
    pub(crate) fn state(&self) -> PeerState {
        match self.counting_hearsay() {
            Some(hearsay) => hearsay.state(),
            None => self.membership.state(),
        }
    }

    /// What others handed on, where nothing better is to be known: never of a peer that this node calls itself.
    fn counting_hearsay(&self) -> Option<&Hearsay> {
        let is_distant = self.live.is_none() && (self.is_left_out || self.is_full);
        self.hearsay
            .as_ref()
            .filter(|hearsay| is_distant && hearsay.incarnation() >= self.membership.incarnation())
    }

    /// What to do with a new stream on which the peer greeted. Of two, both sides use the one that the smaller
    /// id dialed, unless that one has fallen silent; a peer that dials again has lost what it dialed before.
    pub(crate) fn second(
        &self,
        here: NodeId,
        dialed: bool,
        incarnation: u64,
        now: Duration,
    ) -> Result<Second, Outdated> {
        let known = self.incarnation();
        if incarnation < known {
            return Err(Outdated { known });
        }
        let Some(live) = &self.live else {
            return Ok(Second::Use);
        };
        if incarnation > known {
            return Ok(Second::Restarted);
        }
        let stays = live.dialed == (here < self.node());
        let is_fresh = now.saturating_sub(live.pinged) < FRESH;
        Ok(if live.dialed != dialed && stays && is_fresh {
            Second::Leave
        } else {
            Second::Use
        })
    }

    /// The peer greeted, and this stream is used from now on, as [`Self::second`] said. Returns the one that is
    /// of no more use.
    pub(crate) fn greeted(&mut self, described: Described, live: Live) -> Option<Live> {
        if self.membership.greeted(described.incarnation).is_err() {
            return Some(live);
        }
        if self.live.is_none() {
            self.progress = Progress::default();
            self.detector.begin(self.relayed, live.pinged);
        }
        self.calls.reset();
        self.is_full = false;
        self.described = described;
        self.live.replace(live)
    }

    /// A ping came, and one of this node's took so long there and back, if it was answered. Returns whether
    /// anything is worth publishing.
    pub(crate) fn heard(&mut self, rtt: Option<Duration>, relayed: bool, now: Duration) -> bool {
        if let Some(live) = &mut self.live {
            live.pinged = now;
            if rtt.is_some() {
                live.answered = now;
            }
        }
        self.detector.heard(relayed, now);
        if self.answers(now) == Hearing::Fine {
            self.membership.hearing(Hearing::Fine);
        }
        let moved = rtt.is_some_and(|rtt| self.rtt.measured(rtt));
        std::mem::replace(&mut self.relayed, relayed) != relayed || moved
    }

    /// It says what it serves.
    pub(crate) fn reported(&mut self, report: Report, now: Duration) -> Told {
        let still = report.still();
        let before = self.described.about.clone();
        self.described.about.told(report.power);
        let (load, mut models) = report.read();
        if !self.described.serves {
            models.clear();
        }
        self.progress.reported(&load, still, now);
        self.membership.stuck(self.progress.is_stuck(now));
        let told = match () {
            () if *self.models != *models => Told::Models,
            () if self.load != load || self.described.about != before => Told::Numbers,
            () => Told::Nothing,
        };
        self.load = load;
        if matches!(told, Told::Models) {
            self.models = models.into();
        }
        told
    }

    /// It takes no more work.
    pub(crate) fn draining(&mut self) {
        self.membership.draining();
    }

    /// Others lost it. Whoever is heard all the time is not doubted.
    pub(crate) fn rumoured_lost(&mut self, incarnation: u64, now: Duration) {
        if self.live.is_some() && self.detector.silence(now) >= FRESH {
            self.membership.rumoured_lost(incarnation);
        }
    }

    /// Nothing is open with it any more.
    pub(crate) fn lost(&mut self, reason: impl Into<String>) -> Option<Live> {
        self.membership.lost(reason);
        self.models = Arc::default();
        self.load = Load::default();
        self.live.take()
    }

    /// Whether it hears this node.
    fn answers(&self, now: Duration) -> Hearing {
        let answered = self.live.as_ref().map_or(now, |live| live.answered);
        let [late, gone] = UNANSWERED[usize::from(self.relayed)];
        match now.saturating_sub(answered) {
            silence if silence >= gone => Hearing::Gone,
            silence if silence >= late => Hearing::Late,
            _ => Hearing::Fine,
        }
    }

    /// Judges by the time alone. Returns whether it is gone without a word.
    pub(crate) fn judge(&mut self, now: Duration) -> bool {
        self.hearsay.take_if(|hearsay| !hearsay.holds(now));
        if self.live.is_none() {
            return false;
        }
        let hearing = self.detector.judge(now).max(self.answers(now));
        match hearing {
            // What was late stays so until it is heard.
            Hearing::Fine => {}
            Hearing::Late => self.membership.hearing(hearing),
            Hearing::Gone => return true,
        }
        self.membership.stuck(self.progress.is_stuck(now));
        false
    }

    /// For everybody else.
    pub(crate) fn view(&self) -> PeerView {
        if let Some(hearsay) = self.counting_hearsay() {
            return self.distant_view(hearsay);
        }
        let about = &self.described.about;
        PeerView {
            node: self.node(),
            state: self.membership.state(),
            reason: self.membership.reason(),
            facts: PeerFacts {
                node: self.node(),
                tier: self.member.tier,
                region: about.region.clone(),
                price: about.price,
                grid: about.grid,
                watts: about.watts,
                rtt: self.rtt.told,
                relayed: self.relayed,
                load: self.load,
                ours: 0,
            },
            models: Arc::clone(&self.models),
            incarnation: self.incarnation(),
            version: about.version.clone(),
            introduced_by: self.member.introduced_by,
        }
    }

    fn distant_view(&self, hearsay: &Hearsay) -> PeerView {
        let about = &hearsay.described.about;
        let is_gone = hearsay.state() == PeerState::Down;
        PeerView {
            node: self.node(),
            state: hearsay.state(),
            reason: hearsay.reason().map(str::to_owned),
            facts: PeerFacts {
                node: self.node(),
                tier: self.member.tier,
                region: about.region.clone(),
                price: about.price,
                grid: about.grid,
                watts: about.watts,
                rtt: CALL,
                relayed: false,
                load: hearsay.load,
                ours: 0,
            },
            models: if is_gone {
                Arc::default()
            } else {
                Arc::clone(&hearsay.models)
            },
            incarnation: hearsay.incarnation(),
            version: about.version.clone(),
            introduced_by: self.member.introduced_by,
        }
    }
}

impl Live {
    /// A stream that is used from now on.
    pub(crate) fn new(id: u64, dialed: bool, now: Duration) -> Self {
        Self {
            id,
            dialed,
            close: CancellationToken::new(),
            retire: CancellationToken::new(),
            pinged: now,
            answered: now,
        }
    }

    /// Ends it because another one is used. The peer may not know yet, if it still waits for the other's welcome:
    /// a stream that this node dialed is left open for a while, so that it is not taken for a loss.
    pub(crate) fn replaced(self) {
        if self.dialed {
            self.retire.cancel();
        } else {
            self.close.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
