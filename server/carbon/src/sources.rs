//! Live sources of intensity, each as its own API has it. What they say is checked before it counts; what they say of
//! averages and of marginal intensities stays apart by type.

mod electricity_maps;
mod uk;
mod watttime;

use kwaainet_core::BoxFuture;

use crate::client::FetchError;
use crate::intensity::{AnyForecast, Average, IntensityKind, Marginal, Point};
use crate::time::Instant;

pub use electricity_maps::ElectricityMaps;
pub use uk::UkCarbonIntensity;
pub use watttime::WattTime;

/// What a source says now.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// Of averages: the newest that was observed.
    Average(Point<Average>),
    /// Of marginal intensities: the newest.
    Marginal(Point<Marginal>),
}

/// A live source.
pub trait LiveSource: Send + Sync {
    /// `uk_carbon_intensity`, `electricity_maps` or `watttime`.
    fn name(&self) -> &'static str;

    /// The place, as the source names it.
    fn location(&self) -> &str;

    /// What it speaks of.
    fn kind(&self) -> IntensityKind;

    /// What holds now.
    fn now(&self, at: Instant) -> BoxFuture<'_, Result<Live, FetchError>>;

    /// What is expected.
    fn forecast(&self, at: Instant) -> BoxFuture<'_, Result<AnyForecast, FetchError>>;
}

/// Points of a forecast at most: a week of five minutes each.
const POINTS_MAX: usize = 2_016;

/// Points that say only when they begin: each lasts until the next, the last as long as the one before.
fn until_the_next<K: crate::Kind>(
    starts: Vec<(Instant, crate::Intensity<K>)>,
    default_ms: i64,
) -> Vec<Point<K>> {
    let next = |index: usize| starts.get(index + 1).map(|(start, _)| *start);
    let step = |index: usize| {
        let pair = starts.get(index.saturating_sub(1)).zip(starts.get(index));
        pair.map(|((a, _), (b, _))| b.0 - a.0).filter(|ms| *ms > 0)
    };
    let points = starts
        .iter()
        .enumerate()
        .map(|(index, (from, intensity))| Point {
            from: *from,
            to: next(index).unwrap_or(from.plus_ms(step(index).unwrap_or(default_ms))),
            intensity: *intensity,
        });
    points.collect()
}

#[cfg(test)]
mod tests;
