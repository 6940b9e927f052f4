//! What the owner's own power stations give: read from meters in the house, and set against what the house takes, hour
//! by hour.
//!
//! An hour's matched fraction is min(own generation + what a battery gave of it, load) / load. It says nothing of other
//! hours: sun at noon matches nothing at midnight. What the node takes counts as matched like the rest of the house.

mod home_assistant;
mod p1;
mod sunspec;

use std::collections::BTreeMap;

use kwaainet_core::BoxFuture;

use crate::client::FetchError;
use crate::time::Instant;

pub use home_assistant::HomeAssistant;
pub use p1::P1;
pub use sunspec::SunSpec;

/// How well a claim of renewable power is known. The best is last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// The owner says so.
    Declared,
    /// One meter in the house.
    LocalMeter,
    /// Two meters that know nothing of each other and do not contradict each other: the inverter's and the grid's.
    CrossChecked,
    /// The same, and certificates of origin that were cancelled for it. Whether they were is not checked here, so
    /// that nothing here ever says it.
    Certificates,
}

impl Evidence {
    /// As stored and said.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::LocalMeter => "local_meter",
            Self::CrossChecked => "cross_checked",
            Self::Certificates => "certificates",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [
            Self::Declared,
            Self::LocalMeter,
            Self::CrossChecked,
            Self::Certificates,
        ];
        all.into_iter().find(|evidence| evidence.as_str() == name)
    }
}

/// Why a meter gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowmeterError {
    /// Over HTTP.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Its connection cannot be had, or is silent.
    #[error("it cannot be reached")]
    Unreachable,
    /// It says something that makes no sense.
    #[error("what it says is not understood: {0}")]
    Nonsense(&'static str),
}

/// What flows now, in watts. What a meter does not see it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FlowReading {
    /// What the house's own power stations give.
    pub generation_w: Option<f64>,
    /// What comes from the grid.
    pub import_w: Option<f64>,
    /// What goes to the grid.
    pub export_w: Option<f64>,
    /// What all in the house takes.
    pub load_w: Option<f64>,
    /// What a battery gives that was charged by the house's own power stations.
    pub discharge_w: Option<f64>,
}

/// A meter in the house.
pub trait Flowmeter: Send + Sync {
    /// `home_assistant`, `sunspec` or `p1`.
    fn name(&self) -> &'static str;

    /// What flows now.
    fn read(&self) -> BoxFuture<'_, Result<FlowReading, FlowmeterError>>;
}

/// More than any house.
const WATTS_MAX: f64 = 10e6;

/// A power that makes sense, never below zero: an inverter takes some watts at night.
fn watts(value: f64) -> Option<f64> {
    (value.is_finite() && value.abs() <= WATTS_MAX).then_some(value.max(0.0))
}

impl FlowReading {
    /// With what another meter says where this one says nothing.
    fn or(self, other: Self) -> Self {
        Self {
            generation_w: self.generation_w.or(other.generation_w),
            import_w: self.import_w.or(other.import_w),
            export_w: self.export_w.or(other.export_w),
            load_w: self.load_w.or(other.load_w),
            discharge_w: self.discharge_w.or(other.discharge_w),
        }
    }

    /// What all in the house takes: as a meter says, or what is generated here and comes in, less what goes out.
    fn load(&self) -> Option<f64> {
        self.load_w.or_else(|| {
            let import = self.import_w?;
            let own = self.generation_w.unwrap_or(0.0) + self.discharge_w.unwrap_or(0.0);
            Some((import + own - self.export_w.unwrap_or(0.0)).max(0.0))
        })
    }
}

/// Adds up what flowed, by the hour.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    last: Option<(Instant, FlowReading)>,
    hours: BTreeMap<Instant, HourMatch>,
    contradicted: bool,
}

/// One hour of a house.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HourMatch {
    /// Watt-hours that all in the house took, of the time that was seen.
    pub load_wh: f64,
    /// Of it, what its own power stations gave at that time.
    pub matched_wh: f64,
    /// Seconds that were seen.
    pub seen_s: f64,
}

impl HourMatch {
    /// The matched fraction of the hour. What was not seen counts as unmatched.
    pub fn fraction(&self) -> f64 {
        if self.load_wh <= 0.0 {
            return 0.0;
        }
        (self.matched_wh / self.load_wh).clamp(0.0, 1.0) * (self.seen_s / 3_600.0).clamp(0.0, 1.0)
    }
}

/// Two readings further apart say nothing of the time between them.
const GAP_MAX_MS: i64 = 5 * 60 * 1_000;
/// More watts than this, and more than this part of what is generated, and the meters contradict each other.
const TOLERANCE: (f64, f64) = (50.0, 0.1);

impl Flows {
    /// What all meters said at this time. Those that come first are believed first.
    pub fn add(&mut self, at: Instant, readings: &[FlowReading]) {
        let together = readings
            .iter()
            .fold(FlowReading::default(), |all, one| all.or(*one));
        self.contradicted |= contradicts(&together);
        let Some((before, flow)) = self.last.replace((at, together)) else {
            return;
        };
        let ms = at.0 - before.0;
        if !(1..=GAP_MAX_MS).contains(&ms) {
            return;
        }
        let Some(load_w) = flow.load() else { return };
        let own_w = flow.generation_w.unwrap_or(0.0) + flow.discharge_w.unwrap_or(0.0);
        // What a battery takes of it is not lost: it is counted when it comes out.
        let matched_w = own_w.min(load_w);
        let mut from = before;
        while from < at {
            let to = from.hour().plus_ms(3_600_000).min(at);
            let hours = (to.0 - from.0) as f64 / 3.6e6;
            let hour = self.hours.entry(from.hour()).or_default();
            hour.load_wh += load_w * hours;
            hour.matched_wh += matched_w * hours;
            hour.seen_s += hours * 3_600.0;
            from = to;
        }
    }

    /// Hours that are over, and the one that runs; what is given is forgotten if it is over.
    pub fn take(&mut self, now: Instant) -> Vec<(Instant, HourMatch)> {
        let all = self.hours.iter().map(|(at, hour)| (*at, *hour)).collect();
        self.hours.retain(|at, _| *at >= now.hour());
        all
    }

    /// How well it is known, by which kinds of meters there are.
    pub fn evidence(&self) -> Option<Evidence> {
        let (_, flow) = self.last?;
        let (own, grid) = (flow.generation_w.is_some(), flow.export_w.is_some());
        match (own, grid && flow.import_w.is_some()) {
            (true, true) if !self.contradicted => Some(Evidence::CrossChecked),
            (true, _) => Some(Evidence::LocalMeter),
            (false, _) => None,
        }
    }
}

/// More goes to the grid than is generated and given by a battery.
fn contradicts(flow: &FlowReading) -> bool {
    let (Some(own), Some(export)) = (flow.generation_w, flow.export_w) else {
        return false;
    };
    let own = own + flow.discharge_w.unwrap_or(0.0);
    export > own + TOLERANCE.0 + TOLERANCE.1 * own
}

/// The matched fraction over several hours, each weighted by what was taken in it: never by what another hour had too
/// much of.
pub fn matched_hours(hours: &[(f64, f64)]) -> f64 {
    let taken: f64 = hours.iter().map(|(energy, _)| energy).sum();
    let matched: f64 = hours
        .iter()
        .map(|(energy, fraction)| energy * fraction)
        .sum();
    if taken > 0.0 { matched / taken } else { 0.0 }
}

#[cfg(test)]
mod tests;
