//! Says what this node serves and has to do, to all peers at once: soon when something changed that matters to
//! them, and now and then in any case.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Clock, Load, Snapshot};
use tokio::sync::watch;

use super::progress::Progress;
use super::wire::{Frame, FrameKind, Report, WireLoad};

/// Between two reports at least: other work or other models.
const SOON: Duration = Duration::from_millis(50);
/// Where only numbers moved, or should have: with work in hand, peers watch whether the engine moves.
const WATCHED: Duration = Duration::from_millis(250);
/// Between two reports at most.
const IDLE: Duration = Duration::from_secs(1);

/// Publishes a report again and again. Ends when the snapshots do; to be dropped at the latest then.
pub(crate) async fn keep_reporting(
    mut own: watch::Receiver<Arc<Snapshot>>,
    reports: watch::Sender<Arc<Frame>>,
    clock: Arc<dyn Clock>,
) {
    let mut said = Report::of(&own.borrow_and_update().clone());
    let mut said_at = clock.monotonic();
    let mut progress = Progress::default();
    reports.send_replace(frame(&said, &mut progress, said_at));
    loop {
        let report = Report::of(&own.borrow_and_update().clone());
        let now = clock.monotonic();
        let frame = frame(&report, &mut progress, now);
        let left = pace(&said, &report).saturating_sub(now.saturating_sub(said_at));
        if left.is_zero() {
            reports.send_replace(frame);
            (said, said_at) = (report, now);
            continue;
        }
        // At most one look in that time, however often the snapshot changes.
        tokio::time::sleep(left.min(SOON)).await;
        if left > SOON {
            let changed = tokio::time::timeout(left.saturating_sub(SOON), own.changed());
            if matches!(changed.await, Ok(Err(_))) {
                return;
            }
        }
    }
}

/// The report, with how long the engine stands still.
fn frame(report: &Report, progress: &mut Progress, now: Duration) -> Arc<Frame> {
    let mut report = report.clone();
    if let Some(load) = &mut report.load {
        progress.reported(&Load::from(*load), Duration::ZERO, now);
        load.still_ms = progress.still(now).as_millis() as u64;
    }
    Arc::new(FrameKind::Report(report).into())
}

/// How long after one report the next is due.
fn pace(said: &Report, now: &Report) -> Duration {
    let in_hand = |load: Option<WireLoad>| load.map_or((0, 0), |l| (l.running, l.queued));
    if said.models != now.models || in_hand(said.load) != in_hand(now.load) {
        SOON
    } else if said.load != now.load || said.power != now.power || in_hand(now.load) != (0, 0) {
        WATCHED
    } else {
        IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(running: u32, tokens_out: u64) -> Report {
        Report {
            load: Some(WireLoad {
                running,
                tokens_out,
                ..WireLoad::default()
            }),
            ..Report::default()
        }
    }

    #[test]
    fn what_matters_is_said_soon() {
        assert_eq!(pace(&report(0, 1), &report(0, 1)), IDLE);
        assert_eq!(pace(&report(1, 1), &report(1, 1)), WATCHED);
        assert_eq!(pace(&report(1, 1), &report(1, 2)), WATCHED);
        assert_eq!(pace(&report(0, 1), &report(1, 1)), SOON);
    }
}
