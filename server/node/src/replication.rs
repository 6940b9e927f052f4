//! Replications that the node drives: between a database here and one at another node of the same owner, over
//! CouchDB's protocol on both sides. What is kept of them is in the file of documents; how far each came, in local
//! documents of both databases, so that it goes on there after a restart.
//!
//! The node acts for an owner who is not there: [`owner`] is the one place that says who that is. It then comes
//! through its own door like anybody else (`door::couch_for`). Tokens of other nodes are sealed with the node's key,
//! and never logged or shown.

mod erasing;
mod protocol;
mod session;
mod side;

pub(crate) use erasing::{erase_url, run as tell_replicas};
pub(crate) use session::Watch;
pub(crate) use side::{Authorization, Trouble};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Principal, PrincipalId, Scope, SharingSecret};
use kwaainet_identity::{SecretBox, client_to};
use kwaainet_storage::{Checkpoint, replication_id};
use kwaainet_store::{Direction, ReplicationRecord, ReplicationState, StoreError, Way};
use reqwest::Url;
use tokio::task::JoinSet;

use crate::door::{self, ApiError, App};
use crate::identity::locked;
use session::Plan;
use side::Side;

/// How often it is looked for replications if nothing rings.
const PERIOD: Duration = Duration::from_secs(30);
/// Tries of one that ends.
const TRIES_MAX: u32 = 12;
/// The rests between tries, each twice the one before.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Whoever worked for so long has not failed again, but anew.
const STEADY: Duration = Duration::from_secs(60);
/// One request to another node at most.
const REQUEST_MAX: Duration = Duration::from_secs(600);

/// Who a replication acts for, as he stands now; none if he may not have it done any more.
///
/// # Errors
/// When the database fails.
pub(crate) async fn owner(
    app: &App,
    record: &ReplicationRecord,
) -> Result<Option<Principal>, StoreError> {
    let found = door::returning_for(app, &record.owner, record.key.as_ref(), Scope::Storage);
    let sealed = app.key.as_ref().zip(record.opens.as_ref());
    let opens = sealed.and_then(|(key, sealed)| {
        let opened = SecretBox::new(key).open(&opening(&record.id), sealed)?;
        opened.as_slice().try_into().ok().map(SharingSecret::new)
    });
    Ok(found.await?.map(|principal| match opens {
        Some(opens) => principal.sharing(opens),
        None => principal,
    }))
}

/// The place for which what opens a database is sealed.
pub(crate) fn opening(replication: &str) -> String {
    format!("{replication} opens")
}

/// Seals what is kept for other nodes.
///
/// # Errors
/// When the node's key is sealed itself.
pub(crate) fn secrets(app: &App) -> Result<SecretBox, ApiError> {
    app.key.as_ref().map(SecretBox::new).ok_or_else(locked)
}

/// Whether somebody may have this node look into its owner's network.
pub(crate) fn may_reach_local(app: &App, who: &PrincipalId) -> bool {
    *who == PrincipalId::operator() || app.storage.local_replicas
}

/// How long to wait after so many tries in vain.
fn rest(tries: u32) -> Duration {
    let factor = 1 << tries.saturating_sub(1).min(16);
    (REST.0 * factor).min(REST.1)
}

/// Drives every replication that is not over, until dropped.
pub(crate) async fn run(app: Arc<App>) {
    let mut bell = app.bells.replications.listen();
    let mut tasks = JoinSet::new();
    let mut running = HashMap::new();
    loop {
        match app.storage.documents.open_replications().await {
            Ok(open) => {
                let name = |record: &ReplicationRecord| (record.id.clone(), record.revision);
                let wanted: Vec<_> = open.iter().map(name).collect();
                running.retain(|name, task: &mut tokio::task::AbortHandle| {
                    let goes_on = wanted.contains(name);
                    if !goes_on {
                        task.abort();
                    }
                    goes_on && !task.is_finished()
                });
                for record in open {
                    let begin = || tasks.spawn(drive(Arc::clone(&app), record.clone()));
                    running.entry(name(&record)).or_insert_with(begin);
                }
            }
            Err(error) => tracing::error!(%error, "replications cannot be read"),
        }
        tokio::select! {
            () = bell.rings() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Runs one until it is over, or for ever.
async fn drive(app: Arc<App>, record: ReplicationRecord) {
    let mut tries = 0;
    loop {
        let began = app.clock.monotonic();
        let (state, error) = match once(&app, &record).await {
            Ok(()) if record.live => continue,
            Ok(()) => (ReplicationState::Completed, None),
            Err(Trouble::Gone) => return,
            Err(trouble) => {
                if app.clock.monotonic().saturating_sub(began) > STEADY {
                    tries = 0;
                }
                tries += 1;
                let state = match record.live || tries < TRIES_MAX {
                    true => ReplicationState::Retrying,
                    false => ReplicationState::Failed,
                };
                (state, Some(trouble.to_string()))
            }
        };
        say(&app, &record, state, error.as_deref()).await;
        if state != ReplicationState::Retrying {
            return;
        }
        tracing::debug!(
            replication = record.id,
            tries,
            "a replication is tried again"
        );
        tokio::time::sleep(rest(tries)).await;
    }
}

/// Says what a replication is about.
pub(crate) async fn say(
    app: &App,
    record: &ReplicationRecord,
    state: ReplicationState,
    error: Option<&str>,
) {
    let documents = &app.storage.documents;
    let which = (record.id.as_str(), record.revision);
    let said = documents.replication_is(which, state, error, app.clock.unix_ms());
    if let Err(error) = said.await {
        tracing::error!(%error, "the state of a replication cannot be kept");
    }
}

/// Runs it once; a live one for an hour, after which who may do what is looked at anew.
async fn once(app: &Arc<App>, record: &ReplicationRecord) -> Result<(), Trouble> {
    let principal = owner(app, record).await?.ok_or(Trouble::Owner)?;
    let secrets = app.key.as_ref().map(SecretBox::new).ok_or(Trouble::Key)?;
    let secret = secrets.open(&record.id, &record.secret);
    let authorization = secret.and_then(|secret| Authorization::read(&secret));
    let pair = Pair {
        here: (&record.name, &record.uuid),
        url: &record.url,
        authorization: authorization.ok_or(Trouble::Key)?,
    };
    let documents = &app.storage.documents;
    let which = (record.id.as_str(), record.revision);
    documents
        .replication_runs(which, app.clock.unix_ms())
        .await?;
    let run = |way| {
        let watch = Watch { record, way };
        pair.run(app, &principal, way, record.live, Some(watch))
    };
    match record.direction {
        Direction::Push => run(Way::Push).await.map(drop),
        Direction::Pull => run(Way::Pull).await.map(drop),
        Direction::Both => tokio::try_join!(run(Way::Push), run(Way::Pull)).map(drop),
    }
}

/// A database here and one there.
pub(crate) struct Pair<'a> {
    /// The name and the unique id of the one here.
    pub(crate) here: (&'a str, &'a str),
    /// The one there.
    pub(crate) url: &'a str,
    /// What is shown there.
    pub(crate) authorization: Authorization,
}

impl Pair<'_> {
    /// Replicates one way as this principal; how far it came.
    ///
    /// # Errors
    /// [`Trouble`] says why it did not come to its end. What is there by then need not be done again.
    pub(crate) async fn run(
        &self,
        app: &Arc<App>,
        principal: &Principal,
        way: Way,
        live: bool,
        watch: Option<Watch<'_>>,
    ) -> Result<Checkpoint, Trouble> {
        let url: Url = self.url.parse().map_err(|_| Trouble::Malformed)?;
        let local = may_reach_local(app, principal.id());
        let client = client_to(&url, local, REQUEST_MAX).await?;
        let (name, uuid) = self.here;
        let here = Side::here(door::couch_for(Arc::clone(app), principal.clone()), name);
        let there = Side::there(client, url, &self.authorization);
        let named = format!("{}/{uuid}", app.storage.documents.uuid());
        let (source, target, id) = match way {
            Way::Push => (&here, &there, replication_id(&named, self.url)),
            Way::Pull => (&there, &here, replication_id(self.url, &named)),
        };
        let plan = Plan {
            app,
            source,
            target,
            id,
            live,
            watch,
        };
        session::run(&plan).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rests_grow_and_have_an_end() {
        let rests: Vec<_> = [1, 2, 3, 9, 10, 40]
            .map(|tries| rest(tries).as_secs())
            .into();
        assert_eq!(rests, [1, 2, 4, 256, 300, 300]);
    }
}
