//! `/v1/auth/capabilities`: handing on a part of what one may do.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use data_encoding::HEXLOWER;
use kwaainet_core::{Principal, Scope};
use kwaainet_identity::{Allowance, Minter, PATHS_MAX};
use kwaainet_openapi::{Capability, CapabilityRequest, RevokeCapabilityRequest, Revoked};

use super::{SECOND_MS, scopes};
use crate::door::body::ApiJson;
use crate::door::params::{integer, required};
use crate::door::recorded::Noted;
use crate::door::{ApiError, App};
use crate::identity::locked;

const HOUR_S: i64 = 3_600;
const YEAR_S: i64 = 366 * 24 * HOUR_S;
const PATH_BYTES_MAX: usize = 512;

/// Makes a capability.
#[utoipa::path(
    post,
    path = "/v1/auth/capabilities",
    tag = "auth",
    operation_id = "createCapability",
    request_body = CapabilityRequest,
    responses((status = 200, description = "The capability. It is shown this once.", body = Capability))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<CapabilityRequest>,
) -> Result<(Extension<Noted>, Json<Capability>), ApiError> {
    let minter = minter(&principal)?;
    let scopes = scopes(&required(request.scopes, "scopes")?)?;
    if scopes.is_empty() {
        let message = "Invalid 'scopes': there must be one at least.";
        return Err(ApiError::invalid("scopes", "invalid_value", message));
    }
    scopes
        .iter()
        .try_for_each(|scope| principal.require(scope))?;
    let lifetime = integer(request.expires_in, "expires_in", (1, YEAR_S))?;
    let expires_at_ms = app.clock.unix_ms() + lifetime.unwrap_or(HOUR_S) * SECOND_MS;
    let allowance = Allowance {
        scopes,
        paths: paths(request.paths.unwrap_or_default())?,
        expires_at_ms,
        sharing: principal
            .sharing_secret()
            .filter(|_| scopes.contains(Scope::Storage))
            .cloned(),
    };
    let capabilities = app.desk.capabilities.as_ref().ok_or_else(locked)?;
    let token = capabilities.mint(&minter, &allowance);
    let made = capabilities.open(&token);
    let made = made.map_err(|error| ApiError::internal(error.to_string()))?;
    let ids = made.revocation_ids();
    let revocation_id = ids.last().map(|id| HEXLOWER.encode(id)).unwrap_or_default();
    let noted = Noted::default().on(revocation_id.as_str());
    let capability = Capability {
        object: "kwaai.capability",
        token,
        root_key: capabilities.root(),
        revocation_id,
        expires_at: expires_at_ms / SECOND_MS,
    };
    Ok((Extension(noted), Json(capability)))
}

/// Takes a capability back, with all that was made of it. Whoever has it may.
#[utoipa::path(
    post,
    path = "/v1/auth/capabilities/revoke",
    tag = "auth",
    operation_id = "revokeCapability",
    request_body = RevokeCapabilityRequest,
    responses((status = 200, description = "It is no good any more.", body = Revoked))
)]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<RevokeCapabilityRequest>,
) -> Result<(Extension<Noted>, Json<Revoked>), ApiError> {
    principal.require(Scope::Identity)?;
    let token = required(request.token, "token")?;
    let capabilities = app.desk.capabilities.as_ref().ok_or_else(locked)?;
    let opened = capabilities.open(&token).map_err(|error| {
        ApiError::invalid(
            "token",
            "invalid_value",
            format!("Invalid 'token': {error}."),
        )
    })?;
    let ids = opened.revocation_ids();
    let own = ids
        .last()
        .ok_or_else(|| ApiError::internal("a biscuit has a block"))?;
    app.store
        .revoke_capability(own, app.clock.unix_ms())
        .await?;
    let id = HEXLOWER.encode(own);
    let noted = Noted::default().on(id.as_str());
    let revoked = Revoked {
        object: "kwaai.capability",
        id,
        revoked: true,
    };
    Ok((Extension(noted), Json(revoked)))
}

/// Who it acts for. A capability is made weaker without us, so it makes none.
fn minter(principal: &Principal) -> Result<Minter, ApiError> {
    if principal.is_delegated() {
        let message = "a capability makes no others: add a block to it instead";
        return Err(ApiError::forbidden(message));
    }
    match principal.signed_in() {
        Some(signed_in) if !signed_in.assurance.unlocks().delegates => {
            let message = "making capabilities takes tier 2: link an account on a chain";
            Err(ApiError::refused(
                axum::http::StatusCode::FORBIDDEN,
                Some("insufficient_tier"),
                message,
            ))
        }
        Some(signed_in) => Ok(Minter::Session(signed_in.session.clone())),
        None => Ok(principal
            .key()
            .map_or(Minter::Owner, |key| Minter::Key(key.clone()))),
    }
}

fn paths(paths: Vec<String>) -> Result<Vec<String>, ApiError> {
    let clean = |path: &String| {
        path.starts_with('/')
            && path.len() <= PATH_BYTES_MAX
            && path
                .bytes()
                .all(|c| c.is_ascii_graphic() && c != b'"' && c != b'\\')
    };
    if paths.len() > PATHS_MAX || !paths.iter().all(clean) {
        let message = format!(
            "Invalid 'paths': at most {PATHS_MAX}, each beginning with '/', in ASCII without quotes."
        );
        return Err(ApiError::invalid("paths", "invalid_value", message));
    }
    Ok(paths)
}
