//! Signing in by signing a text (`/v1/auth/challenge`, `/v1/auth/verify`), the sessions that come of it, and the ways
//! around it: passkeys and capabilities.
//!
//! Who may come in at all: whoever shows one of the owner's keys the first time (on a node without keys, whoever is at
//! its machine), and strangers as far as the owner says.

pub(crate) mod capabilities;
pub(crate) mod passkeys;
pub(crate) mod sessions;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::{Extension, Json};
use kwaainet_core::{Principal, Scope, Scopes};
use kwaainet_identity::{Did, Expected, Refusal, SignInText, Signer, check_signature, timestamp};
use kwaainet_openapi::{Challenge, ChallengeRequest, Session, SignedMessage};
use kwaainet_store::{AccountRecord, Admission};

use super::body::ApiJson;
use super::params::required;
use super::{ApiError, App};
use crate::identity::{Errand, Pending};

/// Milliseconds of a second; the wire counts these.
pub(crate) const SECOND_MS: i64 = 1_000;

/// Gives a text to sign.
#[utoipa::path(
    post,
    path = "/v1/auth/challenge",
    tag = "auth",
    operation_id = "createChallenge",
    request_body = ChallengeRequest,
    responses((status = 200, description = "What to sign, once and within five minutes.", body = Challenge))
)]
pub(crate) async fn challenge(
    State(app): State<Arc<App>>,
    principal: Option<Extension<Principal>>,
    headers: HeaderMap,
    ApiJson(request): ApiJson<ChallengeRequest>,
) -> Result<Json<Challenge>, ApiError> {
    let did = did(required(request.account, "account")?, "account")?;
    let signer = Signer::of(&did)
        .map_err(|error| ApiError::invalid("account", "unsupported_value", error.to_string()))?;
    let scopes = request.scopes.map(|names| scopes(&names)).transpose()?;
    let principal = principal.as_ref().map(|Extension(principal)| principal);
    let errand = match request.purpose.as_deref() {
        None | Some("sign_in") => Errand::SignIn(scopes),
        Some("link") => Errand::Link(own_account(principal)?.to_owned()),
        Some("succeed") => succession(&app, principal, request.of).await?,
        Some(_) => {
            let message = "Invalid 'purpose': it must be 'sign_in', 'link' or 'succeed'.";
            return Err(ApiError::invalid("purpose", "invalid_value", message));
        }
    };
    let origin = app.desk.origin(host(&headers))?;
    let now = app.clock.unix_ms();
    let statement = errand.statement();
    let pending = Pending {
        signer: signer.clone(),
        origin: origin.clone(),
        given_at_ms: now,
        errand,
    };
    let lifetime = app.desk.challenges.lifetime;
    let nonce = app.desk.challenges.open(pending, now);
    let nonce = nonce.map_err(|error| ApiError::busy(error.to_string(), lifetime))?;
    let ends = now + lifetime.as_millis() as i64;
    let domain = origin.split_once("://").map_or("", |(_, domain)| domain);
    let mut text = SignInText::new(&signer, domain, &origin, &nonce, &timestamp(now));
    text.expiration_time = Some(timestamp(ends));
    text.statement = statement;
    Ok(Json(Challenge {
        object: "kwaai.challenge",
        message: text.to_string(),
        domain: domain.to_owned(),
        nonce,
        uri: origin,
        created_at: now / SECOND_MS,
        expires_at: ends / SECOND_MS,
    }))
}

/// Takes the signed text, and gives a session.
#[utoipa::path(
    post,
    path = "/v1/auth/verify",
    tag = "auth",
    operation_id = "createSession",
    request_body = SignedMessage,
    responses((status = 200, description = "The session, with its token.", body = Session))
)]
pub(crate) async fn verify(
    State(app): State<Arc<App>>,
    principal: Option<Extension<Principal>>,
    ApiJson(request): ApiJson<SignedMessage>,
) -> Result<sessions::Begun, ApiError> {
    let signed = signed(&app, request)?;
    let Errand::SignIn(scopes) = signed.errand else {
        return Err(other_errand());
    };
    let principal = principal.as_ref().map(|Extension(principal)| principal);
    let did = signed.signer.did().to_string();
    let account = enter(&app, &did, handle(), principal).await?;
    let session = sessions::begin(&app, account, scopes).await?;
    Ok(sessions::begun(session))
}

/// A text that was asked for, with a good signature.
pub(crate) struct Signed {
    /// Who signed.
    pub(crate) signer: Signer,
    /// What for.
    pub(crate) errand: Errand,
    /// The text.
    pub(crate) message: String,
    /// The signature.
    pub(crate) signature: String,
}

/// Sees that the text was asked for, is used for the first time, and was signed by its account's owner.
pub(crate) fn signed(app: &App, request: SignedMessage) -> Result<Signed, ApiError> {
    let message = required(request.message, "message")?;
    let signature = required(request.signature, "signature")?;
    let text: SignInText = message
        .parse()
        .map_err(|error: kwaainet_identity::BadText| {
            ApiError::invalid("message", "invalid_value", error.to_string())
        })?;
    let now_ms = app.clock.unix_ms();
    let pending = app.desk.challenges.take(&text.nonce, now_ms);
    let pending = pending.ok_or_else(|| {
        let message = "the message's nonce is unknown, used or over; ask for a new challenge";
        ApiError::unproven("invalid_nonce", message)
    })?;
    let statement = pending.errand.statement();
    let expected = Expected {
        signer: &pending.signer,
        origin: &pending.origin,
        nonce: &text.nonce,
        given_at_ms: pending.given_at_ms,
        statement: statement.as_deref(),
        now_ms,
    };
    let checked = expected
        .check(&text)
        .and_then(|()| check_signature(&pending.signer, &message, &signature));
    checked.map_err(|refusal| {
        let code = match refusal {
            Refusal::Other(_) => "message_mismatch",
            Refusal::Time => "message_expired",
            Refusal::Signature => "invalid_signature",
            Refusal::Unverifiable => "unverifiable",
        };
        ApiError::unproven(code, refusal.to_string())
    })?;
    Ok(Signed {
        signer: pending.signer,
        errand: pending.errand,
        message,
        signature,
    })
}

/// Lets somebody in who has shown that a DID is his, and gives his account; a new one has this handle.
pub(crate) async fn enter(
    app: &App,
    did: &str,
    handle: [u8; 16],
    principal: Option<&Principal>,
) -> Result<AccountRecord, ApiError> {
    let now = app.clock.unix_ms();
    let known = app.store.account(did, now).await?;
    let admission = principal.and_then(admission);
    let may_enter = admission.is_some()
        || known.as_ref().is_some_and(|account| account.admitted)
        || !app.desk.config.stranger_scopes().is_empty();
    if !may_enter {
        let message = "this node takes nobody in whom its owner has not let in: show one of his \
                       API keys the first time";
        return Err(ApiError::forbidden(message));
    }
    // Of a linked DID, the account is another's.
    let did = known.map_or_else(|| did.to_owned(), |account| account.did);
    let seen = app.store.see_account(&did, handle, admission.as_ref(), now);
    seen.await?;
    let account = app.store.account(&did, now).await?;
    account.ok_or_else(|| {
        ApiError::busy(
            "this node has too many accounts",
            app.desk.challenges.lifetime,
        )
    })
}

/// Whom the owner lets in, through his key or at his machine. Nobody lets others in with a session or a capability.
fn admission(principal: &Principal) -> Option<Admission> {
    if principal.signed_in().is_some() || principal.is_delegated() {
        return None;
    }
    Some(Admission {
        by: principal
            .key()
            .map_or_else(|| "owner".to_owned(), ToString::to_string),
        scopes: principal.scopes(),
    })
}

/// The account that signed in; nobody else has one.
pub(crate) fn own_account(principal: Option<&Principal>) -> Result<&str, ApiError> {
    let principal = principal.ok_or(kwaainet_core::AuthError::MissingKey)?;
    principal.require(Scope::Identity)?;
    let not_signed_in = || ApiError::forbidden("this is for whoever has signed in with a DID");
    match principal.is_delegated() {
        true => Err(ApiError::forbidden(
            "a capability cannot do this for its maker",
        )),
        false => {
            let account = principal.signed_in().ok_or_else(not_signed_in)?;
            Ok(&account.subject)
        }
    }
}

/// Whose place is to be taken: the caller's own, or one that he may recover.
async fn succession(
    app: &App,
    principal: Option<&Principal>,
    of: Option<String>,
) -> Result<Errand, ApiError> {
    let own = own_account(principal)?;
    let Some(account) = of.filter(|of| of != own) else {
        return Ok(Errand::Succeed {
            account: own.to_owned(),
            recovery: false,
        });
    };
    let found = app.store.account(&account, app.clock.unix_ms()).await?;
    let recovers = found
        .as_ref()
        .is_some_and(|found| found.did == account && found.recovery.as_deref() == Some(own));
    if !recovers {
        return Err(ApiError::forbidden("you may not recover this account"));
    }
    Ok(Errand::Succeed {
        account,
        recovery: true,
    })
}

/// A text that was signed for something else.
pub(crate) fn other_errand() -> ApiError {
    let message = "the message was asked for with another purpose";
    ApiError::unproven("message_mismatch", message)
}

/// A DID in a request.
pub(crate) fn did(text: String, param: &str) -> Result<Did, ApiError> {
    text.parse().map_err(|error: kwaainet_identity::BadDid| {
        ApiError::invalid(param, "invalid_did", error.to_string())
    })
}

/// Scopes in a request.
pub(crate) fn scopes(names: &[String]) -> Result<Scopes, ApiError> {
    let parsed = names.iter().map(|name| name.parse::<Scope>());
    parsed.collect::<Result<_, _>>().map_err(|error| {
        ApiError::invalid(
            "scopes",
            "invalid_value",
            format!("Invalid 'scopes': {error}."),
        )
    })
}

/// Scopes as they are told.
pub(crate) fn names(scopes: Scopes) -> Vec<String> {
    scopes.iter().map(|scope| scope.to_string()).collect()
}

/// What the request calls this node.
pub(crate) fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// What passkeys call an account: random, so that it tells nothing.
pub(crate) fn handle() -> [u8; 16] {
    let id = kwaainet_core::random_id();
    id.as_bytes()[..16].try_into().expect("24 letters have 16")
}
