//! How much somebody may send now: a token bucket. Pure.

use std::time::Duration;

/// Of one sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    burst: f64,
    rate: f64,
    left: f64,
    at: Duration,
}

impl Allowance {
    /// So many at once, and so many each second.
    pub(crate) fn new(burst: f64, rate: f64, now: Duration) -> Self {
        Self {
            burst,
            rate,
            left: burst,
            at: now,
        }
    }

    /// Takes one, if it is allowed.
    pub(crate) fn takes(&mut self, now: Duration) -> bool {
        let grown = now.saturating_sub(self.at).as_secs_f64() * self.rate;
        self.left = (self.left + grown).min(self.burst);
        self.at = now;
        let takes = self.left >= 1.0;
        if takes {
            self.left -= 1.0;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_noticed_and_a_burst_is_not() {
        let mut allowance = Allowance::new(200.0, 100.0, Duration::ZERO);
        assert!((0..200).all(|_| allowance.takes(Duration::ZERO)));
        assert!(!allowance.takes(Duration::ZERO));
        let mut allowance = Allowance::new(200.0, 100.0, Duration::ZERO);
        assert!((0..5000).all(|n| allowance.takes(Duration::from_millis(n * 11))));
    }
}
