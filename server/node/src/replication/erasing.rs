//! Tells replicas what was erased here, again and again until each has acknowledged it. An erasure has one id on all
//! nodes, so that nodes that replicate in a ring do not tell each other for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use kwaainet_identity::{SecretBox, client_to};
use kwaainet_store::{OpenErasure, StoreError};
use reqwest::Url;
use serde_json::json;

use super::side::{Authorization, Trouble};
use super::{may_reach_local, rest};
use crate::door::App;

/// How often it is looked for replicas whose turn has come, while there are some, and while there are none.
const PERIODS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Replicas that are looked at in one round.
const AT_ONCE: u32 = 256;
const REQUEST_MAX: Duration = Duration::from_secs(60);
const OTHER: &str = "the other node";

/// Tells replicas until dropped.
pub(crate) async fn run(app: Arc<App>) {
    let mut bell = app.bells.erasures.listen();
    loop {
        let some_wait = round(&app).await.unwrap_or_else(|error| {
            tracing::error!(%error, "erasures cannot be told to replicas");
            false
        });
        let period = if some_wait { PERIODS.0 } else { PERIODS.1 };
        tokio::select! {
            () = bell.rings() => {}
            () = tokio::time::sleep(period) => {}
        }
    }
}

/// Tells those whose turn it is; whether some wait for theirs.
async fn round(app: &App) -> Result<bool, StoreError> {
    let documents = &app.storage.documents;
    let mut some_wait = false;
    for open in documents.open_erasures(AT_ONCE).await? {
        let replica = &open.replica;
        let waited = replica.asked_at_ms.map(|asked| app.clock.unix_ms() - asked);
        // A clock that was set back must not make it wait for ever.
        let is_due = waited
            .is_none_or(|waited| waited < 0 || waited as u128 >= rest(replica.tries).as_millis());
        if !is_due {
            some_wait = true;
            continue;
        }
        let told = tell(app, &open).await;
        let which = (open.erasure.as_str(), replica.url.as_str());
        let now = app.clock.unix_ms();
        match told {
            Ok(()) => {
                documents.erasure_acknowledged(which, now).await?;
                // What was kept to be told is gone from the rows, and now from the file.
                documents.scrub().await?;
            }
            Err(trouble) => {
                some_wait = true;
                let error = trouble.to_string();
                documents.erasure_failed(which, &error, now).await?;
            }
        }
    }
    Ok(some_wait)
}

async fn tell(app: &App, open: &OpenErasure) -> Result<(), Trouble> {
    let secrets = app.key.as_ref().map(SecretBox::new).ok_or(Trouble::Key)?;
    let secret = secrets.open(&open.secret_of, &open.secret);
    let authorization = secret.and_then(|secret| Authorization::read(&secret));
    let authorization = authorization.ok_or(Trouble::Key)?;
    let ids = secrets.open(&open.erasure, &open.ids).ok_or(Trouble::Key)?;
    let ids: Vec<String> = serde_json::from_slice(&ids).map_err(|_| Trouble::Malformed)?;
    let url: Url = open.replica.url.parse().map_err(|_| Trouble::Malformed)?;
    let url = erase_url(&url).ok_or(Trouble::Malformed)?;
    let local = may_reach_local(app, &open.owner);
    let client = client_to(&url, local, REQUEST_MAX).await?;
    let body = json!({"ids": ids, "erasure": open.erasure}).to_string();
    let sent = client
        .post(url)
        .header(header::AUTHORIZATION, authorization.header())
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .send();
    let answer = sent.await.map_err(|_| Trouble::Broken(OTHER))?;
    match answer.status() {
        StatusCode::OK => Ok(()),
        status => Err(Trouble::Refused {
            side: OTHER,
            status: status.as_u16(),
        }),
    }
}

/// Where a node of ours erases documents of the database that is at `…/couch/{db}`; none for other URLs.
pub(crate) fn erase_url(database: &Url) -> Option<Url> {
    let (base, name) = database.path().rsplit_once('/')?;
    let base = base.strip_suffix("/couch")?;
    if name.is_empty() {
        return None;
    }
    let mut url = database.clone();
    url.set_path(&format!("{base}/v1/storage/databases/{name}/erase"));
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_at_a_node_has_its_place_for_erasing() {
        let at = |text: &str| {
            let url: Url = text.parse().expect("a URL");
            erase_url(&url).map(|url| url.to_string())
        };
        assert_eq!(
            at("http://127.0.0.1:1/couch/a%2Fb").as_deref(),
            Some("http://127.0.0.1:1/v1/storage/databases/a%2Fb/erase")
        );
        assert_eq!(
            at("https://host/node/couch/notes").as_deref(),
            Some("https://host/node/v1/storage/databases/notes/erase")
        );
        for other in [
            "https://host/notes",
            "https://host/couch/",
            "https://host/couch",
        ] {
            assert_eq!(at(other), None, "{other}");
        }
    }
}
