//! `/v1/carbon`: what this node takes of energy, what that costs the climate, and when it would cost less.

pub(crate) mod report;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_carbon::{
    AnyForecast, Forecast, Instant, IntensityKind, Kind, Uncertainty, Window, Yearly, sci,
};
use kwaainet_core::{Footprint, GridEvidence, JobId, Principal, PrincipalId, Scope};
use kwaainet_openapi::{
    BestWindow, CarbonCost, CarbonEnergy, CarbonForecast, CarbonIntensity, CarbonMarginal,
    CarbonMatch, CarbonNode, CarbonPower, CarbonRequestFigures, CarbonScore, CarbonWindow,
};
use kwaainet_store::{CarbonRequest, KeptHour};
use serde::Deserialize;

use super::path::{ApiPath, ApiQuery};
use super::{ApiError, App, footprint};

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
/// A week.
pub(crate) const MINUTES_MAX: i64 = 10_080;
/// A request's figures are written soon after its answer; who asks at once waits so long for them.
const WRITTEN_WITHIN: Duration = Duration::from_millis(40);
const LOOKS: u32 = 5;

/// What this node takes and costs now.
#[utoipa::path(
    get,
    path = "/v1/carbon/node",
    tag = "carbon",
    operation_id = "showCarbonNode",
    responses((status = 200, description = "Its energy, its grid and its power.", body = CarbonNode))
)]
pub(crate) async fn node(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<CarbonNode>, ApiError> {
    principal.require(Scope::Carbon)?;
    let desk = &app.carbon;
    let grid = desk.grid().map(|grid| CarbonIntensity {
        g_per_kwh: grid.intensity.g_per_kwh(),
        kind: IntensityKind::Average.as_str(),
        evidence: grid.evidence.as_str(),
        source: grid.source,
        location: grid.location,
        since: grid.since.map(|since| since.to_string()),
        attribution: (grid.evidence == GridEvidence::Yearly).then_some(Yearly::ATTRIBUTION),
    });
    let marginal = desk
        .marginal()
        .map(|(point, source, location)| CarbonMarginal {
            g_per_kwh: point.intensity.g_per_kwh(),
            kind: IntensityKind::Marginal.as_str(),
            source,
            location,
            since: point.from.to_string(),
        });
    let withholds = desk.surroundings().withholds;
    let power = desk.power();
    Ok(Json(CarbonNode {
        object: "kwaai.carbon.node",
        energy: energy(&app),
        intensity: grid,
        marginal,
        renewable: renewable(&app).await?,
        power: CarbonPower {
            on_battery: power.on_battery,
            battery_percent: power.battery_percent,
            busy_threads: power.busy_threads,
            contributes: withholds.is_none(),
            reason: withholds,
        },
    }))
}

fn energy(app: &App) -> CarbonEnergy {
    let desk = &app.carbon;
    let method = desk.books.method();
    let totals = desk.books.totals();
    CarbonEnergy {
        metered: desk.is_on,
        method: method.as_str(),
        measured: method.is_measured(),
        uncertainty_percent: Uncertainty::of(method).0,
        missed: desk.missed.clone(),
        total_uj: totals.total_uj,
        requests_uj: totals.jobs_uj,
        unattributed_uj: totals.unattributed_uj,
    }
}

async fn renewable(app: &App) -> Result<Option<CarbonMatch>, ApiError> {
    let desk = &app.carbon;
    let Some(evidence) = desk.evidence() else {
        return Ok(None);
    };
    let hour = Instant(app.clock.unix_ms()).hour();
    let kept = app.store.carbon_hours(hour.0 - HOUR_MS, hour.0).await?;
    let seen = kept.first().filter(|hour| hour.seen_s > 0);
    Ok(Some(CarbonMatch {
        matched_last_hour: seen.map(fraction),
        declared: desk.declared,
        evidence: evidence.as_str(),
    }))
}

/// How much of an hour was matched; what was not seen was not.
pub(crate) fn fraction(hour: &KeptHour) -> f64 {
    if hour.load_mwh == 0 {
        return 0.0;
    }
    let matched = hour.matched_mwh as f64 / hour.load_mwh as f64;
    matched.clamp(0.0, 1.0) * (f64::from(hour.seen_s) / 3_600.0).clamp(0.0, 1.0)
}

/// What one request of the caller's took.
#[utoipa::path(
    get,
    path = "/v1/carbon/requests/{request_id}",
    tag = "carbon",
    operation_id = "showCarbonRequest",
    params(("request_id" = String, Path, description = "The id of an answer, with its prefix or without it.")),
    responses((status = 200, description = "Its figures.", body = CarbonRequestFigures))
)]
pub(crate) async fn request(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<CarbonRequestFigures>, ApiError> {
    principal.require(Scope::Carbon)?;
    let job = JobId::new(id.rsplit(['-', '_']).next().unwrap_or_default());
    let is_his = |kept: &CarbonRequest| {
        kept.principal == *principal.id() || *principal.id() == PrincipalId::operator()
    };
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(WRITTEN_WITHIN).await;
        }
        if let Some(kept) = app.store.carbon_request(&job).await? {
            // Whose it is is nobody else's business.
            return is_his(&kept)
                .then(|| Json(figures(kept)))
                .ok_or_else(unknown);
        }
    }
    Err(unknown())
}

fn unknown() -> ApiError {
    let message = "There is no request of yours with this id that is over.";
    ApiError::not_found("request_id", "request_not_found", message)
}

fn figures(kept: CarbonRequest) -> CarbonRequestFigures {
    CarbonRequestFigures {
        object: "kwaai.carbon.request",
        cost: kept.footprint.map(|took| cost(&took, kept.tokens)),
        id: kept.job.to_string(),
        model: kept.model,
        work: kept.work,
        outcome: kept.outcome,
        admitted_at: Instant(kept.admitted_at_ms).to_string(),
        duration_ms: kept.duration_ms,
        tokens: kept.tokens,
    }
}

fn cost(took: &Footprint, tokens: u64) -> CarbonCost {
    let carbon = took.carbon;
    let kwh = took.energy_uj as f64 / kwaainet_carbon::UJ_PER_KWH as f64;
    let g_per_kwh = carbon.filter(|_| took.energy_uj > 0);
    CarbonCost {
        footprint: footprint::usage(took),
        energy_uj: took.energy_uj,
        machine_s: took.machine_us as f64 / 1e6,
        g_per_kwh: g_per_kwh.map(|carbon| footprint::grams(carbon.operational_ng) / kwh),
        sci: carbon
            .and_then(|carbon| sci(carbon.operational_ng, carbon.embodied_ng, 1, tokens))
            .map(score),
    }
}

pub(crate) fn score(score: kwaainet_carbon::Sci) -> CarbonScore {
    CarbonScore {
        g_per_request: score.g_per_request,
        g_per_1k_tokens: score.g_per_1k_tokens,
    }
}

/// What may stand in the query of `best-window`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WindowQuery {
    duration_minutes: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// When work of some length costs the climate least, as far as the sources foresee.
#[utoipa::path(
    get,
    path = "/v1/carbon/best-window",
    tag = "carbon",
    operation_id = "showBestWindow",
    params(
        ("duration_minutes" = Option<i64>, Query, minimum = 1, maximum = 10_080, description = "How long the work takes; an hour if not given."),
        ("from" = Option<String>, Query, format = DateTime, description = "Not before; now if not given."),
        ("to" = Option<String>, Query, format = DateTime, description = "Over by then."),
    ),
    responses((status = 200, description = "The best stretch of each forecast; no forecasts where no live source is configured.", body = BestWindow))
)]
pub(crate) async fn best_window(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<WindowQuery>,
) -> Result<Json<BestWindow>, ApiError> {
    principal.require(Scope::Carbon)?;
    let now = Instant(app.clock.unix_ms());
    let minutes = minutes(query.duration_minutes.as_deref(), "duration_minutes")?.unwrap_or(60);
    let from = time(query.from.as_deref(), "from")?.unwrap_or(now);
    let to = time(query.to.as_deref(), "to")?.unwrap_or(Instant(i64::MAX));
    let asked = Asked {
        now,
        length_ms: minutes * MINUTE_MS,
        from,
        to,
    };
    let forecasts = app.carbon.forecasts().into_iter();
    let forecasts = forecasts.map(|(source, location, forecast)| match forecast {
        AnyForecast::Average(forecast) => asked.of(source, location, &forecast),
        AnyForecast::Marginal(forecast) => asked.of(source, location, &forecast),
    });
    Ok(Json(BestWindow {
        object: "kwaai.carbon.best_window",
        duration_minutes: minutes as u32,
        forecasts: forecasts.collect(),
    }))
}

struct Asked {
    now: Instant,
    length_ms: i64,
    from: Instant,
    to: Instant,
}

impl Asked {
    fn of<K: Kind>(
        &self,
        source: &'static str,
        location: String,
        forecast: &Forecast<K>,
    ) -> CarbonForecast {
        let at_once = self.now.plus_ms(self.length_ms);
        let now = forecast.windows(self.length_ms, self.now, at_once);
        let best = forecast.best_window(self.length_ms, self.from, self.to);
        CarbonForecast {
            kind: K::KIND.as_str(),
            source,
            location,
            generated_at: forecast.generated_at.to_string(),
            best: best.map(window),
            now: now.into_iter().next().map(window),
        }
    }
}

fn window<K: Kind>(window: Window<K>) -> CarbonWindow {
    CarbonWindow {
        from: window.from.to_string(),
        to: window.to.to_string(),
        g_per_kwh: window.intensity.g_per_kwh(),
    }
}

/// A time in RFC 3339, or a date.
pub(crate) fn time(text: Option<&str>, param: &str) -> Result<Option<Instant>, ApiError> {
    let parse = |text| {
        Instant::parse(text).map_err(|error| {
            let message = format!("Invalid '{param}': {error}.");
            ApiError::invalid(param, "invalid_value", message)
        })
    };
    text.map(parse).transpose()
}

/// Minutes of some work.
pub(crate) fn minutes(text: Option<&str>, param: &str) -> Result<Option<i64>, ApiError> {
    let parse = |text: &str| {
        let minutes = text.parse().ok();
        minutes
            .filter(|n| (1..=MINUTES_MAX).contains(n))
            .ok_or_else(|| {
                let message =
                    format!("Invalid '{param}': expected a number from 1 to {MINUTES_MAX}.");
                ApiError::invalid(param, "invalid_value", message)
            })
    };
    text.map(parse).transpose()
}
