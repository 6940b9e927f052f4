//! Which streams come about, and which of them are used.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{NodeId, Tier};
use prost::Message;
use tokio::sync::watch;

use super::{
    Event, FULL_WAIT, INCARNATION_STEP, INSTEAD_BYTES, INSTEAD_MAX, Keeper, Knock, LEFT_OUT,
    MET_WITHIN, UNUSED,
};
use crate::control::described::Described;
use crate::control::hello::{CallError, Lines, call};
use crate::control::peer::{Live, Peer, REFUSED_WAIT, Second};
use crate::control::session::{Session, Signals};
use crate::control::wire::{
    Answer, AnswerKind, Card, Hello, Reason, Refused, Welcome, WireIntroduced,
};
use crate::{PeerAddress, PeerState};

impl Keeper {
    pub(super) fn call_one(&mut self, node: NodeId) {
        let card = self.card();
        let shown = self.introductions.shown(self.unix_ms());
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        peer.calls.under_way = true;
        let hello = Hello::of(card, peer.member.invitation.clone(), shown);
        let transport = Arc::clone(&self.around.transport);
        let events = self.around.events.clone();
        self.around.tasks.spawn_until_leaving(async move {
            let outcome = Box::new(call(&*transport, node, hello).await);
            // The keeper is gone only when the node is about to be.
            let _ = events.send(Event::Called { node, outcome }).await;
        });
    }

    pub(super) fn knocked(&mut self, knock: Knock) {
        let now = self.now();
        let Knock { node, joined, .. } = &knock;
        let node = *node;
        if let Some(member) = joined.clone().filter(|m| m.node == node) {
            self.know(member).joined = Some(now);
            self.count_members();
        }
        if !knock.introductions.is_empty() {
            self.hear_words(knock.introductions);
        }
        let described = Described::from(knock.card);
        let refused = match self.choose(node, false, described.incarnation, now) {
            Ok(()) => {
                let protocol = knock.protocol;
                let card = Some(self.card());
                let welcome = Welcome { protocol, card };
                let kind = Some(AnswerKind::Welcome(welcome));
                let answer = Some(Answer { kind });
                return self.use_stream(node, knock.lines, answer, described, now);
            }
            Err(refused) => refused,
        };
        // The task that waits for it is gone only when the node is about to be.
        let _ = knock.refuses.send((knock.lines, refused));
    }

    pub(super) fn called(&mut self, node: NodeId, outcome: Result<(Welcome, Lines), CallError>) {
        let now = self.now();
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        peer.calls.under_way = false;
        let error = match outcome {
            Ok((welcome, lines)) => {
                let described = Described::from(welcome.card.unwrap_or_default());
                match self.choose(node, true, described.incarnation, now) {
                    Ok(()) => self.use_stream(node, lines, None, described, now),
                    Err(refused) => self.leave_unused(node, lines, &refused),
                }
                return;
            }
            Err(error) => error,
        };
        if peer.live.is_some() {
            return;
        }
        peer.calls.failed(self.here, node, now);
        let mut instead = Vec::new();
        if let CallError::Refused(refused) = &error {
            instead = refused.instead.clone();
            match Reason::try_from(refused.reason).unwrap_or(Reason::Unknown) {
                Reason::Duplicate | Reason::Later => {}
                Reason::Full => {
                    peer.is_full = true;
                    peer.calls.wait(FULL_WAIT, now);
                }
                Reason::Outdated => {
                    let step = refused.known.saturating_sub(self.incarnation);
                    let step = step.min(INCARNATION_STEP) + 1;
                    self.incarnation = self.incarnation.saturating_add(step);
                }
                _ => peer.calls.wait(REFUSED_WAIT, now),
            }
        }
        // What happened first says more than that it cannot be reached since.
        if peer.state() == PeerState::Connecting || matches!(error, CallError::Refused(_)) {
            peer.lost(error.reason());
            self.urgent = true;
            self.around.complaints.tell(node, now, &error);
        }
        let words = instead.into_iter().take(INSTEAD_MAX);
        self.introduced(node, words.filter_map(WireIntroduced::read).collect());
    }

    /// Whether to use a stream on which a node greeted this one. Ends what stands against it.
    fn choose(
        &mut self,
        node: NodeId,
        dialed: bool,
        incarnation: u64,
        now: Duration,
    ) -> Result<(), Refused> {
        let Some(peer) = self.peers.get(&node) else {
            return Err(Refused::because(Reason::Stranger));
        };
        match peer.second(self.here, dialed, incarnation, now) {
            Err(outdated) => Err(Refused {
                known: outdated.known,
                ..Refused::because(Reason::Outdated)
            }),
            Ok(Second::Leave) => Err(Refused::because(Reason::Duplicate)),
            Ok(Second::Restarted) => {
                // The transport may still hold what led to the earlier run, and it is only dropped as a whole:
                // the two nodes greet once more.
                self.lose(node, "it was started anew", now);
                Err(Refused::because(Reason::Duplicate))
            }
            Ok(Second::Use) if peer.live.is_none() => self.make_room(node, now),
            Ok(Second::Use) => Ok(()),
        }
    }

    fn make_room(&mut self, node: NodeId, now: Duration) -> Result<(), Refused> {
        let live = || self.peers.values().filter(|peer| peer.live.is_some());
        if live().count() < self.around.streams_max {
            return Ok(());
        }
        let last = live().map(Peer::node).max_by_key(|node| self.rank(*node));
        let Some(last) = last.filter(|last| self.rank(*last) > self.rank(node)) else {
            return Err(Refused {
                instead: self.instead(node),
                ..Refused::because(Reason::Full)
            });
        };
        if let Some(peer) = self.peers.get_mut(&last) {
            if let Some(live) = peer.lost(LEFT_OUT) {
                live.close.cancel();
            }
            peer.calls.wait(REFUSED_WAIT, now);
        }
        Ok(())
    }

    /// As much as fits into a refusal.
    fn instead(&self, node: NodeId) -> Vec<WireIntroduced> {
        let mut room = INSTEAD_BYTES;
        let all = self.introductions.instead(node).into_iter();
        let some = all.map(|introduced| WireIntroduced::from(&introduced));
        let some = some.take_while(|introduced| {
            let rest = room.checked_sub(introduced.encoded_len() + 3);
            room = rest.unwrap_or(0);
            rest.is_some()
        });
        some.collect()
    }

    fn use_stream(
        &mut self,
        node: NodeId,
        lines: Lines,
        answer: Option<Answer>,
        described: Described,
        now: Duration,
    ) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        self.streams += 1;
        let live = Live::new(self.streams, answer.is_none(), now);
        let signals = Signals {
            close: live.close.clone(),
            retire: live.retire.clone(),
            drain: self.around.drain.clone(),
            leave: self.around.tasks.leave.clone(),
        };
        let address = described.address.clone();
        let is_learned = peer.member.introduced_by.is_some();
        let came = peer.live.is_none();
        if let Some(before) = peer.greeted(described, live) {
            before.replaced();
        }
        self.urgent = true;
        if came {
            tracing::info!(peer = %node.short(), tier = %peer.member.tier, "federation: a peer is here");
        }
        // Just anybody is told of nobody.
        let given = match peer.member.tier {
            Tier::T3 => watch::Sender::default().subscribe(),
            _ => self.given.subscribe(),
        };
        let session = Session {
            node,
            id: self.streams,
            lines,
            answer,
            reports: self.around.reports.clone(),
            losses: self.losses.subscribe(),
            given,
            signals,
            heard: self.heard.clone(),
            clock: Arc::clone(&self.around.clock),
        };
        self.around.tasks.spawn(session.run());
        if is_learned && !address.is_empty() {
            self.introductions.located(node, &address);
            self.write_words();
        }
        self.met(node, address);
    }

    /// A stream that the other side may use until it knows better.
    fn leave_unused(&mut self, node: NodeId, lines: Lines, refused: &Refused) {
        if refused.reason == i32::from(Reason::Duplicate) {
            self.around.tasks.spawn_until_leaving(async move {
                tokio::time::sleep(UNUSED).await;
                drop(lines);
            });
            return;
        }
        let now = self.now();
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.calls.wait(REFUSED_WAIT, now);
        }
    }

    /// Keeps where the peer says that it is, and that it let this node in.
    fn met(&mut self, node: NodeId, address: PeerAddress) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        let is_new = address != PeerAddress::default() && address != peer.member.address;
        if is_new {
            self.around.transport.learn(node, &address);
            peer.member.address = address;
        }
        if peer.member.invitation.take().is_none() && !is_new {
            return;
        }
        let (book, address) = (Arc::clone(&self.around.book), peer.member.address.clone());
        self.around.tasks.spawn_until_leaving(async move {
            let met = tokio::time::timeout(MET_WITHIN, book.met(node, address));
            let met = met.await.unwrap_or_else(|_| Err("it took too long".into()));
            if let Err(error) = met {
                tracing::warn!(peer = %node.short(), "federation: not written down: {error}");
            }
        });
    }

    fn card(&self) -> Card {
        let address = self.around.transport.address();
        Card::of(&self.around.about, self.incarnation, &address)
    }
}
