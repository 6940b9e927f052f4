//! WattTime, version 3 of its API: marginal operating emissions rates (`co2_moer`), every five minutes.

use kwaainet_core::BoxFuture;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Live, LiveSource, POINTS_MAX, until_the_next};
use crate::client::{FetchError, Secret, Source, is_name};
use crate::intensity::{AnyForecast, Forecast, Intensity, IntensityKind, Marginal, Point};
use crate::time::Instant;

/// Pounds a megawatt-hour in grams a kilowatt-hour: 453.59237 g over 1,000 kWh.
const LBS_PER_MWH: f64 = 0.453_592_37;
const FIVE_MINUTES_MS: i64 = 300_000;
/// A token is good for half an hour.
const TOKEN_MS: i64 = 25 * 60 * 1_000;

/// One region.
#[derive(Debug)]
pub struct WattTime {
    source: Source,
    region: String,
    user: String,
    password: Secret,
    /// The token, and until when it is used.
    token: Mutex<Option<(Secret, Instant)>>,
}

impl WattTime {
    /// Where the API is, unless the owner has another place for it.
    pub const BASE_URL: &str = "https://api.watttime.org";

    /// A region like `CAISO_NORTH`, with the owner's account.
    ///
    /// # Errors
    /// When the region is no name, or the URL is none.
    pub fn new(
        base_url: &str,
        region: &str,
        user: &str,
        password: Secret,
    ) -> Result<Self, FetchError> {
        if !is_name(region) {
            return Err(FetchError::Config(
                "its zone must be a name like CAISO_NORTH",
            ));
        }
        Ok(Self {
            source: Source::new(base_url, None)?,
            region: region.to_owned(),
            user: user.to_owned(),
            password,
            token: Mutex::new(None),
        })
    }

    async fn token(&self, at: Instant) -> Result<Secret, FetchError> {
        let mut token = self.token.lock().await;
        if let Some((token, until)) = token.as_ref()
            && at < *until
        {
            return Ok(token.clone());
        }
        let with = |request: reqwest::RequestBuilder| {
            request.basic_auth(&self.user, Some(self.password.reveal()))
        };
        let login: Login = self.source.ask("login", &[], with).await?;
        let fresh = Secret::new(&login.token);
        *token = Some((fresh.clone(), at.plus_ms(TOKEN_MS)));
        Ok(fresh)
    }

    async fn forecast_of(
        &self,
        at: Instant,
        hours: &str,
    ) -> Result<Forecast<Marginal>, FetchError> {
        let token = self.token(at).await?;
        let query = [
            ("region", self.region.as_str()),
            ("signal_type", "co2_moer"),
            ("horizon_hours", hours),
        ];
        let with = |request: reqwest::RequestBuilder| request.bearer_auth(token.reveal());
        let asked = self.source.ask("v3/forecast", &query, with).await;
        if asked == Err(FetchError::Status(401)) {
            *self.token.lock().await = None;
        }
        let answer: Signal = asked?;
        let scale = match answer.meta.units.as_str() {
            "lbs_co2_per_mwh" => LBS_PER_MWH,
            "g_co2_per_kwh" => 1.0,
            _ => return Err(FetchError::Answer("it counts in other units")),
        };
        let starts = answer.data.iter().take(POINTS_MAX).filter_map(|point| {
            let from = Instant::parse(&point.point_time).ok()?;
            Some((from, Intensity::of(point.value * scale)?))
        });
        let mut starts: Vec<_> = starts.collect();
        starts.sort_by_key(|(from, _)| *from);
        let made = answer
            .meta
            .generated_at
            .and_then(|at| Instant::parse(&at).ok());
        Ok(Forecast::new(
            made.unwrap_or(at),
            until_the_next(starts, FIVE_MINUTES_MS),
        ))
    }
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

#[derive(Deserialize, PartialEq)]
struct Signal {
    data: Vec<SignalPoint>,
    meta: SignalMeta,
}

#[derive(Deserialize, PartialEq)]
struct SignalPoint {
    point_time: String,
    value: f64,
}

#[derive(Deserialize, PartialEq)]
struct SignalMeta {
    units: String,
    generated_at: Option<String>,
}

impl LiveSource for WattTime {
    fn name(&self) -> &'static str {
        "watttime"
    }

    fn location(&self) -> &str {
        &self.region
    }

    fn kind(&self) -> IntensityKind {
        IntensityKind::Marginal
    }

    /// The forecast's first point: what holds now is not told otherwise.
    fn now(&self, at: Instant) -> BoxFuture<'_, Result<Live, FetchError>> {
        Box::pin(async move {
            let forecast = self.forecast_of(at, "0").await?;
            let first: Option<&Point<Marginal>> = forecast.points.first();
            let first = first.ok_or(FetchError::Answer("it holds no figure"))?;
            Ok(Live::Marginal(*first))
        })
    }

    fn forecast(&self, at: Instant) -> BoxFuture<'_, Result<AnyForecast, FetchError>> {
        Box::pin(async move { Ok(AnyForecast::Marginal(self.forecast_of(at, "24").await?)) })
    }
}
