//! Energy and carbon while the node runs: reads the meter, listens to the sources and the house's meters, keeps what
//! they say, and tells routing what a kilowatt-hour costs and whether this machine works for others now.
//!
//! The request path asks no one: everything is gathered here, in the background.

mod heard;
mod house;
mod setup;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwaainet_carbon::{
    AnyForecast, Average, CpuTime, EnergyBooks, Evidence, Flows, HourSlice, Instant, Intensity,
    LiveSource, Marginal, Point, Power, PowerState, ProcessCpu, Yearly,
};
use kwaainet_core::{Clock, GridEvidence, GridIntensity};
use kwaainet_store::{CarbonHour, Store};
use tokio::sync::watch;

use heard::Heard;
pub use setup::Setup;
pub(crate) use setup::chosen;

/// How often the meter is read at least.
const TICK: Duration = Duration::from_secs(1);
/// How often what was counted is kept.
const KEEP: Duration = Duration::from_secs(60);
/// How often the machine's power is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// A live word counts for so long. Sources are hours late at times.
const FRESH_MS: i64 = 3 * 3_600_000;

/// What routing is told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// What a kilowatt-hour costs the climate here.
    pub grid: Option<GridIntensity>,
    /// Why this machine works for nobody else now, if it does not.
    pub withholds: Option<&'static str>,
}

/// What a kilowatt-hour costs, and who says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// The average.
    pub intensity: Intensity<Average>,
    /// How it is known.
    pub evidence: GridEvidence,
    /// Who says so.
    pub source: &'static str,
    /// Where.
    pub location: String,
    /// Since when it holds: the start of an interval or of a year. None where the owner says so.
    pub since: Option<Instant>,
}

/// Everything that is known of energy and carbon.
pub struct CarbonDesk {
    /// What jobs took.
    pub books: EnergyBooks,
    /// Why nothing better is metered.
    pub missed: Option<String>,
    /// Whether anything is metered at all.
    pub is_on: bool,
    country: Option<Yearly>,
    stated: Option<f64>,
    /// The share that the owner says is renewable.
    pub declared: Option<f64>,
    sources: Vec<Arc<dyn LiveSource>>,
    heard: Mutex<Vec<Heard>>,
    house: house::House,
    power: Mutex<(Power, ProcessCpu, PowerState)>,
    surroundings: watch::Sender<Surroundings>,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl CarbonDesk {
    /// The desk of a node that is set up so.
    pub fn new(setup: Setup, store: Store, clock: Arc<dyn Clock>) -> Self {
        let books = EnergyBooks::new(setup.meter, setup.embodied, Arc::clone(&clock));
        let heard = setup.sources.iter().map(|_| Heard::default()).collect();
        let desk = Self {
            books,
            missed: setup.missed,
            is_on: setup.is_on,
            country: setup.country,
            stated: setup.stated,
            declared: setup.declared,
            sources: setup.sources,
            heard: Mutex::new(heard),
            house: house::House {
                meters: setup.flowmeters,
                flows: Mutex::new(Flows::default()),
                policy: setup.policy,
            },
            power: Mutex::new((
                Power::new(setup.roots),
                ProcessCpu::default(),
                PowerState::default(),
            )),
            surroundings: watch::channel(Surroundings::default()).0,
            store,
            clock,
        };
        desk.look();
        desk
    }

    /// What routing is told, always the newest.
    pub fn subscribe(&self) -> watch::Receiver<Surroundings> {
        self.surroundings.subscribe()
    }

    /// What is told now.
    pub fn surroundings(&self) -> Surroundings {
        *self.surroundings.borrow()
    }

    /// What a kilowatt-hour costs now: by a live source, else as the owner says, else over a year.
    pub fn grid(&self) -> Option<Grid> {
        let now = self.now();
        let live = self.live_average(now);
        live.or_else(|| self.stated()).or_else(|| self.yearly())
    }

    /// What one more would cost, by a live source.
    pub fn marginal(&self) -> Option<(Point<Marginal>, &'static str, String)> {
        let now = self.now();
        let heard = self.heard.lock().expect("no holder panics");
        let mut each = self.sources.iter().zip(heard.iter());
        each.find_map(|(source, heard)| {
            let point = heard.marginal.filter(|point| is_fresh(point.to, now))?;
            Some((point, source.name(), source.location().to_owned()))
        })
    }

    /// The newest forecasts, with whose they are and for where.
    pub fn forecasts(&self) -> Vec<(&'static str, String, AnyForecast)> {
        let heard = self.heard.lock().expect("no holder panics");
        let each = self.sources.iter().zip(heard.iter());
        let forecasts = each.filter_map(|(source, heard)| {
            let forecast = heard.forecast.clone()?;
            Some((source.name(), source.location().to_owned(), forecast))
        });
        forecasts.collect()
    }

    /// The live sources.
    pub fn sources(&self) -> &[Arc<dyn LiveSource>] {
        &self.sources
    }

    /// The table's line for where this machine stands.
    pub fn country(&self) -> Option<Yearly> {
        self.country
    }

    /// The machine's power, as last looked at.
    pub fn power(&self) -> PowerState {
        self.power.lock().expect("no holder panics").2
    }

    /// How well the house's own power is known, if anything is.
    pub fn evidence(&self) -> Option<Evidence> {
        let metered = self
            .house
            .flows
            .lock()
            .expect("no holder panics")
            .evidence();
        metered.or(self.declared.map(|_| Evidence::Declared))
    }

    /// Reads the meter again and again, and keeps what it says. Ends when dropped.
    pub async fn meter(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut looked, mut kept) = (Duration::ZERO, Duration::ZERO);
        loop {
            ticks.tick().await;
            self.books.tick();
            let now = self.clock.monotonic();
            if now.saturating_sub(looked) >= LOOK {
                looked = now;
                self.look();
            }
            if now.saturating_sub(kept) >= KEEP {
                kept = now;
                self.keep().await;
            }
        }
    }

    /// Looks at the machine's power, and tells routing what follows.
    fn look(&self) {
        let state = {
            let mut power = self.power.lock().expect("no holder panics");
            let (looking, cpu, last) = &mut *power;
            *last = looking.look(self.clock.monotonic(), cpu.used());
            *last
        };
        let grid = self.grid();
        let known = grid.as_ref().map(|grid| (grid.intensity, grid.evidence));
        self.books.set_grid(known);
        let told = Surroundings {
            grid: grid.map(|grid| GridIntensity {
                g_per_kwh: grid.intensity.g_per_kwh() as f32,
                evidence: grid.evidence,
            }),
            withholds: self.house.policy.withholds(&state, false),
        };
        self.surroundings.send_if_modified(|last| {
            let changed = *last != told;
            *last = told;
            changed
        });
    }

    /// Writes what was counted. What cannot be written is counted again next time.
    pub async fn keep(&self) {
        let hours = self.books.take_hours();
        if hours.is_empty() {
            return;
        }
        let records: Vec<_> = hours.iter().map(record).collect();
        if let Err(error) = self.store.add_carbon_hours(&records).await {
            tracing::warn!(%error, "what was metered cannot be kept now");
            self.books.give_back(hours);
        }
    }

    fn now(&self) -> Instant {
        Instant(self.clock.unix_ms())
    }

    fn live_average(&self, now: Instant) -> Option<Grid> {
        let heard = self.heard.lock().expect("no holder panics");
        let mut each = self.sources.iter().zip(heard.iter());
        each.find_map(|(source, heard)| {
            let point = heard.average.filter(|point| is_fresh(point.to, now))?;
            Some(Grid {
                intensity: point.intensity,
                evidence: GridEvidence::Live,
                source: source.name(),
                location: source.location().to_owned(),
                since: Some(point.from),
            })
        })
    }

    fn stated(&self) -> Option<Grid> {
        Some(Grid {
            intensity: Intensity::of(self.stated?)?,
            evidence: GridEvidence::Stated,
            source: "owner",
            location: String::new(),
            since: None,
        })
    }

    fn yearly(&self) -> Option<Grid> {
        let yearly = self.country?;
        Some(Grid {
            intensity: yearly.intensity,
            evidence: GridEvidence::Yearly,
            source: "yearly_table",
            location: yearly.country.alpha2.to_owned(),
            since: Instant::parse(&format!("{}-01-01", yearly.year)).ok(),
        })
    }
}

/// Whether what ended then still counts now.
fn is_fresh(ended: Instant, now: Instant) -> bool {
    now.0 - ended.0 < FRESH_MS
}

fn record((at, slice): &(Instant, HourSlice)) -> CarbonHour {
    CarbonHour {
        hour_ms: at.0,
        total_uj: slice.totals.total_uj,
        jobs_uj: slice.totals.jobs_uj,
        unattributed_uj: slice.totals.unattributed_uj,
        known_uj: slice.known_uj,
        carbon_ng: slice.carbon_ng,
    }
}
