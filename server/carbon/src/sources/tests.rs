//! Each adapter against answers in the shapes that the source's own documentation shows, from a server on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::get;
use tokio_util::task::TaskTracker;

use super::*;
use crate::Intensity;
use crate::client::Secret;

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback listens");
    let address = listener.local_addr().expect("it has an address");
    let serving = async move { axum::serve(listener, router).await };
    let _server = TaskTracker::new().spawn(serving);
    format!("http://{address}")
}

fn at(text: &str) -> Instant {
    Instant::parse(text).expect("it is a time")
}

const HALVES: &str = r#"{"data":[
    {"from":"2018-01-20T12:00Z","to":"2018-01-20T12:30Z","intensity":{"forecast":266,"actual":263,"index":"moderate"}},
    {"from":"2018-01-20T12:30Z","to":"2018-01-20T13:00Z","intensity":{"forecast":250,"actual":null,"index":"moderate"}}]}"#;
const REGION_NOW: &str = r#"{"data":[{"regionid":13,"dnoregion":"UKPN London","shortname":"London","data":[
    {"from":"2018-05-15T12:00Z","to":"2018-05-15T12:30Z","intensity":{"forecast":266,"index":"moderate"},
     "generationmix":[{"fuel":"gas","perc":43.6}]}]}]}"#;
const REGION_LATER: &str = r#"{"data":{"regionid":13,"shortname":"London","data":[
    {"from":"2018-05-15T12:00Z","to":"2018-05-15T12:30Z","intensity":{"forecast":120,"index":"low"},"generationmix":[]}]}}"#;

#[tokio::test]
async fn great_britains_halves_are_averages() {
    let router = Router::new()
        .route("/intensity", get(|| async { HALVES }))
        .route(
            "/intensity/{from}/fw48h",
            get(|Path(from): Path<String>| async move {
                if from == "2018-01-20T12:07Z" {
                    Ok(HALVES)
                } else {
                    Err(StatusCode::NOT_FOUND)
                }
            }),
        )
        .route("/regional/regionid/13", get(|| async { REGION_NOW }))
        .route(
            "/regional/intensity/{from}/fw48h/regionid/13",
            get(|| async { REGION_LATER }),
        );
    let url = serve(router).await;
    let whole = UkCarbonIntensity::new(&url, "GB").expect("it is sound");
    let now = at("2018-01-20T12:07:30Z");
    let Ok(Live::Average(point)) = whole.now(now).await else {
        panic!("it says averages")
    };
    assert_eq!(
        (point.from, point.to),
        (at("2018-01-20T12:00Z"), at("2018-01-20T12:30Z"))
    );
    assert_eq!(point.intensity.g_per_kwh(), 263.0, "what was observed");
    let Ok(AnyForecast::Average(forecast)) = whole.forecast(now).await else {
        panic!("it says averages")
    };
    assert_eq!(forecast.points.len(), 2);
    assert_eq!(
        forecast.points[1].intensity.g_per_kwh(),
        250.0,
        "what is expected"
    );
    let london = UkCarbonIntensity::new(&url, "GB-13").expect("it is sound");
    let Ok(Live::Average(point)) = london.now(now).await else {
        panic!("it says averages")
    };
    assert_eq!(point.intensity, Intensity::of(266.0).expect("it is sound"));
    assert!(london.forecast(now).await.is_ok());
    assert!(UkCarbonIntensity::new(&url, "GB-18").is_err());
    assert!(UkCarbonIntensity::new(&url, "../x").is_err());
}

#[tokio::test]
async fn a_zone_of_electricity_maps_needs_its_token() {
    let check = |headers: &HeaderMap, query: &std::collections::HashMap<String, String>| {
        let good = headers
            .get("auth-token")
            .is_some_and(|token| token == "t0p");
        let zone = query.get("zone").is_some_and(|zone| zone == "DE");
        if good && zone {
            Ok(())
        } else {
            Err(StatusCode::UNAUTHORIZED)
        }
    };
    let latest = move |headers: HeaderMap, Query(query): Query<_>| async move {
        check(&headers, &query)?;
        Ok::<_, StatusCode>(
            r#"{"zone":"DE","carbonIntensity":302,"datetime":"2018-04-25T18:00:00.000Z",
            "updatedAt":"2018-04-25T18:07:01.000Z","createdAt":"2018-04-22T18:07:01.000Z",
            "emissionFactorType":"lifecycle","isEstimated":true,"estimationMethod":"TIME_SLICER_AVERAGE"}"#,
        )
    };
    let forecast = move |headers: HeaderMap, Query(query): Query<_>| async move {
        check(&headers, &query)?;
        Ok::<_, StatusCode>(
            r#"{"zone":"DE","updatedAt":"2018-11-26T17:25:24.685Z","forecast":[
            {"carbonIntensity":326,"datetime":"2018-11-26T17:00:00.000Z"},
            {"carbonIntensity":null,"datetime":"2018-11-26T18:00:00.000Z"},
            {"carbonIntensity":297,"datetime":"2018-11-26T19:00:00.000Z"}]}"#,
        )
    };
    let router = Router::new()
        .route("/v3/carbon-intensity/latest", get(latest))
        .route("/v3/carbon-intensity/forecast", get(forecast));
    let url = serve(router).await;
    let source = ElectricityMaps::new(&url, "DE", &Secret::new("t0p")).expect("it is sound");
    let now = at("2018-11-26T17:30:00Z");
    let Ok(Live::Average(point)) = source.now(now).await else {
        panic!("it says averages")
    };
    assert_eq!(point.intensity.g_per_kwh(), 302.0);
    assert_eq!(point.to.0 - point.from.0, 3_600_000);
    let Ok(AnyForecast::Average(forecast)) = source.forecast(now).await else {
        panic!("it says averages")
    };
    assert_eq!(forecast.generated_at, at("2018-11-26T17:25:24.685Z"));
    assert_eq!(forecast.points.len(), 2);
    let other = ElectricityMaps::new(&url, "DE", &Secret::new("bad")).expect("it is sound");
    assert_eq!(other.now(now).await, Err(FetchError::Status(401)));
    assert!(ElectricityMaps::new(&url, "DE&x=1", &Secret::new("t")).is_err());
}

#[tokio::test]
async fn watttime_logs_in_once_and_says_marginal_grams() {
    let logins = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&logins);
    let login = move |headers: HeaderMap| {
        let counted = Arc::clone(&counted);
        async move {
            // "me:secret"
            let good = headers
                .get("authorization")
                .is_some_and(|a| a == "Basic bWU6c2VjcmV0");
            counted.fetch_add(1, Ordering::Relaxed);
            if good {
                Ok(r#"{"token":"abc"}"#)
            } else {
                Err(StatusCode::FORBIDDEN)
            }
        }
    };
    let forecast = |headers: HeaderMap| async move {
        if headers
            .get("authorization")
            .is_none_or(|token| token != "Bearer abc")
        {
            return Err(StatusCode::UNAUTHORIZED);
        }
        Ok(
            r#"{"data":[{"point_time":"2022-07-15T00:00:00+00:00","value":870.0},
            {"point_time":"2022-07-15T00:05:00+00:00","value":1000.0}],
            "meta":{"data_point_period_seconds":300,"region":"CAISO_NORTH","signal_type":"co2_moer",
            "units":"lbs_co2_per_mwh","warnings":[],"model":{"date":"2023-03-01"},
            "generated_at":"2022-07-15T00:00:00+00:00","generated_at_period_seconds":300}}"#,
        )
    };
    let router = Router::new()
        .route("/login", get(login))
        .route("/v3/forecast", get(forecast));
    let url = serve(router).await;
    let source = WattTime::new(&url, "CAISO_NORTH", "me", Secret::new("secret"));
    let source = source.expect("it is sound");
    let now = at("2022-07-15T00:01:00Z");
    let Ok(Live::Marginal(point)) = source.now(now).await else {
        panic!("it says marginal intensities")
    };
    assert!((point.intensity.g_per_kwh() - 394.625).abs() < 0.001);
    let Ok(AnyForecast::Marginal(forecast)) = source.forecast(now).await else {
        panic!("it says marginal intensities")
    };
    assert_eq!(forecast.points[1].to, at("2022-07-15T00:10:00Z"));
    assert_eq!(logins.load(Ordering::Relaxed), 1, "the token is kept");
    assert!(source.now(now.plus_ms(30 * 60_000)).await.is_ok());
    assert_eq!(
        logins.load(Ordering::Relaxed),
        2,
        "and made anew before it ends"
    );
    let stranger = WattTime::new(&url, "CAISO_NORTH", "me", Secret::new("wrong"));
    let refused = stranger.expect("it is sound").now(now).await;
    assert_eq!(refused, Err(FetchError::Status(403)));
}

#[tokio::test]
async fn nobody_leads_elsewhere_or_on_for_ever() {
    let router = Router::new()
        .route(
            "/moved/intensity",
            get(|| async { Redirect::temporary("/intensity") }),
        )
        .route("/intensity", get(|| async { HALVES }))
        .route("/long/intensity", get(|| async { "x".repeat(3 << 20) }))
        .route(
            "/odd/intensity",
            get(|| async {
                r#"{"data":[{"from":"then","to":"now","intensity":{"forecast":-1}}]}"#
            }),
        );
    let url = serve(router).await;
    let now = at("2018-01-20T12:00Z");
    for (path, error) in [
        ("moved", FetchError::Status(307)),
        ("long", FetchError::Answer("it is too long")),
        ("odd", FetchError::Answer("it holds no half-hour")),
        ("gone", FetchError::Status(404)),
    ] {
        let source = UkCarbonIntensity::new(&format!("{url}/{path}"), "").expect("it is sound");
        assert_eq!(source.now(now).await, Err(error), "{path}");
    }
    let nowhere = UkCarbonIntensity::new("http://127.0.0.1:9", "").expect("it is sound");
    assert_eq!(nowhere.now(now).await, Err(FetchError::Unreachable));
    for bad in [
        "file:///etc/passwd",
        "http://me:secret@host",
        "gopher://host",
        "x",
        "http://h/?q",
    ] {
        assert!(UkCarbonIntensity::new(bad, "").is_err(), "{bad}");
    }
}
