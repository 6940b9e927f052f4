//! `/v1/auth/passkey`: registering a passkey, to an account or as a new one, and signing in with it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use kwaainet_core::{Principal, Scopes};
use kwaainet_identity::{
    Did, KeptPasskey, PASSKEYS_MAX, PasskeyDoor, PasskeyError, PublicKey, TooMany,
};
use kwaainet_openapi::{
    PasskeyAnswer, PasskeyCeremony, PasskeyLoginRequest, PasskeyRegistrationRequest, Session,
};
use kwaainet_store::{AccountRecord, PasskeyKept, PasskeyRecord};
use serde_json::Value;

use super::{did, enter, handle, host, own_account, scopes, sessions};
use crate::door::body::ApiJson;
use crate::door::params::required;
use crate::door::{ApiError, App};
use crate::identity::{Login, Registration};

const NAME_BYTES_MAX: usize = 128;

/// Begins to register a passkey: for the caller's account if he has signed in, else for a new one.
#[utoipa::path(
    post,
    path = "/v1/auth/passkey/register/begin",
    tag = "auth",
    operation_id = "beginPasskeyRegistration",
    request_body = PasskeyRegistrationRequest,
    responses((status = 200, description = "What to ask the browser.", body = PasskeyCeremony))
)]
pub(crate) async fn begin_registration(
    State(app): State<Arc<App>>,
    principal: Option<Extension<Principal>>,
    headers: HeaderMap,
    ApiJson(request): ApiJson<PasskeyRegistrationRequest>,
) -> Result<Json<PasskeyCeremony>, ApiError> {
    let origin = app.desk.origin(host(&headers))?;
    let principal = principal.as_ref().map(|Extension(principal)| principal);
    let account = match principal {
        Some(principal) if principal.signed_in().is_some() => {
            Some(account(&app, own_account(Some(principal))?).await?)
        }
        _ => None,
    };
    let known = match &account {
        Some(account) => kept(&app, &account.did).await?,
        None => Vec::new(),
    };
    if known.len() >= PASSKEYS_MAX {
        return Err(too_many());
    }
    let name = match (&request.name, &account) {
        (Some(name), _) if (1..=NAME_BYTES_MAX).contains(&name.len()) => name,
        (Some(_), _) => {
            let message = format!("Invalid 'name': it must have 1 to {NAME_BYTES_MAX} bytes.");
            return Err(ApiError::invalid("name", "invalid_value", message));
        }
        (None, Some(account)) => &account.did,
        (None, None) => "KwaaiNet",
    };
    let handle = account
        .as_ref()
        .map_or_else(handle, |account| account.handle);
    let door = PasskeyDoor::at(&origin).map_err(refused)?;
    let begun = door.begin_registration(handle, name, &known);
    let (asked, state) = begun.map_err(refused)?;
    let registration = Registration {
        state,
        origin,
        account: account.map(|account| account.did),
        handle,
    };
    let ceremony = app
        .desk
        .registrations
        .open(registration, app.clock.unix_ms());
    ceremony_object(&app, ceremony, asked)
}

/// Takes the browser's answer, keeps the passkey, and gives a session. A new account's DID is a key that nobody has: that
/// the passkey's own key is the caller's is not proved here, and it may be the name of somebody else.
#[utoipa::path(
    post,
    path = "/v1/auth/passkey/register/complete",
    tag = "auth",
    operation_id = "completePasskeyRegistration",
    request_body = PasskeyAnswer,
    responses((status = 200, description = "The session, with its token.", body = Session))
)]
pub(crate) async fn complete_registration(
    State(app): State<Arc<App>>,
    principal: Option<Extension<Principal>>,
    ApiJson(request): ApiJson<PasskeyAnswer>,
) -> Result<Json<Session>, ApiError> {
    let (ceremony, answer, asked) = answer(request)?;
    let now = app.clock.unix_ms();
    let begun = app.desk.registrations.take(&ceremony, now);
    let begun = begun.ok_or_else(unknown_ceremony)?;
    let door = PasskeyDoor::at(&begun.origin).map_err(refused)?;
    let done = door.complete_registration(&begun.state, answer);
    let passkey = done.map_err(refused)?;
    let principal = principal.as_ref().map(|Extension(principal)| principal);
    let account = match begun.account {
        // Whoever began it has to end it.
        Some(did)
            if principal.is_some_and(|p| own_account(Some(p)).is_ok_and(|own| own == did)) =>
        {
            account(&app, &did).await?
        }
        Some(_) => return Err(unknown_ceremony()),
        None => {
            let did = Did::Key(PublicKey::of_nobody()).to_string();
            enter(&app, &did, begun.handle, principal).await?
        }
    };
    keep(&app, &account.did, passkey).await?;
    let now_known = self::account(&app, &account.did).await?;
    sessions::begin(&app, now_known, asked).await.map(Json)
}

/// Begins to sign in with a passkey.
#[utoipa::path(
    post,
    path = "/v1/auth/passkey/login/begin",
    tag = "auth",
    operation_id = "beginPasskeyLogin",
    request_body = PasskeyLoginRequest,
    responses((status = 200, description = "What to ask the browser.", body = PasskeyCeremony))
)]
pub(crate) async fn begin_login(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    ApiJson(request): ApiJson<PasskeyLoginRequest>,
) -> Result<Json<PasskeyCeremony>, ApiError> {
    let origin = app.desk.origin(host(&headers))?;
    let did = did(required(request.account, "account")?, "account")?.to_string();
    let now = app.clock.unix_ms();
    let account = app.store.account(&did, now).await?;
    let known = match &account {
        Some(account) => kept(&app, &account.did).await?,
        None => Vec::new(),
    };
    let Some(account) = account.filter(|_| !known.is_empty()) else {
        let message = "there is no passkey for this account here";
        return Err(ApiError::not_found("account", "passkey_not_found", message));
    };
    let door = PasskeyDoor::at(&origin).map_err(refused)?;
    let (asked, state) = door.begin_login(&known).map_err(refused)?;
    let login = Login {
        state,
        origin,
        account: account.did,
    };
    let ceremony = app.desk.logins.open(login, now);
    ceremony_object(&app, ceremony, asked)
}

/// Takes the browser's answer, and gives a session.
#[utoipa::path(
    post,
    path = "/v1/auth/passkey/login/complete",
    tag = "auth",
    operation_id = "completePasskeyLogin",
    request_body = PasskeyAnswer,
    responses((status = 200, description = "The session, with its token.", body = Session))
)]
pub(crate) async fn complete_login(
    State(app): State<Arc<App>>,
    principal: Option<Extension<Principal>>,
    ApiJson(request): ApiJson<PasskeyAnswer>,
) -> Result<Json<Session>, ApiError> {
    let (ceremony, answer, asked) = answer(request)?;
    let begun = app.desk.logins.take(&ceremony, app.clock.unix_ms());
    let begun = begun.ok_or_else(unknown_ceremony)?;
    let door = PasskeyDoor::at(&begun.origin).map_err(refused)?;
    let passkey = door.complete_login(begun.state, answer).map_err(refused)?;
    let principal = principal.as_ref().map(|Extension(principal)| principal);
    let account = enter(&app, &begun.account, handle(), principal).await?;
    keep(&app, &account.did, passkey).await?;
    sessions::begin(&app, account, asked).await.map(Json)
}

type Answer = (String, Value, Option<Scopes>);

fn answer(request: PasskeyAnswer) -> Result<Answer, ApiError> {
    let asked = request.scopes.map(|names| scopes(&names)).transpose()?;
    let ceremony = required(request.ceremony, "ceremony")?;
    Ok((ceremony, required(request.credential, "credential")?, asked))
}

async fn account(app: &App, did: &str) -> Result<AccountRecord, ApiError> {
    let found = app.store.account(did, app.clock.unix_ms()).await?;
    found.ok_or_else(|| ApiError::internal("the account of a session is gone"))
}

async fn kept(app: &App, account: &str) -> Result<Vec<KeptPasskey>, ApiError> {
    let passkeys = app.store.passkeys(account).await?.into_iter();
    let kept = passkeys.map(|passkey| KeptPasskey {
        id: passkey.id,
        record: passkey.record,
    });
    Ok(kept.collect())
}

async fn keep(app: &App, account: &str, passkey: KeptPasskey) -> Result<(), ApiError> {
    let record = PasskeyRecord {
        id: passkey.id,
        account: account.to_owned(),
        record: passkey.record,
    };
    let kept = app
        .store
        .keep_passkey(&record, PASSKEYS_MAX, app.clock.unix_ms());
    match kept.await? {
        PasskeyKept::Done => Ok(()),
        // Names of passkeys are random, so that nobody brings another's by chance.
        PasskeyKept::Taken => Err(refused(PasskeyError::Refused)),
        PasskeyKept::Full => Err(too_many()),
    }
}

fn too_many() -> ApiError {
    let message = format!("an account has {PASSKEYS_MAX} passkeys at most");
    ApiError::bad_request(Some("too_many_passkeys"), message)
}

fn ceremony_object(
    app: &App,
    ceremony: Result<String, TooMany>,
    mut asked: Value,
) -> Result<Json<PasskeyCeremony>, ApiError> {
    let lifetime = app.desk.logins.lifetime;
    let ceremony = ceremony.map_err(|error| ApiError::busy(error.to_string(), lifetime))?;
    Ok(Json(PasskeyCeremony {
        object: "kwaai.passkey_ceremony",
        ceremony,
        public_key: asked["publicKey"].take(),
    }))
}

fn unknown_ceremony() -> ApiError {
    let message = "the ceremony is unknown, used or over; begin anew";
    ApiError::unproven("invalid_nonce", message)
}

fn refused(error: PasskeyError) -> ApiError {
    let message = error.to_string();
    match error {
        PasskeyError::Origin => ApiError::bad_request(Some("unknown_origin"), message),
        PasskeyError::Malformed => ApiError::invalid("credential", "invalid_value", message),
        PasskeyError::Refused => ApiError::unproven("invalid_passkey", message),
        PasskeyError::Kept => ApiError::internal(message),
    }
}
