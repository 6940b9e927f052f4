//! The Carbon Intensity API of Great Britain's system operator: averages, half-hourly, forecast for two days, no key.

use kwaainet_core::BoxFuture;
use serde::Deserialize;

use super::{Live, LiveSource, POINTS_MAX};
use crate::client::{FetchError, Source};
use crate::intensity::{AnyForecast, Average, Forecast, Intensity, IntensityKind, Point};
use crate::time::Instant;

/// Great Britain, or one of its regions.
#[derive(Clone, Debug)]
pub struct UkCarbonIntensity {
    source: Source,
    /// 1 to 17; none for the whole.
    region: Option<u8>,
    location: String,
}

impl UkCarbonIntensity {
    /// Where the API is, unless the owner has another place for it.
    pub const BASE_URL: &str = "https://api.carbonintensity.org.uk";

    /// The whole with `GB`, or a region by its number (`GB-13` is London).
    ///
    /// # Errors
    /// When there is no such region, or the URL is none.
    pub fn new(base_url: &str, zone: &str) -> Result<Self, FetchError> {
        let number = zone.strip_prefix("GB-").map(str::parse::<u8>);
        let region = match (zone, number) {
            ("" | "GB", _) => None,
            (_, Some(Ok(number @ 1..=17))) => Some(number),
            _ => return Err(FetchError::Config("its zone must be GB, or GB-1 to GB-17")),
        };
        Ok(Self {
            source: Source::new(base_url, None)?,
            region,
            location: region.map_or("GB".to_owned(), |number| format!("GB-{number}")),
        })
    }

    async fn halves(&self, whole: String, regional: String) -> Result<Vec<Half>, FetchError> {
        match self.region {
            None => Ok(self.source.get::<Data<Vec<Half>>>(&whole, &[]).await?.data),
            Some(_) => {
                let answer: Data<OneOrMany> = self.source.get(&regional, &[]).await?;
                Ok(match answer.data {
                    OneOrMany::One(region) => region.data,
                    OneOrMany::Many(regions) => regions
                        .into_iter()
                        .next()
                        .map_or(Vec::new(), |region| region.data),
                })
            }
        }
    }
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Region {
    data: Vec<Half>,
}

/// The API wraps a region in a list in some answers and not in others.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Region>),
    One(Region),
}

/// Half an hour.
#[derive(Deserialize)]
struct Half {
    from: String,
    to: String,
    intensity: Grams,
}

#[derive(Deserialize)]
struct Grams {
    forecast: Option<f64>,
    /// Only of the whole, and only once it is over.
    actual: Option<f64>,
}

impl Half {
    fn point(&self) -> Option<Point<Average>> {
        Some(Point {
            from: Instant::parse(&self.from).ok()?,
            to: Instant::parse(&self.to).ok()?,
            intensity: Intensity::of(self.intensity.actual.or(self.intensity.forecast)?)?,
        })
    }
}

impl LiveSource for UkCarbonIntensity {
    fn name(&self) -> &'static str {
        "uk_carbon_intensity"
    }

    fn location(&self) -> &str {
        &self.location
    }

    fn kind(&self) -> IntensityKind {
        IntensityKind::Average
    }

    fn now(&self, _: Instant) -> BoxFuture<'_, Result<Live, FetchError>> {
        Box::pin(async {
            let regional = format!("regional/regionid/{}", self.region.unwrap_or(0));
            let halves = self.halves("intensity".to_owned(), regional).await?;
            let point = halves.first().and_then(Half::point);
            let point = point.ok_or(FetchError::Answer("it holds no half-hour"))?;
            Ok(Live::Average(point))
        })
    }

    fn forecast(&self, at: Instant) -> BoxFuture<'_, Result<AnyForecast, FetchError>> {
        Box::pin(async move {
            // The API takes minutes, without seconds.
            let from = at.to_string();
            let from = format!("{}Z", &from[..16]);
            let region = self.region.unwrap_or(0);
            let regional = format!("regional/intensity/{from}/fw48h/regionid/{region}");
            let halves = self
                .halves(format!("intensity/{from}/fw48h"), regional)
                .await?;
            let points = halves.iter().take(POINTS_MAX).filter_map(Half::point);
            Ok(AnyForecast::Average(Forecast::new(at, points.collect())))
        })
    }
}
