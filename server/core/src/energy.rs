//! What a job takes of energy: the seam between the hallway, which knows where a job is computed, and whoever
//! meters. Nothing here reads a counter.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{GridEvidence, Place};

/// Keeps an account of energy for each job.
pub trait EnergyMeter: Send + Sync + 'static {
    /// The account of a job that begins. It takes nothing until it is somewhere.
    fn open(&self) -> Box<dyn JobEnergy>;
}

/// One job's account.
pub trait JobEnergy: fmt::Debug + Send + Sync {
    /// It is computed there from now on.
    fn at(&mut self, place: &Place);

    /// It is over. None where nothing is known, as of work that an upstream did.
    fn close(self: Box<Self>) -> Option<Footprint>;
}

/// What a job took, and what that cost the climate. Whole numbers, so that sums are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Microjoules.
    pub energy_uj: u64,
    /// How they are known.
    pub method: EnergyMethod,
    /// By how much the energy may be wrong, in percent of it.
    pub uncertainty_percent: u8,
    /// Microseconds of the machine: the time in which it computed the job, shared out among all that it computed
    /// meanwhile.
    pub machine_us: u64,
    /// Where what the power cost is known.
    pub carbon: Option<Carbon>,
}

impl Footprint {
    /// Of two pieces of work together, with the method that is worth less. Carbon is known where it is known of both.
    pub fn plus(self, other: Self) -> Self {
        let carbon = self.carbon.zip(other.carbon).map(|(a, b)| Carbon {
            operational_ng: a.operational_ng.saturating_add(b.operational_ng),
            embodied_ng: a.embodied_ng.saturating_add(b.embodied_ng),
            evidence: a.evidence,
        });
        let worse = self.uncertainty_percent < other.uncertainty_percent;
        Self {
            energy_uj: self.energy_uj.saturating_add(other.energy_uj),
            method: if worse { other.method } else { self.method },
            uncertainty_percent: self.uncertainty_percent.max(other.uncertainty_percent),
            machine_us: self.machine_us.saturating_add(other.machine_us),
            carbon,
        }
    }
}

/// What work cost the climate, in nanograms of CO2 equivalent: by the average intensity of the grid where the
/// machine stands, never by the marginal one and never less what was bought elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Carbon {
    /// Of the energy.
    pub operational_ng: u64,
    /// The work's share of what making the machine cost; 0 if that is not known.
    pub embodied_ng: u64,
    /// How the grid's intensity is known.
    pub evidence: GridEvidence,
}

/// How energy is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EnergyMethod {
    /// Counters of the processor's packages (RAPL), shared out by processor time.
    Rapl,
    /// The same, and the counters of the GPUs.
    RaplAndGpu,
    /// What a battery gave, shared out by processor time.
    Battery,
    /// Processor time, times watts for each thread.
    CpuTime,
    /// The same, and the counters of the GPUs.
    CpuTimeAndGpu,
    /// As codecarbon models a whole machine.
    Codecarbon,
    /// Watts that another node says of itself, times the time that it took.
    Stated,
}

impl EnergyMethod {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Rapl,
        Self::RaplAndGpu,
        Self::Battery,
        Self::CpuTime,
        Self::CpuTimeAndGpu,
        Self::Codecarbon,
        Self::Stated,
    ];

    /// As stored and said.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rapl => "rapl",
            Self::RaplAndGpu => "rapl+gpu",
            Self::Battery => "battery",
            Self::CpuTime => "cpu_time",
            Self::CpuTimeAndGpu => "cpu_time+gpu",
            Self::Codecarbon => "codecarbon",
            Self::Stated => "stated",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// Whether an instrument was read; a model otherwise.
    pub fn is_measured(self) -> bool {
        matches!(self, Self::Rapl | Self::RaplAndGpu | Self::Battery)
    }
}

impl Serialize for EnergyMethod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl GridEvidence {
    /// As stored and said.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stated => "stated",
            Self::Yearly => "yearly",
            Self::Live => "live",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Stated, Self::Yearly, Self::Live];
        all.into_iter().find(|evidence| evidence.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for method in EnergyMethod::ALL {
            assert_eq!(EnergyMethod::of_name(method.as_str()), Some(method));
        }
        assert_eq!(EnergyMethod::of_name("guess"), None);
        assert_eq!(GridEvidence::of_name("live"), Some(GridEvidence::Live));
    }
}
