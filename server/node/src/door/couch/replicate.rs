//! `_replicate`: CouchDB's words for a replication that the node drives. Without `continuous` it is run while the
//! client waits.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use kwaainet_core::Principal;
use kwaainet_storage::{Access, DatabaseName, Mode};
use kwaainet_store::{
    DatabaseRecord, Direction, NewDatabase, ReplicationRecord, ReplicationState, Way,
};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::asked;
use super::{bad_request, not_found, open, refused};
use crate::door::storage::replications::{Terms, keep, owned, place};
use crate::door::{ApiError, App};
use crate::replication::{Authorization, Pair, Trouble, Watch, say};

/// What a client asks for. What it asks for beside this and the node cannot do is refused.
#[derive(Debug, Deserialize)]
pub(crate) struct Replicate {
    source: Value,
    target: Value,
    #[serde(default)]
    continuous: bool,
    #[serde(default)]
    cancel: bool,
    #[serde(default)]
    create_target: bool,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Members that would leave documents out, or run functions.
const UNKNOWN: [&str; 5] = ["doc_ids", "filter", "selector", "query_params", "since_seq"];

/// One end of a replication, as CouchDB names it.
enum End {
    Here(String),
    There(String, Option<Authorization>),
}

/// Replicates a database of the caller's with one at another node of his.
#[utoipa::path(
    post,
    path = "/couch/_replicate",
    tag = "couchdb",
    operation_id = "couchReplicate",
    request_body(content = Object, description = "`source` and `target`, one the name of a database here, the other the URL of one at another node, as text or as `{url, headers, auth}`; `continuous`, `cancel`, `create_target`."),
    responses(
        (status = 200, description = "Both are equal, or the replication was cancelled.", body = Object),
        (status = 202, description = "It goes on with whatever changes.", body = Object)
    )
)]
pub(crate) async fn replicate(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let asked: Replicate = asked::json(&app, &headers, body).await?;
    if let Some(name) = UNKNOWN.iter().find(|name| asked.other.contains_key(**name)) {
        return Err(bad_request(format!(
            "This node does not replicate by {name}"
        )));
    }
    let (name, url, shown, way) = match (end(&asked.source)?, end(&asked.target)?) {
        (End::Here(name), End::There(url, shown)) => (name, url, shown, Way::Push),
        (End::There(url, shown), End::Here(name)) => (name, url, shown, Way::Pull),
        _ => {
            let reason = "One of source and target has to be a database here, the other one a URL";
            return Err(bad_request(reason));
        }
    };
    if asked.create_target && way == Way::Pull && !asked.cancel {
        make(&app, &principal, &name).await?;
    }
    let found = open(&app, &principal, &name, Access::Admin).await?;
    owned(&principal, &found)?;
    let url = place(&app, &principal, &url).await?;
    if asked.cancel {
        return cancel(&app, &principal, (&found, &url)).await;
    }
    let shown = shown.ok_or_else(|| bad_request("The URL needs a token or a password"))?;
    let direction = match way {
        Way::Push => Direction::Push,
        Way::Pull => Direction::Pull,
    };
    if asked.continuous {
        let terms = Terms {
            direction,
            live: true,
            state: ReplicationState::Pending,
        };
        let kept = keep(&app, &principal, &found, (&url, &shown), terms).await?;
        app.bells.replications.ring();
        let said = json!({"ok": true, "_local_id": kept.id});
        return Ok((StatusCode::ACCEPTED, Json(said)));
    }
    let known = match way {
        Way::Push => remember(&app, &principal, &found, (&url, &shown)).await?,
        Way::Pull => None,
    };
    let pair = Pair {
        here: (found.name.as_str(), &found.uuid),
        url: &url,
        authorization: shown,
    };
    let watch = known.as_ref().map(|record| Watch { record, way });
    let ran = tokio::select! {
        ran = pair.run(&app, &principal, way, false, watch) => ran,
        () = app.storage.closing.cancelled() => Err(Trouble::Gone),
    };
    if let (Some(record), Err(trouble)) = (&known, &ran) {
        let error = trouble.to_string();
        say(&app, record, ReplicationState::Failed, Some(&error)).await;
    }
    let checkpoint = ran.map_err(troubled)?;
    let mut said = json!(checkpoint);
    said["ok"] = Value::Bool(true);
    let session = &checkpoint.history[0];
    if session.start_last_seq == session.recorded_seq {
        said["no_changes"] = Value::Bool(true);
    }
    Ok((StatusCode::OK, Json(said)))
}

/// Ends the replication between these two.
async fn cancel(
    app: &App,
    principal: &Principal,
    (found, url): (&DatabaseRecord, &str),
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let documents = &app.storage.documents;
    let all = documents.replications(principal.id()).await?;
    let known = all
        .into_iter()
        .find(|one| one.db == found.key && one.url == url);
    let known = known.ok_or_else(|| not_found("no such replication"))?;
    documents
        .forget_replication(principal.id(), &known.id)
        .await?;
    app.bells.replications.ring();
    let said = json!({"ok": true, "_local_id": known.id});
    Ok((StatusCode::OK, Json(said)))
}

/// Keeps in mind who is given a copy: what is erased here has to be erased there. The record, if there was none.
async fn remember(
    app: &App,
    principal: &Principal,
    found: &DatabaseRecord,
    (url, shown): (&str, &Authorization),
) -> Result<Option<ReplicationRecord>, ApiError> {
    let documents = &app.storage.documents;
    let all = documents.replications(principal.id()).await?;
    let mut same = all
        .iter()
        .filter(|one| one.db == found.key && one.url == url);
    if let Some(known) = same.next() {
        documents.replication_has_copy(&known.id).await?;
        return Ok(None);
    }
    let terms = Terms {
        direction: Direction::Push,
        live: false,
        // Nobody but who asks for it drives it.
        state: ReplicationState::Completed,
    };
    let kept = keep(app, principal, found, (url, shown), terms).await?;
    Ok(Some(kept))
}

/// Makes the database that is to be the target, if it is not there.
async fn make(app: &App, principal: &Principal, name: &str) -> Result<(), ApiError> {
    let name: Result<DatabaseName, _> = name.parse();
    let new = NewDatabase {
        owner: principal.id().clone(),
        name: name.map_err(|bad| bad_request(bad.to_string()))?,
        mode: Mode::Private,
        created_at_ms: app.clock.unix_ms(),
        wrap: None,
    };
    let new = app.storage.keyring.seal_new(principal, new)?;
    app.storage.documents.create_database(&new).await?;
    Ok(())
}

/// A name, a URL, or an object with a URL and what is to be shown there.
fn end(said: &Value) -> Result<End, ApiError> {
    let wrong = || bad_request("source and target have to be names or URLs");
    let url = said.as_str().or(said["url"].as_str()).ok_or_else(wrong)?;
    if !url.contains("://") {
        return Ok(End::Here(url.to_owned()));
    }
    let mut url: Url = url.parse().map_err(|_| wrong())?;
    let header = said["headers"].as_object().and_then(|headers| {
        let mut headers = headers.iter();
        headers.find(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    });
    let basic = &said["auth"]["basic"];
    let shown = if let Some((_, value)) = header {
        value.as_str().and_then(Authorization::of)
    } else if let (Some(name), Some(password)) =
        (basic["username"].as_str(), basic["password"].as_str())
    {
        Authorization::basic(name, password)
    } else {
        let decode = |part: &str| {
            // The parts of a URL are escaped; a query is read the same way.
            let pair = Url::parse(&format!("http://x/?v={}", part.replace('+', "%2B"))).ok()?;
            let (_, value) = pair.query_pairs().next()?;
            Some(value.into_owned())
        };
        let password = url.password().and_then(decode);
        let name = decode(url.username()).unwrap_or_default();
        password.and_then(|password| Authorization::basic(&name, &password))
    };
    // Who is known by now stands in the URL no more.
    url.set_username("").map_err(|()| wrong())?;
    url.set_password(None).map_err(|()| wrong())?;
    Ok(End::There(url.to_string(), shown))
}

fn troubled(trouble: Trouble) -> ApiError {
    let (status, error) = match &trouble {
        Trouble::Refused { status: 404, .. } => (StatusCode::NOT_FOUND, "db_not_found"),
        Trouble::Refused { status: 401, .. } => (StatusCode::UNAUTHORIZED, "unauthorized"),
        Trouble::Refused { status: 403, .. } => (StatusCode::FORBIDDEN, "forbidden"),
        Trouble::Full(_) => (StatusCode::PAYLOAD_TOO_LARGE, "quota_exceeded"),
        Trouble::Gone => (StatusCode::SERVICE_UNAVAILABLE, "replication_cancelled"),
        Trouble::Store => (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error"),
        _ => (StatusCode::BAD_GATEWAY, "replication_failed"),
    };
    refused(status, error, trouble.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(said: Value) -> (String, Option<Vec<u8>>) {
        match end(&said) {
            Ok(End::There(url, shown)) => (url, shown.map(|shown| shown.bytes().to_vec())),
            _ => panic!("it is elsewhere"),
        }
    }

    #[test]
    fn who_is_shown_where_is_taken_out_of_the_url() {
        let bare = "https://host/couch/notes";
        let basic = Some(b"Basic YTpiOmM=".to_vec());
        let url = json!("https://a:b%3Ac@host/couch/notes");
        assert_eq!(there(url), (bare.to_owned(), basic.clone()));
        let auth = json!({"url": bare, "auth": {"basic": {"username": "a", "password": "b:c"}}});
        assert_eq!(there(auth), (bare.to_owned(), basic));
        let header = json!({"url": bare, "headers": {"authorization": "Bearer kw_x"}});
        assert_eq!(
            there(header),
            (bare.to_owned(), Some(b"Bearer kw_x".to_vec()))
        );
        assert_eq!(there(json!(bare)), (bare.to_owned(), None));
        assert!(matches!(end(&json!("notes")), Ok(End::Here(name)) if name == "notes"));
        assert!(end(&json!(7)).is_err());
    }
}
