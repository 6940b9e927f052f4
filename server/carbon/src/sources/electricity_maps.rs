//! Electricity Maps, version 3 of its API: averages over the whole life of power stations, imports traced; hourly.

use kwaainet_core::BoxFuture;
use serde::Deserialize;

use super::{Live, LiveSource, POINTS_MAX, until_the_next};
use crate::client::{FetchError, Secret, Source, is_name};
use crate::intensity::{AnyForecast, Average, Forecast, Intensity, IntensityKind, Point};
use crate::time::Instant;

const HOUR_MS: i64 = 3_600_000;

/// One zone.
#[derive(Clone, Debug)]
pub struct ElectricityMaps {
    source: Source,
    zone: String,
}

impl ElectricityMaps {
    /// Where the API is, unless the owner has another place for it.
    pub const BASE_URL: &str = "https://api.electricitymaps.com";

    /// A zone like `DE` or `US-CAL-CISO`, with the owner's token.
    ///
    /// # Errors
    /// When the zone is no name, or the URL is none.
    pub fn new(base_url: &str, zone: &str, token: &Secret) -> Result<Self, FetchError> {
        if !is_name(zone) {
            return Err(FetchError::Config("its zone must be a name like DE"));
        }
        Ok(Self {
            source: Source::new(base_url, Some(("auth-token", token.reveal())))?,
            zone: zone.to_owned(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hour {
    carbon_intensity: Option<f64>,
    datetime: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hours {
    forecast: Vec<Hour>,
    updated_at: Option<String>,
}

impl Hour {
    fn start(&self) -> Option<(Instant, Intensity<Average>)> {
        let from = Instant::parse(&self.datetime).ok()?;
        Some((from, Intensity::of(self.carbon_intensity?)?))
    }
}

impl LiveSource for ElectricityMaps {
    fn name(&self) -> &'static str {
        "electricity_maps"
    }

    fn location(&self) -> &str {
        &self.zone
    }

    fn kind(&self) -> IntensityKind {
        IntensityKind::Average
    }

    fn now(&self, _: Instant) -> BoxFuture<'_, Result<Live, FetchError>> {
        Box::pin(async {
            let query = [("zone", self.zone.as_str())];
            let hour: Hour = self
                .source
                .get("v3/carbon-intensity/latest", &query)
                .await?;
            let start = hour.start();
            let (from, intensity) = start.ok_or(FetchError::Answer("it holds no figure"))?;
            Ok(Live::Average(Point {
                from,
                to: from.plus_ms(HOUR_MS),
                intensity,
            }))
        })
    }

    fn forecast(&self, at: Instant) -> BoxFuture<'_, Result<AnyForecast, FetchError>> {
        Box::pin(async move {
            let query = [("zone", self.zone.as_str())];
            let hours: Hours = self
                .source
                .get("v3/carbon-intensity/forecast", &query)
                .await?;
            let starts = hours
                .forecast
                .iter()
                .take(POINTS_MAX)
                .filter_map(Hour::start);
            let mut starts: Vec<_> = starts.collect();
            starts.sort_by_key(|(from, _)| *from);
            let made = hours.updated_at.and_then(|at| Instant::parse(&at).ok());
            let points = until_the_next(starts, HOUR_MS);
            Ok(AnyForecast::Average(Forecast::new(
                made.unwrap_or(at),
                points,
            )))
        })
    }
}
