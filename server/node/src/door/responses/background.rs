//! Responses that are made without their client: tasks of the node, bounded in number. Each keeps its
//! events until it is over, so that anybody of its owner may listen from any of them on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use kwaainet_core::{AdmissionError, Job, MeteredStream, PrincipalId};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::refused;
use super::run::{Broken, Outlet, Run};
use crate::door::stream::{Framing, KEEP_ALIVE, keep_alive, streamed};
use crate::door::{ApiError, App};

/// Made or waiting for their turn, on the whole node.
const RUNNING_MAX: usize = 64;
/// Of one principal.
const RUNNING_OF_ONE_MAX: usize = 32;
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long a cancelled response may take to say so.
const CANCEL_MAX: Duration = Duration::from_secs(10);

/// All responses that are being made without their clients.
pub struct Background {
    running: Mutex<HashMap<String, Running>>,
    tasks: TaskTracker,
    /// Those that may ask for a slot. The others wait here, for as long as it takes, and leave room
    /// for clients who wait.
    turns: Semaphore,
}

/// A response that is being made.
#[derive(Clone)]
struct Running {
    principal: PrincipalId,
    log: Arc<Log>,
    stop: CancellationToken,
}

impl Background {
    /// Nothing is being made yet; so many may be at once.
    pub fn new(at_once: usize) -> Self {
        Self {
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            turns: Semaphore::new(at_once.max(1)),
        }
    }

    /// Lets responses finish within this time, then has them cut.
    pub async fn drain(&self, time: Duration, cut: &CancellationToken) {
        self.tasks.close();
        if tokio::time::timeout(time, self.tasks.wait()).await.is_err() {
            cut.cancel();
            self.tasks.wait().await;
        }
    }

    /// The events of this principal's response, if it is being made.
    pub(super) fn log(&self, principal: &PrincipalId, id: &str) -> Option<Arc<Log>> {
        self.find(principal, id).map(|running| running.log)
    }

    /// Stops a response, if it is being made, and waits until it has its last state.
    pub(super) async fn stop(&self, principal: &PrincipalId, id: &str) {
        let Some(running) = self.find(principal, id) else {
            return;
        };
        running.stop.cancel();
        let mut is_over = running.log.is_over.subscribe();
        let over = is_over.wait_for(|is_over| *is_over);
        drop(tokio::time::timeout(CANCEL_MAX, over).await);
    }

    fn find(&self, principal: &PrincipalId, id: &str) -> Option<Running> {
        let running = self.running.lock().expect("no holder panics");
        let found = running.get(id);
        found.filter(|found| found.principal == *principal).cloned()
    }

    fn enter(
        &self,
        app: &Arc<App>,
        principal: &PrincipalId,
        id: &str,
    ) -> Result<(Running, Entry), AdmissionError> {
        let mut running = self.running.lock().expect("no holder panics");
        let retry_after = RETRY_AFTER;
        if running.len() >= RUNNING_MAX {
            return Err(AdmissionError::Overloaded { retry_after });
        }
        let of_his = running.values().filter(|r| r.principal == *principal);
        if of_his.count() >= RUNNING_OF_ONE_MAX {
            let limit = RUNNING_OF_ONE_MAX;
            return Err(AdmissionError::TooMany { limit, retry_after });
        }
        let entered = Running {
            principal: principal.clone(),
            log: Arc::default(),
            stop: CancellationToken::new(),
        };
        running.insert(id.to_owned(), entered.clone());
        let entry = Entry {
            app: Arc::clone(app),
            id: id.to_owned(),
            log: Arc::clone(&entered.log),
        };
        Ok((entered, entry))
    }
}

/// A place among the running. However the task ends, nobody waits for it any more.
struct Entry {
    app: Arc<App>,
    id: String,
    log: Arc<Log>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let running = &self.app.background.running;
        running.lock().expect("no holder panics").remove(&self.id);
        self.log.is_over.send_replace(true);
    }
}

/// The events of a response so far; its place in the list is an event's number.
#[derive(Default)]
pub(super) struct Log {
    events: Mutex<Vec<Bytes>>,
    /// Touched at every event too, so that listeners wake up.
    is_over: watch::Sender<bool>,
}

impl Log {
    pub(super) fn push(&self, event: Bytes) {
        let mut events = self.events.lock().expect("no holder panics");
        events.push(event);
        drop(events);
        self.is_over.send_modify(|_| {});
    }

    fn since(&self, from: usize) -> Vec<Bytes> {
        let events = self.events.lock().expect("no holder panics");
        events.get(from..).unwrap_or_default().to_vec()
    }
}

/// Begins a response and answers at once: with the response as it stands, or with its events.
pub(super) async fn start(
    app: Arc<App>,
    mut run: Run,
    job: Job,
    stream: bool,
) -> Result<Response, ApiError> {
    if app.hallway.admission().is_draining() {
        return Err(AdmissionError::Draining.into());
    }
    // What can be told now is not told later.
    let planned = app.hallway.plan(&run.course.principal, &job);
    planned.map_err(|error| refused(error.into()))?;
    let id = run.writer.object().id.clone();
    let principal = run.course.principal.id();
    let (running, entry) = app.background.enter(&app, principal, &id)?;
    run.keep(&app).await?;
    let answer = Json(run.writer.object()).into_response();
    let log = Arc::clone(&running.log);
    let tasks = app.background.tasks.clone();
    tasks.spawn(make(app, run, job, running, entry));
    Ok(match stream {
        true => follow(log, 0),
        false => answer,
    })
}

async fn make(app: Arc<App>, mut run: Run, job: Job, running: Running, entry: Entry) {
    let outlet = Outlet::Log(Arc::clone(&running.log));
    run.writer.created();
    outlet.tell(&mut run.writer).await;
    let stop = &running.stop;
    let events = tokio::select! {
        events = begin(&app, &run, job) => events,
        () = app.cut.cancelled() => Err(Broken::Stopped),
        () = stop.cancelled() => Err(Broken::Cancelled),
    };
    run.writer.in_progress();
    outlet.tell(&mut run.writer).await;
    let ended = match events {
        Ok((events, _turn)) => {
            // Asked for meanwhile, it says that it is under way; if that cannot be written, so be it.
            drop(run.keep(&app).await);
            run.make(&app, events, &outlet, stop).await
        }
        Err(broken) => Err(broken),
    };
    run.end(&app, ended, &outlet).await;
    drop(entry);
}

/// Waits for a turn and begins.
async fn begin<'a>(
    app: &'a App,
    run: &Run,
    job: Job,
) -> Result<(Option<MeteredStream>, SemaphorePermit<'a>), Broken> {
    let turn = app.background.turns.acquire().await;
    let turn = turn.map_err(|_| Broken::Stopped)?;
    Ok((run.course.begin(app, job).await?, turn))
}

/// The events from this number on, as long as they come.
pub(super) fn follow(log: Arc<Log>, from: usize) -> Response {
    let woken = log.is_over.subscribe();
    let body = stream::unfold((log, woken, from), |(log, mut woken, from)| async move {
        loop {
            // Read first: what comes after it wakes us, and all events come before the end.
            let is_over = *woken.borrow_and_update();
            let events = log.since(from);
            if !events.is_empty() {
                let next = from + events.len();
                let piece: Bytes = events.concat().into();
                return Some((piece, (log, woken, next)));
            }
            if is_over {
                return None;
            }
            match tokio::time::timeout(KEEP_ALIVE, woken.changed()).await {
                Ok(Ok(())) => {}
                // The log itself holds the sender, so that it cannot be gone.
                Ok(Err(_)) => return None,
                Err(_) => return Some((keep_alive(Framing::Events), (log, woken, from))),
            }
        }
    });
    streamed(Framing::Events, body)
}
