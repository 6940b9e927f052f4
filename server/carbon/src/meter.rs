//! Reads what the machine takes, in microjoules since the last reading, and how much of that is this process's.
//!
//! One gauge for the machine (or a model of it), and the GPUs' counters beside it. Gauges read files below folders
//! that are given, so that a test can have its own.

mod battery;
mod codecarbon;
mod cpu;
mod gpu;
mod rapl;

use std::path::PathBuf;
use std::time::Duration;

use kwaainet_core::EnergyMethod;

pub use battery::Battery;
pub use codecarbon::Codecarbon;
pub use cpu::{CpuTime, CpuTimeModel, ProcessCpu};
pub use gpu::{Gpu, Gpus};
pub use rapl::Rapl;

/// Where the system's own files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// `/sys/class`.
    pub class: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            class: PathBuf::from("/sys/class"),
            proc: PathBuf::from("/proc"),
        }
    }
}

/// Why there is no such gauge here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// The machine has none.
    #[error("this machine has no {0}")]
    Absent(&'static str),
    /// It may not be read.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// Which file, without its folder.
        file: String,
        /// Why.
        reason: String,
    },
}

/// What was taken since the last reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// By all that the gauge sees.
    pub total_uj: u64,
    /// Of it, what this process's work took; never more.
    pub own_uj: u64,
}

/// What measures the machine, or models it.
#[derive(Debug)]
pub enum Gauge {
    /// The processor's counters.
    Rapl(Rapl),
    /// What the battery gives.
    Battery(Battery),
    /// Processor time.
    CpuTime(CpuTimeModel),
    /// As codecarbon does it.
    Codecarbon(Codecarbon),
}

/// By how much figures of one method may be wrong, in percent. Our estimate, not a bound: counters of packages are
/// good to some percent, but leave out memory, disks and the power supply's loss; sharing by processor time takes all
/// processor time for equal; a model knows nothing of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncertainty(pub u8);

impl Uncertainty {
    /// Of a method.
    pub fn of(method: EnergyMethod) -> Self {
        Self(match method {
            EnergyMethod::Rapl | EnergyMethod::RaplAndGpu => 15,
            EnergyMethod::Battery => 20,
            EnergyMethod::CpuTime | EnergyMethod::CpuTimeAndGpu | EnergyMethod::Codecarbon => 50,
            EnergyMethod::Stated => 100,
        })
    }
}

/// The machine's meter.
#[derive(Debug)]
pub struct Meter {
    gauge: Gauge,
    gpus: Gpus,
    cpu: Box<dyn CpuTime>,
    threads: u32,
    /// Processor time and time at the last reading.
    last: Option<(Duration, Duration)>,
}

/// So much processor time is believed at most, as a multiple of what the machine has in that time: clocks of threads
/// and of the wall are not read at one instant.
const SHARE_MAX: f64 = 1.0;

impl Meter {
    /// A meter of a machine with so many hardware threads.
    pub fn new(gauge: Gauge, gpus: Gpus, cpu: Box<dyn CpuTime>, threads: u32) -> Self {
        Self {
            gauge,
            gpus,
            cpu,
            threads: threads.max(1),
            last: None,
        }
    }

    /// How it knows.
    pub fn method(&self) -> EnergyMethod {
        match (&self.gauge, self.gpus.is_empty()) {
            (Gauge::Rapl(_), true) => EnergyMethod::Rapl,
            (Gauge::Rapl(_), false) => EnergyMethod::RaplAndGpu,
            // A battery feeds the GPU too.
            (Gauge::Battery(_), _) => EnergyMethod::Battery,
            (Gauge::CpuTime(_), true) => EnergyMethod::CpuTime,
            (Gauge::CpuTime(_), false) => EnergyMethod::CpuTimeAndGpu,
            (Gauge::Codecarbon(_), _) => EnergyMethod::Codecarbon,
        }
    }

    /// What was taken since the last reading; nothing at the first.
    pub fn read(&mut self, now: Duration) -> Taken {
        let cpu = self.cpu.used();
        let last = self.last.replace((cpu, now));
        let (cpu_before, before) = last.unwrap_or((cpu, now));
        let took = now.saturating_sub(before);
        let cpu = cpu.saturating_sub(cpu_before);
        let share = self.share(cpu, took);
        let of_machine = |total_uj: u64| Taken {
            total_uj,
            own_uj: (total_uj as f64 * share) as u64,
        };
        let mut taken = match &mut self.gauge {
            Gauge::Rapl(rapl) => of_machine(rapl.take()),
            Gauge::Battery(battery) => of_machine(battery.take(now)),
            Gauge::CpuTime(model) => model.take(cpu, took),
            Gauge::Codecarbon(model) => model.take(now, share),
        };
        if !matches!(self.gauge, Gauge::Battery(_) | Gauge::Codecarbon(_)) {
            // Nobody else is expected to use them.
            let gpus_uj = self.gpus.take();
            taken.total_uj = taken.total_uj.saturating_add(gpus_uj);
            taken.own_uj = taken.own_uj.saturating_add(gpus_uj);
        }
        taken.own_uj = taken.own_uj.min(taken.total_uj);
        taken
    }

    /// This process's share of what the machine could compute in that time.
    fn share(&self, cpu: Duration, took: Duration) -> f64 {
        let capacity = took.as_secs_f64() * f64::from(self.threads);
        if capacity <= 0.0 {
            return 0.0;
        }
        (cpu.as_secs_f64() / capacity).min(SHARE_MAX)
    }
}

/// The best gauge that this machine always has: the processor's counters where they may be read, and a model otherwise,
/// with the reason. A battery says nothing while the mains feed the machine, so it is never chosen by itself.
pub fn choose(roots: &Roots, model: CpuTimeModel) -> (Gauge, Option<MeterError>) {
    match Rapl::open(&roots.class) {
        Ok(rapl) => (Gauge::Rapl(rapl), None),
        Err(error) => (Gauge::CpuTime(model), Some(error)),
    }
}

/// A short text in a file, if there is one.
pub(crate) fn text_of(path: &std::path::Path) -> Option<String> {
    text(path).ok()
}

/// Whether a battery feeds the machine now.
pub(crate) fn is_on_battery(class: &std::path::Path) -> bool {
    battery::is_feeding(class)
}

/// How full the batteries are together, in percent.
pub(crate) fn battery_percent(class: &std::path::Path) -> Option<u8> {
    battery::percent(class)
}

/// A number in a file.
fn number(path: &std::path::Path) -> Result<u64, MeterError> {
    let text = text(path)?;
    text.parse()
        .map_err(|_| unreadable(path, "it holds no number"))
}

/// A short text in a file.
fn text(path: &std::path::Path) -> Result<String, MeterError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| unreadable(path, &error.kind().to_string()))?;
    Ok(text.trim().to_owned())
}

fn unreadable(path: &std::path::Path, reason: &str) -> MeterError {
    let file = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    MeterError::Unreadable {
        file: file.unwrap_or_default(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
