//! What a node's work takes of energy, and what that costs the climate.
//!
//! Energy is metered where the machine can and modelled where it cannot, and every figure says which. It is shared
//! out among the jobs so that theirs and what is left add up to the whole, to the microjoule. What a kilowatt-hour
//! costs comes from a table that ships with the node, or from live sources; averages and marginal intensities are
//! different types. Knows no SQL and no HTTP door: what is kept and shown is others' business.

mod books;
mod client;
mod intensity;
mod meter;
mod policy;
mod renewable;
mod report;
mod sci;
mod sources;
mod table;
mod time;

pub use books::{Books, EnergyBooks, HourSlice, Totals};
pub use client::{FetchError, Secret};
pub use intensity::{
    AnyForecast, Average, Forecast, Intensity, IntensityKind, Kind, Marginal, Point, Window,
    grams_of,
};
pub use meter::{
    Battery, Codecarbon, CpuTime, CpuTimeModel, Gauge, Gpu, Gpus, Meter, MeterError, ProcessCpu,
    Rapl, Roots, Taken, Uncertainty, choose,
};
pub use policy::{Contribute, Policy, Power, PowerState};
pub use renewable::{
    Evidence, FlowReading, Flowmeter, FlowmeterError, Flows, HomeAssistant, HourMatch, P1, SunSpec,
    matched_hours,
};
pub use report::{DayRow, MonthReport, Row};
pub use sci::{Embodied, Sci, sci};
pub use sources::{ElectricityMaps, Live, LiveSource, UkCarbonIntensity, WattTime};
pub use table::{Country, Yearly};
pub use time::{Instant, Month, ParseTimeError};

/// Microjoules of a kilowatt-hour.
pub const UJ_PER_KWH: u64 = 3_600_000_000_000;
