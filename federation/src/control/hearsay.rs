//! What is known of a peer by its own signed word, handed on by others. It gives load figures and makes a peer look
//! worse, and never makes it one that answers. Pure.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Load, ModelFacts};

use super::described::Described;
use super::gossip::News;
use super::progress::Progress;
use crate::PeerState;

/// Of one peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hearsay {
    incarnation: u64,
    number: u64,
    /// It says nothing from then on.
    until: Duration,
    pub(crate) described: Described,
    pub(crate) load: Load,
    pub(crate) models: Arc<[ModelFacts]>,
    matter: Option<Matter>,
}

/// Why it is not worth a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matter {
    /// Others lost it since.
    Lost,
    Stuck,
    Draining,
    Gone,
}

impl Hearsay {
    /// What these news say, if they are newer than what was known.
    pub(crate) fn read(news: News, before: Option<&Self>, now: Duration) -> Option<Self> {
        let (incarnation, number) = (news.incarnation, news.number);
        if before.is_some_and(|before| (before.incarnation, before.number) >= (incarnation, number))
        {
            return None;
        }
        let described = Described {
            incarnation,
            ..news.said.card.map(Described::from).unwrap_or_default()
        };
        let report = news.said.report.unwrap_or_default();
        let still = report.still();
        let (load, mut models) = report.read();
        if !described.serves {
            models.clear();
        }
        let mut progress = Progress::default();
        progress.reported(&load, still, now);
        let matter = match news.said.leaving {
            Some(leaving) if leaving.gone => Some(Matter::Gone),
            Some(_) => Some(Matter::Draining),
            None => progress.is_stuck(now).then_some(Matter::Stuck),
        };
        Some(Self {
            incarnation,
            number,
            until: now + news.lasts,
            described,
            load,
            models: models.into(),
            matter,
        })
    }

    /// Another node lost it in this incarnation. It counts until the peer says something itself.
    pub(crate) fn rumoured_lost(&mut self, incarnation: u64) -> bool {
        let matters = incarnation >= self.incarnation && self.matter.is_none();
        if matters {
            self.matter = Some(Matter::Lost);
        }
        matters
    }

    /// Whether it says anything at this time.
    pub(crate) fn holds(&self, now: Duration) -> bool {
        now < self.until
    }

    /// Of which start of the peer.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// How the peer seems to be.
    pub(crate) fn state(&self) -> PeerState {
        match self.matter {
            None => PeerState::Distant,
            Some(Matter::Lost) => PeerState::Suspect,
            Some(Matter::Stuck) => PeerState::Wedged,
            Some(Matter::Draining) => PeerState::Draining,
            Some(Matter::Gone) => PeerState::Down,
        }
    }

    /// Why it gets no work, if it gets none.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        Some(match self.matter? {
            Matter::Lost => "another node lost it",
            Matter::Stuck => "its engine makes no progress, as it says",
            Matter::Draining => "it is shutting down",
            Matter::Gone => "it left",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seeded;
    use crate::control::wire::{Card, Leaving, Report, Said, WireLoad};
    use kwaainet_core::NodeId;

    fn news(incarnation: u64, number: u64, still_ms: u64, leaving: Option<Leaving>) -> News {
        let load = WireLoad {
            running: 1,
            still_ms,
            ..WireLoad::default()
        };
        News {
            node: NodeId([1; 32]),
            incarnation,
            number,
            lasts: Duration::from_secs(20),
            said: Said {
                card: Some(Card::default()),
                report: Some(Report {
                    load: Some(load),
                    models: Vec::new(),
                    power: None,
                }),
                leaving,
                lost: Vec::new(),
            },
            words: Vec::new(),
        }
    }

    #[test]
    fn only_newer_news_count_and_never_make_a_peer_answer() {
        for seed in 0..100 {
            let mut seeded = Seeded::new(seed);
            let mut known: Option<Hearsay> = None;
            for step in 0..100_u64 {
                let now = Duration::from_secs(step);
                let (incarnation, number) = (seeded.below(3), seeded.below(20));
                let leaving = match seeded.below(4) {
                    0 => Some(Leaving {
                        gone: seeded.below(2) == 0,
                    }),
                    _ => None,
                };
                let before = known
                    .as_ref()
                    .map(|known| (known.incarnation, known.number));
                let said = news(incarnation, number, seeded.below(3000), leaving);
                match Hearsay::read(said, known.as_ref(), now) {
                    Some(newer) => {
                        assert!(before.is_none_or(|before| (incarnation, number) > before));
                        known = Some(newer);
                    }
                    None => assert!(before.is_some_and(|b| (incarnation, number) <= b)),
                }
                let known = known.as_mut().expect("something was said");
                let state = known.state();
                assert!(!state.is_routable(), "seed {seed}");
                assert_eq!(known.reason().is_none(), state.is_askable());
                known.rumoured_lost(seeded.below(3));
                let after = known.state();
                assert!(after == state || after == PeerState::Suspect);
                assert!(!known.holds(now + Duration::from_secs(20)));
            }
        }
    }

    #[test]
    fn who_stands_still_or_leaves_is_not_called() {
        let state = |still_ms, leaving| {
            let heard = Hearsay::read(news(1, 1, still_ms, leaving), None, Duration::from_secs(9));
            heard.expect("it is new").state()
        };
        assert_eq!(state(0, None), PeerState::Distant);
        assert_eq!(state(2000, None), PeerState::Wedged);
        assert_eq!(state(0, Some(Leaving { gone: false })), PeerState::Draining);
        assert_eq!(state(0, Some(Leaving { gone: true })), PeerState::Down);
    }
}
