//! `/v1/privacy`: everything about a subject, told or erased.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_audit::{AuditOutcome, HolderError};
use kwaainet_core::{Principal, PrincipalId, Scope, random_id};
use kwaainet_identity::sign_note;
use kwaainet_openapi::{
    PrivacyErased, PrivacyErasure, PrivacyExport, PrivacyHeld, PrivacyReceipt, PrivacyRequest,
};
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::ApiJson;
use super::{ApiError, App, audit};
use crate::audit::Deed;

/// Letters of a subject's name.
const SUBJECT_MAX: usize = 256;

/// All routes of this part.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(export))
        .routes(routes!(erase))
}

/// Tells all that the node holds about a subject (GDPR, articles 15 and 20).
#[utoipa::path(
    post,
    path = "/v1/privacy/export",
    tag = "privacy",
    operation_id = "exportPrivacy",
    request_body = PrivacyRequest,
    responses((status = 200, description = "All that is held.", body = PrivacyExport))
)]
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<PrivacyRequest>,
) -> Result<Json<PrivacyExport>, ApiError> {
    let subject = subject(&principal, request)?;
    let names = app.store.names_of(&subject).await?;
    let mut holders = Vec::with_capacity(app.holders.len());
    for holder in &app.holders {
        let mut told = PrivacyHeld {
            holder: holder.name(),
            items: Vec::new(),
            truncated: false,
        };
        for name in &names {
            let held = holder.export(name).await.map_err(failed)?;
            told.items.extend(held.items);
            told.truncated |= held.truncated;
        }
        holders.push(told);
    }
    let counts = holders
        .iter()
        .map(|held| (held.holder, held.items.len() as u64));
    let receipt = receipt(
        &app,
        &principal,
        "privacy.export",
        &subject,
        counts.collect(),
    )
    .await?;
    Ok(Json(PrivacyExport {
        object: "privacy.export",
        subject,
        at_ms: app.clock.unix_ms(),
        holders,
        receipt,
    }))
}

/// Erases all that the node holds about a subject (GDPR, article 17). What the accounts need stays without his name.
/// Work of his that is under way is not waited for.
#[utoipa::path(
    post,
    path = "/v1/privacy/erase",
    tag = "privacy",
    operation_id = "erasePrivacy",
    request_body = PrivacyRequest,
    responses((status = 200, description = "It is erased.", body = PrivacyErasure))
)]
pub(crate) async fn erase(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<PrivacyRequest>,
) -> Result<Json<PrivacyErasure>, ApiError> {
    let subject = subject(&principal, request)?;
    let names = app.store.names_of(&subject).await?;
    let operator = Principal::operator();
    // What cannot be recorded must not be done. Once this is on the disk, so is all that was recorded of him before.
    receipt(&app, &operator, "privacy.erase.begin", "", Vec::new()).await?;
    let mut holders = Vec::with_capacity(app.holders.len());
    for holder in &app.holders {
        let mut done = PrivacyErased {
            holder: holder.name(),
            erased: 0,
            anonymized: 0,
        };
        for name in &names {
            let erased = holder.erase(name).await.map_err(failed)?;
            done.erased += erased.erased;
            done.anonymized += erased.anonymized;
        }
        holders.push(done);
    }
    app.store.scrub().await?;
    let counts = holders
        .iter()
        .map(|one| (one.holder, one.erased + one.anonymized));
    // It must not name whom it is about, or he would be known again.
    let receipt = receipt(&app, &operator, "privacy.erase", "", counts.collect()).await?;
    Ok(Json(PrivacyErasure {
        object: "privacy.erasure",
        at_ms: app.clock.unix_ms(),
        holders,
        receipt,
    }))
}

/// Whom the caller may ask about.
fn subject(principal: &Principal, request: PrivacyRequest) -> Result<String, ApiError> {
    principal.require(Scope::Audit)?;
    let named = request.subject.as_deref();
    if named.is_some_and(|named| named.is_empty() || named.chars().count() > SUBJECT_MAX) {
        let message = format!("Invalid 'subject': expected one to {SUBJECT_MAX} characters.");
        return Err(ApiError::invalid("subject", "invalid_value", message));
    }
    let subject = audit::subject(principal, named)?;
    Ok(subject.unwrap_or_else(|| PrincipalId::operator().to_string()))
}

fn failed(error: HolderError) -> ApiError {
    ApiError::internal(error.to_string())
}

/// Records that it was done, and signs that.
async fn receipt(
    app: &App,
    actor: &Principal,
    action: &'static str,
    subject: &str,
    counts: Vec<(&'static str, u64)>,
) -> Result<PrivacyReceipt, ApiError> {
    let id = random_id();
    let details: Map<String, Value> = counts
        .iter()
        .map(|(holder, count)| ((*holder).to_owned(), Value::from(*count)))
        .collect();
    let deed = Deed {
        action,
        outcome: AuditOutcome::Done,
        actor,
        subject,
        resource: &id,
        details,
    };
    let recorded = app.audit.record(deed).await;
    let audit_index = recorded.map_err(|error| ApiError::internal(error.to_string()))?;
    let note = app.key.as_ref().map(|key| {
        let name = format!("kwaainet/{}/privacy", key.id());
        let mut text = format!(
            "{name}\n{action}\n{id}\n{}\n{audit_index}\n",
            app.clock.unix_ms()
        );
        for (holder, count) in &counts {
            text += &format!("{holder} {count}\n");
        }
        sign_note(key, &name, &text)
    });
    Ok(PrivacyReceipt {
        id,
        audit_index,
        note,
    })
}
