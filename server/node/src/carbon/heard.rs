//! Listens to live sources. One that does not answer is asked again later; until then its last word counts, as long as
//! it is fresh.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_carbon::{
    AnyForecast, Average, Forecast, Instant, Intensity, IntensityKind, Kind, Live, LiveSource,
    Marginal, Point,
};
use kwaainet_store::{ForecastRecord, IntensityRecord, StoreError};

use super::CarbonDesk;

/// Between two questions to one source.
const ASK: Duration = Duration::from_secs(300);
/// Forecasts are asked for so many times less often.
const FORECAST_EVERY: u32 = 6;
/// For how long what was heard is kept.
const INTENSITIES_MS: i64 = 400 * 86_400_000;
const FORECASTS_MS: i64 = 7 * 86_400_000;

/// What one source said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) average: Option<Point<Average>>,
    pub(super) marginal: Option<Point<Marginal>>,
    pub(super) forecast: Option<AnyForecast>,
}

impl CarbonDesk {
    /// Asks the sources again and again. Ends when dropped; at once where there is none.
    pub async fn listen(self: Arc<Self>) {
        if self.sources.is_empty() {
            return;
        }
        let mut ticks = tokio::time::interval(ASK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0_u32;
        loop {
            ticks.tick().await;
            for index in 0..self.sources.len() {
                self.ask(index, round.is_multiple_of(FORECAST_EVERY)).await;
            }
            self.look();
            if round.is_multiple_of(FORECAST_EVERY) {
                self.forget().await;
            }
            round = round.wrapping_add(1);
        }
    }

    async fn ask(&self, index: usize, forecast_too: bool) {
        let source = Arc::clone(&self.sources[index]);
        let now = self.now();
        match source.now(now).await {
            Ok(live) => self.heard_now(index, source.as_ref(), live).await,
            Err(error) => {
                tracing::warn!(source = source.name(), %error, "a source of intensities says nothing");
            }
        }
        let missing = self.heard.lock().expect("no holder panics")[index]
            .forecast
            .is_none();
        if forecast_too || missing {
            match source.forecast(now).await {
                Ok(forecast) => self.heard_forecast(index, source.as_ref(), forecast).await,
                Err(error) => {
                    tracing::warn!(source = source.name(), %error, "a source gives no forecast");
                }
            }
        }
    }

    async fn heard_now(&self, index: usize, source: &dyn LiveSource, live: Live) {
        let (kind, from, to, grams) = match live {
            Live::Average(point) => parts(&point),
            Live::Marginal(point) => parts(&point),
        };
        let record = IntensityRecord {
            location: source.location().to_owned(),
            kind: kind.as_str(),
            from_ms: from.0,
            to_ms: to.0,
            mg_per_kwh: milligrams(grams),
            source: source.name(),
        };
        complain(self.store.put_intensity(&record).await);
        let mut heard = self.heard.lock().expect("no holder panics");
        match live {
            Live::Average(point) => heard[index].average = Some(point),
            Live::Marginal(point) => heard[index].marginal = Some(point),
        }
    }

    async fn heard_forecast(&self, index: usize, source: &dyn LiveSource, forecast: AnyForecast) {
        let (kind, made, points) = match &forecast {
            AnyForecast::Average(forecast) => written(forecast),
            AnyForecast::Marginal(forecast) => written(forecast),
        };
        let record = ForecastRecord {
            location: source.location().to_owned(),
            kind: kind.as_str(),
            generated_at_ms: made.0,
            heard_at_ms: self.clock.unix_ms(),
            points,
        };
        complain(self.store.put_forecast(&record).await);
        self.heard.lock().expect("no holder panics")[index].forecast = Some(forecast);
    }

    async fn forget(&self) {
        let now = self.clock.unix_ms();
        let forgotten = self
            .store
            .forget_heard(now - INTENSITIES_MS, now - FORECASTS_MS);
        complain(forgotten.await);
    }

    /// The newest forecast of a place that this node had at that time, of averages or of marginal intensities.
    pub(crate) async fn forecast_at(
        &self,
        location: &str,
        kind: IntensityKind,
        at: Instant,
    ) -> Result<Option<AnyForecast>, StoreError> {
        let kept = self
            .store
            .forecast_at(location, kind.as_str(), at.0)
            .await?;
        let Some((made, points)) = kept else {
            return Ok(None);
        };
        let malformed = StoreError::Malformed("forecast");
        let forecast = match kind {
            IntensityKind::Average => read(made, &points).map(AnyForecast::Average),
            IntensityKind::Marginal => read(made, &points).map(AnyForecast::Marginal),
        };
        forecast.map(Some).ok_or(malformed)
    }
}

fn parts<K: Kind>(point: &Point<K>) -> (IntensityKind, Instant, Instant, f64) {
    (K::KIND, point.from, point.to, point.intensity.g_per_kwh())
}

fn milligrams(g_per_kwh: f64) -> u32 {
    (g_per_kwh * 1e3).round() as u32
}

fn written<K: Kind>(forecast: &Forecast<K>) -> (IntensityKind, Instant, String) {
    let points = forecast.points.iter().map(|point| {
        let grams = milligrams(point.intensity.g_per_kwh());
        (point.from.0, point.to.0, grams)
    });
    let points: Vec<_> = points.collect();
    let text = serde_json::to_string(&points).expect("numbers have a JSON form");
    (K::KIND, forecast.generated_at, text)
}

fn read<K: Kind>(made: i64, points: &str) -> Option<Forecast<K>> {
    let points: Vec<(i64, i64, u32)> = serde_json::from_str(points).ok()?;
    let points = points.into_iter().filter_map(|(from, to, mg)| {
        Some(Point {
            from: Instant(from),
            to: Instant(to),
            intensity: Intensity::of(f64::from(mg) / 1e3)?,
        })
    });
    Some(Forecast::new(Instant(made), points.collect()))
}

/// What is heard counts whether it could be kept or not.
fn complain(kept: Result<(), StoreError>) {
    if let Err(error) = kept {
        tracing::warn!(%error, "what a source said cannot be kept");
    }
}
