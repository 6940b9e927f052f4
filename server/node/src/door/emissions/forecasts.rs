//! `/emissions/forecasts`: what is expected of places, now or as of an earlier time, and the best stretch of it.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::{Extension, Json};
use kwaainet_carbon::{AnyForecast, Forecast, Instant, Kind, Window};
use kwaainet_core::{Principal, Scope};
use kwaainet_openapi::{EmissionsForecast, EmissionsForecastRequest, EmissionsPoint};

use super::super::body::ApiJson;
use super::super::carbon::{MINUTES_MAX, minutes, time};
use super::super::{ApiError, App};
use super::{MINUTE_MS, few, only, pairs, place::Place, places, wrong};

/// The newest forecasts of places.
#[utoipa::path(
    get,
    path = "/emissions/forecasts/current",
    tag = "carbon",
    operation_id = "getCurrentForecastData",
    params(
        ("location" = Vec<String>, Query, min_items = 1, max_items = 64, description = "Places of live sources, each by its own `location`."),
        ("dataStartAt" = Option<String>, Query, format = DateTime, description = "Points before this do not count."),
        ("dataEndAt" = Option<String>, Query, format = DateTime, description = "Nor after this."),
        ("windowSize" = Option<i64>, Query, minimum = 1, maximum = 10_080, description = "Minutes of the work; those of one point if not given."),
    ),
    responses((status = 200, description = "One for each place.", body = Vec<EmissionsForecast>))
)]
pub(crate) async fn current(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<EmissionsForecast>>, ApiError> {
    principal.require(Scope::Carbon)?;
    let pairs = pairs(query.as_deref())?;
    let now = Instant(app.clock.unix_ms());
    let scope = DataScope {
        requested_at: now,
        start: time(only(&pairs, "dataStartAt")?, "dataStartAt")?,
        end: time(only(&pairs, "dataEndAt")?, "dataEndAt")?,
        minutes: minutes(only(&pairs, "windowSize")?, "windowSize")?,
    };
    let mut forecasts = Vec::new();
    for place in places(&pairs)? {
        forecasts.push(scope.forecast(&app, place).await?);
    }
    Ok(Json(forecasts))
}

/// Forecasts as they were known at earlier times.
#[utoipa::path(
    post,
    path = "/emissions/forecasts/batch",
    tag = "carbon",
    operation_id = "batchForecastData",
    request_body = Vec<EmissionsForecastRequest>,
    responses((status = 200, description = "In the same order.", body = Vec<EmissionsForecast>))
)]
pub(crate) async fn batch(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(asked): ApiJson<Vec<EmissionsForecastRequest>>,
) -> Result<Json<Vec<EmissionsForecast>>, ApiError> {
    principal.require(Scope::Carbon)?;
    few(asked.len())?;
    let mut forecasts = Vec::with_capacity(asked.len());
    for one in asked {
        let requested_at = time(Some(&one.requested_at), "requestedAt")?;
        let sound = one
            .window_size
            .is_none_or(|n| (1..=MINUTES_MAX).contains(&n));
        if !sound {
            let what = format!("expected a number from 1 to {MINUTES_MAX}");
            return Err(wrong("windowSize", &what));
        }
        let scope = DataScope {
            requested_at: requested_at.unwrap_or(Instant(0)),
            start: time(one.data_start_at.as_deref(), "dataStartAt")?,
            end: time(one.data_end_at.as_deref(), "dataEndAt")?,
            minutes: one.window_size,
        };
        forecasts.push(scope.forecast(&app, one.location).await?);
    }
    Ok(Json(forecasts))
}

/// Which part of a forecast is asked for.
struct DataScope {
    requested_at: Instant,
    start: Option<Instant>,
    end: Option<Instant>,
    minutes: Option<i64>,
}

impl DataScope {
    async fn forecast(&self, app: &App, name: String) -> Result<EmissionsForecast, ApiError> {
        let place = Place::find(app, &name)?;
        let kept = match &place {
            Place::Live { location, kind } => {
                app.carbon
                    .forecast_at(location, *kind, self.requested_at)
                    .await?
            }
            Place::Yearly(_) => None,
        };
        match kept {
            Some(AnyForecast::Average(forecast)) => self.of(name, &forecast),
            Some(AnyForecast::Marginal(forecast)) => self.of(name, &forecast),
            None => {
                let message = "There is no forecast of this place as of that time.";
                Err(ApiError::not_found("location", "no_forecast", message))
            }
        }
    }

    fn of<K: Kind>(
        &self,
        name: String,
        forecast: &Forecast<K>,
    ) -> Result<EmissionsForecast, ApiError> {
        let ends = forecast.points.first().zip(forecast.points.last());
        let (first, last) = ends.ok_or_else(|| {
            let message = "The forecast of this place is empty.";
            ApiError::not_found("location", "no_forecast", message)
        })?;
        let (start, end) = (
            self.start.unwrap_or(first.from),
            self.end.unwrap_or(last.to),
        );
        if start >= end {
            return Err(wrong("dataEndAt", "it must be after 'dataStartAt'"));
        }
        for (param, at) in [("dataStartAt", start), ("dataEndAt", end)] {
            if at < first.from || at > last.to {
                return Err(wrong(param, "it must lie within the forecast"));
            }
        }
        let point_ms = first.to.0 - first.from.0;
        let length_ms = self.minutes.map_or(point_ms, |minutes| minutes * MINUTE_MS);
        let windows = forecast.windows(length_ms, start, end);
        let lowest = windows.iter().map(|window| window.intensity.g_per_kwh());
        let lowest = lowest.fold(f64::INFINITY, f64::min);
        let point = |window: &Window<K>| EmissionsPoint {
            location: name.clone(),
            timestamp: window.from.to_string(),
            duration: length_ms / MINUTE_MS,
            value: window.intensity.g_per_kwh(),
        };
        let best = windows
            .iter()
            .filter(|window| window.intensity.g_per_kwh() <= lowest);
        Ok(EmissionsForecast {
            generated_at: forecast.generated_at.to_string(),
            requested_at: self.requested_at.to_string(),
            data_start_at: start.to_string(),
            data_end_at: end.to_string(),
            window_size: length_ms / MINUTE_MS,
            optimal_data_points: best.map(point).collect(),
            forecast_data: windows.iter().map(point).collect(),
            kind: K::KIND.as_str(),
            location: name.clone(),
        })
    }
}
