//! Who is at the door. Runs before every handler; whoever passes has a [`Principal`].

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use kwaainet_core::{ApiKey, AuthError, Browser, KeyId, OpenDoor, Principal, Scope};
use kwaainet_store::StoreError;

use super::dialect::Dialect;
use super::{ApiError, App};

/// Paths that need no principal: they say nothing of the owner and cost nothing.
pub(crate) const PUBLIC: [&str; 3] = ["/healthz", "/readyz", "/openapi.json"];
/// The rendered API page and its parts, which say nothing of the owner either.
pub(crate) const PUBLIC_DOCS: &str = "/docs";

/// What it takes to use the paths that begin so; everything else takes [`Scope::Inference`].
const SCOPES: [(&str, Scope); 12] = [
    ("/metrics", Scope::Metrics),
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

/// Puts the caller's principal into the request, or turns him away.
pub(crate) async fn authenticate(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let path = request.uri().path();
    if PUBLIC.contains(&path) || path == PUBLIC_DOCS || path.starts_with("/docs/") {
        return Ok(next.run(request).await);
    }
    let scope = scope_of(path);
    let basic = Dialect::of(path) == Dialect::CouchDb;
    let principal = identify(&app, request.headers(), basic).await?;
    principal.require(scope)?;
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}

fn scope_of(path: &str) -> Scope {
    let under = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let found = SCOPES.iter().find(|(root, _)| under(root));
    found.map_or(Scope::Inference, |(_, scope)| *scope)
}

/// Whoever left work here with this key; none if the key is not good any more.
///
/// # Errors
/// When the database fails.
pub(crate) async fn returning(
    app: &App,
    key: Option<&KeyId>,
) -> Result<Option<Principal>, StoreError> {
    let stored = match key {
        Some(key) => app.store.key(key).await?,
        None => None,
    };
    let principal = Principal::returning(key, stored.as_ref(), app.clock.unix_ms());
    let allowed = |principal: &Principal| principal.require(Scope::Inference).is_ok();
    Ok(principal.ok().filter(allowed))
}

/// Whether the key of a caller who was let in long ago is still good.
pub(crate) async fn still_good(app: &App, principal: &Principal) -> bool {
    let Some(key) = principal.key() else {
        return true;
    };
    let stored = app.store.key(key).await;
    let now = app.clock.unix_ms();
    stored.is_ok_and(|stored| stored.is_some_and(|stored| stored.is_active(now)))
}

/// `basic` says whether a key may come as the password of HTTP's Basic scheme (RFC 7617), which is all that
/// clients of CouchDB know.
async fn identify(app: &App, headers: &HeaderMap, basic: bool) -> Result<Principal, ApiError> {
    let failed = |error: kwaainet_store::StoreError| ApiError::internal(error.to_string());
    let keys_exist = app.store.keys_exist().await.map_err(failed)?;
    if !keys_exist {
        let browser = Browser {
            host: text(headers, header::HOST),
            origin: text(headers, header::ORIGIN),
            fetch_site: text(headers, header::HeaderName::from_static("sec-fetch-site")),
        };
        // Clients of OpenAI always send some key; without keys of ours it means nothing.
        return Ok(Principal::owner(OpenDoor::check(keys_exist, browser)?));
    }
    let password = password(headers).filter(|_| basic);
    let presented = bearer(headers).or_else(|| text(headers, X_API_KEY));
    let presented = presented.or(password.as_deref());
    let presented: ApiKey = presented.ok_or(AuthError::MissingKey)?.parse()?;
    let stored = app.store.key(presented.id()).await.map_err(failed)?;
    let now = app.clock.unix_ms();
    Ok(Principal::from_key(&presented, stored.as_ref(), now)?)
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
