//! What other nodes took for a job, as they say of themselves.

use std::time::Duration;

use kwaainet_core::{Carbon, EnergyMethod, Footprint, GridEvidence, PeerFacts};

use super::{Account, nanograms};
use crate::meter::Uncertainty;

/// One job's.
#[derive(Clone, Debug, Default)]
pub(super) struct Away {
    now: Option<(Duration, f64, Option<f64>)>,
    energy_uj: u64,
    grams: Option<f64>,
    /// Whether any of them said anything.
    pub(super) was: bool,
}

impl Away {
    pub(super) fn enter(&mut self, facts: &PeerFacts, now: Duration) {
        let Some(watts) = facts.watts else { return };
        // It works on others' at the same time, by what it last said.
        let shared = f64::from(watts) / f64::from(facts.load.running.max(1));
        let grid = facts.grid.map(|grid| f64::from(grid.g_per_kwh));
        self.now = Some((now, shared, grid));
        self.was = true;
    }

    pub(super) fn leave(&mut self, now: Duration) {
        let Some((since, watts, grid)) = self.now.take() else {
            return;
        };
        let joules = watts * now.saturating_sub(since).as_secs_f64();
        self.energy_uj += (joules * 1e6) as u64;
        if let Some(g_per_kwh) = grid {
            *self.grams.get_or_insert(0.0) += joules / 3.6e6 * g_per_kwh;
        }
    }

    pub(super) fn footprint(&self, here: &Account) -> Footprint {
        let method = EnergyMethod::Stated;
        Footprint {
            energy_uj: self.energy_uj.saturating_add(here.energy_uj),
            method,
            uncertainty_percent: Uncertainty::of(method).0,
            machine_us: here.machine_us,
            carbon: self.grams.map(|grams| Carbon {
                operational_ng: ((grams * 1e9) as u64).saturating_add(nanograms(here.cost)),
                embodied_ng: 0,
                evidence: GridEvidence::Stated,
            }),
        }
    }
}
