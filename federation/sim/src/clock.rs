//! The simulation's time.

use std::time::Duration;

use kwaainet_core::Clock;
use tokio::time::Instant;

/// Tokio's clock, which tests pause.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    start: Instant,
    set_back: Duration,
}

/// When a simulation begins: seconds since 1970.
const BEGIN: u64 = 1_790_000_000;

impl SimClock {
    /// Begins now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            set_back: Duration::ZERO,
        }
    }

    /// The same, with another idea of what day it is.
    #[must_use]
    pub fn set_back(self, set_back: Duration) -> Self {
        Self { set_back, ..self }
    }
}

impl Clock for SimClock {
    fn unix_ms(&self) -> i64 {
        let now = Duration::from_secs(BEGIN) + self.monotonic();
        now.saturating_sub(self.set_back).as_millis() as i64
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
