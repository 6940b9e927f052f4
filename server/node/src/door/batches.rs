//! `/v1/batches`. What runs them is [`crate::batches`]; here they are made, shown and called off.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use kwaainet_core::{Principal, Priority, Usage, random_id};
use kwaainet_openapi::{
    Batch, BatchCounts, BatchErrors, BatchInputTokens, BatchList, BatchOutputTokens, BatchRequest,
    BatchUsage, ErrorBody,
};
use kwaainet_store::{BatchRecord, BatchStatus};
use serde_json::Value;

use super::body::ApiJson;
use super::files::{self, check_expiry};
use super::paging::{ListQuery, SHORT, page_of};
use super::path::{ApiPath, ApiQuery};
use super::{ApiError, App, chat, completions, embeddings, params, responses};

/// Batches of one principal that are not over.
const UNDER_WAY_MAX: u64 = 16;
/// Batches of one principal in all; those that are over are forgotten after a time.
const KEPT_MAX: u64 = 10_000;
const WINDOW_MS: i64 = 24 * 3_600 * 1_000;

/// Where the lines of a batch can go.
const ENDPOINTS: [&str; 4] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
];

/// The answer to one line, exactly as its endpoint would give it.
pub(crate) async fn answer(
    app: &App,
    principal: Principal,
    endpoint: &str,
    body: Value,
) -> Result<Value, ApiError> {
    let priority = Priority::Batch;
    match endpoint {
        "/v1/chat/completions" => chat::answer(app, principal, body, priority).await,
        "/v1/completions" => completions::answer(app, principal, body, priority).await,
        "/v1/embeddings" => embeddings::answer(app, principal, body, priority).await,
        "/v1/responses" => responses::answer(app, principal, body, priority).await,
        other => Err(ApiError::internal(format!(
            "a batch for {other} was let in"
        ))),
    }
}

/// Makes a batch, which then runs by itself after everything that somebody waits for.
#[utoipa::path(
    post,
    path = "/v1/batches",
    tag = "batches",
    operation_id = "createBatch",
    request_body = BatchRequest,
    responses((status = 200, description = "The batch.", body = Batch))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<BatchRequest>,
) -> Result<Json<Batch>, ApiError> {
    let endpoint = endpoint(params::required(request.endpoint, "endpoint")?)?;
    if params::required(request.completion_window, "completion_window")? != "24h" {
        let message = "Invalid 'completion_window': it must be '24h'.";
        let (param, code) = ("completion_window", "invalid_value");
        return Err(ApiError::invalid(param, code, message));
    }
    let output_expires_s = match request.output_expires_after {
        None => None,
        Some(expiry) => check_expiry(
            expiry.anchor,
            expiry.seconds,
            [
                "output_expires_after.anchor",
                "output_expires_after.seconds",
            ],
        )?,
    };
    let has_metadata = request.metadata.is_some();
    let metadata = params::metadata(request.metadata)?;
    let param = "input_file_id";
    let input = params::required(request.input_file_id, param)?;
    let input = files::find(&app, principal.id(), &input, param).await?;
    if input.purpose != "batch" {
        let message = "Invalid 'input_file_id': the file's purpose must be 'batch'.";
        return Err(ApiError::invalid(param, "invalid_value", message));
    }
    files::require_room(&app, principal.id(), param).await?;
    let now = app.clock.unix_ms();
    let batch = BatchRecord {
        id: format!("batch_{}", random_id()),
        principal: principal.id().clone(),
        key: principal.key().cloned(),
        endpoint: endpoint.to_owned(),
        input_file: input.id,
        metadata: has_metadata.then(|| super::body::to_value(&metadata).to_string()),
        output_expires_s: output_expires_s.map(|seconds| seconds as u32),
        status: BatchStatus::Validating,
        counts: kwaainet_store::BatchCounts::default(),
        usage: Usage::default(),
        errors: None,
        output_file: None,
        error_file: None,
        created_at_ms: now,
        expires_at_ms: now + WINDOW_MS,
        in_progress_at_ms: None,
        finalizing_at_ms: None,
        cancelling_at_ms: None,
        ended_at_ms: None,
    };
    if !app
        .store
        .insert_batch(&batch, UNDER_WAY_MAX, KEPT_MAX)
        .await?
    {
        let message = format!(
            "You have {UNDER_WAY_MAX} batches that are not over, or {KEPT_MAX} in all, which is the limit."
        );
        let code = Some("batch_limit_exceeded");
        let status = StatusCode::TOO_MANY_REQUESTS;
        return Err(ApiError::refused(status, code, message));
    }
    app.bells.batches.ring();
    Ok(Json(wire(&batch)))
}

/// Lists batches.
#[utoipa::path(
    get,
    path = "/v1/batches",
    tag = "batches",
    operation_id = "listBatches",
    params(
        ("after" = Option<String>, Query, description = "Go on after this batch."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most so many; 20 if not given."),
    ),
    responses((status = 200, description = "A page of batches, newest first.", body = BatchList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<BatchList>, ApiError> {
    let page = query.page(SHORT)?;
    let listed = app.store.batches(principal.id(), &page).await?;
    Ok(Json(page_of!(BatchList, query.found(listed)?, wire)))
}

/// Shows a batch.
#[utoipa::path(
    get,
    path = "/v1/batches/{batch_id}",
    tag = "batches",
    operation_id = "retrieveBatch",
    params(("batch_id" = String, Path, description = "The batch's id.")),
    responses((status = 200, description = "The batch.", body = Batch))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Batch>, ApiError> {
    Ok(Json(wire(&find(&app, &principal, &id).await?)))
}

/// Calls a batch off. What is done by then is kept.
#[utoipa::path(
    post,
    path = "/v1/batches/{batch_id}/cancel",
    tag = "batches",
    operation_id = "cancelBatch",
    params(("batch_id" = String, Path, description = "The batch's id.")),
    responses(
        (status = 200, description = "The batch, which stops.", body = Batch),
        (status = 409, description = "It is not to be stopped any more.", body = ErrorBody),
    )
)]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Batch>, ApiError> {
    let now = app.clock.unix_ms();
    let stopped = app.store.cancel_batch(principal.id(), &id, now).await?;
    let batch = find(&app, &principal, &id).await?;
    if !stopped {
        let status = batch.status.as_str();
        let message = format!("Cannot cancel a batch with status '{status}'.");
        let code = Some("invalid_state");
        return Err(ApiError::refused(StatusCode::CONFLICT, code, message));
    }
    app.bells.batches.ring();
    Ok(Json(wire(&batch)))
}

fn endpoint(given: String) -> Result<&'static str, ApiError> {
    let known = ENDPOINTS.into_iter().find(|known| *known == given);
    known.ok_or_else(|| {
        let message = format!(
            "Invalid 'endpoint': it must be one of {}.",
            ENDPOINTS.join(", ")
        );
        ApiError::invalid("endpoint", "invalid_value", message)
    })
}

async fn find(app: &App, principal: &Principal, id: &str) -> Result<BatchRecord, ApiError> {
    let found = app.store.batch(principal.id(), id).await?;
    found.ok_or_else(|| {
        let message = format!("No batch found with id '{id}'.");
        ApiError::not_found("batch_id", "batch_not_found", message)
    })
}

fn wire(batch: &BatchRecord) -> Batch {
    let seconds = |ms: Option<i64>| ms.map(|ms| ms / 1_000);
    let ended = |status| seconds(batch.ended_at_ms.filter(|_| batch.status == status));
    let (counts, usage) = (batch.counts, batch.usage);
    Batch {
        id: batch.id.clone(),
        object: "batch",
        endpoint: batch.endpoint.clone(),
        model: None,
        errors: batch.errors.as_ref().map(|errors| BatchErrors {
            object: "list",
            data: serde_json::from_str(errors).unwrap_or_default(),
        }),
        input_file_id: batch.input_file.clone(),
        completion_window: "24h",
        status: batch.status.as_str(),
        output_file_id: batch.output_file.clone(),
        error_file_id: batch.error_file.clone(),
        created_at: batch.created_at_ms / 1_000,
        in_progress_at: seconds(batch.in_progress_at_ms),
        expires_at: batch.expires_at_ms / 1_000,
        finalizing_at: seconds(batch.finalizing_at_ms),
        completed_at: ended(BatchStatus::Completed),
        failed_at: ended(BatchStatus::Failed),
        expired_at: ended(BatchStatus::Expired),
        cancelling_at: seconds(batch.cancelling_at_ms),
        cancelled_at: ended(BatchStatus::Cancelled),
        request_counts: BatchCounts {
            total: counts.total,
            completed: counts.completed,
            failed: counts.failed,
        },
        usage: BatchUsage {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: BatchInputTokens {
                cached_tokens: usage.cached_tokens,
            },
            output_tokens: usage.completion_tokens,
            output_tokens_details: BatchOutputTokens {
                reasoning_tokens: 0,
            },
            total_tokens: usage.prompt_tokens.saturating_add(usage.completion_tokens),
        },
        metadata: batch
            .metadata
            .as_ref()
            .and_then(|text| serde_json::from_str(text).ok()),
    }
}
