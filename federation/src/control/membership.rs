//! A peer's state, as it follows from what is known of it. Only a handshake with the peer itself makes it
//! answer again; what others say of it can only make it look worse. Pure.

use super::detector::Hearing;
use crate::PeerState;

/// The handshake is of a run of the peer that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outdated {
    /// The incarnation that was seen since.
    pub(crate) known: u64,
}

/// Of one peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Membership {
    incarnation: u64,
    phase: Phase,
}

#[derive(Clone, Debug, Default)]
enum Phase {
    #[default]
    Calling,
    Up(Signs),
    Gone(String),
}

/// What is the matter with a peer that answers.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    late: bool,
    stuck: bool,
    draining: bool,
}

impl Membership {
    /// Of its last handshake; 0 before the first.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// It and this node have greeted each other, for the first time or on another stream.
    ///
    /// # Errors
    /// When a later run of it was already seen.
    pub(crate) fn greeted(&mut self, incarnation: u64) -> Result<(), Outdated> {
        if incarnation < self.incarnation {
            let known = self.incarnation;
            return Err(Outdated { known });
        }
        match &mut self.phase {
            // What is known of this run stays true.
            Phase::Up(signs) if incarnation == self.incarnation => signs.late = false,
            phase => *phase = Phase::Up(Signs::default()),
        }
        self.incarnation = incarnation;
        Ok(())
    }

    /// It is gone, or cannot be reached, for this reason.
    pub(crate) fn lost(&mut self, reason: impl Into<String>) {
        self.phase = Phase::Gone(reason.into());
    }

    /// It was heard just now, or not.
    pub(crate) fn hearing(&mut self, hearing: Hearing) {
        match hearing {
            Hearing::Gone => self.lost("it is silent"),
            Hearing::Late | Hearing::Fine => {
                if let Phase::Up(signs) = &mut self.phase {
                    signs.late = hearing == Hearing::Late;
                }
            }
        }
    }

    /// Its engine makes progress, or does not.
    pub(crate) fn stuck(&mut self, stuck: bool) {
        if let Phase::Up(signs) = &mut self.phase {
            signs.stuck = stuck;
        }
    }

    /// It takes no more work, until its next run.
    pub(crate) fn draining(&mut self) {
        if let Phase::Up(signs) = &mut self.phase {
            signs.draining = true;
        }
    }

    /// Another node says that it lost the peer in this incarnation. Until the peer is heard again it counts as
    /// late.
    pub(crate) fn rumoured_lost(&mut self, incarnation: u64) {
        if let Phase::Up(signs) = &mut self.phase
            && incarnation >= self.incarnation
        {
            signs.late = true;
        }
    }

    /// How it is.
    pub(crate) fn state(&self) -> PeerState {
        match &self.phase {
            Phase::Calling => PeerState::Connecting,
            Phase::Gone(_) => PeerState::Down,
            Phase::Up(signs) if signs.late => PeerState::Suspect,
            Phase::Up(signs) if signs.draining => PeerState::Draining,
            Phase::Up(signs) if signs.stuck => PeerState::Wedged,
            Phase::Up(_) => PeerState::Alive,
        }
    }

    /// Why it is not given work, if it is not.
    pub(crate) fn reason(&self) -> Option<String> {
        let reason = match self.state() {
            PeerState::Alive | PeerState::Distant => return None,
            PeerState::Connecting => "it is being called",
            PeerState::Suspect => "it has not answered for a while",
            PeerState::Wedged => "its engine makes no progress",
            PeerState::Draining => "it is shutting down",
            PeerState::Down => "it is gone",
        };
        match &self.phase {
            Phase::Gone(why) => Some(why.clone()),
            Phase::Calling | Phase::Up(_) => Some(reason.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seeded;

    /// How bad it is; work is given at 0 only.
    fn badness(state: PeerState) -> u8 {
        match state {
            PeerState::Alive | PeerState::Distant => 0,
            PeerState::Wedged => 1,
            PeerState::Draining => 2,
            PeerState::Suspect => 3,
            PeerState::Connecting => 4,
            PeerState::Down => 5,
        }
    }

    #[test]
    fn a_peer_comes_goes_and_comes_again() {
        let mut peer = Membership::default();
        assert_eq!(peer.state(), PeerState::Connecting);
        assert_eq!(peer.greeted(10), Ok(()));
        assert_eq!((peer.state(), peer.reason()), (PeerState::Alive, None));
        peer.hearing(Hearing::Late);
        assert_eq!(peer.state(), PeerState::Suspect);
        peer.hearing(Hearing::Fine);
        peer.stuck(true);
        assert_eq!(peer.state(), PeerState::Wedged);
        peer.draining();
        peer.stuck(false);
        assert_eq!(peer.state(), PeerState::Draining);
        assert_eq!(peer.greeted(10), Ok(()));
        assert_eq!(peer.state(), PeerState::Draining, "on another stream");
        peer.lost("it left");
        assert_eq!(peer.reason().as_deref(), Some("it left"));
        assert_eq!(peer.greeted(9), Err(Outdated { known: 10 }));
        assert_eq!(peer.state(), PeerState::Down);
        assert_eq!(peer.greeted(10), Ok(()));
        assert_eq!(peer.state(), PeerState::Alive);
    }

    #[test]
    fn only_its_own_handshake_brings_a_peer_back() {
        for seed in 0..500 {
            let mut seeded = Seeded::new(seed);
            let mut peer = Membership::default();
            for step in 0..100 {
                let before = (peer.state(), peer.incarnation());
                let said = before.1.saturating_add(seeded.below(5)).saturating_sub(2);
                let what = seeded.below(8);
                match what {
                    0 => drop(peer.greeted(said)),
                    1 => peer.lost("gone"),
                    2 => peer.hearing(Hearing::Fine),
                    3 => peer.hearing(Hearing::Late),
                    4 => peer.hearing(Hearing::Gone),
                    5 => peer.stuck(seeded.below(2) == 0),
                    6 => peer.draining(),
                    _ => peer.rumoured_lost(said),
                }
                let after = (peer.state(), peer.incarnation());
                let told = format!("seed {seed}, step {step}: {what} made {before:?} {after:?}");
                assert!(after.1 >= before.1, "{told}");
                if what == 7 || what == 6 {
                    assert!(badness(after.0) >= badness(before.0), "{told}");
                }
                if what == 7 && said < before.1 {
                    assert_eq!(after, before, "{told}");
                }
                let was_up = badness(before.0) < 4;
                if badness(after.0) < 4 && !was_up {
                    assert!(what == 0 && said >= before.1, "{told}");
                }
                assert_eq!(peer.reason().is_none(), after.0.is_routable(), "{told}");
            }
        }
    }
}
