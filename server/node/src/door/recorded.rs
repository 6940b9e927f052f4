//! The one place where requests enter the audit log: all that touch storage, and those of identity that let somebody in
//! or change what is known of him ([`deeds`]). One entry a request: what was done, by whom, to whose data, on what, how
//! it ended. Never what documents say.
//!
//! A place in the log is taken before anything is done. What changed something is answered when its entry is on the
//! disk; what only read is answered while its entry is on its way, for some tens of milliseconds. A request whose client left is recorded, too.

mod deeds;

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use kwaainet_audit::{Action, AuditOutcome, Entry};
use kwaainet_core::{Clock, Principal};
use serde_json::{Map, Value};

use super::{ApiError, App, membership};
use crate::audit::{AuditPlace, NotRecorded};

/// Bytes of what a client calls a thing.
const RESOURCE_MAX: usize = 1_024;
/// Who came without a key and was refused.
const STRANGER: &str = "stranger";

/// What a handler knows better than the request's line. It is added to the answer and does not leave the node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted {
    /// Whom it turned out to be about, where the caller is somebody else, or nobody yet.
    about: Option<String>,
    /// On what.
    on: Option<String>,
    /// How many things it touched, where it is not one.
    count: Option<u64>,
}

impl Noted {
    /// It was about this principal.
    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.about = Some(subject.into());
        self
    }

    /// It was done on this.
    pub(crate) fn on(mut self, resource: impl Into<String>) -> Self {
        self.on = Some(resource.into());
        self
    }

    /// It touched so many things.
    pub(crate) fn count(mut self, count: usize) -> Self {
        self.count = Some(count as u64);
        self
    }
}

/// Records the request, if it is one of those.
pub(crate) async fn record(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let route = request.extensions().get::<MatchedPath>();
    let action = route.and_then(|route| deeds::of(request.method(), route.as_str()));
    let Some(action) = action else {
        return Ok(next.run(request).await);
    };
    let (mut parts, body) = request.into_parts();
    let entry = entry(&app, action, &mut parts).await?;
    let mut unsettled = Unsettled {
        place: Some(app.audit.place().await.map_err(unrecorded)?),
        entry: Some(entry),
        clock: Arc::clone(&app.clock),
    };
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let noted = response.extensions_mut().remove::<Noted>();
    let (place, mut entry) = unsettled.settle();
    finish(&mut entry, response.status(), noted.unwrap_or_default());
    // Whoever is nobody must not fill the disk.
    if entry.actor == STRANGER && !app.audit.heeds_strangers() {
        return Ok(response);
    }
    if deeds::is_awaited(action) {
        place.send(entry).done().await.map_err(unrecorded)?;
    } else {
        place.note(entry);
    }
    Ok(response)
}

/// What is known before anything is done.
async fn entry(app: &App, action: &'static str, parts: &mut Parts) -> Result<Entry, ApiError> {
    let names = RawPathParams::from_request_parts(parts, &()).await;
    let names = names.map_err(|_| {
        let message = "a name in the URL is not UTF-8";
        ApiError::bad_request(Some("invalid_value"), message)
    })?;
    let names: Vec<(&str, &str)> = names.iter().collect();
    let database = names.iter().find(|(name, _)| *name == "db");
    let principal = parts.extensions.get::<Principal>();
    let mut details = Map::new();
    let subject = match (principal, database) {
        (None, _) => String::new(),
        (Some(principal), None) => principal.id().to_string(),
        (Some(principal), Some((_, name))) => {
            let (owner, grant) = owner(app, principal, name).await?;
            details.extend(grant.map(|id| ("grant".to_owned(), Value::String(id))));
            owner
        }
    };
    if principal.is_some_and(Principal::is_delegated) {
        details.insert("delegated".into(), Value::Bool(true));
    }
    let resource: Vec<&str> = names.iter().map(|(_, value)| *value).collect();
    Ok(Entry {
        at_ms: app.clock.unix_ms(),
        action: Action::new(action).map_err(|error| ApiError::internal(error.to_string()))?,
        outcome: AuditOutcome::Failed,
        actor: principal.map_or_else(|| STRANGER.to_owned(), |who| who.id().to_string()),
        subject,
        resource: bounded(resource.join("/")),
        details,
    })
}

/// Whose the database is that the caller means by this name; his, if there is none yet. Also the grant that leads him to
/// it, if one does.
async fn owner(
    app: &App,
    principal: &Principal,
    name: &str,
) -> Result<(String, Option<String>), ApiError> {
    let who = principal.id().to_string();
    let Ok(name) = name.parse() else {
        return Ok((who, None));
    };
    Ok(match membership::lead(app, principal, &name, None).await? {
        Some(led) => (led.database.owner.to_string(), led.grant),
        None => (who, None),
    })
}

/// Adds what is known once it was done.
fn finish(entry: &mut Entry, status: StatusCode, noted: Noted) {
    entry.outcome = outcome(status);
    entry
        .details
        .insert("status".into(), status.as_u16().into());
    if let Some(count) = noted.count {
        entry.details.insert("count".into(), count.into());
    }
    if let Some(resource) = noted.on {
        entry.resource = bounded(resource);
    }
    if let Some(subject) = noted.about {
        if entry.actor == STRANGER {
            entry.actor.clone_from(&subject);
        }
        entry.subject = subject;
    }
}

fn bounded(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(RESOURCE_MAX));
    name
}

fn outcome(status: StatusCode) -> AuditOutcome {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => AuditOutcome::Denied,
        status if status.as_u16() < 400 => AuditOutcome::Done,
        _ => AuditOutcome::Failed,
    }
}

/// What could not be recorded is not acknowledged.
fn unrecorded(error: NotRecorded) -> ApiError {
    ApiError::internal(error.to_string())
}

/// A request that has begun. If its client leaves before it is answered, that is what is recorded.
struct Unsettled {
    place: Option<AuditPlace>,
    entry: Option<Entry>,
    clock: Arc<dyn Clock>,
}

impl Unsettled {
    fn settle(&mut self) -> (AuditPlace, Entry) {
        let place = self.place.take().zip(self.entry.take());
        let (place, mut entry) = place.expect("it is settled once, before it is dropped");
        entry.at_ms = self.clock.unix_ms();
        (place, entry)
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if self.place.is_none() {
            return;
        }
        let (place, mut entry) = self.settle();
        // It may have been done all the same.
        entry.details.insert("answered".into(), Value::Bool(false));
        if entry.actor != STRANGER {
            place.note(entry);
        }
    }
}
