//! `POST /v1/kwaai/route`: where a request would go now, and why. Runs nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{
    BackendId, Chosen, Dropped, Estimate, Job, Place, Prefer, Principal, Route, RouteError,
};
use kwaainet_openapi::{
    RouteCandidate, RouteDropped, RouteEstimate, RoutePlace, RoutePlan, RouteRequest,
};
use serde_json::{Map, Value};

use super::body::ApiJson;
use super::constraints::Demands;
use super::{ApiError, App, chat, completions, embeddings};

/// Explains where a request would go.
#[utoipa::path(
    post,
    path = "/v1/kwaai/route",
    tag = "inference",
    operation_id = "explainRoute",
    request_body = RouteRequest,
    responses((status = 200, description = "Who would be asked, in order, and why not the others.",
        body = RoutePlan))
)]
pub(crate) async fn explain(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(body): ApiJson<Map<String, Value>>,
) -> Result<Json<RoutePlan>, ApiError> {
    let job = job(body, demands)?;
    let route = match app.hallway.plan(&principal, &job) {
        Ok(route) => route,
        // That nobody may serve it is an answer too.
        Err(RouteError::Unavailable { dropped, .. } | RouteError::Unfulfilled { dropped, .. }) => {
            Route {
                candidates: Vec::new(),
                tied: false,
                dropped,
            }
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Json(RoutePlan {
        object: "kwaai.route",
        model: job.model.to_string(),
        prefer: match job.constraints.prefer {
            Prefer::Local => "local",
            Prefer::Fast => "fast",
            Prefer::Green => "green",
            Prefer::Cheap => "cheap",
        },
        candidates: route.candidates.iter().map(candidate).collect(),
        tied: tied(&route),
        dropped: route.dropped.iter().map(dropped).collect(),
    }))
}

fn job(body: Map<String, Value>, demands: Demands) -> Result<Job, ApiError> {
    let has = |field: &str| body.contains_key(field);
    let fields = (has("messages"), has("prompt"), has("input"));
    let body = Value::Object(body);
    match fields {
        (true, false, false) => chat::job(body, demands),
        (false, true, false) => completions::job(body, demands),
        (false, false, true) => embeddings::job(body, demands),
        _ => {
            let message = "Give one of 'messages', 'prompt' and 'input', as for a chat, a \
                           continuation or embeddings.";
            Err(ApiError::invalid("messages", "invalid_value", message))
        }
    }
}

/// The names of those who are told of it together.
fn tied(route: &Route) -> Vec<String> {
    let both = route.candidates.iter().take(if route.tied { 2 } else { 0 });
    both.map(|one| one.backend.to_string()).collect()
}

fn candidate(chosen: &Chosen) -> RouteCandidate {
    RouteCandidate {
        place: place(&chosen.backend, &chosen.place),
        price: chosen.price,
        gco2_per_1k: chosen.gco2_per_1k,
        estimate: chosen.estimate.as_ref().map(estimate),
    }
}

fn dropped(dropped: &Dropped) -> RouteDropped {
    RouteDropped {
        place: place(&dropped.backend, &dropped.place),
        reason: dropped.reason.to_string(),
    }
}

fn place(backend: &BackendId, place: &Place) -> RoutePlace {
    let peer = place.peer();
    RoutePlace {
        backend: backend.to_string(),
        place: place.as_str(),
        node: peer.map(|peer| peer.node.to_string()),
        tier: peer.map(|peer| peer.tier.to_string()),
        region: peer.and_then(|peer| peer.region.clone()),
    }
}

fn estimate(estimate: &Estimate) -> RouteEstimate {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    RouteEstimate {
        queue_ms: ms(estimate.queue),
        loading_ms: ms(estimate.loading),
        prefill_ms: ms(estimate.prefill),
        rtt_ms: ms(estimate.rtt),
        decode_ms: ms(estimate.decode),
        first_token_ms: ms(estimate.first_token()),
        finish_ms: ms(estimate.finish()),
        prompt_tokens: estimate.prompt_tokens,
        cached_tokens: estimate.cached_tokens,
        answer_tokens: estimate.answer_tokens,
        is_guess: estimate.is_guess,
    }
}
