//! Energy and carbon of answers, the node's figures, and the Carbon Aware SDK's shape.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use kwaainet::carbon::Setup;
use kwaainet::config::{Carbon, Config, Contributes, Power};
use kwaainet_carbon::{LiveSource, UkCarbonIntensity};
use kwaainet_core::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::harness::{self, Answer, EMBEDDER, MODEL, SOON, TestNode};

fn config() -> Config {
    Config {
        carbon: Carbon {
            meter: kwaainet::config::EnergyGauge::CpuTime,
            country: "DE".to_owned(),
            idle_watts: 1.0,
            embodied_kg: 300.0,
            ..Carbon::default()
        },
        ..Config::default()
    }
}

fn chat(more: Value) -> Value {
    let mut body = json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
    });
    let (Value::Object(body_fields), Value::Object(more)) = (&mut body, more) else {
        unreachable!("both are objects")
    };
    body_fields.extend(more);
    body
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer
        .headers
        .get(name)
        .map(|value| value.to_str().expect("it is text"))
}

#[tokio::test]
async fn an_answer_carries_what_it_took() {
    let node = TestNode::with(config()).await;
    let answer = node.post("/v1/chat/completions", chat(json!({}))).await;
    assert_eq!(answer.status, StatusCode::OK);
    let energy: f64 = header(&answer, "x-kwaai-energy-j")
        .expect("energy")
        .parse()
        .expect("a number");
    let carbon: f64 = header(&answer, "x-kwaai-carbon-g")
        .expect("carbon")
        .parse()
        .expect("a number");
    assert!(energy >= 0.0 && (carbon - energy / 3.6e6 * 380.95).abs() < 1e-6);
    assert_eq!(header(&answer, "x-kwaai-energy-method"), Some("cpu_time"));
    assert_eq!(header(&answer, "x-kwaai-energy-uncertainty"), Some("50"));
    assert!(
        answer.json()["usage"].get("kwaai").is_none(),
        "nobody asked for it"
    );

    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    node.settled().await;
    let kept = node.get(&format!("/v1/carbon/requests/{id}")).await;
    assert_eq!(kept.status, StatusCode::OK, "{}", kept.text);
    let kept = kept.json();
    assert_eq!(kept["model"], MODEL);
    assert_eq!(kept["cost"]["energy_j"].as_f64(), Some(energy));
    assert_eq!(kept["cost"]["intensity_evidence"], "yearly");
    assert!(
        kept["cost"]["sci"]["g_per_request"]
            .as_f64()
            .expect("a score")
            >= carbon
    );
    let unknown = node.get("/v1/carbon/requests/chatcmpl-nothing").await;
    let expected = (404, Some("request_not_found".to_owned()));
    let (status, _, code, _) = unknown.error();
    assert_eq!((status, code), expected);

    for (path, body) in [
        ("/v1/embeddings", json!({"model": EMBEDDER, "input": "x"})),
        (
            "/v1/rerank",
            json!({"model": EMBEDDER, "query": "x", "documents": ["y"]}),
        ),
        ("/api/embed", json!({"model": EMBEDDER, "input": "x"})),
        ("/v1/completions", json!({"model": MODEL, "prompt": "x"})),
    ] {
        let answer = node.post(path, body).await;
        assert!(
            header(&answer, "x-kwaai-energy-j").is_some(),
            "{path}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn usage_says_it_on_request() {
    let node = TestNode::with(config()).await;
    let asked = chat(json!({"kwaai": {"carbon": true}}));
    let answer = node.post("/v1/chat/completions", asked).await.json();
    let told = &answer["usage"]["kwaai"];
    assert_eq!(told["method"], "cpu_time", "{answer}");
    assert!(told["energy_j"].is_number() && told["carbon_g"].is_number());
    assert!(
        told["embodied_g"]
            .as_f64()
            .is_some_and(|grams| grams >= 0.0)
    );

    let mut stream = chat(json!({"stream": true, "stream_options": {"include_usage": true}}));
    let plain = node.post("/v1/chat/completions", stream.clone()).await;
    let comment = plain
        .text
        .lines()
        .find(|line| line.starts_with(": x-kwaai-energy-j "));
    assert!(
        comment.is_some_and(|line| line.contains("x-kwaai-carbon-g")),
        "{}",
        plain.text
    );
    let last = plain.chunks().pop().expect("a chunk");
    assert!(last["usage"].get("kwaai").is_none());
    stream["kwaai"] = json!({"carbon": true});
    let told = node.post("/v1/chat/completions", stream).await;
    let last = told.chunks().pop().expect("a chunk");
    assert!(last["usage"]["kwaai"]["energy_j"].is_number(), "{last}");

    let body = json!({"model": MODEL, "prompt": "x"}).to_string();
    let request = Request::post("/v1/completions")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("x-kwaai-carbon", "true")
        .body(body.into())
        .expect("it is a request");
    let answer = node.ask(request).await.json();
    assert!(answer["usage"]["kwaai"]["energy_j"].is_number(), "{answer}");
}

#[tokio::test]
async fn the_nodes_figures_add_up() {
    let node = TestNode::with(config()).await;
    for _ in 0..3 {
        node.post("/v1/chat/completions", chat(json!({}))).await;
    }
    node.settled().await;
    let shown = node.get("/v1/carbon/node").await.json();
    let energy = &shown["energy"];
    let number = |field: &str| energy[field].as_u64().expect("a number");
    assert_eq!(
        number("total_uj"),
        number("requests_uj") + number("unattributed_uj")
    );
    assert!(number("total_uj") > 0);
    assert_eq!(shown["intensity"]["source"], "yearly_table");
    assert_eq!(shown["intensity"]["kind"], "average");
    assert!(
        shown["intensity"]["attribution"]
            .as_str()
            .is_some_and(|by| by.contains("Ember"))
    );
    assert_eq!(
        (&shown["marginal"], &shown["renewable"]),
        (&Value::Null, &Value::Null)
    );

    let report = node.get("/v1/carbon/report").await.json();
    assert_eq!(report["total"]["requests"]["requests"], 3);
    let sum: f64 = ["requests_energy_j", "unattributed_energy_j"]
        .iter()
        .map(|field| report["total"][field].as_f64().expect("a number"))
        .sum();
    assert!((sum - report["total"]["energy_j"].as_f64().expect("a number")).abs() < 1e-9);
    assert_eq!(report["models"][0]["name"], MODEL);
    assert_eq!(report["methods"][0]["name"], "cpu_time");
    let csv = node.get("/v1/carbon/report?format=csv").await;
    assert_eq!(
        header(&csv, "content-type"),
        Some("text/csv; charset=utf-8")
    );
    assert_eq!(csv.text.lines().count(), 2, "{}", csv.text);
    let page = node.get("/v1/carbon/report?format=html").await;
    assert!(page.text.contains("<svg") && header(&page, "content-security-policy").is_some());
    let empty = node
        .get("/v1/carbon/report?month=1999-01&format=html")
        .await;
    assert!(empty.text.contains("Nothing was metered"));
    for (query, param) in [("month=1999-1", "month"), ("format=pdf", "format")] {
        let refused = node.get(&format!("/v1/carbon/report?{query}")).await;
        assert_eq!(refused.error().3.as_deref(), Some(param));
    }
}

#[tokio::test]
async fn a_restart_forgets_no_energy() {
    let node = TestNode::with(config()).await;
    node.post("/v1/chat/completions", chat(json!({}))).await;
    node.settled().await;
    let before = node.get("/v1/carbon/report").await.json();
    let node = node.restarted().await;
    let after = node.get("/v1/carbon/report").await.json();
    let total = |report: &Value| report["total"]["energy_j"].as_f64().expect("a number");
    assert!(total(&after) >= total(&before) && total(&before) > 0.0);
}

#[tokio::test]
async fn what_is_not_metered_is_not_said() {
    let mut config = config();
    config.carbon.meter = kwaainet::config::EnergyGauge::Off;
    let node = TestNode::with(config).await;
    let answer = node
        .post(
            "/v1/chat/completions",
            chat(json!({"kwaai": {"carbon": true}})),
        )
        .await;
    assert_eq!(header(&answer, "x-kwaai-energy-j"), None);
    assert!(answer.json()["usage"].get("kwaai").is_none());
    let shown = node.get("/v1/carbon/node").await.json();
    assert_eq!(shown["energy"]["metered"], false);
}

#[tokio::test]
async fn a_node_that_keeps_to_itself_says_so() {
    let config = Config {
        power: Power {
            contribute: Contributes::Never,
            declared_renewable: 0.8,
            ..Power::default()
        },
        ..config()
    };
    let node = TestNode::with(config).await;
    let shown = node.get("/v1/carbon/node").await.json();
    assert_eq!(shown["power"]["contributes"], false);
    assert!(
        shown["power"]["reason"]
            .as_str()
            .is_some_and(|why| why.contains("owner"))
    );
    assert_eq!(shown["renewable"]["evidence"], "declared");
    assert_eq!(
        shown["renewable"]["matched_last_hour"],
        Value::Null,
        "a word matches nothing"
    );
    let answer = node.post("/v1/chat/completions", chat(json!({}))).await;
    assert_eq!(answer.status, StatusCode::OK, "its owner is served");
}

/// A source whose half-hours begin now.
async fn source() -> Arc<dyn LiveSource> {
    let start = SystemClock::default().unix_ms() / 1_800_000 * 1_800_000;
    let half = move |n: i64, grams: u32| {
        let at = |n: i64| kwaainet_carbon::Instant(start + n * 1_800_000).to_string();
        json!({"from": at(n), "to": at(n + 1), "intensity": {"forecast": grams, "actual": null, "index": "low"}})
    };
    let now = json!({"data": [half(0, 200)]}).to_string();
    let later =
        json!({"data": [half(0, 200), half(1, 90), half(2, 40), half(3, 60), half(4, 300)]})
            .to_string();
    let router = Router::new()
        .route("/intensity", get(move || async move { now }))
        .route("/intensity/{from}/fw48h", get(move || async move { later }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback listens");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = async move { axum::serve(listener, router).await };
    let _server = TaskTracker::new().spawn(serving);
    Arc::new(UkCarbonIntensity::new(&url, "GB").expect("it is sound"))
}

async fn with_source() -> TestNode {
    let config = config();
    let mut setup = Setup::without_sources(&config).expect("processor time is always there");
    setup.sources = vec![source().await];
    let node = TestNode::metered(config, setup).await;
    let heard = async {
        while node.get("/v1/carbon/best-window").await.json()["forecasts"] == json!([]) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while node.get("/v1/carbon/node").await.json()["intensity"]["evidence"] != "live" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, heard)
        .await
        .expect("it is heard");
    node
}

#[tokio::test]
async fn a_live_source_goes_before_the_table_and_foresees() {
    let node = with_source().await;
    let shown = node.get("/v1/carbon/node").await.json();
    assert_eq!(shown["intensity"]["g_per_kwh"], 200.0);
    assert_eq!(shown["intensity"]["source"], "uk_carbon_intensity");
    let window = node
        .get("/v1/carbon/best-window?duration_minutes=60")
        .await
        .json();
    let forecast = &window["forecasts"][0];
    assert_eq!(forecast["kind"], "average");
    assert_eq!(forecast["best"]["g_per_kwh"], 50.0, "{window}");
    assert!(
        forecast["now"]["g_per_kwh"]
            .as_f64()
            .is_some_and(|now| now > 50.0)
    );
    for (query, param) in [
        ("duration_minutes=0", "duration_minutes"),
        ("from=soon", "from"),
        ("to=2026-13-01", "to"),
    ] {
        let refused = node.get(&format!("/v1/carbon/best-window?{query}")).await;
        assert_eq!(refused.error().3.as_deref(), Some(param));
    }
    // Routing knows it too.
    let explained = async {
        loop {
            let snapshot = node.snapshot();
            if snapshot
                .here
                .grid
                .is_some_and(|grid| grid.g_per_kwh == 200.0)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, explained)
        .await
        .expect("it is told");
}

#[tokio::test]
async fn places_are_shown_as_the_carbon_aware_sdk_has_them() {
    let node = with_source().await;
    let seen = node.get("/emissions/bylocation?location=gb").await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.text);
    let seen = seen.json();
    assert_eq!(
        (&seen[0]["rating"], &seen[0]["duration"]),
        (&json!(200.0), &json!("00:30:00"))
    );
    let both = node
        .get("/emissions/bylocations?location=GB&location=FR")
        .await
        .json();
    assert_eq!(both.as_array().map(Vec::len), Some(2));
    assert_eq!(both[1]["duration"], "365.00:00:00");
    let best = node
        .get("/emissions/bylocations/best?location=GB&location=FR")
        .await
        .json();
    assert_eq!(
        (best.as_array().map(Vec::len), &best[0]["location"]),
        (Some(1), &json!("FR"))
    );
    let long_ago = node
        .get("/emissions/bylocation?location=GB&time=2001-01-01&toTime=2001-01-02")
        .await;
    assert_eq!(long_ago.status, StatusCode::NO_CONTENT);

    let current = node
        .get("/emissions/forecasts/current?location=GB&windowSize=60")
        .await;
    let current = current.json();
    let forecast = &current[0];
    assert_eq!(forecast["windowSize"], 60);
    assert_eq!(forecast["optimalDataPoints"][0]["value"], 50.0);
    assert_eq!(forecast["forecastData"].as_array().map(Vec::len), Some(4));
    let at = forecast["requestedAt"].as_str().expect("a time");
    let later = kwaainet_carbon::Instant::parse(at)
        .expect("a time")
        .plus_ms(1_000)
        .to_string();
    let asked = json!([{"requestedAt": later, "location": "GB"}]);
    let batch = node.post("/emissions/forecasts/batch", asked).await.json();
    assert_eq!(batch[0]["forecastData"].as_array().map(Vec::len), Some(5));
    let too_early = json!([{"requestedAt": "2001-01-01T00:00:00Z", "location": "GB"}]);
    let too_early = node.post("/emissions/forecasts/batch", too_early).await;
    assert_eq!(too_early.status, StatusCode::NOT_FOUND);

    let year = "location=DE&startTime=2023-03-01&endTime=2023-04-01T00:00:00Z";
    let mean = node
        .get(&format!("/emissions/average-carbon-intensity?{year}"))
        .await
        .json();
    assert!((mean["carbonIntensity"].as_f64().expect("a mean") - 380.95).abs() < 1e-6);
    let asked = json!([{"location": "DEU", "startTime": "2023-01-01", "endTime": "2023-02-01"}]);
    let means = node
        .post("/emissions/average-carbon-intensity/batch", asked)
        .await
        .json();
    assert_eq!(means[0]["startTime"], "2023-01-01T00:00:00Z");

    for (path, status, param) in [
        ("bylocation", 400, "location"),
        ("bylocation?location=Atlantis", 400, "location"),
        ("bylocation?location=GB&time=x", 400, "time"),
        (
            "bylocation?location=GB&time=2026-01-02&toTime=2026-01-01",
            400,
            "toTime",
        ),
        ("forecasts/current?location=DE", 404, "location"),
        (
            "forecasts/current?location=GB&windowSize=-1",
            400,
            "windowSize",
        ),
        (
            "forecasts/current?location=GB&dataEndAt=2001-01-01",
            400,
            "dataEndAt",
        ),
        ("average-carbon-intensity?location=GB", 400, "startTime"),
    ] {
        let refused = node.get(&format!("/emissions/{path}")).await;
        assert_eq!(refused.status.as_u16(), status, "{path}: {}", refused.text);
        assert_eq!(
            header(&refused, "content-type"),
            Some("application/problem+json")
        );
        let problem = refused.json();
        assert_eq!(problem["status"], status);
        assert!(problem["errors"][param][0].is_string(), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_key_sees_its_own_requests_and_needs_the_scope() {
    let node = TestNode::with(config()).await;
    let carbon = node.key("carbon inference").await;
    let other = node.key("carbon").await;
    let plain = node.key("inference").await;
    let with = |key: &str, request: Request<axum::body::Body>| {
        let (mut head, body) = request.into_parts();
        let bearer = format!("Bearer {key}").parse().expect("it fits a header");
        head.headers.insert("authorization", bearer);
        Request::from_parts(head, body)
    };
    let asked = harness::post("/v1/chat/completions", chat(json!({})).to_string());
    let answer = node.ask(with(&carbon, asked)).await;
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    node.settled().await;
    let path = format!("/v1/carbon/requests/{id}");
    let mine = node.ask(with(&carbon, harness::get(&path))).await;
    assert_eq!(mine.status, StatusCode::OK, "{}", mine.text);
    let theirs = node.ask(with(&other, harness::get(&path))).await;
    assert_eq!(theirs.error().2.as_deref(), Some("request_not_found"));
    for path in [
        "/v1/carbon/node",
        "/v1/carbon/report",
        "/v1/carbon/best-window",
        &path,
    ] {
        let refused = node.ask(with(&plain, harness::get(path))).await;
        assert_eq!(
            refused.error().2.as_deref(),
            Some("insufficient_permissions"),
            "{path}"
        );
        let nobody = node.get(path).await;
        assert_eq!(
            nobody.error().2.as_deref(),
            Some("invalid_api_key"),
            "{path}"
        );
    }
    let emissions = node
        .ask(with(
            &plain,
            harness::get("/emissions/bylocation?location=DE"),
        ))
        .await;
    assert_eq!(emissions.json()["status"], 403);
}

#[tokio::test]
async fn vectors_rankings_and_speech_are_known_by_their_job() {
    let node = TestNode::new().await;
    let vectors = node
        .post("/v1/embeddings", json!({"model": EMBEDDER, "input": "a"}))
        .await;
    let asked = json!({"model": EMBEDDER, "query": "a", "documents": ["b"]});
    let ranked = node.post("/v1/rerank", asked).await;
    let mut spoken = crate::files::form(
        &[("model", harness::LISTENER)],
        Some(("speech.wav", b"sound".as_slice())),
    );
    *spoken.uri_mut() = "/v1/audio/transcriptions".parse().expect("a path");
    let heard = node.ask(spoken).await;
    let chatted = node.post("/v1/chat/completions", chat(json!({}))).await;
    for (answer, work) in [
        (&vectors, "embed"),
        (&ranked, "embed"),
        (&heard, "transcribe"),
        (&chatted, "generate"),
    ] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let job = answer.headers["x-kwaai-job"].to_str().expect("a text");
        let figures = node.get(&format!("/v1/carbon/requests/{job}")).await.json();
        assert_eq!(
            (figures["id"].as_str(), figures["work"].as_str()),
            (Some(job), Some(work))
        );
        if let Some(id) = answer.json()["id"].as_str() {
            let same = node.get(&format!("/v1/carbon/requests/{id}")).await;
            assert_eq!(same.json()["id"], job);
        }
    }
}
