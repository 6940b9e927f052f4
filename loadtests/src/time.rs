//! The only place that reads the clock. Monotonic time, never a date.

use std::time::{Duration, Instant};

/// Measures from the moment when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The moment when everything has to end.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    since: Stopwatch,
    max: Duration,
}

impl Deadline {
    /// So long from now.
    pub fn after(max: Duration) -> Self {
        Self {
            since: Stopwatch::start(),
            max,
        }
    }

    /// Zero from the deadline on.
    pub(crate) fn left(self) -> Duration {
        self.max.saturating_sub(self.since.elapsed())
    }
}
