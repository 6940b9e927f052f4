//! `POST /api/pull`: brings a model of the catalogue to this machine, for keys with the scope for it.
//! One at a time; who hangs up ends the pull.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use kwaainet_core::{AdmissionError, ModelId, Place};
use kwaainet_models::{ModelFile, Progress, PullError, Source};
use kwaainet_openapi::{OllamaModelRequest, OllamaProgress, OllamaPullLine};

use super::{LATEST, json, named, not_found};
use crate::door::body::ApiJson;
use crate::door::{ApiError, App};
use crate::shelf::{NoTurn, PullTurn};

/// How often a stream tells of progress.
const TICK: Duration = Duration::from_millis(200);
/// When to come again while another model is pulled.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// How long a pulled model may take to be listed; the snapshot is no older than half of that.
const LISTED_MAX: Duration = Duration::from_secs(1);
const LISTED_TICK: Duration = Duration::from_millis(50);
/// Clients show so much of a digest.
const DIGEST_SHOWN: usize = 12;

/// Brings a model of the catalogue to this machine.
#[utoipa::path(
    post,
    path = "/api/pull",
    tag = "ollama",
    operation_id = "ollamaPull",
    request_body = OllamaModelRequest,
    responses((status = 200, description = "How far it is; without `stream`, that it is done.",
        content(
            (OllamaPullLine = "application/x-ndjson"),
            (OllamaProgress = "application/json"),
        )))
)]
pub(crate) async fn pull(
    State(app): State<Arc<App>>,
    ApiJson(request): ApiJson<OllamaModelRequest>,
) -> Result<Response, ApiError> {
    let named = named(&app.hallway, request.model.or(request.name))?;
    let is_stream = request.stream.unwrap_or(true);
    if app.hallway.admission().is_draining() {
        return Err(AdmissionError::Draining.into());
    }
    let name = named.asked.strip_suffix(LATEST).unwrap_or(&named.asked);
    let turn = match &app.shelf {
        Some(shelf) => shelf.turn(name),
        None => Err(NoTurn::Unknown),
    };
    let work: Work = match turn {
        Ok(turn) => work(Arc::clone(&app), turn),
        Err(NoTurn::Busy) => {
            let message = "another model is being pulled; one comes at a time";
            return Err(ApiError::busy(message, RETRY_AFTER));
        }
        // A file of the owner's, or an upstream's model: there is nothing to bring.
        Err(NoTurn::Unknown) if is_listed(&app, &named.id) => Work {
            lines: Arc::default(),
            pulling: Box::pin(std::future::ready(Ok(()))),
        },
        Err(NoTurn::Unknown) => return Err(not_found(&named.id)),
    };
    if is_stream {
        return Ok(streamed(work));
    }
    work.pulling.await?;
    Ok(json(&status("success")))
}

/// A pull under way.
struct Work {
    lines: Arc<Lines>,
    pulling: Pin<Box<dyn Future<Output = Result<(), ApiError>> + Send>>,
}

fn work(app: Arc<App>, turn: PullTurn) -> Work {
    let lines = Arc::new(Lines::default());
    let heard = Arc::clone(&lines);
    let pulling = Box::pin(async move {
        let model = turn.model();
        tokio::select! {
            pulled = turn.pull(heard.as_ref()) => pulled.map_err(failed)?,
            () = app.cut.cancelled() => return Err(AdmissionError::Draining.into()),
        }
        // The client's next request may be for it.
        let mut waited = Duration::ZERO;
        while !is_listed(&app, &model) && waited < LISTED_MAX {
            tokio::time::sleep(LISTED_TICK).await;
            waited += LISTED_TICK;
        }
        Ok(())
    });
    Work { lines, pulling }
}

fn is_listed(app: &App, model: &ModelId) -> bool {
    let snapshot = app.hallway.snapshot();
    let mut candidates = snapshot.candidates.iter();
    candidates.any(|candidate| candidate.model.id == *model && candidate.place == Place::Here)
}

/// The caller may bring models here, so he may know why one does not come.
fn failed(error: PullError) -> ApiError {
    match error {
        PullError::NoSource { .. } => ApiError::upstream(error.to_string()),
        PullError::Busy { .. } => ApiError::busy(error.to_string(), RETRY_AFTER),
        PullError::Cache { .. } => ApiError::internal(error.to_string()),
    }
}

fn streamed(work: Work) -> Response {
    let begun = OllamaProgress {
        status: "pulling manifest".to_owned(),
        ..OllamaProgress::default()
    };
    let live = stream::unfold(Some(work), |state| async {
        let mut work = state?;
        let ended = tokio::time::timeout(TICK, &mut work.pulling).await;
        let mut bytes: Vec<u8> = work.lines.take().iter().flat_map(line).collect();
        let rest = match ended {
            Err(_) => Some(work),
            Ok(Ok(())) => {
                for last in ["verifying sha256 digest", "success"] {
                    bytes.extend(line(&status(last)));
                }
                None
            }
            Ok(Err(error)) => {
                error.record();
                bytes.extend(line(&super::error_body(&error)));
                None
            }
        };
        Some((Bytes::from(bytes), rest))
    });
    let first = stream::iter([Bytes::from(line(&begun))]);
    let body = first.chain(live);
    // Nothing new is no piece: an empty one would end the body.
    let body = body.filter(|bytes| std::future::ready(!bytes.is_empty()));
    let body = body.map(Ok::<_, Infallible>);
    let kind = HeaderValue::from_static("application/x-ndjson");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
}

fn status(status: &str) -> OllamaProgress {
    OllamaProgress {
        status: status.to_owned(),
        ..OllamaProgress::default()
    }
}

fn line<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("wire types have string keys only");
    line.push(b'\n');
    line
}

/// What is new of a pull: for each file that something happened to, how far it is.
#[derive(Default)]
struct Lines(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    /// The file that is fetched.
    file: Option<OllamaProgress>,
    /// At most one for each file.
    news: Vec<OllamaProgress>,
}

impl Heard {
    fn tell(&mut self) {
        let Some(file) = &self.file else { return };
        match self.news.last_mut() {
            Some(last) if last.digest == file.digest => *last = file.clone(),
            _ => self.news.push(file.clone()),
        }
    }
}

impl Lines {
    fn with<T>(&self, then: impl FnOnce(&mut Heard) -> T) -> T {
        then(&mut self.0.lock().expect("no holder panics"))
    }

    fn take(&self) -> Vec<OllamaProgress> {
        self.with(|state| std::mem::take(&mut state.news))
    }
}

impl Progress for Lines {
    fn started(&self, file: &ModelFile) {
        let digest = file.sha256().to_string();
        self.with(|state| {
            state.file = Some(OllamaProgress {
                status: format!("pulling {}", &digest[..DIGEST_SHOWN]),
                digest: Some(format!("sha256:{digest}")),
                total: Some(file.bytes()),
                completed: Some(0),
            });
            state.tell();
        });
    }

    fn trying(&self, _file: &ModelFile, _source: &Source) {
        self.with(|state| {
            if let Some(file) = &mut state.file {
                file.completed = Some(0);
            }
        });
    }

    fn advanced(&self, bytes: u64) {
        self.with(|state| {
            if let Some(file) = &mut state.file {
                file.completed = file.completed.map(|completed| completed + bytes);
            }
            state.tell();
        });
    }
}
