//! Who is at the door. Runs before every handler; whoever passes has a [`Principal`].

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use kwaainet_core::{
    ApiKey, AuthError, Browser, KeyId, OpenDoor, Principal, PrincipalId, Scope, Scopes, SessionId,
    SessionRecord, SessionToken,
};
use kwaainet_identity::{CAPABILITY_PREFIX, Minter, Standing, Wanted};
use kwaainet_store::{AccountRecord, SessionRow, StoreError};

use super::dialect::Dialect;
use super::{ApiError, App};
use crate::identity::locked;

/// Paths that need no principal: they say nothing of the owner and cost nothing.
pub(crate) const PUBLIC: [&str; 6] = [
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/v1/identity/node",
    "/v1/identity/node/history",
    "/.well-known/did.json",
];
/// What stands below these does not either: the rendered API page and its parts, and the states of credentials, which
/// whoever was shown one has to look at.
pub(crate) const PUBLIC_BELOW: [&str; 2] = ["/docs", "/v1/credentials/status-lists"];
/// Paths where somebody becomes a principal, so that he need not be one yet. What he shows nevertheless must be good.
pub(crate) const SIGNING_IN: [&str; 6] = [
    "/v1/auth/challenge",
    "/v1/auth/verify",
    "/v1/auth/passkey/register/begin",
    "/v1/auth/passkey/register/complete",
    "/v1/auth/passkey/login/begin",
    "/v1/auth/passkey/login/complete",
];

/// What it takes to use the paths that begin so; everything else takes [`Scope::Inference`].
const SCOPES: [(&str, Scope); 13] = [
    ("/metrics", Scope::Metrics),
    ("/v1/kwaai/doctor", Scope::Metrics),
    (super::ollama::PULL, Scope::Models),
    ("/v1/identity", Scope::Identity),
    ("/v1/auth", Scope::Identity),
    ("/v1/credentials", Scope::Identity),
    ("/v1/storage", Scope::Storage),
    ("/couch", Scope::Storage),
    ("/v1/carbon", Scope::Carbon),
    ("/emissions", Scope::Carbon),
    ("/v1/rewards", Scope::Rewards),
    ("/v1/audit", Scope::Audit),
    ("/v1/privacy", Scope::Audit),
];

/// Where clients of Anthropic put their key.
pub(crate) const X_API_KEY: header::HeaderName = header::HeaderName::from_static("x-api-key");

/// Puts the caller's principal into the request, or turns him away. What he may do, [`permit`] sees.
pub(crate) async fn authenticate(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let path = request.uri().path();
    if is_public(path) {
        return Ok(next.run(request).await);
    }
    let scope = scope_of(path);
    let signing_in = SIGNING_IN.contains(&path);
    let asked = Asked {
        headers: request.headers(),
        method: request.method().as_str(),
        path,
        scope,
        now_ms: app.clock.unix_ms(),
    };
    match identify(&app, asked).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
        }
        Err(Stranger::Nobody) if signing_in => {}
        Err(Stranger::Nobody) => return Err(AuthError::MissingKey.into()),
        Err(Stranger::Refused(error)) => return Err(error),
    }
    Ok(next.run(request).await)
}

/// Turns away a principal who lacks the scope that the path takes. Comes after the request was noted for the audit log,
/// which tells of those who were turned away, too.
pub(crate) async fn permit(request: Request, next: Next) -> Result<Response, ApiError> {
    let path = request.uri().path();
    let must_ask = !is_public(path) && !SIGNING_IN.contains(&path);
    match request.extensions().get::<Principal>() {
        Some(principal) if must_ask => principal.require(scope_of(path))?,
        None if must_ask => return Err(AuthError::MissingKey.into()),
        _ => {}
    }
    Ok(next.run(request).await)
}

/// Whether a path needs no principal.
pub(crate) fn is_public(path: &str) -> bool {
    PUBLIC.contains(&path) || PUBLIC_BELOW.iter().any(|root| is_under(path, root))
}

fn is_under(path: &str, root: &str) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn scope_of(path: &str) -> Scope {
    let found = SCOPES.iter().find(|(root, _)| is_under(path, root));
    found.map_or(Scope::Inference, |(_, scope)| *scope)
}

/// Whoever left a job here, as he stands now; none if he may not have it done any more.
///
/// # Errors
/// When the database fails.
pub(crate) async fn returning(
    app: &App,
    left_by: &PrincipalId,
    key: Option<&KeyId>,
) -> Result<Option<Principal>, StoreError> {
    returning_for(app, left_by, key, Scope::Inference).await
}

/// The same for work that takes another scope.
///
/// # Errors
/// When the database fails.
pub(crate) async fn returning_for(
    app: &App,
    left_by: &PrincipalId,
    key: Option<&KeyId>,
    scope: Scope,
) -> Result<Option<Principal>, StoreError> {
    let now = app.clock.unix_ms();
    let principal = match key {
        None if *left_by != PrincipalId::operator() => account(app, left_by.as_str(), now).await?,
        None => Some(Principal::operator()),
        Some(key) => {
            let stored = app.store.key(key).await?;
            Principal::returning(Some(key), stored.as_ref(), now).ok()
        }
    };
    let allowed = |principal: &Principal| principal.require(scope).is_ok();
    Ok(principal.filter(allowed))
}

/// Whether a caller who was let in long ago still is: his key, or the account that he signed in with.
pub(crate) async fn still_good(app: &App, principal: &Principal) -> bool {
    let now = app.clock.unix_ms();
    let found = match principal.key() {
        None if *principal.id() == PrincipalId::operator() => return true,
        None => account(app, principal.id().as_str(), now).await,
        Some(key) => app
            .store
            .key(key)
            .await
            .map(|stored| Principal::returning(Some(key), stored.as_ref(), now).ok()),
    };
    found.is_ok_and(|found| found.is_some())
}

/// The account of a DID, as if it had just signed in.
async fn account(app: &App, did: &str, now_ms: i64) -> Result<Option<Principal>, StoreError> {
    let Some(account) = app.store.account(did, now_ms).await? else {
        return Ok(None);
    };
    let session = SessionRow {
        id: SessionId::new(""),
        hash: [0; 32],
        scopes: Scopes::ALL,
        created_at_ms: now_ms,
        expires_at_ms: now_ms + 1,
        ended_at_ms: None,
        account,
    };
    let stored = session_record(app, session);
    Ok(Principal::returning_session(Some(&stored), now_ms).ok())
}

/// A session as it counts now: what it was given, as far as its account may still have it.
pub(crate) fn session_record(app: &App, session: SessionRow) -> SessionRecord {
    let SessionRow { account, .. } = session;
    let allowed = allowed_to(app, &account);
    SessionRecord {
        id: session.id,
        hash: session.hash,
        scopes: session.scopes & allowed,
        assurance: standing(&account).assurance(),
        subject: account.did,
        created_at_ms: session.created_at_ms,
        expires_at_ms: session.expires_at_ms,
        ended_at_ms: session.ended_at_ms,
    }
}

/// What the owner allows an account: what it was let in with while that is good, else what strangers may.
pub(crate) fn allowed_to(app: &App, account: &AccountRecord) -> Scopes {
    match account.admitted {
        true => account.scopes,
        false => app.desk.config.stranger_scopes(),
    }
}

/// What is known of an account.
pub(crate) fn standing(account: &AccountRecord) -> Standing {
    Standing {
        admitted: account.admitted,
        passkey: account.passkeys > 0,
        on_chain: account.chains > 0 || account.did.starts_with("did:pkh:"),
        verified: account.verified_until_ms.is_some(),
        next_key: account.next_key.is_some(),
        recovery: account.recovery.is_some(),
    }
}

/// What of a request tells who is asking, and for what.
#[derive(Clone, Copy)]
struct Asked<'a> {
    headers: &'a HeaderMap,
    method: &'a str,
    path: &'a str,
    /// What the path takes.
    scope: Scope,
    now_ms: i64,
}

/// Why there is no principal.
enum Stranger {
    /// Nothing was shown.
    Nobody,
    /// What was shown is not good.
    Refused(ApiError),
}

impl<E: Into<ApiError>> From<E> for Stranger {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// At CouchDB's paths a key may come as the password of HTTP's Basic scheme (RFC 7617), which is all that its clients
/// know.
async fn identify(app: &App, asked: Asked<'_>) -> Result<Principal, Stranger> {
    let Asked {
        headers, now_ms, ..
    } = asked;
    let keys_exist = app.store.keys_exist().await?;
    let password = password(headers).filter(|_| Dialect::of(asked.path) == Dialect::CouchDb);
    let presented = bearer(headers).or_else(|| text(headers, X_API_KEY));
    let presented = presented.or(password.as_deref());
    if !keys_exist {
        let browser = Browser {
            host: text(headers, header::HOST),
            origin: text(headers, header::ORIGIN),
            fetch_site: text(headers, header::HeaderName::from_static("sec-fetch-site")),
        };
        let owner = Principal::owner(OpenDoor::check(keys_exist, browser)?);
        // Clients of OpenAI always send some key; without keys of ours it means nothing.
        return match presented {
            Some(token) if token.starts_with(SessionToken::PREFIX) => {
                by_session(app, token, now_ms).await
            }
            Some(token) if token.starts_with(CAPABILITY_PREFIX) => {
                by_capability(app, token, asked).await
            }
            _ => Ok(owner),
        };
    }
    let presented = presented.ok_or(Stranger::Nobody)?;
    if presented.starts_with(SessionToken::PREFIX) {
        return by_session(app, presented, now_ms).await;
    }
    if presented.starts_with(CAPABILITY_PREFIX) {
        return by_capability(app, presented, asked).await;
    }
    let presented: ApiKey = presented.parse()?;
    let stored = app.store.key(presented.id()).await?;
    let principal = Principal::from_key(&presented, stored.as_ref(), now_ms)?;
    // Only there is something encrypted for him, or are capabilities made that lead to it.
    if !matches!(asked.scope, Scope::Storage | Scope::Identity) {
        return Ok(principal);
    }
    let principal = principal.sharing(presented.sharing_secret());
    app.storage.keyring.met(&app.store, &principal).await?;
    Ok(principal)
}

async fn by_session(app: &App, token: &str, now_ms: i64) -> Result<Principal, Stranger> {
    let token: SessionToken = token.parse()?;
    let found = app.store.session(token.id(), now_ms).await?;
    let stored = found.map(|session| session_record(app, session));
    Ok(Principal::from_session(&token, stored.as_ref(), now_ms)?)
}

/// Whoever shows a capability acts for who made it, who must still be good, and may do what the request's path takes
/// and nothing else.
async fn by_capability(app: &App, token: &str, asked: Asked<'_>) -> Result<Principal, Stranger> {
    let Asked { scope, now_ms, .. } = asked;
    let capabilities = app.desk.capabilities.as_ref().ok_or_else(locked)?;
    let unknown = AuthError::Capability("it is none of this node's");
    let capability = capabilities.open(token).map_err(|_| unknown)?;
    let ids = capability.revocation_ids();
    if app.store.is_capability_revoked(&ids).await? {
        return Err(AuthError::Capability("it was revoked").into());
    }
    let wanted = Wanted {
        scope,
        method: asked.method,
        path: asked.path,
        now_ms,
    };
    if !capability.allows(&wanted) {
        let reason = "it does not allow this, here or at this time";
        return Err(ApiError::forbidden(AuthError::Capability(reason).to_string()).into());
    }
    let gone = AuthError::Capability("whoever made it is not good any more");
    let minter = match &capability.minter {
        Minter::Owner if app.store.keys_exist().await? => Err(gone.clone()),
        Minter::Owner => Ok(Principal::operator()),
        Minter::Key(id) => {
            let stored = app.store.key(id).await?;
            Principal::returning(Some(id), stored.as_ref(), now_ms)
        }
        Minter::Session(id) => {
            let found = app.store.session(id, now_ms).await?;
            let stored = found.map(|session| session_record(app, session));
            Principal::returning_session(stored.as_ref(), now_ms)
        }
    };
    let minter = minter.map_err(|_| gone)?;
    let minter = match capability.sharing {
        Some(secret) if scope == Scope::Storage => minter.sharing(secret),
        _ => minter,
    };
    Ok(minter.narrowed([scope].into_iter().collect()))
}

/// The token after `Bearer`, whose case does not matter (RFC 7235, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The password after `Basic`; the user's name means nothing.
fn password(headers: &HeaderMap) -> Option<String> {
    let (scheme, pair) = text(headers, header::AUTHORIZATION)?.split_once(' ')?;
    let pair = Some(pair).filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let pair = data_encoding::BASE64.decode(pair.trim().as_bytes()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (_, password) = pair.split_once(':')?;
    Some(password.to_owned())
}

/// A header's text; one that is not text counts as present and foreign.
fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}
