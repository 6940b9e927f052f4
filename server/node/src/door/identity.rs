//! `/v1/identity`: who this node is, who others are, and who the caller is here.

pub(crate) mod links;

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{Assurance, Principal, Scope};
use kwaainet_identity::{
    DidDocument, Envelope, FetchError, PublicKey, ResolveError, Verifier, did_key,
};
use kwaainet_openapi::{
    DidDocumentMetadata, DidResolution, DidResolutionMetadata, Identity, IdentityTier,
    JsonDocument, KeyChange, KeyChangeList, PrepareRequest, ShowCredentialRequest,
};
use kwaainet_store::{ShownCredential, VerificationKind};

use super::auth::standing;
use super::body::ApiJson;
use super::credentials::{Lists, verified};
use super::params::required;
use super::path::ApiPath;
use super::sign_in::{SECOND_MS, did, names, own_account};
use super::{ApiError, App};
use crate::identity::locked;

/// How long a credential of somebody else counts after it was shown: then its state has to be looked at again.
const SHOWN_FOR_MS: i64 = 24 * 3_600 * SECOND_MS;

/// The node's own DID document, by its key.
#[utoipa::path(
    get,
    path = "/v1/identity/node",
    tag = "identity",
    operation_id = "getNodeIdentity",
    responses(
        (status = 200, description = "The document.", body = JsonDocument),
        (status = 503, description = "The node's key is sealed.", body = kwaainet_openapi::ErrorBody)
    )
)]
pub(crate) async fn node(State(app): State<Arc<App>>) -> Result<Json<JsonDocument>, ApiError> {
    let document = DidDocument::of(&app.desk.did()?);
    let mut document = document.ok_or_else(locked)?.into_map();
    if let Some(web) = app.desk.web_did() {
        document.insert("alsoKnownAs".into(), serde_json::json!([web.to_string()]));
    }
    Ok(Json(JsonDocument(document)))
}

/// The node's DID document by its name on the web (`did:web`), or by its key where it has no such name.
#[utoipa::path(
    get,
    path = "/.well-known/did.json",
    tag = "identity",
    operation_id = "getDidDocument",
    responses(
        (status = 200, description = "The document.", body = JsonDocument),
        (status = 503, description = "The node's key is sealed.", body = kwaainet_openapi::ErrorBody)
    )
)]
pub(crate) async fn well_known(
    State(app): State<Arc<App>>,
) -> Result<Json<JsonDocument>, ApiError> {
    let node = app.desk.node().ok_or_else(locked)?;
    let did = match app.desk.web_did() {
        Some(web) => web,
        None => app.desk.did()?,
    };
    let document = DidDocument::of_node(&did, &PublicKey::Ed25519(node.0));
    Ok(Json(JsonDocument(document.into_map())))
}

/// Which keys the node had: each change signed by the key that went and the one that came.
#[utoipa::path(
    get,
    path = "/v1/identity/node/history",
    tag = "identity",
    operation_id = "getNodeHistory",
    responses((status = 200, description = "The first one first.", body = KeyChangeList))
)]
pub(crate) async fn history(State(app): State<Arc<App>>) -> Json<KeyChangeList> {
    let changes = app.desk.history().changes().iter();
    let hex = |envelope: &Envelope| data_encoding::HEXLOWER.encode(envelope.as_bytes());
    Json(KeyChangeList {
        object: "list",
        data: changes
            .map(|change| KeyChange {
                object: "kwaai.key_change",
                old: did_key(change.old),
                new: did_key(change.new),
                created_at: change.at_ms as i64 / SECOND_MS,
                statement: hex(&change.statement),
                acceptance: hex(&change.acceptance),
            })
            .collect(),
    })
}

/// Finds the document of a DID.
#[utoipa::path(
    get,
    path = "/v1/identity/resolve/{did}",
    tag = "identity",
    operation_id = "resolveDid",
    params(("did" = String, Path, description = "A `did:key`, `did:pkh` or `did:web`, percent-encoded.")),
    responses((status = 200, description = "The document and how it was found.", body = DidResolution))
)]
pub(crate) async fn resolve(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(text): ApiPath<String>,
) -> Result<Json<DidResolution>, ApiError> {
    principal.require(Scope::Identity)?;
    let did = did(text, "did")?;
    let found = app.desk.resolver.resolve(&did).await;
    let document = found.map_err(|error| {
        let message = error.to_string();
        match error {
            ResolveError::Foreign | ResolveError::Fetch(FetchError::NotFound) => {
                ApiError::not_found("did", "did_not_found", message)
            }
            ResolveError::Fetch(FetchError::Address | FetchError::Url) => {
                ApiError::invalid("did", "address_not_allowed", message)
            }
            ResolveError::Fetch(_) => ApiError::upstream(message),
        }
    })?;
    Ok(Json(DidResolution {
        context: "https://w3id.org/did-resolution/v1",
        did_document: JsonDocument(document.into_map()),
        did_resolution_metadata: DidResolutionMetadata {
            content_type: "application/did",
        },
        did_document_metadata: DidDocumentMetadata {},
    }))
}

/// Who the caller is here, what he may do, and what would let him do more.
#[utoipa::path(
    get,
    path = "/v1/identity/me",
    tag = "identity",
    operation_id = "getIdentity",
    responses((status = 200, description = "He, and the tiers.", body = Identity))
)]
pub(crate) async fn me(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Identity>, ApiError> {
    principal.require(Scope::Identity)?;
    let account = match principal.signed_in() {
        Some(signed_in) => {
            let now = app.clock.unix_ms();
            app.store.account(&signed_in.subject, now).await?
        }
        None => None,
    };
    let standing = account.as_ref().map(standing);
    let tiers = Assurance::EVERY.map(|tier| {
        let unlocks = tier.unlocks();
        IdentityTier {
            tier: tier.number(),
            name: tier.name(),
            scopes: names(unlocks.scopes()),
            jobs_max: unlocks.jobs_max,
            delegates: unlocks.delegates,
            lacks: standing.and_then(|standing| standing.lacks(tier)),
        }
    });
    Ok(Json(Identity {
        object: "kwaai.identity",
        principal: principal.id().to_string(),
        subject: account.as_ref().map(|account| account.did.clone()),
        tier: standing.map(|standing| standing.assurance().number()),
        scopes: names(principal.scopes()),
        delegated: principal.is_delegated(),
        links: account.as_ref().map_or(0, |account| account.links),
        passkeys: account.as_ref().map_or(0, |account| account.passkeys),
        verified_until: account
            .as_ref()
            .and_then(|account| Some(account.verified_until_ms? / SECOND_MS)),
        tiers: tiers.into(),
    }))
}

/// Shows a credential to this node, so that it knows more of the caller's account. Only that it was shown is kept.
#[utoipa::path(
    post,
    path = "/v1/identity/credentials",
    tag = "identity",
    operation_id = "showCredential",
    request_body = ShowCredentialRequest,
    responses((status = 200, description = "The caller as he is now.", body = Identity))
)]
pub(crate) async fn show_credential(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<ShowCredentialRequest>,
) -> Result<Json<Identity>, ApiError> {
    let account = own_account(Some(&principal))?.to_owned();
    let text = required(request.verifiable_credential, "verifiableCredential")?;
    let now = app.clock.unix_ms();
    let lists = Lists(&app);
    let verifier = Verifier::new(&app.desk.resolver, &lists, now);
    let refuse = |code, message: String| ApiError::invalid("verifiableCredential", code, message);
    let credential = verifier.credential(&text.0).await;
    let credential =
        credential.map_err(|problem| refuse("invalid_credential", problem.to_string()))?;
    let own = app
        .desk
        .did()
        .is_ok_and(|did| did.to_string() == credential.issuer);
    if !own && !app.desk.config.issuers.contains(&credential.issuer) {
        let message = "this node does not accept credentials of this issuer";
        return Err(refuse("issuer_not_accepted", message.into()));
    }
    let mut is_his = false;
    for subject in &credential.subjects {
        let found = app.store.account(subject, now).await?;
        is_his |= found.is_some_and(|found| found.did == account);
    }
    if !is_his {
        let message = "the credential is about somebody else";
        return Err(refuse("wrong_subject", message.into()));
    }
    // The states of its own the node knows; those of others it has looked at now.
    let until = if own { i64::MAX } else { now + SHOWN_FOR_MS };
    let until = credential
        .valid_until_ms
        .map_or(until, |end| end.min(until));
    let shown = ShownCredential {
        account,
        issuer: credential.issuer,
        credential: credential.id,
        shown_at_ms: now,
        good_until_ms: until,
    };
    app.store.show_credential(&shown).await?;
    verified(&app, &principal, VerificationKind::Identity).await?;
    me(State(app), Extension(principal)).await
}

/// Prepares the caller's account for the loss or the change of its key.
#[utoipa::path(
    post,
    path = "/v1/identity/prepare",
    tag = "identity",
    operation_id = "prepareIdentity",
    request_body = PrepareRequest,
    responses((status = 200, description = "The caller as he is now.", body = Identity))
)]
pub(crate) async fn prepare(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<PrepareRequest>,
) -> Result<Json<Identity>, ApiError> {
    let account = own_account(Some(&principal))?.to_owned();
    let hash = required(request.next_key_sha256, "next_key_sha256")?;
    let hash = data_encoding::HEXLOWER.decode(hash.as_bytes()).ok();
    let hash = hash.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let hash = hash.ok_or_else(|| {
        let message = "Invalid 'next_key_sha256': it must be 64 hexadecimal digits.";
        ApiError::invalid("next_key_sha256", "invalid_value", message)
    })?;
    let recovery = did(required(request.recovery, "recovery")?, "recovery")?.to_string();
    if recovery == account {
        let message = "Invalid 'recovery': it must be another DID than the account's.";
        return Err(ApiError::invalid("recovery", "invalid_value", message));
    }
    app.store.prepare_account(&account, hash, &recovery).await?;
    me(State(app), Extension(principal)).await
}
