//! Whether a peer is still there, judged by how its pings came until now: phi-accrual (Hayashibara et al.,
//! "The phi accrual failure detector", 2004), bounded on both sides. A pure function of the times it is told.

use std::collections::VecDeque;
use std::time::Duration;

/// Between two pings.
pub(crate) const PING_EVERY: Duration = Duration::from_millis(250);
/// Intervals that are remembered of each path.
const REMEMBERED: usize = 64;
/// A longer interval was a break, and says nothing about how pings come.
const BREAK: Duration = Duration::from_secs(2);
/// Pings are never taken to come more regularly than this: the deviation's least value, in seconds.
const DEVIATION_MIN: f64 = 0.05;
/// The deviation that is assumed of a path that is not yet known.
const DEVIATION_FIRST: f64 = 0.1;

/// How a peer's silence is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hearing {
    /// As ever.
    Fine,
    /// Longer than it should.
    Late,
    /// It is gone.
    Gone,
}

/// A silence is late or gone once it is improbable (phi: the exponent of ten of how improbable), but never
/// before the first time and always from the second on.
struct Bounds {
    phi: f64,
    never_before: Duration,
    always_after: Duration,
}

impl Bounds {
    fn are_passed(&self, silence: Duration, phi: f64) -> bool {
        silence >= self.always_after || (silence >= self.never_before && phi >= self.phi)
    }
}

const LATE: [Bounds; 2] = [
    Bounds {
        phi: 8.0,
        never_before: Duration::from_millis(600),
        always_after: Duration::from_millis(1000),
    },
    Bounds {
        phi: 8.0,
        never_before: Duration::from_millis(800),
        always_after: Duration::from_millis(2000),
    },
];

const GONE: [Bounds; 2] = [
    Bounds {
        phi: 16.0,
        never_before: Duration::from_millis(1000),
        always_after: Duration::from_millis(1400),
    },
    Bounds {
        phi: 16.0,
        never_before: Duration::from_millis(1500),
        always_after: Duration::from_millis(3000),
    },
];

/// Of one peer: how its pings come, on a direct and on a relayed path each for itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Detector {
    paths: [History; 2],
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    path: usize,
    at: Duration,
}

impl Detector {
    /// Begins to listen, with what is known of the paths from before.
    pub(crate) fn begin(&mut self, relayed: bool, now: Duration) {
        let (path, at) = (usize::from(relayed), now);
        self.last = Some(Last { path, at });
    }

    /// A ping came.
    pub(crate) fn heard(&mut self, relayed: bool, now: Duration) {
        let path = usize::from(relayed);
        if let Some(last) = self.last.filter(|last| last.path == path) {
            let interval = now.saturating_sub(last.at);
            if interval < BREAK {
                self.paths[path].add(interval);
            }
        }
        let at = now;
        self.last = Some(Last { path, at });
    }

    /// Since the last ping.
    pub(crate) fn silence(&self, now: Duration) -> Duration {
        let last = self.last.map_or(now, |last| last.at);
        now.saturating_sub(last)
    }

    /// What the silence means; gone if it never began.
    pub(crate) fn judge(&self, now: Duration) -> Hearing {
        let Some(last) = self.last else {
            return Hearing::Gone;
        };
        let silence = self.silence(now);
        let phi = self.paths[last.path].phi(silence);
        if GONE[last.path].are_passed(silence, phi) {
            Hearing::Gone
        } else if LATE[last.path].are_passed(silence, phi) {
            Hearing::Late
        } else {
            Hearing::Fine
        }
    }
}

/// Intervals in seconds, the oldest first.
#[derive(Clone, Debug, Default)]
struct History(VecDeque<f64>);

impl History {
    fn add(&mut self, interval: Duration) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(interval.as_secs_f64());
    }

    /// Mean and deviation.
    fn spread(&self) -> (f64, f64) {
        if self.0.len() < 2 {
            return (PING_EVERY.as_secs_f64(), DEVIATION_FIRST);
        }
        let count = self.0.len() as f64;
        let mean = self.0.iter().sum::<f64>() / count;
        let variance = self.0.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt().max(DEVIATION_MIN))
    }

    /// How improbable it is that the next ping comes later than this: -log10 of the normal distribution's upper
    /// tail, by the logistic approximation of Bowling et al. (2009).
    fn phi(&self, silence: Duration) -> f64 {
        let (mean, deviation) = self.spread();
        let y = (silence.as_secs_f64() - mean) / deviation;
        let odds = (-y * (1.5976 + 0.070_566 * y * y)).exp();
        if y > 0.0 {
            -(odds / (1.0 + odds)).log10()
        } else {
            -(1.0 - 1.0 / (1.0 + odds)).log10()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seeded;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Pings that come every 250 ms, give or take; when the last came.
    fn fed(seed: u64, relayed: bool, jitter_ms: u64) -> (Detector, Duration) {
        let mut seeded = Seeded::new(seed);
        let mut detector = Detector::default();
        detector.begin(relayed, Duration::ZERO);
        let mut last = Duration::ZERO;
        for n in 1..200 {
            last = ms(n * 250 + seeded.below(jitter_ms + 1));
            detector.heard(relayed, last);
        }
        (detector, last)
    }

    #[test]
    fn a_silence_gets_only_worse_and_ends_within_its_bounds() {
        for seed in 0..50 {
            for (relayed, late_by, gone_by) in [(false, 1000, 1400), (true, 2000, 3000)] {
                let (detector, last) = fed(seed, relayed, seed * 10);
                let mut before = Hearing::Fine;
                for silent in 0..4000 {
                    let now = detector.judge(last + ms(silent));
                    assert!(now >= before, "seed {seed}, after {silent} ms");
                    let least = match silent {
                        s if s >= gone_by => Hearing::Gone,
                        s if s >= late_by => Hearing::Late,
                        _ => Hearing::Fine,
                    };
                    assert!(now >= least, "seed {seed}, after {silent} ms");
                    before = now;
                }
            }
        }
    }

    #[test]
    fn a_lost_ping_or_two_mean_nothing() {
        for seed in 0..50 {
            for relayed in [false, true] {
                let (detector, last) = fed(seed, relayed, 100);
                assert_eq!(detector.judge(last + ms(590)), Hearing::Fine, "seed {seed}");
            }
        }
    }

    #[test]
    fn a_restless_path_is_given_more_time() {
        let (steady, last) = fed(1, true, 0);
        assert_eq!(steady.judge(last + ms(1000)), Hearing::Late);
        let (restless, last) = fed(1, true, 900);
        assert_eq!(restless.judge(last + ms(1000)), Hearing::Fine);
    }

    #[test]
    fn each_path_has_its_own_history() {
        let (mut detector, last) = fed(1, true, 900);
        detector.heard(false, last + ms(250));
        for n in 2..10 {
            detector.heard(false, last + ms(n * 250));
        }
        // The relayed path's unrest does not excuse the direct one.
        assert_eq!(detector.paths[1].0.len(), REMEMBERED);
        assert_eq!(detector.paths[0].0.len(), 8);
        assert_eq!(detector.judge(last + ms(2250 + 900)), Hearing::Late);
    }

    #[test]
    fn a_break_is_not_remembered_and_memory_is_bounded() {
        let (mut detector, last) = fed(1, false, 0);
        assert_eq!(detector.paths[0].0.len(), REMEMBERED);
        detector.heard(false, last + ms(60_000));
        assert!(detector.paths[0].0.iter().all(|i| *i < 2.0));
        assert_eq!(Detector::default().judge(last), Hearing::Gone);
    }
}
