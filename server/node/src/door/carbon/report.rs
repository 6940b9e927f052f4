//! `GET /v1/carbon/report`: a month, as JSON, CSV or a page.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_carbon::{DayRow, Instant, Month, MonthReport, Row, Yearly};
use kwaainet_core::{Principal, Scope};
use kwaainet_openapi::{CarbonDay, CarbonReport, CarbonSums};
use kwaainet_store::{CarbonBy, CarbonSum, StoreError};
use serde::Deserialize;

use super::super::footprint::{grams, joules};
use super::super::path::ApiQuery;
use super::super::{ApiError, App};
use super::{fraction, score};

/// What may stand in the query.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReportQuery {
    month: Option<String>,
    format: Option<String>,
}

/// A page of ours runs nothing and loads nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The node's energy and carbon in a month.
#[utoipa::path(
    get,
    path = "/v1/carbon/report",
    tag = "carbon",
    operation_id = "showCarbonReport",
    params(
        ("month" = Option<String>, Query, pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$", description = "Like `2026-01`, in UTC; this month if not given."),
        ("format" = Option<String>, Query, pattern = "^(json|csv|html)$", description = "`json`, `csv` or `html`; `json` if not given."),
    ),
    responses((status = 200, description = "The month.", content(
        (CarbonReport = "application/json"),
        (String = "text/csv"),
        (String = "text/html"),
    )))
)]
pub(crate) async fn report(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<ReportQuery>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Carbon)?;
    let month = match &query.month {
        None => Month::of(Instant(app.clock.unix_ms())),
        Some(text) => Month::parse(text).map_err(|_| {
            let message = "Invalid 'month': expected one like 2026-01.";
            ApiError::invalid("month", "invalid_value", message)
        })?,
    };
    let format = query.format.as_deref().unwrap_or("json");
    if !matches!(format, "json" | "csv" | "html") {
        let message = "Invalid 'format': expected 'json', 'csv' or 'html'.";
        return Err(ApiError::invalid("format", "invalid_value", message));
    }
    // What was counted until now belongs to it.
    app.carbon.keep().await;
    let report = gather(&app, month).await?;
    Ok(match format {
        "csv" => typed("text/csv; charset=utf-8", report.csv()),
        "html" => {
            let policy = [(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static(POLICY),
            )];
            (policy, typed("text/html; charset=utf-8", report.html())).into_response()
        }
        _ => Json(wire(&report)).into_response(),
    })
}

fn typed(kind: &'static str, text: String) -> Response {
    let kind: (HeaderName, HeaderValue) = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    ([kind], text).into_response()
}

async fn gather(app: &App, month: Month) -> Result<MonthReport, StoreError> {
    let (from, to) = month.bounds();
    let time = (from.0, to.0);
    let mut days: BTreeMap<String, DayRow> = BTreeMap::new();
    for kept in app.store.carbon_hours(from.0, to.0).await? {
        let day = day_of(&mut days, Instant(kept.hour.hour_ms).day_text());
        day.total_uj += kept.hour.total_uj;
        day.jobs_uj += kept.hour.jobs_uj;
        day.unattributed_uj += kept.hour.unattributed_uj;
        day.carbon_ng += kept.hour.carbon_ng;
        day.unmatched_ng += (kept.hour.carbon_ng as f64 * (1.0 - fraction(&kept))).round() as u64;
    }
    for sum in app.store.carbon_sums(CarbonBy::Day, None, time).await? {
        let day = day_of(&mut days, sum.name.clone());
        day.requests = row(sum);
    }
    let sums = |by| app.store.carbon_sums(by, None, time);
    let rows = |sums: Vec<CarbonSum>| sums.into_iter().map(row).collect();
    Ok(MonthReport {
        month,
        days: days.into_values().collect(),
        models: rows(sums(CarbonBy::Model).await?),
        methods: rows(sums(CarbonBy::Method).await?),
        attribution: app.carbon.country().map(|_| Yearly::ATTRIBUTION),
    })
}

fn day_of(days: &mut BTreeMap<String, DayRow>, day: String) -> &mut DayRow {
    let empty = DayRow {
        day: day.clone(),
        ..DayRow::default()
    };
    days.entry(day).or_insert(empty)
}

fn row(sum: CarbonSum) -> Row {
    Row {
        name: sum.name,
        requests: sum.requests,
        tokens: sum.tokens,
        energy_uj: sum.energy_uj,
        operational_ng: sum.operational_ng,
        embodied_ng: sum.embodied_ng,
        unknown: sum.unknown,
    }
}

fn wire(report: &MonthReport) -> CarbonReport {
    let total = report.total();
    CarbonReport {
        object: "kwaai.carbon.report",
        month: report.month.to_string(),
        total: day(&total),
        days: report.days.iter().map(day).collect(),
        models: report.models.iter().map(sums).collect(),
        methods: report.methods.iter().map(sums).collect(),
        attribution: report.attribution,
    }
}

fn day(day: &DayRow) -> CarbonDay {
    CarbonDay {
        day: day.day.clone(),
        energy_j: joules(day.total_uj),
        requests_energy_j: joules(day.jobs_uj),
        unattributed_energy_j: joules(day.unattributed_uj),
        carbon_g: grams(day.carbon_ng),
        carbon_unmatched_g: grams(day.unmatched_ng),
        requests: CarbonSums {
            name: day.day.clone(),
            ..sums(&day.requests)
        },
    }
}

fn sums(row: &Row) -> CarbonSums {
    CarbonSums {
        name: row.name.clone(),
        requests: row.requests,
        tokens: row.tokens,
        energy_j: joules(row.energy_uj),
        carbon_g: grams(row.operational_ng),
        embodied_g: grams(row.embodied_ng),
        without_carbon: row.unknown,
        sci: row.sci().map(score),
    }
}
