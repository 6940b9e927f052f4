//! `POST /v1/rerank`, in the shape that Cohere and Jina share. A document's score is the cosine of the
//! angle between its vector and the query's.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{EmbedInput, Job, JobId, Principal, Priority, Work};
use kwaainet_openapi::{
    RerankApiVersion, RerankMeta, RerankRequest, RerankResult, RerankText, RerankTokens,
    RerankUsage, Reranked,
};
use serde_json::Value;

use super::body::ApiJson;
use super::constraints::Demands;
use super::footprint::Figures;
use super::{ApiError, App, params, unsupported};

const DOCUMENTS_MAX: usize = 1_000;

/// Ranks documents by how near they are to a query.
#[utoipa::path(
    post,
    path = "/v1/rerank",
    tag = "inference",
    operation_id = "createRerank",
    request_body = RerankRequest,
    responses((status = 200, description = "The documents, best first.", body = Reranked))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<RerankRequest>,
) -> Result<(Figures, Json<Reranked>), ApiError> {
    rank(&app, principal, demands, request).await
}

/// The same where Cohere's own clients look for it.
#[utoipa::path(
    post,
    path = "/v2/rerank",
    tag = "inference",
    operation_id = "createRerankV2",
    request_body = RerankRequest,
    responses((status = 200, description = "The documents, best first.", body = Reranked))
)]
pub(crate) async fn create_v2(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<RerankRequest>,
) -> Result<(Figures, Json<Reranked>), ApiError> {
    rank(&app, principal, demands, request).await
}

/// The same where clients of other servers look for it.
#[utoipa::path(
    post,
    path = "/rerank",
    tag = "inference",
    operation_id = "createRerankBare",
    request_body = RerankRequest,
    responses((status = 200, description = "The documents, best first.", body = Reranked))
)]
pub(crate) async fn create_bare(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<RerankRequest>,
) -> Result<(Figures, Json<Reranked>), ApiError> {
    rank(&app, principal, demands, request).await
}

async fn rank(
    app: &App,
    principal: Principal,
    demands: Demands,
    request: RerankRequest,
) -> Result<(Figures, Json<Reranked>), ApiError> {
    unsupported::check_rerank(&request.other)?;
    let model = params::model(request.model)?;
    let constraints = demands.with(request.kwaai)?;
    let query = text(params::required(request.query, "query")?, "query")?;
    let documents = documents(request.documents)?;
    let top = params::integer(request.top_n, "top_n", (1, i64::MAX))?;
    let top = top.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));

    let inputs = std::iter::once(&query).chain(&documents).cloned();
    let job = Job::new(
        JobId::random(),
        model.clone(),
        Work::Embed {
            inputs: inputs.map(EmbedInput::Text).collect(),
            dimensions: None,
        },
    )
    .within(constraints);
    let id = format!("rerank-{}", job.id);
    let embedded = app
        .hallway
        .embed_counted(principal, job, Priority::Interactive)
        .await;
    let (embedded, footprint) =
        embedded.map_err(|error| ApiError::from(error).renamed("input", "documents"))?;

    let ranked = by_nearness(&embedded.vectors).into_iter().take(top);
    let keep_text = request.return_documents.unwrap_or(false);
    let results = ranked.map(|(index, cosine)| RerankResult {
        index,
        relevance_score: score(cosine),
        document: keep_text.then(|| RerankText {
            text: documents[index].clone(),
        }),
    });
    let tokens = embedded.prompt_tokens;
    let reranked = Reranked {
        id,
        object: "list",
        model: model.to_string(),
        results: results.collect(),
        usage: RerankUsage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
        meta: RerankMeta {
            api_version: RerankApiVersion { version: "2" },
            tokens: RerankTokens {
                input_tokens: tokens,
            },
        },
    };
    Ok((Figures(footprint), Json(reranked)))
}

/// A cosine as a score from 0 to 1: what points away from the query is as bad as what has nothing to do
/// with it.
pub(crate) fn score(cosine: f32) -> f32 {
    cosine.clamp(0.0, 1.0)
}

/// The vectors after the first, by their nearness to it; the order of equals is their own.
fn by_nearness(vectors: &[Vec<f32>]) -> Vec<(usize, f32)> {
    let Some((query, documents)) = vectors.split_first() else {
        return Vec::new();
    };
    let cosine = |vector: &Vec<f32>| {
        let products = query.iter().zip(vector);
        products.map(|(a, b)| f64::from(a * b)).sum::<f64>() as f32
    };
    let mut ranked: Vec<_> = documents.iter().map(cosine).enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked
}

fn documents(documents: Option<Vec<Value>>) -> Result<Vec<String>, ApiError> {
    let documents = params::required(documents, "documents")?;
    if documents.is_empty() {
        let message = "Invalid 'documents': empty array. Expected at least one document.";
        return Err(ApiError::invalid("documents", "empty_array", message));
    }
    if documents.len() > DOCUMENTS_MAX {
        let (param, code) = ("documents", "array_above_max_length");
        let message = format!("Invalid 'documents': more than {DOCUMENTS_MAX}.");
        return Err(ApiError::invalid(param, code, message));
    }
    let one = |(index, document): (usize, Value)| {
        let param = format!("documents[{index}]");
        let found = match &document {
            Value::Object(fields) => fields.get("text").and_then(Value::as_str),
            document => document.as_str(),
        };
        let found = found.ok_or_else(|| {
            let message =
                format!("Invalid type for '{param}': expected a string or an object with 'text'.");
            ApiError::invalid(param.as_str(), "invalid_type", message)
        })?;
        text(found.to_owned(), &param)
    };
    documents.into_iter().enumerate().map(one).collect()
}

fn text(text: String, param: &str) -> Result<String, ApiError> {
    if text.trim().is_empty() {
        let message = format!("Invalid '{param}': it is empty.");
        return Err(ApiError::invalid(param, "invalid_value", message));
    }
    Ok(text)
}
