//! `/v1/credentials`: what this node says of others, signed; whether what others say can be believed; and taking it
//! back. The shapes are those of W3C's VC API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use kwaainet_core::{BoxFuture, Principal, PrincipalId, Scope};
use kwaainet_identity::{
    Audience, Credential, LIST_LENGTH, OwnLists, Presentation, Problem, Purpose, StatusList,
    Verifier, list_credential, status_entry, timestamp,
};
use kwaainet_openapi::{
    CredentialStatusRequest, ErrorBody, IssueRequest, Issued, JsonDocument, PresentRequest,
    Presented, Revoked, Verified, VerifyPresentationRequest, VerifyProblem, VerifyRequest,
};
use kwaainet_store::VerificationKind;
use serde_json::{Map, Value, json};

use super::body::ApiJson;
use super::params::required;
use super::path::ApiPath;
use super::recorded::Noted;
use super::sign_in::host;
use super::{ApiError, App};

const CONTEXT: &str = "https://www.w3.org/ns/credentials/v2";
/// Where the lists of states are.
const LISTS: &str = "/v1/credentials/status-lists/";

/// Issues a credential as this node.
#[utoipa::path(
    post,
    path = "/v1/credentials/issue",
    tag = "credentials",
    operation_id = "issueCredential",
    request_body = IssueRequest,
    responses(
        (status = 201, description = "The signed credential.", body = Issued),
        (status = 409, description = "One with this id was issued before.", body = ErrorBody)
    )
)]
pub(crate) async fn issue(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    ApiJson(request): ApiJson<IssueRequest>,
) -> Result<(StatusCode, Extension<Noted>, Json<Issued>), ApiError> {
    speaks_for_the_node(&principal)?;
    let now = app.clock.unix_ms();
    let mut credential = required(request.credential, "credential")?.0;
    let issuer = app.desk.did()?.to_string();
    fill(&mut credential, "@context", || json!([CONTEXT]));
    fill(&mut credential, "type", || json!(["VerifiableCredential"]));
    fill(&mut credential, "id", || json!(urn()));
    fill(&mut credential, "issuer", || json!(issuer));
    fill(&mut credential, "validFrom", || json!(timestamp(now)));
    if credential.contains_key("proof") || credential.contains_key("credentialStatus") {
        let message = "the credential must have neither 'proof' nor 'credentialStatus' yet";
        return Err(ApiError::invalid("credential", "invalid_value", message));
    }
    let read = Credential::read(&credential)
        .map_err(|problem| ApiError::invalid("credential", "invalid_value", problem.to_string()))?;
    if read.issuer != issuer {
        let message = "Invalid 'credential.issuer': this node issues in its own name only.";
        return Err(ApiError::invalid(
            "credential.issuer",
            "invalid_value",
            message,
        ));
    }
    let options = request.options.unwrap_or_default();
    if options.revocable != Some(false) {
        let origin = app.desk.origin(host(&headers))?;
        let id = read.id.unwrap_or_default();
        let by = principal.id().as_str();
        let taken = app.store.take_place(&id, by, LIST_LENGTH, random, now);
        let place = taken.await?.ok_or_else(|| {
            let message = "a credential with this id was issued before";
            ApiError::refused(StatusCode::CONFLICT, Some("duplicate_id"), message)
        })?;
        let url = format!("{origin}{LISTS}{}", place.list);
        credential.insert("credentialStatus".into(), status_entry(&url, place.place));
    }
    let signed = app
        .desk
        .sign(credential, Purpose::Assertion, (None, None))?;
    let noted = Noted::default().on(signed.get("id").and_then(Value::as_str).unwrap_or_default());
    let issued = Issued {
        verifiable_credential: JsonDocument(signed),
    };
    Ok((StatusCode::CREATED, Extension(noted), Json(issued)))
}

/// Says whether a credential can be believed, with its state looked at.
#[utoipa::path(
    post,
    path = "/v1/credentials/verify",
    tag = "credentials",
    operation_id = "verifyCredential",
    request_body = VerifyRequest,
    responses((status = 200, description = "Whether it can, and why not.", body = Verified))
)]
pub(crate) async fn verify(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<VerifyRequest>,
) -> Result<Json<Verified>, ApiError> {
    principal.require(Scope::Identity)?;
    let text = required(request.verifiable_credential, "verifiableCredential")?;
    let lists = Lists(&app);
    let verifier = Verifier::new(&app.desk.resolver, &lists, app.clock.unix_ms());
    let checked = verifier.credential(&text.0).await.map(|_| ());
    judged(&app, &principal, checked).await
}

/// Says whether a presentation, and all that it shows, can be believed.
#[utoipa::path(
    post,
    path = "/v1/credentials/presentations/verify",
    tag = "credentials",
    operation_id = "verifyPresentation",
    request_body = VerifyPresentationRequest,
    responses((status = 200, description = "Whether it can, and why not.", body = Verified))
)]
pub(crate) async fn verify_presentation(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<VerifyPresentationRequest>,
) -> Result<Json<Verified>, ApiError> {
    principal.require(Scope::Identity)?;
    let text = required(request.verifiable_presentation, "verifiablePresentation")?;
    let options = request.options.unwrap_or_default();
    let audience = Audience {
        challenge: options.challenge.as_deref(),
        domain: options.domain.as_deref(),
    };
    let lists = Lists(&app);
    let verifier = Verifier::new(&app.desk.resolver, &lists, app.clock.unix_ms());
    let shown = verifier.presentation(&text.0, audience).await;
    judged(&app, &principal, shown.map(|_| ())).await
}

/// Shows credentials as this node, to whoever gave a challenge.
#[utoipa::path(
    post,
    path = "/v1/credentials/present",
    tag = "credentials",
    operation_id = "presentCredentials",
    request_body = PresentRequest,
    responses((status = 201, description = "The signed presentation.", body = Presented))
)]
pub(crate) async fn present(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<PresentRequest>,
) -> Result<(StatusCode, Json<Presented>), ApiError> {
    speaks_for_the_node(&principal)?;
    let mut presentation = required(request.presentation, "presentation")?.0;
    let holder = app.desk.did()?.to_string();
    fill(&mut presentation, "@context", || json!([CONTEXT]));
    fill(&mut presentation, "type", || {
        json!(["VerifiablePresentation"])
    });
    fill(&mut presentation, "holder", || json!(holder));
    let refuse = |message: String| ApiError::invalid("presentation", "invalid_value", message);
    let read = Presentation::read(&presentation);
    let read = read.map_err(|problem| refuse(problem.to_string()))?;
    if presentation.contains_key("proof") || read.holder.as_deref() != Some(&holder) {
        let message = "the presentation must have no 'proof' yet, and this node as its 'holder'";
        return Err(refuse(message.into()));
    }
    let options = request.options.unwrap_or_default();
    let audience = (options.challenge.as_deref(), options.domain.as_deref());
    let signed = app
        .desk
        .sign(presentation, Purpose::Authentication, audience)?;
    let presented = Presented {
        verifiable_presentation: JsonDocument(signed),
    };
    Ok((StatusCode::CREATED, Json(presented)))
}

/// Revokes a credential that this node issued, for good.
#[utoipa::path(
    post,
    path = "/v1/credentials/status",
    tag = "credentials",
    operation_id = "updateCredentialStatus",
    request_body = CredentialStatusRequest,
    responses((status = 200, description = "It is revoked.", body = Revoked))
)]
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<CredentialStatusRequest>,
) -> Result<(Extension<Noted>, Json<Revoked>), ApiError> {
    speaks_for_the_node(&principal)?;
    let id = required(request.credential_id, "credentialId")?;
    if request
        .status_purpose
        .is_some_and(|purpose| purpose != "revocation")
    {
        let message = "Invalid 'statusPurpose': it can only be 'revocation'.";
        return Err(ApiError::invalid("statusPurpose", "invalid_value", message));
    }
    if !required(request.status, "status")? {
        let message = "Invalid 'status': what was revoked stays revoked.";
        return Err(ApiError::invalid("status", "invalid_value", message));
    }
    let revoked = app.store.revoke_credential(&id, app.clock.unix_ms());
    if !revoked.await? {
        let message = "this node issued no revocable credential with this id";
        return Err(ApiError::not_found(
            "credentialId",
            "credential_not_found",
            message,
        ));
    }
    let noted = Noted::default().on(id.as_str());
    let revoked = Revoked {
        object: "credential",
        id,
        revoked: true,
    };
    Ok((Extension(noted), Json(revoked)))
}

/// The states of a list of credentials, signed. Anybody may ask.
#[utoipa::path(
    get,
    path = "/v1/credentials/status-lists/{list}",
    tag = "credentials",
    operation_id = "getStatusList",
    params(("list" = u32, Path, description = "The list's number.")),
    responses(
        (status = 200, description = "A BitstringStatusListCredential.", body = JsonDocument),
        (status = 400, description = "The node is not known under this name.", body = ErrorBody),
        (status = 404, description = "There is no such list.", body = ErrorBody),
        (status = 503, description = "The node's key is sealed.", body = ErrorBody)
    )
)]
pub(crate) async fn status_list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    ApiPath(list): ApiPath<String>,
) -> Result<Json<JsonDocument>, ApiError> {
    let not_found = || {
        let message = "there is no such list";
        ApiError::not_found("list", "list_not_found", message)
    };
    let number = number(&list).ok_or_else(not_found)?;
    let url = format!("{}{LISTS}{number}", app.desk.origin(host(&headers))?);
    let found = list_of(&app, number, &url).await?;
    found.map(JsonDocument).map(Json).ok_or_else(not_found)
}

/// Whoever has one of the owner's keys speaks for the node; whoever has merely signed in does not.
fn speaks_for_the_node(principal: &Principal) -> Result<(), ApiError> {
    principal.require(Scope::Identity)?;
    match principal.signed_in() {
        None => Ok(()),
        Some(_) => Err(ApiError::forbidden(
            "only whoever has one of the owner's keys speaks in the node's name",
        )),
    }
}

/// The node's own lists, which need not be fetched.
pub(crate) struct Lists<'a>(pub(crate) &'a App);

impl OwnLists for Lists<'_> {
    fn list<'a>(&'a self, issuer: &'a str, url: &'a str) -> BoxFuture<'a, Option<StatusList>> {
        Box::pin(async move {
            let Self(app) = self;
            let (authority, list) = url.split_once("://")?.1.split_once(LISTS)?;
            // One of another node looks the same but for its name.
            app.desk.origin(Some(authority)).ok()?;
            let number = number(list).filter(|_| app.desk.is_own(issuer))?;
            bits(app, number).await.ok()?
        })
    }
}

async fn bits(app: &App, number: u32) -> Result<Option<StatusList>, ApiError> {
    let places = app.store.revoked_places(number).await?;
    Ok(places.map(StatusList::of))
}

/// One form for each number, so that a list has one name.
fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

async fn list_of(
    app: &App,
    number: u32,
    url: &str,
) -> Result<Option<Map<String, Value>>, ApiError> {
    let Some(list) = bits(app, number).await? else {
        return Ok(None);
    };
    let (issuer, now) = (app.desk.did()?.to_string(), app.clock.unix_ms());
    let credential = list_credential(url, &issuer, &timestamp(now), &list);
    let signed = app.desk.sign(credential, Purpose::Assertion, (None, None));
    signed.map(Some)
}

/// Notes what is to be paid for, and answers: an identity that was found to be good. What could not be believed costs
/// nothing.
async fn judged(
    app: &App,
    principal: &Principal,
    checked: Result<(), Problem>,
) -> Result<Json<Verified>, ApiError> {
    if checked.is_ok() {
        verified(app, principal, VerificationKind::Identity).await?;
    }
    Ok(verdict(checked))
}

/// Notes that an identity was verified for somebody, who pays for it; who does it for himself does not.
pub(crate) async fn verified(
    app: &App,
    principal: &Principal,
    kind: VerificationKind,
) -> Result<(), ApiError> {
    if *principal.id() == PrincipalId::operator() {
        return Ok(());
    }
    let now = app.clock.unix_ms();
    Ok(app
        .store
        .note_verification(principal.id(), kind, now)
        .await?)
}

fn verdict(checked: Result<(), Problem>) -> Json<Verified> {
    let problem = checked.err();
    Json(Verified {
        verified: problem.is_none(),
        errors: problem
            .map(|problem| VerifyProblem {
                kind: problem.kind(),
                title: problem.to_string(),
            })
            .into_iter()
            .collect(),
    })
}

fn fill(document: &mut Map<String, Value>, field: &str, value: impl FnOnce() -> Value) {
    if !document.contains_key(field) {
        document.insert(field.into(), value());
    }
}

/// A name for a credential that has none (RFC 9562, version 4).
fn urn() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    format!("urn:uuid:{}", parts.join("-"))
}

/// A place in a list.
fn random(below: u32) -> u32 {
    let mut bytes = [0_u8; 4];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    // The lists' length is a power of two, so that every place is as likely.
    u32::from_be_bytes(bytes) % below
}
