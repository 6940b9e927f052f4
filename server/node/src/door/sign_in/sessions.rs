//! `/v1/auth/sessions`: what somebody is signed in with.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{Principal, Scopes, SessionId, SessionToken};
use kwaainet_openapi::{Revoked, Session, SessionList};
use kwaainet_store::{AccountRecord, SessionRow};

use super::{SECOND_MS, names, own_account};
use crate::door::auth::{allowed_to, session_record, standing};
use crate::door::path::ApiPath;
use crate::door::recorded::Noted;
use crate::door::{ApiError, App};

/// Lists the caller's sessions.
#[utoipa::path(
    get,
    path = "/v1/auth/sessions",
    tag = "auth",
    operation_id = "listSessions",
    responses((status = 200, description = "Those of the last days, at most 64.", body = SessionList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<SessionList>, ApiError> {
    let account = own_account(Some(&principal))?;
    let now = app.clock.unix_ms();
    let sessions = app.store.sessions(account, now).await?;
    Ok(Json(SessionList {
        object: "list",
        data: sessions
            .into_iter()
            .map(|session| object(&app, session, None, now))
            .collect(),
    }))
}

/// Ends a session of the caller's, at once and for good.
#[utoipa::path(
    delete,
    path = "/v1/auth/sessions/{session}",
    tag = "auth",
    operation_id = "endSession",
    params(("session" = String, Path, description = "Its id, or `current`.")),
    responses((status = 200, description = "It is over.", body = Revoked))
)]
pub(crate) async fn end(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Revoked>, ApiError> {
    let account = own_account(Some(&principal))?;
    let id = match principal.signed_in() {
        Some(signed_in) if id == "current" => signed_in.session.clone(),
        _ => SessionId::new(id),
    };
    let ended = app.store.end_session(account, &id, app.clock.unix_ms());
    if !ended.await? {
        let message = "you have no such session";
        return Err(ApiError::not_found("session", "session_not_found", message));
    }
    Ok(Json(Revoked {
        object: "kwaai.session",
        id: id.to_string(),
        revoked: true,
    }))
}

/// A session that was begun, as it is answered and recorded.
pub(crate) type Begun = (Extension<Noted>, Json<Session>);

/// Answers with a session, and says whose it is, which nobody knew before.
pub(crate) fn begun(session: Session) -> Begun {
    let noted = Noted::default().about(session.subject.as_str());
    (Extension(noted.on(session.id.as_str())), Json(session))
}

/// Begins a session: with the scopes that were asked for, or with all that there are for the account.
pub(crate) async fn begin(
    app: &App,
    account: AccountRecord,
    asked: Option<Scopes>,
) -> Result<Session, ApiError> {
    let now = app.clock.unix_ms();
    let unlocked = standing(&account).assurance().unlocks().scopes();
    let may = allowed_to(app, &account) & unlocked;
    let scopes = asked.unwrap_or(may);
    if let Some(missing) = scopes.iter().find(|scope| !may.contains(*scope)) {
        let message = format!("your account may not have the scope '{missing}' now");
        return Err(ApiError::forbidden(message));
    }
    let token = SessionToken::generate();
    let hours = i64::from(app.desk.config.session_hours);
    let session = SessionRow {
        id: token.id().clone(),
        hash: token.hash(),
        // What it was not asked to be limited to may grow with the account's tier.
        scopes: asked.unwrap_or(Scopes::ALL),
        created_at_ms: now,
        expires_at_ms: now + hours * 3_600 * SECOND_MS,
        ended_at_ms: None,
        account,
    };
    app.store.insert_session(&session).await?;
    Ok(object(app, session, Some(&token), now))
}

fn object(app: &App, session: SessionRow, token: Option<&SessionToken>, now_ms: i64) -> Session {
    let record = session_record(app, session);
    Session {
        object: "kwaai.session",
        id: record.id.to_string(),
        token: token.map(SessionToken::reveal),
        tier: record.assurance.number(),
        scopes: names(record.scopes & record.assurance.unlocks().scopes()),
        created_at: record.created_at_ms / SECOND_MS,
        expires_at: record.expires_at_ms / SECOND_MS,
        active: record.is_active(now_ms),
        subject: record.subject,
    }
}
