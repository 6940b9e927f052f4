//! `/v1/audit`: the audit log. A principal is told what it says of him, the owner all.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use data_encoding::{BASE64, HEXLOWER};
use kwaainet_audit::AuditOutcome;
use kwaainet_core::{Principal, PrincipalId, Scope};
use kwaainet_openapi::{
    AuditEntry, AuditEntryList, AuditOutcomeName, AuditSaid, ConsistencyProof, InclusionProof,
};
use kwaainet_store::{AuditFilter, AuditRecord, Log};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::logs::{self, ConsistencyQuery, limit};
use super::path::ApiQuery;
use super::{ApiError, App};

/// Entries of one page.
const ENTRIES_MAX: u32 = 1_000;

/// All routes of this part.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(export))
        .routes(routes!(checkpoint))
        .routes(routes!(inclusion))
        .routes(routes!(consistency))
}

#[derive(Debug, Deserialize)]
pub(crate) struct EntriesQuery {
    from: Option<String>,
    limit: Option<String>,
    subject: Option<String>,
    action: Option<String>,
    outcome: Option<String>,
    since_ms: Option<String>,
    until_ms: Option<String>,
}

/// Lists what the log says of the caller.
#[utoipa::path(
    get,
    path = "/v1/audit/entries",
    tag = "audit",
    operation_id = "listAuditEntries",
    params(
        ("from" = Option<u64>, Query, maximum = 9_223_372_036_854_775_807_i64, description = "Those from this index on; from the first if not given."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1_000, description = "At most so many; 1,000 if not given."),
        ("subject" = Option<String>, Query, description = "Whom they are about. Only the owner may name others than himself."),
        ("action" = Option<String>, Query, description = "What was done; all that begins so if it ends with a dot."),
        ("outcome" = inline(Option<AuditOutcomeName>), Query, description = "How it ended."),
        ("since_ms" = Option<u64>, Query, maximum = 9_223_372_036_854_775_807_i64, description = "From this time on, in milliseconds since 1970."),
        ("until_ms" = Option<u64>, Query, maximum = 9_223_372_036_854_775_807_i64, description = "Before this time."),
    ),
    responses((status = 200, description = "A page of entries.", body = AuditEntryList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<EntriesQuery>,
) -> Result<Json<AuditEntryList>, ApiError> {
    let (data, has_more) = page(&app, &principal, &query).await?;
    Ok(Json(AuditEntryList {
        object: "list",
        data,
        has_more,
    }))
}

/// Tells the same as lines of JSON.
#[utoipa::path(
    get,
    path = "/v1/audit/export",
    tag = "audit",
    operation_id = "exportAudit",
    params(
        ("from" = Option<u64>, Query, maximum = 9_223_372_036_854_775_807_i64, description = "Those from this index on; from the first if not given."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1_000, description = "At most so many; 1,000 if not given."),
    ),
    responses((status = 200, description = "An entry in each line.", body = String, content_type = "application/jsonl"))
)]
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<EntriesQuery>,
) -> Result<Response, ApiError> {
    let (data, _) = page(&app, &principal, &query).await?;
    let mut lines = String::new();
    for entry in &data {
        let line = serde_json::to_string(entry);
        lines += &line.map_err(|error| ApiError::internal(error.to_string()))?;
        lines.push('\n');
    }
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], lines).into_response())
}

async fn page(
    app: &App,
    principal: &Principal,
    query: &EntriesQuery,
) -> Result<(Vec<AuditEntry>, bool), ApiError> {
    let filter = filter(principal, query)?;
    let from = logs::number("from", query.from.as_deref())?.unwrap_or(0);
    let limit = limit(query.limit.as_deref(), ENTRIES_MAX)?;
    let mut records = app.store.audit_entries(&filter, from, limit + 1).await?;
    let has_more = records.len() > limit as usize;
    records.truncate(limit as usize);
    Ok((records.iter().map(entry).collect(), has_more))
}

/// What is looked for, and may be.
fn filter(principal: &Principal, query: &EntriesQuery) -> Result<AuditFilter, ApiError> {
    principal.require(Scope::Audit)?;
    let outcome = query.outcome.as_deref().map(|name| {
        AuditOutcome::of_name(name).ok_or_else(|| {
            let message = "Invalid 'outcome': expected 'done', 'denied' or 'failed'.";
            ApiError::invalid("outcome", "invalid_value", message)
        })
    });
    let time = |param, text: &Option<String>| {
        let number = logs::number(param, text.as_deref())?;
        Ok::<_, ApiError>(number.map(|number| number as i64))
    };
    Ok(AuditFilter {
        subject: subject(principal, query.subject.as_deref())?,
        action: query.action.clone(),
        outcome: outcome.transpose()?,
        since_ms: time("since_ms", &query.since_ms)?,
        until_ms: time("until_ms", &query.until_ms)?,
    })
}

/// Of whom the caller may be told: none for all.
pub(super) fn subject(
    principal: &Principal,
    named: Option<&str>,
) -> Result<Option<String>, ApiError> {
    let own = principal.id().as_str();
    let is_owner = *principal.id() == PrincipalId::operator();
    match named {
        Some(named) if !is_owner && named != own => {
            let message = "Only the node's owner may ask about others.";
            let status = axum::http::StatusCode::FORBIDDEN;
            Err(ApiError::refused(
                status,
                Some("insufficient_permissions"),
                message,
            ))
        }
        Some(named) => Ok(Some(named.to_owned())),
        None => Ok((!is_owner).then(|| own.to_owned())),
    }
}

fn entry(record: &AuditRecord) -> AuditEntry {
    let sealed = &record.sealed;
    let opened = record.key.as_ref().and_then(|key| sealed.open(key).ok());
    AuditEntry {
        object: "audit.entry",
        index: record.index,
        at_ms: sealed.at_ms,
        action: sealed.action.to_string(),
        outcome: sealed.outcome.name(),
        commitment: HEXLOWER.encode(&sealed.commitment),
        said: opened.map(|opened| AuditSaid {
            preimage: BASE64.encode(&opened.preimage),
            actor: opened.actor,
            subject: opened.subject,
            resource: opened.resource,
            details: opened.details,
        }),
    }
}

/// Signs the head of the log as it is now.
#[utoipa::path(
    get,
    path = "/v1/audit/checkpoint",
    tag = "audit",
    operation_id = "retrieveAuditCheckpoint",
    responses(
        (status = 200, description = "A signed note (C2SP, tlog-checkpoint).", body = String, content_type = "text/plain"),
        (status = 409, description = "The node's key is sealed.", body = kwaainet_openapi::ErrorBody),
    )
)]
pub(crate) async fn checkpoint(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Audit)?;
    logs::checkpoint(&app, Log::Audit).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct InclusionQuery {
    entry: Option<String>,
    size: Option<String>,
}

/// Proves that an entry is in the log.
#[utoipa::path(
    get,
    path = "/v1/audit/proofs/inclusion",
    tag = "audit",
    operation_id = "proveAuditInclusion",
    params(
        ("entry" = u64, Query, maximum = 9_223_372_036_854_775_807_i64, description = "The entry's index."),
        ("size" = Option<u64>, Query, minimum = 1, maximum = 9_223_372_036_854_775_807_i64, description = "In the log of so many entries; of all if not given."),
    ),
    responses((status = 200, description = "The proof.", body = InclusionProof))
)]
pub(crate) async fn inclusion(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<InclusionQuery>,
) -> Result<Json<InclusionProof>, ApiError> {
    principal.require(Scope::Audit)?;
    let index = logs::number("entry", query.entry.as_deref())?;
    let index = index.ok_or_else(|| ApiError::missing("entry"))?;
    let size = logs::number("size", query.size.as_deref())?;
    let filter = AuditFilter {
        subject: subject(&principal, None)?,
        ..AuditFilter::default()
    };
    let found = app.store.audit_entries(&filter, index, 1).await?;
    let found = found.into_iter().find(|record| record.index == index);
    let found = found.ok_or_else(|| {
        let message = format!("There is no entry {index} about you.");
        ApiError::not_found("entry", "entry_not_found", message)
    })?;
    let leaf = found.sealed.leaf();
    let leaf = (Some(&leaf[..]), found.sealed.leaf_hash());
    Ok(Json(
        logs::inclusion(&app, Log::Audit, index, size, leaf).await?,
    ))
}

/// Proves that the log of some time is the beginning of a later one.
#[utoipa::path(
    get,
    path = "/v1/audit/proofs/consistency",
    tag = "audit",
    operation_id = "proveAuditConsistency",
    params(
        ("first" = u64, Query, minimum = 1, maximum = 9_223_372_036_854_775_807_i64, description = "How many entries the earlier one had."),
        ("second" = Option<u64>, Query, minimum = 1, maximum = 9_223_372_036_854_775_807_i64, description = "How many the later one had; all if not given."),
    ),
    responses((status = 200, description = "The proof.", body = ConsistencyProof))
)]
pub(crate) async fn consistency(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<ConsistencyQuery>,
) -> Result<Json<ConsistencyProof>, ApiError> {
    principal.require(Scope::Audit)?;
    Ok(Json(logs::consistency(&app, Log::Audit, &query).await?))
}
