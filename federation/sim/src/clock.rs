//! The simulation's time.

use std::time::Duration;

use kwaainet_core::Clock;
use tokio::time::Instant;

/// Tokio's clock, which tests pause.
#[derive(Clone, Copy, Debug)]
pub struct SimClock(Instant);

/// When a simulation begins: seconds since 1970.
const BEGIN: u64 = 1_790_000_000;

impl SimClock {
    /// Begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SimClock {
    fn unix_ms(&self) -> i64 {
        (Duration::from_secs(BEGIN) + self.monotonic()).as_millis() as i64
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}
