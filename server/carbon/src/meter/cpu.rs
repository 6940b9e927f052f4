//! Processor time, and the model that makes energy of it.

use std::fmt;
use std::time::Duration;

use super::Taken;

/// How much processor time this process has used, all threads together. Never goes back.
pub trait CpuTime: fmt::Debug + Send {
    /// Since the process began.
    fn used(&mut self) -> Duration;
}

/// The process's own clock (`CLOCK_PROCESS_CPUTIME_ID`), to the nanosecond.
#[derive(Debug, Default)]
pub struct ProcessCpu {
    last: Duration,
}

impl CpuTime for ProcessCpu {
    fn used(&mut self) -> Duration {
        if let Ok(time) = cpu_time::ProcessTime::try_now() {
            self.last = self.last.max(time.as_duration());
        }
        self.last
    }
}

/// Processor time of this process times the watts of a thread, and a share of what the memory takes. It sees nothing
/// of other processes, so its total is the node's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuTimeModel {
    watts_per_thread: f64,
    idle_watts: f64,
}

impl CpuTimeModel {
    /// `watts_per_thread` while it computes; `idle_watts` all the time, for what the node holds in any case.
    pub fn new(watts_per_thread: f64, idle_watts: f64) -> Self {
        Self {
            watts_per_thread: watts_per_thread.max(0.0),
            idle_watts: idle_watts.max(0.0),
        }
    }

    pub(super) fn take(&self, cpu: Duration, took: Duration) -> Taken {
        let uj = |watts: f64, time: Duration| (watts * time.as_secs_f64() * 1e6) as u64;
        let own_uj = uj(self.watts_per_thread, cpu);
        Taken {
            total_uj: own_uj.saturating_add(uj(self.idle_watts, took)),
            own_uj,
        }
    }
}
