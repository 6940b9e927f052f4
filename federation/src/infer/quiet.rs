//! A bound on silence that costs next to nothing while there is none.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Passes once nothing was noted for a while.
pub(super) struct Quiet {
    after: Duration,
    since: Instant,
    /// Set anew when it fires, not with each note.
    sleep: Pin<Box<Sleep>>,
}

impl Quiet {
    /// From now on.
    pub(super) fn new(after: Duration) -> Self {
        Self {
            after,
            since: Instant::now(),
            sleep: Box::pin(sleep(after)),
        }
    }

    /// It is not quiet now.
    pub(super) fn note(&mut self) {
        self.since = Instant::now();
    }

    /// From now on after another time.
    pub(super) fn restart(&mut self, after: Duration) {
        self.after = after;
        self.note();
    }

    /// May be dropped and called again.
    pub(super) async fn passed(&mut self) {
        loop {
            let due = self.since + self.after;
            if self.sleep.is_elapsed() || self.sleep.deadline() > due {
                self.sleep.as_mut().reset(due);
            }
            self.sleep.as_mut().await;
            if self.since + self.after <= Instant::now() {
                return;
            }
        }
    }
}
