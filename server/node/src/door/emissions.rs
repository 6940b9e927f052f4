//! `/emissions`: intensities of places, in the shape of the Carbon Aware SDK's WebApi (Green Software Foundation).
//!
//! A place is one that a live source names, or a country of the yearly table. What is said of one place is of one kind:
//! averages where its source tells those, marginal intensities where it tells those; never a mixture.

pub(crate) mod forecasts;
mod place;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_carbon::Instant;
use kwaainet_core::{Principal, Scope};
use kwaainet_openapi::{AverageIntensity, AverageIntensityRequest, EmissionsData, ProblemDetails};

use super::body::ApiJson;
use super::carbon::{minutes, time};
use super::{ApiError, App};
use place::{Interval, Place};

/// Places of one question, and questions of one batch.
const MANY_MAX: usize = 64;
const MINUTE_MS: i64 = 60_000;
/// How far back is looked if nothing is said.
const BACK_MS: i64 = 31 * 86_400_000;

/// What was observed at a place.
#[utoipa::path(
    get,
    path = "/emissions/bylocation",
    tag = "carbon",
    operation_id = "getEmissionsDataForLocationByTime",
    params(
        ("location" = String, Query, min_length = 1, description = "A place that a live source names, or a country's ISO 3166-1 code."),
        ("time" = Option<String>, Query, format = DateTime, description = "From when; the last 31 days if not given."),
        ("toTime" = Option<String>, Query, format = DateTime, description = "Until when; now if not given."),
        ("durationMinutes" = Option<i64>, Query, minimum = 1, maximum = 10_080, description = "Instead of `toTime`."),
    ),
    responses(
        (status = 200, description = "Each interval.", body = Vec<EmissionsData>),
        (status = 204, description = "Nothing was observed there at that time."),
    )
)]
pub(crate) async fn by_location(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    principal.require(Scope::Carbon)?;
    let query = Query::read(query.as_deref(), app.clock.unix_ms())?;
    if query.places.len() != 1 {
        return Err(wrong("location", "expected one"));
    }
    Ok(answer(observed(&app, &query).await?))
}

/// What was observed at several places.
#[utoipa::path(
    get,
    path = "/emissions/bylocations",
    tag = "carbon",
    operation_id = "getEmissionsDataForLocationsByTime",
    params(
        ("location" = Vec<String>, Query, min_items = 1, max_items = 64, description = "Places, each by its own `location`."),
        ("time" = Option<String>, Query, format = DateTime, description = "From when; the last 31 days if not given."),
        ("toTime" = Option<String>, Query, format = DateTime, description = "Until when; now if not given."),
        ("durationMinutes" = Option<i64>, Query, minimum = 1, maximum = 10_080, description = "Instead of `toTime`."),
    ),
    responses(
        (status = 200, description = "Each interval of each place.", body = Vec<EmissionsData>),
        (status = 204, description = "Nothing was observed there at that time."),
    )
)]
pub(crate) async fn by_locations(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    principal.require(Scope::Carbon)?;
    let query = Query::read(query.as_deref(), app.clock.unix_ms())?;
    Ok(answer(observed(&app, &query).await?))
}

/// The best of what was observed at several places, which have to tell intensities of one kind.
#[utoipa::path(
    get,
    path = "/emissions/bylocations/best",
    tag = "carbon",
    operation_id = "getBestEmissionsDataForLocationsByTime",
    params(
        ("location" = Vec<String>, Query, min_items = 1, max_items = 64, description = "Places, each by its own `location`."),
        ("time" = Option<String>, Query, format = DateTime, description = "From when; the last 31 days if not given."),
        ("toTime" = Option<String>, Query, format = DateTime, description = "Until when; now if not given."),
        ("durationMinutes" = Option<i64>, Query, minimum = 1, maximum = 10_080, description = "Instead of `toTime`."),
    ),
    responses(
        (status = 200, description = "The intervals of the lowest intensity.", body = Vec<EmissionsData>),
        (status = 204, description = "Nothing was observed there at that time."),
    )
)]
pub(crate) async fn best(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    principal.require(Scope::Carbon)?;
    let query = Query::read(query.as_deref(), app.clock.unix_ms())?;
    let places: Vec<_> = query
        .places
        .iter()
        .map(|name| Place::find(&app, name))
        .collect();
    let mut kinds = places.iter().flatten().map(Place::kind);
    let first = kinds.next();
    if kinds.any(|kind| Some(kind) != first) {
        return Err(wrong(
            "location",
            "one of them tells averages and another marginal intensities, which do not compare",
        ));
    }
    let mut all = observed(&app, &query).await?;
    let lowest = all
        .iter()
        .map(|data| data.rating)
        .fold(f64::INFINITY, f64::min);
    all.retain(|data| data.rating <= lowest);
    Ok(answer(all))
}

/// The mean intensity of a place over a time.
#[utoipa::path(
    get,
    path = "/emissions/average-carbon-intensity",
    tag = "carbon",
    operation_id = "getAverageCarbonIntensity",
    params(
        ("location" = String, Query, min_length = 1, description = "A place that a live source names, or a country's ISO 3166-1 code."),
        ("startTime" = String, Query, format = DateTime, description = "From when."),
        ("endTime" = String, Query, format = DateTime, description = "Until when."),
    ),
    responses((status = 200, description = "The mean, each interval by its length.", body = AverageIntensity))
)]
pub(crate) async fn average(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<AverageIntensity>, ApiError> {
    principal.require(Scope::Carbon)?;
    let pairs = pairs(query.as_deref())?;
    let one = |name: &str| {
        let value = only(&pairs, name)?;
        value
            .map(str::to_owned)
            .ok_or_else(|| ApiError::missing(name))
    };
    let asked = AverageIntensityRequest {
        location: one("location")?,
        start_time: one("startTime")?,
        end_time: one("endTime")?,
    };
    Ok(Json(mean(&app, asked).await?))
}

/// Several of them.
#[utoipa::path(
    post,
    path = "/emissions/average-carbon-intensity/batch",
    tag = "carbon",
    operation_id = "getAverageCarbonIntensityBatch",
    request_body = Vec<AverageIntensityRequest>,
    responses((status = 200, description = "In the same order.", body = Vec<AverageIntensity>))
)]
pub(crate) async fn average_batch(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(asked): ApiJson<Vec<AverageIntensityRequest>>,
) -> Result<Json<Vec<AverageIntensity>>, ApiError> {
    principal.require(Scope::Carbon)?;
    few(asked.len())?;
    let mut means = Vec::with_capacity(asked.len());
    for one in asked {
        means.push(mean(&app, one).await?);
    }
    Ok(Json(means))
}

async fn mean(app: &App, asked: AverageIntensityRequest) -> Result<AverageIntensity, ApiError> {
    let from = time(Some(&asked.start_time), "startTime")?.unwrap_or(Instant(0));
    let to = time(Some(&asked.end_time), "endTime")?.unwrap_or(Instant(0));
    if from >= to {
        return Err(wrong("endTime", "it must be after 'startTime'"));
    }
    let place = Place::find(app, &asked.location)?;
    let intervals = place.observed(app, from, to).await?;
    let weighed = intervals.iter().map(|interval| {
        let ms = (interval.to.min(to).0 - interval.from.max(from).0) as f64;
        (ms, ms * interval.g_per_kwh)
    });
    let (ms, sum) = weighed.fold((0.0, 0.0), |(ms, sum), (more, weighed)| {
        (ms + more, sum + weighed)
    });
    if ms <= 0.0 {
        let message = "Nothing was observed there at that time.";
        return Err(ApiError::not_found(
            "startTime",
            "nothing_observed",
            message,
        ));
    }
    Ok(AverageIntensity {
        location: asked.location,
        start_time: from.to_string(),
        end_time: to.to_string(),
        carbon_intensity: sum / ms,
    })
}

async fn observed(app: &App, query: &Query) -> Result<Vec<EmissionsData>, ApiError> {
    let mut all = Vec::new();
    for name in &query.places {
        let place = Place::find(app, name)?;
        let intervals = match query.from {
            Some(from) => place.observed(app, from, query.to).await?,
            None => {
                place
                    .latest(app, query.to.plus_ms(-BACK_MS), query.to)
                    .await?
            }
        };
        all.extend(intervals.iter().map(|interval| data(name, interval)));
    }
    Ok(all)
}

fn data(location: &str, interval: &Interval) -> EmissionsData {
    let minutes = (interval.to.0 - interval.from.0) / MINUTE_MS;
    let (days, hours) = (minutes / 1_440, minutes / 60 % 24);
    let days = if days > 0 {
        format!("{days}.")
    } else {
        String::new()
    };
    EmissionsData {
        location: location.to_owned(),
        time: interval.from.to_string(),
        rating: interval.g_per_kwh,
        duration: format!("{days}{hours:02}:{:02}:00", minutes % 60),
    }
}

fn answer(data: Vec<EmissionsData>) -> Response {
    if data.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    Json(data).into_response()
}

/// What most of these routes are asked.
struct Query {
    places: Vec<String>,
    /// None if nothing was said.
    from: Option<Instant>,
    to: Instant,
}

impl Query {
    fn read(query: Option<&str>, now_ms: i64) -> Result<Self, ApiError> {
        let pairs = pairs(query)?;
        let from = time(only(&pairs, "time")?, "time")?;
        let to = time(only(&pairs, "toTime")?, "toTime")?;
        let minutes = minutes(only(&pairs, "durationMinutes")?, "durationMinutes")?;
        let after = from.zip(minutes);
        let after = after.map(|(from, minutes)| from.plus_ms(minutes * MINUTE_MS));
        let to = to.or(after).unwrap_or(Instant(now_ms));
        if from.is_some_and(|from| from > to) {
            return Err(wrong("toTime", "it must not be before 'time'"));
        }
        let places = places(&pairs)?;
        Ok(Self { places, from, to })
    }
}

/// `location` as often as there are places; the older name `locations` too.
fn places(pairs: &[(String, String)]) -> Result<Vec<String>, ApiError> {
    let named = pairs
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "location" | "locations"));
    let places: Vec<_> = named.map(|(_, place)| place.clone()).collect();
    if places.is_empty() {
        return Err(ApiError::missing("location"));
    }
    few(places.len()).map(|()| places)
}

/// The fields of a query, some of which may come several times.
fn pairs(query: Option<&str>) -> Result<Vec<(String, String)>, ApiError> {
    let url = format!("http://localhost/?{}", query.unwrap_or_default());
    let url = reqwest::Url::parse(&url).map_err(|_| wrong("query", "it is malformed"))?;
    Ok(url.query_pairs().into_owned().collect())
}

fn only<'a>(pairs: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut named = pairs.iter().filter(|(known, _)| known == name);
    let first = named.next().map(|(_, value)| value.as_str());
    match named.next() {
        None => Ok(first),
        Some(_) => Err(wrong(name, "it comes twice")),
    }
}

fn few(count: usize) -> Result<(), ApiError> {
    if count > MANY_MAX {
        return Err(wrong("location", &format!("at most {MANY_MAX} at once")));
    }
    Ok(())
}

fn wrong(param: &str, what: &str) -> ApiError {
    ApiError::invalid(
        param,
        "invalid_value",
        format!("Invalid '{param}': {what}."),
    )
}

/// An error as these clients know it.
pub(crate) fn error_body(error: &ApiError) -> ProblemDetails {
    let status = error.status();
    let object = error.body().error;
    let param = object.param.into_iter();
    let errors: BTreeMap<_, _> = param
        .map(|param| (param, vec![object.message.clone()]))
        .collect();
    ProblemDetails {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        detail: object.message,
        errors,
    }
}
