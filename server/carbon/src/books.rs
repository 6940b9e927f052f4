//! Shares out what the machine takes among the jobs that it computes.
//!
//! The meter is read whenever a job begins or ends to be computed here, and every second. So between two readings the
//! same jobs were computed all the time, and what this process's work took is divided equally among them, in whole
//! microjoules, the remainder to the first. What nothing was computed for is unattributed. So the jobs' energy and
//! the unattributed add up to the total exactly, whatever the meter says.

mod away;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kwaainet_core::{
    Carbon, Clock, EnergyMeter, EnergyMethod, Footprint, GridEvidence, JobEnergy, Place,
};

use crate::meter::{Meter, Taken, Uncertainty};
use crate::sci::Embodied;
use crate::time::Instant;
use crate::{Average, Intensity};
use away::Away;

/// What is taken off the books for good, as of one moment. All in microjoules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Everything that the meter saw.
    pub total_uj: u64,
    /// What jobs took.
    pub jobs_uj: u64,
    /// What is nobody's: idling, the node's own housekeeping, other programs where the meter sees those.
    pub unattributed_uj: u64,
}

/// What was counted of one hour since it was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourSlice {
    /// Energy.
    pub totals: Totals,
    /// What the total cost, in nanograms of CO2 equivalent; of the time in which an intensity was known.
    pub carbon_ng: u64,
    /// Energy of the time in which an intensity was known.
    pub known_uj: u64,
}

/// Keeps the books. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct EnergyBooks(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    books: Mutex<Books>,
    embodied: Option<Embodied>,
}

/// The books themselves.
pub struct Books {
    meter: Meter,
    last: Option<Duration>,
    /// Jobs that are computed here now, in the order in which they came.
    running: BTreeMap<u64, Account>,
    jobs: u64,
    totals: Totals,
    grid: Option<(Intensity<Average>, GridEvidence)>,
    hours: BTreeMap<Instant, Hour>,
}

#[derive(Default)]
struct Hour {
    slice: HourSlice,
    /// Microjoules x milligrams a kilowatt-hour, of which nanograms are made when it is asked for.
    cost: u128,
}

/// What one job has taken here.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    energy_uj: u64,
    machine_us: u64,
    cost: u128,
    /// Whether an intensity was known all the time.
    evidence: Option<GridEvidence>,
    unknown: bool,
}

/// Hours that are kept until they are asked for.
const HOURS_MAX: usize = 48;
/// Microjoules of a kilowatt-hour over nanograms of a milligram.
const COST_PER_NG: u128 = 3_600_000;

impl EnergyBooks {
    /// Books by this meter; `embodied` is what the machine itself cost, if that is known.
    pub fn new(meter: Meter, embodied: Option<Embodied>, clock: Arc<dyn Clock>) -> Self {
        let books = Books {
            meter,
            last: None,
            running: BTreeMap::new(),
            jobs: 0,
            totals: Totals::default(),
            grid: None,
            hours: BTreeMap::new(),
        };
        let books = Self(Arc::new(Shared {
            clock,
            books: Mutex::new(books),
            embodied,
        }));
        books.tick();
        books
    }

    /// Reads the meter now. To be called every second.
    pub fn tick(&self) {
        drop(self.read());
    }

    /// What a kilowatt-hour costs from now on; none if that is not known.
    pub fn set_grid(&self, grid: Option<(Intensity<Average>, GridEvidence)>) {
        self.read().grid = grid;
    }

    /// All since the start.
    pub fn totals(&self) -> Totals {
        self.read().totals
    }

    /// How energy is known.
    pub fn method(&self) -> EnergyMethod {
        self.books().meter.method()
    }

    /// What the machine itself cost, if that is known.
    pub fn embodied(&self) -> Option<Embodied> {
        self.0.embodied
    }

    /// What came in each hour since this was last asked.
    pub fn take_hours(&self) -> Vec<(Instant, HourSlice)> {
        let hours = std::mem::take(&mut self.read().hours);
        let ended = hours.into_iter().map(|(at, mut hour)| {
            hour.slice.carbon_ng = nanograms(hour.cost);
            (at, hour.slice)
        });
        ended.collect()
    }

    /// Counts again what could not be kept.
    pub fn give_back(&self, hours: Vec<(Instant, HourSlice)>) {
        let mut books = self.books();
        for (at, slice) in hours {
            let hour = books.hours.entry(at).or_default();
            hour.slice.add(&slice);
            hour.cost += u128::from(slice.carbon_ng) * COST_PER_NG;
        }
        while books.hours.len() > HOURS_MAX {
            books.hours.pop_first();
        }
    }

    /// The books with everything up to now in them.
    fn read(&self) -> MutexGuard<'_, Books> {
        let mut books = self.books();
        let now = self.0.clock.monotonic();
        books.read(now, Instant(self.0.clock.unix_ms()).hour());
        books
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().expect("no holder panics")
    }
}

impl HourSlice {
    fn add(&mut self, other: &Self) {
        self.totals.total_uj += other.totals.total_uj;
        self.totals.jobs_uj += other.totals.jobs_uj;
        self.totals.unattributed_uj += other.totals.unattributed_uj;
        self.known_uj += other.known_uj;
    }
}

impl Books {
    fn read(&mut self, now: Duration, hour: Instant) {
        let taken = self.meter.read(now);
        let took = now.saturating_sub(self.last.replace(now).unwrap_or(now));
        self.share_out(taken, took, hour);
    }

    fn share_out(&mut self, taken: Taken, took: Duration, hour: Instant) {
        let count = self.running.len() as u64;
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let jobs_uj = if count > 0 { taken.own_uj } else { 0 };
        let mg_per_kwh = self.grid.map(|(intensity, _)| intensity.mg_per_kwh());
        for (index, account) in (0..).zip(self.running.values_mut()) {
            let energy_uj = part(jobs_uj, count, index);
            account.energy_uj += energy_uj;
            account.machine_us += part(took_us, count, index);
            match (mg_per_kwh, self.grid) {
                (Some(mg), Some((_, evidence))) => {
                    account.cost += u128::from(energy_uj) * u128::from(mg);
                    account.evidence =
                        Some(account.evidence.map_or(evidence, |e| weaker(e, evidence)));
                }
                _ => account.unknown |= energy_uj > 0,
            }
        }
        let totals = Totals {
            total_uj: taken.total_uj,
            jobs_uj,
            unattributed_uj: taken.total_uj - jobs_uj,
        };
        let slice = HourSlice {
            totals,
            known_uj: mg_per_kwh.map_or(0, |_| taken.total_uj),
            carbon_ng: 0,
        };
        self.totals.total_uj += totals.total_uj;
        self.totals.jobs_uj += totals.jobs_uj;
        self.totals.unattributed_uj += totals.unattributed_uj;
        if totals.total_uj > 0 {
            let hour = self.hours.entry(hour).or_default();
            hour.slice.add(&slice);
            hour.cost += u128::from(taken.total_uj) * u128::from(mg_per_kwh.unwrap_or(0));
            if self.hours.len() > HOURS_MAX {
                self.hours.pop_first();
            }
        }
    }
}

/// The part with this index of `count` parts that add up to the whole and differ by one at most.
fn part(whole: u64, count: u64, index: u64) -> u64 {
    whole / count + u64::from(index < whole % count)
}

fn nanograms(cost: u128) -> u64 {
    u64::try_from(cost / COST_PER_NG).unwrap_or(u64::MAX)
}

/// The evidence that is worth less.
fn weaker(a: GridEvidence, b: GridEvidence) -> GridEvidence {
    let rank = |evidence| match evidence {
        GridEvidence::Stated => 0,
        GridEvidence::Yearly => 1,
        GridEvidence::Live => 2,
    };
    if rank(a) <= rank(b) { a } else { b }
}

impl EnergyMeter for EnergyBooks {
    fn open(&self) -> Box<dyn JobEnergy> {
        Box::new(Job {
            books: self.clone(),
            here: None,
            account: None,
            away: Away::default(),
        })
    }
}

/// A job's account while it runs.
struct Job {
    books: EnergyBooks,
    /// Its number among those that are computed here now.
    here: Option<u64>,
    /// What it took here before, and whether it was here at all.
    account: Option<Account>,
    away: Away,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("here", &self.here)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Takes the job out of those that are computed here.
    fn leave(&mut self) {
        if let Some(number) = self.here.take() {
            let left = self.books.read().running.remove(&number);
            self.account = left;
        }
        let now = self.books.0.clock.monotonic();
        self.away.leave(now);
    }
}

impl JobEnergy for Job {
    fn at(&mut self, place: &Place) {
        self.leave();
        match place {
            Place::Here => {
                let mut books = self.books.read();
                books.jobs += 1;
                let number = books.jobs;
                books
                    .running
                    .insert(number, self.account.take().unwrap_or_default());
                self.here = Some(number);
            }
            Place::Peer(facts) => self.away.enter(facts, self.books.0.clock.monotonic()),
            Place::Upstream => {}
        }
    }

    fn close(mut self: Box<Self>) -> Option<Footprint> {
        self.leave();
        let method = self.books.method();
        if self.away.was {
            let here = self.account.unwrap_or_default();
            return Some(self.away.footprint(&here));
        }
        let account = self.account?;
        Some(Footprint {
            energy_uj: account.energy_uj,
            method,
            uncertainty_percent: Uncertainty::of(method).0,
            machine_us: account.machine_us,
            carbon: account.carbon(self.books.0.embodied),
        })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Account {
    fn carbon(&self, embodied: Option<Embodied>) -> Option<Carbon> {
        let evidence = self.evidence.filter(|_| !self.unknown)?;
        Some(Carbon {
            operational_ng: nanograms(self.cost),
            embodied_ng: embodied.map_or(0, |embodied| embodied.share_ng(self.machine_us)),
            evidence,
        })
    }
}

#[cfg(test)]
mod tests;
