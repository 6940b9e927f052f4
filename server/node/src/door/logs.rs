//! What the ledger and the audit log have in common: signed heads and proofs.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE64, HEXLOWER};
use kwaainet_core::merkle::{Hash, ProofPlan, empty_root, root_from_inclusion};
use kwaainet_openapi::{ConsistencyProof, InclusionProof};
use kwaainet_store::Log;
use serde::Deserialize;

use super::{ApiError, App};
use crate::rewards;

/// Which two sizes of a log.
#[derive(Debug, Deserialize)]
pub(crate) struct ConsistencyQuery {
    first: Option<String>,
    second: Option<String>,
}

/// The head of a log as a signed note.
pub(crate) async fn checkpoint(app: &App, log: Log) -> Result<Response, ApiError> {
    let Some(key) = &app.key else {
        let message =
            "the node's key is sealed and its passphrase was not given, so nothing is signed";
        let status = StatusCode::CONFLICT;
        return Err(ApiError::refused(status, Some("key_sealed"), message));
    };
    let note = rewards::checkpoint(&app.store, app.clock.as_ref(), key, log).await?;
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((kind, note).into_response())
}

/// That the entry with this index is in the log of so many entries, or of all. `leaf` are its bytes.
pub(crate) async fn inclusion(
    app: &App,
    log: Log,
    index: u64,
    size: Option<u64>,
    (leaf, leaf_hash): (Option<&[u8]>, Hash),
) -> Result<InclusionProof, ApiError> {
    let size = match size {
        Some(size) => size,
        None => app.store.log_head(log).await?.size,
    };
    let no_such = || no_such_size("size");
    let plan = ProofPlan::inclusion(index, size).map_err(|_| no_such())?;
    let proof = app.store.prove(log, &plan).await?.ok_or_else(no_such)?;
    let root = root_from_inclusion(&leaf_hash, index, size, &proof);
    let root = root.map_err(|bad| ApiError::internal(bad.to_string()))?;
    Ok(InclusionProof {
        object: "log.inclusion_proof",
        index,
        size,
        leaf: leaf.map(|leaf| BASE64.encode(leaf)),
        leaf_hash: HEXLOWER.encode(&leaf_hash),
        root: HEXLOWER.encode(&root),
        hashes: hexadecimal(&proof),
    })
}

/// That the log of `first` entries is the beginning of the log of `second`, or of the whole.
pub(crate) async fn consistency(
    app: &App,
    log: Log,
    query: &ConsistencyQuery,
) -> Result<ConsistencyProof, ApiError> {
    let first = match number("first", query.first.as_deref())? {
        Some(first) => first,
        None => return Err(ApiError::missing("first")),
    };
    let second = match number("second", query.second.as_deref())? {
        Some(second) => second,
        None => app.store.log_head(log).await?.size,
    };
    let no_such = || no_such_size("first");
    let plan = ProofPlan::consistency(first, second).map_err(|_| no_such())?;
    let proof = app.store.prove(log, &plan).await?;
    let proof = proof.ok_or_else(|| no_such_size("second"))?;
    Ok(ConsistencyProof {
        object: "log.consistency_proof",
        first,
        second,
        first_root: HEXLOWER.encode(&root(app, log, first).await?),
        second_root: HEXLOWER.encode(&root(app, log, second).await?),
        hashes: hexadecimal(&proof),
    })
}

async fn root(app: &App, log: Log, size: u64) -> Result<Hash, ApiError> {
    let Some(plan) = ProofPlan::root(size) else {
        return Ok(empty_root());
    };
    let root = app.store.prove(log, &plan).await?.unwrap_or_default();
    root.first().copied().ok_or_else(|| no_such_size("second"))
}

/// A number of a query.
pub(crate) fn number(param: &'static str, text: Option<&str>) -> Result<Option<u64>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    // SQLite's numbers end there.
    let number = text
        .parse()
        .ok()
        .filter(|number| *number <= i64::MAX as u64);
    number.map(Some).ok_or_else(|| {
        let message = format!("Invalid '{param}': expected a whole number.");
        ApiError::invalid(param, "invalid_value", message)
    })
}

/// How many are wanted, at most `max` and as many if not told.
pub(crate) fn limit(text: Option<&str>, max: u32) -> Result<u32, ApiError> {
    let Some(text) = text else { return Ok(max) };
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| {
        let message = format!("Invalid 'limit': expected a number from 1 to {max}.");
        ApiError::invalid("limit", "invalid_value", message)
    })
}

fn no_such_size(param: &'static str) -> ApiError {
    let message = format!("Invalid '{param}': the log has no such size.");
    ApiError::invalid(param, "invalid_value", message)
}

fn hexadecimal(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| HEXLOWER.encode(hash)).collect()
}
