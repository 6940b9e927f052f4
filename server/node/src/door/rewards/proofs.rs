//! `/v1/rewards/checkpoint` and `/v1/rewards/proofs`: that nobody rewrites the ledger.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use kwaainet_core::{Principal, Scope};
use kwaainet_openapi::{ConsistencyProof, InclusionProof};
use kwaainet_rewards::TransferId;
use kwaainet_store::Log;
use serde::Deserialize;

use super::super::logs::{self, ConsistencyQuery};
use super::super::path::ApiQuery;
use super::{ACCOUNTS_MAX, ApiError, App, identifier, subject};

/// Signs the head of the ledger as it is now.
#[utoipa::path(
    get,
    path = "/v1/rewards/checkpoint",
    tag = "rewards",
    operation_id = "retrieveRewardsCheckpoint",
    responses(
        (status = 200, description = "A signed note (C2SP, tlog-checkpoint).", body = String, content_type = "text/plain"),
        (status = 409, description = "The node's key is sealed.", body = kwaainet_openapi::ErrorBody),
    )
)]
pub(crate) async fn checkpoint(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Rewards)?;
    logs::checkpoint(&app, Log::Ledger).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct InclusionQuery {
    transfer: Option<String>,
    size: Option<String>,
}

/// Proves that a transfer is in the ledger.
#[utoipa::path(
    get,
    path = "/v1/rewards/proofs/inclusion",
    tag = "rewards",
    operation_id = "proveRewardsInclusion",
    params(
        ("transfer" = String, Query, pattern = "^[0-9a-f]{32}$", description = "The transfer's id."),
        ("size" = Option<u64>, Query, minimum = 1, maximum = 9_223_372_036_854_775_807_i64, description = "In the ledger of so many transfers; of all if not given."),
    ),
    responses((status = 200, description = "The proof.", body = InclusionProof))
)]
pub(crate) async fn inclusion(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<InclusionQuery>,
) -> Result<Json<InclusionProof>, ApiError> {
    let subject = subject(&principal)?;
    let id = query
        .transfer
        .ok_or_else(|| ApiError::missing("transfer"))?;
    let size = logs::number("size", query.size.as_deref())?;
    let found = app
        .store
        .ledger_transfer(TransferId(identifier("transfer", &id)?))
        .await?;
    let missing = || {
        let message = format!("There is no transfer '{id}' of yours.");
        ApiError::not_found("transfer", "transfer_not_found", message)
    };
    let found = found.ok_or_else(missing)?;
    if subject.is_some() {
        let own = app
            .store
            .ledger_accounts(subject, None, ACCOUNTS_MAX)
            .await?;
        let ends = [found.posted.transfer.debit, found.posted.transfer.credit];
        if !own.iter().any(|account| ends.contains(&account.id)) {
            return Err(missing());
        }
    }
    let leaf = found.posted.leaf();
    let leaf = (Some(&leaf[..]), found.posted.leaf_hash());
    let proof = logs::inclusion(&app, Log::Ledger, found.index, size, leaf).await?;
    Ok(Json(proof))
}

/// Proves that the ledger of some time is the beginning of a later one.
#[utoipa::path(
    get,
    path = "/v1/rewards/proofs/consistency",
    tag = "rewards",
    operation_id = "proveRewardsConsistency",
    params(
        ("first" = u64, Query, minimum = 1, maximum = 9_223_372_036_854_775_807_i64, description = "How many transfers the earlier one had."),
        ("second" = Option<u64>, Query, minimum = 1, maximum = 9_223_372_036_854_775_807_i64, description = "How many the later one had; all if not given."),
    ),
    responses((status = 200, description = "The proof.", body = ConsistencyProof))
)]
pub(crate) async fn consistency(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<ConsistencyQuery>,
) -> Result<Json<ConsistencyProof>, ApiError> {
    principal.require(Scope::Rewards)?;
    Ok(Json(logs::consistency(&app, Log::Ledger, &query).await?))
}
