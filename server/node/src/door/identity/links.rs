//! `/v1/identity/links`: several DIDs of one person, each with what its owner signed; and one DID in another's place.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use kwaainet_core::Principal;
use kwaainet_openapi::{ErrorBody, IdentityLink, IdentityLinkList, Revoked, SignedMessage};
use kwaainet_store::{LinkRecord, Linked, VerificationKind};
use sha2::{Digest, Sha256};

use crate::door::body::ApiJson;
use crate::door::credentials::verified;
use crate::door::path::ApiPath;
use crate::door::recorded::Noted;
use crate::door::sign_in::{SECOND_MS, Signed, other_errand, own_account, signed};
use crate::door::{ApiError, App};
use crate::identity::Errand;

/// Lists the other DIDs of the caller's account.
#[utoipa::path(
    get,
    path = "/v1/identity/links",
    tag = "identity",
    operation_id = "listLinks",
    responses((status = 200, description = "All of them, with what was signed.", body = IdentityLinkList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<IdentityLinkList>, ApiError> {
    let account = own_account(Some(&principal))?;
    let links = app.store.account_links(account).await?;
    Ok(Json(IdentityLinkList {
        object: "list",
        data: links.into_iter().map(object).collect(),
    }))
}

/// Links another DID to the caller's account, by a text that its owner was given with the purpose `link` and signed.
#[utoipa::path(
    post,
    path = "/v1/identity/links",
    tag = "identity",
    operation_id = "createLink",
    request_body = SignedMessage,
    responses(
        (status = 200, description = "The link.", body = IdentityLink),
        (status = 409, description = "The DID is another account's.", body = ErrorBody)
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<SignedMessage>,
) -> Result<(Extension<Noted>, Json<IdentityLink>), ApiError> {
    let own = own_account(Some(&principal))?;
    let signed = signed(&app, request)?;
    match &signed.errand {
        Errand::Link(account) if account == own => {}
        _ => return Err(other_errand()),
    }
    let link = record(&app, own, signed);
    match app.store.link_account(&link).await? {
        Linked::Done => {
            if link.linked.starts_with("did:pkh:") {
                verified(&app, &principal, VerificationKind::MultiChain).await?;
            }
            let noted = Noted::default().on(link.linked.as_str());
            Ok((Extension(noted), Json(object(link))))
        }
        Linked::Taken => Err(taken()),
        Linked::Full => {
            let message = "the account has too many links";
            Err(ApiError::bad_request(Some("too_many_links"), message))
        }
    }
}

/// Takes a link back.
#[utoipa::path(
    delete,
    path = "/v1/identity/links/{did}",
    tag = "identity",
    operation_id = "deleteLink",
    params(("did" = String, Path, description = "The linked DID, percent-encoded.")),
    responses((status = 200, description = "It is gone.", body = Revoked))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(did): ApiPath<String>,
) -> Result<Json<Revoked>, ApiError> {
    let own = own_account(Some(&principal))?;
    if !app.store.unlink_account(own, &did).await? {
        let message = "your account has no such link";
        return Err(ApiError::not_found("did", "link_not_found", message));
    }
    Ok(Json(Revoked {
        object: "kwaai.link",
        id: did,
        revoked: true,
    }))
}

/// Puts another DID in an account's place, by a text that the new one's owner was given with the purpose `succeed` and
/// signed. The caller is the account itself, and the DID the one whose hash he had named, if any; or whoever may
/// recover it. All sessions of the account end.
#[utoipa::path(
    post,
    path = "/v1/identity/succeed",
    tag = "identity",
    operation_id = "succeedIdentity",
    request_body = SignedMessage,
    responses(
        (status = 200, description = "What came in whose place.", body = IdentityLink),
        (status = 409, description = "The DID is another account's.", body = ErrorBody)
    )
)]
pub(crate) async fn succeed(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<SignedMessage>,
) -> Result<Json<IdentityLink>, ApiError> {
    let own = own_account(Some(&principal))?;
    let signed = signed(&app, request)?;
    let Errand::Succeed { account, recovery } = signed.errand.clone() else {
        return Err(other_errand());
    };
    let found = app.store.account(&account, app.clock.unix_ms()).await?;
    let found = found.filter(|found| found.did == account);
    let allowed = found.is_some_and(|found| match recovery {
        true => found.recovery.as_deref() == Some(own),
        false => {
            let hash: [u8; 32] = Sha256::digest(signed.signer.did().to_string()).into();
            own == account && found.next_key.is_none_or(|next| next == hash)
        }
    });
    if !allowed {
        let message =
            "this is not the DID that was named to come next, or not your account to recover";
        return Err(ApiError::forbidden(message));
    }
    let link = record(&app, &account, signed);
    match app.store.succeed_account(&link).await? {
        true => Ok(Json(object(link))),
        false => Err(taken()),
    }
}

fn record(app: &App, account: &str, signed: Signed) -> LinkRecord {
    LinkRecord {
        linked: signed.signer.did().to_string(),
        account: account.to_owned(),
        message: signed.message,
        signature: signed.signature,
        created_at_ms: app.clock.unix_ms(),
    }
}

fn taken() -> ApiError {
    let message = "this DID is an account of its own here, or linked to another one";
    ApiError::refused(StatusCode::CONFLICT, Some("did_taken"), message)
}

fn object(link: LinkRecord) -> IdentityLink {
    IdentityLink {
        object: "kwaai.link",
        account: link.account,
        linked: link.linked,
        message: link.message,
        signature: link.signature,
        created_at: link.created_at_ms / SECOND_MS,
    }
}
