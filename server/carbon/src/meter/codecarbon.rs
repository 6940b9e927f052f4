//! The model of the Python package codecarbon (3.3, "machine" tracking by processor load) for a whole machine, so that
//! figures of both can be laid side by side.
//!
//! A processor without an entry in its table has 4 W for each hardware thread; of that a tenth is always taken, and the
//! rest by the cube of the load, read every second. Memory takes 5 W for each module, and how many modules there are is
//! guessed from its size.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{MeterError, Taken, text};

const WATTS_PER_THREAD: f64 = 4.0;
const WATTS_PER_MODULE: f64 = 5.0;
/// Of the processor's power, at no load.
const FLOOR: f64 = 0.1;
const EVERY: Duration = Duration::from_secs(1);

/// A machine.
#[derive(Debug)]
pub struct Codecarbon {
    stat: PathBuf,
    cpu_watts: f64,
    memory_watts: f64,
    /// When the load was read last, with the processors' times then.
    last: Option<(Duration, Times)>,
    /// Watts of the processor, by the last load.
    watts: f64,
    counted: Option<Duration>,
}

/// Of all processors since the system began, in ticks.
#[derive(Clone, Copy, Debug)]
struct Times {
    total: u64,
    busy: u64,
}

impl Codecarbon {
    /// The machine below `proc`, with so many hardware threads.
    ///
    /// # Errors
    /// When its load or its memory cannot be read.
    pub fn open(proc: &Path, threads: u32) -> Result<Self, MeterError> {
        let stat = proc.join("stat");
        let cpu_watts = WATTS_PER_THREAD * f64::from(threads.max(1));
        times(&stat)?;
        Ok(Self {
            stat,
            cpu_watts,
            memory_watts: memory_watts(memory_gib(&proc.join("meminfo"))?),
            last: None,
            watts: cpu_watts * FLOOR,
            counted: None,
        })
    }

    /// `share` is this process's part of what the machine could compute.
    pub(super) fn take(&mut self, now: Duration, share: f64) -> Taken {
        let before = self.counted.replace(now).unwrap_or(now);
        self.look(now);
        let took = now.saturating_sub(before).as_secs_f64();
        let cpu_uj = self.watts * took * 1e6;
        let busiest = self.cpu_watts * share * took * 1e6;
        Taken {
            total_uj: (cpu_uj + self.memory_watts * took * 1e6) as u64,
            own_uj: cpu_uj.min(busiest) as u64,
        }
    }

    fn look(&mut self, now: Duration) {
        let is_due = |read: Duration| now.saturating_sub(read) >= EVERY;
        if self.last.is_some_and(|(read, _)| !is_due(read)) {
            return;
        }
        let Ok(times) = times(&self.stat) else {
            return;
        };
        if let Some((_, before)) = self.last.replace((now, times)) {
            let total = times.total.saturating_sub(before.total);
            let busy = times.busy.saturating_sub(before.busy);
            if total > 0 {
                let load = (busy as f64 / total as f64).clamp(0.0, 1.0);
                self.watts = self.cpu_watts * (FLOOR + (1.0 - FLOOR) * load.powi(3));
            }
        }
    }
}

/// The first line of `/proc/stat` (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice.
/// Guests' time is in that of users already.
fn times(stat: &Path) -> Result<Times, MeterError> {
    let text = text(stat)?;
    let line = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "));
    let fields = line.unwrap_or("").split_ascii_whitespace();
    let fields: Vec<u64> = fields
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let [.., _, _] = fields.as_slice() else {
        return Err(super::unreadable(stat, "it holds no times"));
    };
    let total = fields.iter().sum::<u64>();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    Ok(Times {
        total,
        busy: total - idle,
    })
}

fn memory_gib(meminfo: &Path) -> Result<f64, MeterError> {
    let text = text(meminfo)?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<f64>().ok());
    let kib = kib.ok_or_else(|| super::unreadable(meminfo, "it holds no MemTotal"))?;
    Ok(kib / f64::from(1 << 20))
}

/// Fewer watts for each module where there are many.
fn memory_watts(gib: f64) -> f64 {
    let modules = match gib {
        gib if gib <= 2.0 => 1.0,
        gib if gib <= 16.0 => 2.0,
        gib if gib <= 64.0 => 4.0,
        gib if gib <= 128.0 => 8.0,
        gib => {
            let sizes = [128.0, 64.0, 32.0, 16.0];
            let size = sizes.into_iter().find(|size| *size <= gib / 8.0);
            size.map_or(8.0, |size| (gib / size).ceil()).min(32.0)
        }
    };
    let steps = [(4.0, 1.0), (4.0, 0.9), (8.0, 0.8), (f64::INFINITY, 0.7)];
    let (_, watts) = steps
        .into_iter()
        .fold((modules, 0.0), |(left, sum), (most, part)| {
            let taken: f64 = f64::min(left, most);
            (left - taken, sum + taken * part * WATTS_PER_MODULE)
        });
    watts.max(2.0 * WATTS_PER_MODULE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_takes_what_codecarbon_says() {
        for (gib, watts) in [
            (1.0, 10.0),
            (8.0, 10.0),
            (24.0, 20.0),
            (64.0, 20.0),
            (100.0, 38.0),
        ] {
            assert!((memory_watts(gib) - watts).abs() < 1e-9, "{gib}");
        }
    }
}
