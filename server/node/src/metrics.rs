//! Every metric of the node, declared in one place. No label holds a client's own word, so their
//! number is bounded.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use kwaainet_candle::CandleBackend;
use kwaainet_core::{Admission, Receipt};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

const REQUESTS: &str = "kwaainet_http_requests_total";
const REQUEST_SECONDS: &str = "kwaainet_http_response_head_seconds";
const JOBS: &str = "kwaainet_jobs_total";
const JOBS_ADMITTED: &str = "kwaainet_jobs_admitted";
const JOB_SECONDS: &str = "kwaainet_job_seconds";
const FIRST_TOKEN_SECONDS: &str = "kwaainet_job_first_token_seconds";
const PROMPT_TOKENS: &str = "kwaainet_prompt_tokens_total";
const COMPLETION_TOKENS: &str = "kwaainet_completion_tokens_total";
const JOBS_RUNNING: &str = "kwaainet_jobs_running";
const JOBS_WAITING: &str = "kwaainet_jobs_waiting";
const SEQUENCES_RUNNING: &str = "kwaainet_engine_sequences_running";
const SEQUENCES_QUEUED: &str = "kwaainet_engine_sequences_queued";
const SEQUENCES_PARKED: &str = "kwaainet_engine_sequences_parked";
const KV_TOKENS: &str = "kwaainet_engine_kv_tokens";
const CACHED_PAGES: &str = "kwaainet_engine_cached_pages";
const CACHED_TOKENS: &str = "kwaainet_engine_cached_tokens";
const DRAFTED_TOKENS: &str = "kwaainet_engine_drafted_tokens";
const ACCEPTED_TOKENS: &str = "kwaainet_engine_accepted_tokens";

/// Seconds, from a millisecond to ten minutes.
const BUCKETS: [f64; 14] = [
    0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// Where metrics are written and read. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    engine: Option<Arc<CandleBackend>>,
}

impl Metrics {
    /// The process's metrics; with the engine whose gauges are read when asked for.
    pub fn new(engine: Option<Arc<CandleBackend>>) -> Self {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        let handle = HANDLE.get_or_init(install).clone();
        Self { handle, engine }
    }

    /// One HTTP request, up to the head of its response.
    pub fn request(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let labels = [
            ("method", known_method(method).to_owned()),
            ("route", route.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        counter!(REQUESTS, &labels).increment(1);
        histogram!(REQUEST_SECONDS).record(took);
    }

    /// One job that is over.
    pub fn receipt(&self, receipt: &Receipt) {
        let labels = [
            ("work", receipt.work),
            ("outcome", receipt.outcome.as_str()),
        ];
        counter!(JOBS, &labels).increment(1);
        counter!(PROMPT_TOKENS).increment(u64::from(receipt.usage.prompt_tokens));
        counter!(COMPLETION_TOKENS).increment(u64::from(receipt.usage.completion_tokens));
        histogram!(JOB_SECONDS).record(receipt.duration_ms as f64 / 1e3);
        if let Some(ms) = receipt.first_token_ms {
            histogram!(FIRST_TOKEN_SECONDS).record(ms as f64 / 1e3);
        }
    }

    /// All of them in Prometheus' text format.
    pub fn render(&self, admission: &Admission) -> String {
        let load = admission.load();
        gauge!(JOBS_ADMITTED).set(admission.admitted() as f64);
        gauge!(JOBS_RUNNING).set(load.running as f64);
        gauge!(JOBS_WAITING).set(load.waiting as f64);
        if let Some(engine) = &self.engine {
            let stats = engine.engine_stats();
            gauge!(SEQUENCES_RUNNING).set(stats.running as f64);
            gauge!(SEQUENCES_QUEUED).set(stats.queued as f64);
            gauge!(SEQUENCES_PARKED).set(stats.parked as f64);
            gauge!(KV_TOKENS).set(stats.kv_tokens as f64);
            gauge!(CACHED_PAGES).set(stats.cached_pages as f64);
            gauge!(CACHED_TOKENS).set(stats.cached_tokens as f64);
            gauge!(DRAFTED_TOKENS).set(stats.drafted as f64);
            gauge!(ACCEPTED_TOKENS).set(stats.accepted as f64);
        }
        self.handle.render()
    }

    /// Folds what was recorded into the histograms, which would grow without it.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn install() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .expect("there is at least one bucket")
        .build_recorder();
    let handle = recorder.handle();
    // Fails only if the process has another recorder, which this one is then not seen through.
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder is installed; /metrics will be empty");
    }
    describe();
    handle
}

fn describe() {
    describe_counter!(REQUESTS, "HTTP requests by method, route and status");
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time to the head of the response"
    );
    describe_counter!(JOBS, "Jobs that are over, by work and outcome");
    describe_histogram!(
        JOB_SECONDS,
        Unit::Seconds,
        "Time from admission to the end of a job"
    );
    describe_histogram!(
        FIRST_TOKEN_SECONDS,
        Unit::Seconds,
        "Time from admission to the first token"
    );
    describe_counter!(PROMPT_TOKENS, "Tokens of prompts");
    describe_counter!(COMPLETION_TOKENS, "Tokens generated");
    describe_gauge!(JOBS_RUNNING, "Jobs that hold a slot");
    describe_gauge!(JOBS_WAITING, "Jobs that wait for a slot");
    describe_gauge!(SEQUENCES_RUNNING, "Sequences that the engine computes");
    describe_gauge!(SEQUENCES_QUEUED, "Sequences that wait for the engine");
    describe_gauge!(SEQUENCES_PARKED, "Sequences whose reader is too slow");
    describe_gauge!(KV_TOKENS, "Tokens for which keys and values are held");
    describe_gauge!(
        CACHED_PAGES,
        "Pages of keys and values kept for prompts that begin alike"
    );
    describe_gauge!(
        CACHED_TOKENS,
        "Tokens that needed no computing, by the models that are loaded now"
    );
    describe_gauge!(
        DRAFTED_TOKENS,
        "Tokens guessed, by the models that are loaded now"
    );
    describe_gauge!(
        ACCEPTED_TOKENS,
        "Guessed tokens that were right, by the models that are loaded now"
    );
}

/// A method is the client's own word, so only the usual ones are named.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        _ => "other",
    }
}
