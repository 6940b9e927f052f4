//! When this node has news for those that keep no stream with it, and which. Pure.
//!
//! All members' news reach all, so each may say the less the more there are: everybody together some hundred a
//! second.

use std::collections::VecDeque;
use std::time::Duration;

use kwaainet_core::NodeId;

use super::progress::Progress;
use super::wire::{Lost, Report};

/// Between two urgent news, whatever happens, and at least before any others.
const SOONEST: Duration = Duration::from_secs(1);
/// Before urgent news, after any others.
const URGENT: Duration = Duration::from_millis(250);
/// Where only work came or went: for each member.
const GAP_A_MEMBER: Duration = Duration::from_millis(10);
/// Where nothing happens.
const PERIOD_MIN: Duration = Duration::from_secs(5);
/// News hold for so many periods, and a while.
const PERIODS: u32 = 3;
const WHILE: Duration = Duration::from_secs(2);
/// Nodes that this one lost and that it tells of, and for how long it does.
const LOST_MAX: usize = 8;
const LOST_FOR: Duration = Duration::from_secs(10);

/// Keeps the time.
#[derive(Debug, Default)]
pub(crate) struct Herald {
    said: Option<Said>,
    lost: VecDeque<Loss>,
}

#[derive(Debug)]
struct Said {
    at: Duration,
    /// The last urgent ones.
    urgent_at: Option<Duration>,
    gist: Gist,
    tells_of: usize,
}

/// What of a report is worth news.
#[derive(Clone, Debug, PartialEq)]
struct Gist {
    models: Vec<String>,
    stuck: bool,
    draining: bool,
    in_hand: (u32, u32),
}

#[derive(Debug)]
struct Loss {
    lost: Lost,
    /// Not before: others may say it first.
    from: Duration,
    until: Duration,
    /// Others did.
    is_known: bool,
}

impl Herald {
    /// This node lost another one without a word, and says so after a while of its own.
    pub(crate) fn lost(&mut self, lost: Lost, wait: Duration, now: Duration) {
        if self.lost.len() >= LOST_MAX {
            self.lost.pop_front();
        }
        self.lost.push_back(Loss {
            lost,
            from: now + wait,
            until: now + wait + LOST_FOR,
            is_known: false,
        });
    }

    /// Another node says that it lost one.
    pub(crate) fn heard_lost(&mut self, node: NodeId, incarnation: u64) {
        for loss in &mut self.lost {
            loss.is_known |= loss.lost.node() == Some(node) && loss.lost.incarnation <= incarnation;
        }
    }

    /// Which losses to tell of.
    pub(crate) fn losses(&mut self, now: Duration) -> Vec<Lost> {
        self.lost.retain(|loss| now < loss.until);
        let told = self
            .lost
            .iter()
            .filter(|loss| !loss.is_known && loss.from <= now);
        told.map(|loss| loss.lost.clone()).collect()
    }

    /// Whether it is time for news among so many members. If it is, they count as said.
    pub(crate) fn is_time(
        &mut self,
        report: &Report,
        draining: bool,
        members: usize,
        now: Duration,
    ) -> bool {
        let gist = Gist::of(report, draining, now);
        let tells_of = self.losses(now).len();
        let urgent = self
            .said
            .as_ref()
            .is_some_and(|said| tells_of > said.tells_of || said.gist.is_urgent(&gist));
        let is_time = self.said.as_ref().is_none_or(|said| {
            let since = |at| now.saturating_sub(at);
            let pause = match () {
                () if urgent => URGENT,
                () if said.gist != gist => gap(members),
                () => period(members),
            };
            let urgent_again = urgent && said.urgent_at.is_some_and(|at| since(at) < SOONEST);
            since(said.at) >= pause && !urgent_again
        });
        if is_time {
            let before = self.said.as_ref().and_then(|said| said.urgent_at);
            self.said = Some(Said {
                at: now,
                urgent_at: if urgent { Some(now) } else { before },
                gist,
                tells_of,
            });
        } else if let Some(said) = &mut self.said {
            said.tells_of = said.tells_of.min(tells_of);
        }
        is_time
    }
}

impl Gist {
    fn of(report: &Report, draining: bool, now: Duration) -> Self {
        let models = report.models.iter().filter(|model| model.loaded);
        let load = report.load.unwrap_or_default();
        let mut progress = Progress::default();
        progress.reported(&load.into(), report.still(), now);
        Self {
            models: models.map(|model| model.id.clone()).collect(),
            stuck: progress.is_stuck(now),
            draining,
            in_hand: (load.running, load.queued),
        }
    }

    fn is_urgent(&self, now: &Self) -> bool {
        (&self.models, self.stuck, self.draining) != (&now.models, now.stuck, now.draining)
    }
}

fn gap(members: usize) -> Duration {
    let gap = GAP_A_MEMBER * u32::try_from(members).unwrap_or(u32::MAX).min(100_000);
    gap.max(SOONEST)
}

fn period(members: usize) -> Duration {
    (2 * gap(members)).max(PERIOD_MIN)
}

/// For how long news hold among so many members.
pub(crate) fn lasts(members: usize) -> Duration {
    PERIODS * period(members) + WHILE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire::WireLoad;

    fn report(running: u32, still_ms: u64) -> Report {
        Report {
            load: Some(WireLoad {
                running,
                still_ms,
                ..WireLoad::default()
            }),
            models: Vec::new(),
            power: None,
        }
    }

    /// How often something is said in a minute, with a look every 50 ms.
    fn in_a_minute(members: usize, at: impl Fn(u64) -> (Report, bool)) -> usize {
        let mut herald = Herald::default();
        let looks = (0..60_000).step_by(50).filter(|ms| {
            let (report, draining) = at(*ms);
            herald.is_time(&report, draining, members, Duration::from_millis(*ms))
        });
        looks.count()
    }

    #[test]
    fn the_more_there_are_the_less_each_says() {
        for (members, quiet, busy) in [(70, 12, 60), (200, 12, 30), (1000, 3, 6)] {
            assert_eq!(in_a_minute(members, |_| (report(0, 0), false)), quiet);
            let changes = |ms: u64| (report((ms / 50 % 7) as u32, 0), false);
            assert_eq!(in_a_minute(members, changes), busy);
        }
    }

    #[test]
    fn what_is_urgent_is_said_soon_and_no_more_than_once_a_second() {
        let stuck_after_30 = |ms| (report(1, if ms < 30_000 { 0 } else { 5000 }), false);
        assert_eq!(in_a_minute(1000, stuck_after_30), 4);
        let drains_after_30 = |ms| (report(0, 0), ms >= 30_000);
        assert_eq!(in_a_minute(1000, drains_after_30), 4);
        let flickers = |ms: u64| (report(0, 0), ms.is_multiple_of(100));
        let told = in_a_minute(1000, flickers);
        assert!((50..=60).contains(&told), "{told}");
    }

    #[test]
    fn a_loss_is_told_unless_others_did() {
        let ms = Duration::from_millis;
        let lost = |n: u8| Lost::of(NodeId([n; 32]), 5);
        let mut herald = Herald::default();
        assert!(herald.is_time(&report(0, 0), false, 100, ms(0)));
        herald.lost(lost(1), ms(200), ms(2000));
        herald.lost(lost(2), ms(200), ms(2000));
        assert!(!herald.is_time(&report(0, 0), false, 100, ms(2100)));
        herald.heard_lost(NodeId([2; 32]), 5);
        herald.heard_lost(NodeId([1; 32]), 4);
        assert!(herald.is_time(&report(0, 0), false, 100, ms(2200)));
        assert_eq!(herald.losses(ms(2200)), [lost(1)]);
        assert!(!herald.is_time(&report(0, 0), false, 100, ms(4000)));
        assert!(herald.losses(ms(20_000)).is_empty());
        for n in 0..100 {
            herald.lost(lost(n), ms(0), ms(30_000));
        }
        assert_eq!(herald.losses(ms(30_000)).len(), LOST_MAX);
    }
}
