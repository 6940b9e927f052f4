//! Grams of CO2 equivalent for each kilowatt-hour, in two kinds that no operation mixes: the average of all that
//! feeds the grid, for footprints, and the marginal one, of what one more kilowatt-hour would come from, for choosing
//! a time.

use std::marker::PhantomData;

use crate::UJ_PER_KWH;
use crate::time::Instant;

/// Which of the two.
pub trait Kind: Copy + std::fmt::Debug + PartialEq + Send + Sync + 'static {
    /// As a value.
    const KIND: IntensityKind;
}

/// Of all that feeds the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Average;

/// Of what would be fed in for one kilowatt-hour more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marginal;

impl Kind for Average {
    const KIND: IntensityKind = IntensityKind::Average;
}

impl Kind for Marginal {
    const KIND: IntensityKind = IntensityKind::Marginal;
}

/// Which of the two, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntensityKind {
    /// Of all that feeds the grid.
    Average,
    /// Of what would be fed in for one kilowatt-hour more.
    Marginal,
}

impl IntensityKind {
    /// As stored and said.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Marginal => "marginal",
        }
    }
}

/// Grams for each kilowatt-hour.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Intensity<K> {
    g_per_kwh: f64,
    kind: PhantomData<K>,
}

/// More than any power station gives.
const G_PER_KWH_MAX: f64 = 5_000.0;

impl<K: Kind> Intensity<K> {
    /// So many grams, if that makes sense. A marginal intensity may be below zero nowhere that we know of.
    pub fn of(g_per_kwh: f64) -> Option<Self> {
        let kind = PhantomData;
        (0.0..=G_PER_KWH_MAX)
            .contains(&g_per_kwh)
            .then_some(Self { g_per_kwh, kind })
    }

    /// The grams.
    pub fn g_per_kwh(self) -> f64 {
        self.g_per_kwh
    }
}

impl Intensity<Average> {
    /// In whole milligrams, for exact sums.
    pub fn mg_per_kwh(self) -> u32 {
        (self.g_per_kwh * 1e3).round() as u32
    }
}

/// Grams of so many microjoules. Only an average makes a footprint.
pub fn grams_of(energy_uj: u64, intensity: Intensity<Average>) -> f64 {
    energy_uj as f64 / UJ_PER_KWH as f64 * intensity.g_per_kwh
}

/// What is expected of one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point<K> {
    /// When it begins.
    pub from: Instant,
    /// When it ends.
    pub to: Instant,
    /// What is expected.
    pub intensity: Intensity<K>,
}

/// What a source expects, as of some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast<K> {
    /// When it was made.
    pub generated_at: Instant,
    /// In order, without overlaps.
    pub points: Vec<Point<K>>,
}

/// Either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyForecast {
    /// Of averages.
    Average(Forecast<Average>),
    /// Of marginal intensities.
    Marginal(Forecast<Marginal>),
}

/// A stretch of time and its mean intensity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window<K> {
    /// When it begins.
    pub from: Instant,
    /// When it ends.
    pub to: Instant,
    /// Its mean.
    pub intensity: Intensity<K>,
}

impl<K: Kind> Forecast<K> {
    /// In order; a point that begins before the one before it has ended is left out.
    pub fn new(generated_at: Instant, mut points: Vec<Point<K>>) -> Self {
        points.retain(|point| point.from < point.to);
        points.sort_by_key(|point| point.from);
        let mut end = Instant(i64::MIN);
        points.retain(|point| {
            let follows = point.from >= end;
            if follows {
                end = point.to;
            }
            follows
        });
        Self {
            generated_at,
            points,
        }
    }

    /// The mean of every stretch of this length that begins with a point (or with `from`, within one), lies between
    /// `from` and `to`, and has no gap.
    pub fn windows(&self, length_ms: i64, from: Instant, to: Instant) -> Vec<Window<K>> {
        let starts = self.points.iter().enumerate().filter_map(|(index, point)| {
            let start = point.from.max(from);
            let inside = start < point.to && start.plus_ms(length_ms) <= to;
            inside.then_some((index, start))
        });
        starts
            .filter_map(|(index, start)| self.mean(index, start, start.plus_ms(length_ms)))
            .collect()
    }

    /// The stretch of the lowest mean, the earliest of several.
    pub fn best_window(&self, length_ms: i64, from: Instant, to: Instant) -> Option<Window<K>> {
        let windows = self.windows(length_ms, from, to).into_iter();
        windows.reduce(|best, next| {
            let better = next.intensity.g_per_kwh < best.intensity.g_per_kwh;
            if better { next } else { best }
        })
    }

    /// The mean from `from`, which lies in the point of this index, to `to`.
    fn mean(&self, index: usize, from: Instant, to: Instant) -> Option<Window<K>> {
        let (mut at, mut sum) = (from, 0.0);
        for point in &self.points[index..] {
            if at >= to {
                break;
            }
            if point.from > at {
                return None;
            }
            let end = point.to.min(to);
            sum += point.intensity.g_per_kwh * (end.0 - at.0) as f64;
            at = end;
        }
        let length = to.0 - from.0;
        let whole = at >= to && length > 0;
        let intensity = whole
            .then(|| Intensity::of(sum / length as f64))
            .flatten()?;
        Some(Window {
            from,
            to,
            intensity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_HOUR: i64 = 1_800_000;

    fn forecast(grams: &[f64]) -> Forecast<Marginal> {
        let points = (0..).zip(grams).map(|(n, grams)| Point {
            from: Instant(n * HALF_HOUR),
            to: Instant((n + 1) * HALF_HOUR),
            intensity: Intensity::of(*grams).expect("it is sound"),
        });
        Forecast::new(Instant(0), points.collect())
    }

    /// Every start, by the minute.
    fn brute(grams: &[f64], minutes: i64) -> f64 {
        let at = |minute: i64| grams[(minute / 30) as usize];
        let starts = (0..=grams.len() as i64 * 30 - minutes).filter(|start| start % 30 == 0);
        let mean = |start: i64| (start..start + minutes).map(at).sum::<f64>() / minutes as f64;
        starts.map(mean).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn the_best_window_is_the_best_of_all() {
        let mut state = 7_u64;
        for round in 0..200 {
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 33) as f64 % 900.0
            };
            let grams: Vec<f64> = (0..24).map(|_| next()).collect();
            let forecast = forecast(&grams);
            let minutes = 5 + round % 300;
            let end = Instant(24 * HALF_HOUR);
            let best = forecast.best_window(minutes * 60_000, Instant(0), end);
            let best = best.expect("there is room").intensity.g_per_kwh();
            let expected = brute(&grams, minutes);
            assert!(
                (best - expected).abs() < 1e-9,
                "{best} {expected} of {minutes} min"
            );
        }
    }

    #[test]
    fn a_gap_is_never_bridged_and_no_window_leaves_its_bounds() {
        let mut forecast = forecast(&[100.0, 1.0, 2.0, 3.0]);
        forecast.points.remove(2);
        let all = |forecast: &Forecast<Marginal>, length| {
            forecast.windows(length, Instant(0), Instant(4 * HALF_HOUR))
        };
        assert_eq!(all(&forecast, 2 * HALF_HOUR).len(), 1);
        assert_eq!(all(&forecast, 3 * HALF_HOUR).len(), 0);
        assert_eq!(all(&forecast, 0).len(), 0);
        let late = Instant(HALF_HOUR / 2);
        let window = forecast.best_window(HALF_HOUR, late, Instant(HALF_HOUR * 3 / 2));
        let window = window.expect("there is one");
        assert_eq!(window.from, late);
        assert!((window.intensity.g_per_kwh() - 50.5).abs() < 1e-9);
    }

    #[test]
    fn what_overlaps_or_is_empty_is_left_out() {
        let point = |from, to| Point {
            from: Instant(from),
            to: Instant(to),
            intensity: Intensity::<Average>::of(1.0).expect("it is sound"),
        };
        let points = vec![point(10, 20), point(0, 12), point(12, 12), point(20, 30)];
        let forecast = Forecast::new(Instant(0), points);
        assert_eq!(forecast.points, [point(0, 12), point(20, 30)]);
        assert!(Intensity::<Average>::of(f64::NAN).is_none());
        assert!(Intensity::<Average>::of(-1.0).is_none());
    }

    #[test]
    fn a_kilowatt_hour_costs_what_the_grid_says() {
        let intensity = Intensity::of(380.95).expect("it is sound");
        assert!((grams_of(UJ_PER_KWH, intensity) - 380.95).abs() < 1e-9);
        assert_eq!(intensity.mg_per_kwh(), 380_950);
    }
}
