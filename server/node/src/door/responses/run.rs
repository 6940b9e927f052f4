//! Makes a response: drives the generation, tells its events, keeps what is to be kept. The last event
//! leaves only after the response is kept, so that whoever hears it can ask for it.
//!
//! A response may take several generations, see [`super::course`]: [`generate`] ends when one of them ends,
//! and its caller may begin another one with the same [`Writer`], which counts on.

use std::sync::Arc;

use axum::body::Bytes;
use axum::response::Response;
use futures_util::stream;
use kwaainet_core::{AdmissionError, Event, Footprint, MeteredStream};
use kwaainet_openapi::{ResponseEvent, ResponseObject, ResponseStatus};
use kwaainet_store::{NewResponse, ResponseState};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::background::Log;
use super::course::Course;
use super::kept::{Findings, kept, kept_with};
use super::stored::seeker;
use super::writer::{Cut, Ending, Writer};
use crate::door::footprint;
use crate::door::stream::{Framing, KEEP_ALIVE, Piece, frames, keep_alive, next, streamed};
use crate::door::{ApiError, App};

/// Pieces that may wait for a slow client; then the engine waits too.
const PIECES_MAX: usize = 16;
/// Bytes of what one response is asked with: its items, instructions, tools and schema.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A response on its way.
pub(super) struct Run {
    pub(super) writer: Writer,
    pub(super) course: Course,
    /// None if the response is not kept.
    new: Option<NewResponse>,
    /// Whether it was kept when it was created.
    is_kept: bool,
}

/// Where events go.
pub(super) enum Outlet {
    /// Nobody listens.
    Nowhere,
    /// The client, while it is there.
    Client(mpsc::Sender<Bytes>),
    /// Whoever asks.
    Log(Arc<Log>),
}

impl Outlet {
    pub(super) async fn tell(&self, writer: &mut Writer) {
        for event in writer.take() {
            match self {
                Self::Nowhere => {}
                // The receiver lives as long as the task that runs here.
                Self::Client(client) => drop(client.send(framed(&event)).await),
                Self::Log(log) => log.push(framed(&event)),
            }
        }
    }
}

/// An event on the wire.
pub(super) fn framed(event: &ResponseEvent) -> Bytes {
    let piece = Piece::json(event).named(event.step.name());
    frames(&[piece], Framing::Events)
}

/// Why a generation did not come to its end.
pub(super) enum Broken {
    Failed(ApiError),
    Cancelled,
    /// The node ends.
    Stopped,
}

impl From<Broken> for ApiError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Failed(error) => error,
            Broken::Stopped | Broken::Cancelled => AdmissionError::Draining.into(),
        }
    }
}

impl Run {
    /// A response whose input is not too long to be kept if it is to be.
    pub(super) fn new(app: &App, course: Course, object: ResponseObject) -> Result<Self, ApiError> {
        let new = object.store.then(|| NewResponse {
            id: object.id.clone(),
            previous: object.previous_response_id.clone(),
            conversation: object.conversation.as_ref().map(|c| c.id.clone()),
            background: object.background,
            expires_at_ms: app.keeps_until_ms(),
            input: course.input().iter().map(kept).collect(),
        });
        if new
            .as_ref()
            .is_some_and(|new| kept_bytes(&object, new) > KEPT_BYTES_MAX)
        {
            let message = format!(
                "Invalid 'input': at most {KEPT_BYTES_MAX} bytes are kept; give 'store' as false."
            );
            let code = "string_above_max_length";
            return Err(ApiError::invalid("input", code, message));
        }
        Ok(Self {
            writer: course.writer(object),
            course,
            new,
            is_kept: false,
        })
    }

    /// The whole response, and what it took of energy.
    pub(super) async fn whole(
        mut self,
        app: &App,
        events: Option<MeteredStream>,
    ) -> Result<(ResponseObject, Option<Footprint>), ApiError> {
        let never = CancellationToken::new();
        self.make(app, events, &Outlet::Nowhere, &never).await?;
        self.writer.settle(Ending::Done, app.clock.unix_ms());
        self.keep(app).await?;
        Ok((self.writer.object().clone(), self.course.took()))
    }

    /// Makes it, all but its end.
    pub(super) async fn make(
        &mut self,
        app: &App,
        events: Option<MeteredStream>,
        outlet: &Outlet,
        stop: &CancellationToken,
    ) -> Result<(), Broken> {
        let writer = &mut self.writer;
        self.course.follow(app, writer, events, outlet, stop).await
    }

    /// The events of the response as they come. When the client leaves, the work ends and nothing is
    /// kept.
    pub(super) fn streamed(mut self, app: Arc<App>, events: Option<MeteredStream>) -> Response {
        let (client, pieces) = mpsc::channel(PIECES_MAX);
        let running = async move {
            let outlet = Outlet::Client(client);
            let never = CancellationToken::new();
            self.writer.created();
            self.writer.in_progress();
            outlet.tell(&mut self.writer).await;
            let ended = self.make(&app, events, &outlet, &never).await;
            self.end(&app, ended, &outlet).await;
        };
        let body = stream::unfold(
            (pieces, Some(Box::pin(running))),
            |(mut pieces, mut running)| async move {
                loop {
                    let Some(work) = &mut running else {
                        let piece = pieces.recv().await?;
                        return Some((piece, (pieces, running)));
                    };
                    tokio::select! {
                        biased;
                        Some(piece) = pieces.recv() => return Some((piece, (pieces, running))),
                        () = work => running = None,
                        () = tokio::time::sleep(KEEP_ALIVE) => {
                            return Some((keep_alive(Framing::Events), (pieces, running)));
                        }
                    }
                }
            },
        );
        streamed(Framing::Events, body)
    }

    /// Gives the response its end, keeps it, and says so.
    pub(super) async fn end(&mut self, app: &App, ended: Result<(), Broken>, outlet: &Outlet) {
        let ending = match &ended {
            Ok(()) => Ending::Done,
            Err(Broken::Cancelled) => Ending::Cancelled,
            Err(Broken::Stopped) => Ending::Stopped,
            Err(Broken::Failed(error)) => {
                error.record();
                Ending::Failed(error)
            }
        };
        self.writer.settle(ending, app.clock.unix_ms());
        if let Err(error) = self.keep(app).await {
            error.record();
            self.writer
                .settle(Ending::Failed(&error), app.clock.unix_ms());
        }
        self.writer.last();
        if let (Outlet::Client(client), Some(took)) = (outlet, self.course.took()) {
            // The receiver lives as long as the task that runs here.
            drop(client.send(footprint::comment(&took).into()).await);
        }
        outlet.tell(&mut self.writer).await;
    }

    /// Keeps the response as it stands, if it is to be kept.
    pub(super) async fn keep(&mut self, app: &App) -> Result<(), ApiError> {
        let Some(new) = &self.new else {
            return Ok(());
        };
        let found = self.course.found();
        let state = state(self.writer.object(), self.writer.cuts(), found);
        if self.is_kept {
            // One that was erased meanwhile stays erased.
            app.store.update_response(&new.id, &state).await?;
            return Ok(());
        }
        let who = seeker(app, &self.course.principal);
        self.is_kept = true;
        Ok(app.store.insert_response(who, new, &state).await?)
    }
}

/// One generation, to its end. What it says is told as it comes.
pub(super) async fn generate(
    app: &App,
    writer: &mut Writer,
    mut events: MeteredStream,
    outlet: &Outlet,
    stop: &CancellationToken,
) -> Result<(), Broken> {
    loop {
        let event = tokio::select! {
            event = next(&mut events, &app.cut) => event,
            () = stop.cancelled() => return Err(Broken::Cancelled),
        };
        let silent = || Err(ApiError::internal("the stream ended without saying so"));
        let event = event.unwrap_or_else(silent);
        let event = event.map_err(|error| match app.cut.is_cancelled() {
            true => Broken::Stopped,
            false => Broken::Failed(error),
        })?;
        let over = matches!(event, Event::Done(_));
        writer.event(event);
        outlet.tell(writer).await;
        if over {
            return Ok(());
        }
    }
}

fn kept_bytes(object: &ResponseObject, new: &NewResponse) -> usize {
    let items: usize = new.input.iter().map(|item| item.body.len()).sum();
    items + state(object, &[], &Findings::new()).body.len()
}

/// A response in the form in which it is kept.
pub(super) fn state(object: &ResponseObject, cuts: &[Cut], found: &Findings) -> ResponseState {
    let mut body = object.clone();
    let output = std::mem::take(&mut body.output);
    ResponseState {
        body: serde_json::to_string(&body).expect("wire types have string keys only"),
        output: output.iter().map(|item| kept_with(item, found)).collect(),
        cuts: serde_json::to_string(cuts).expect("they are numbers"),
        finished: object.status.is_over(),
        joins_conversation: object.conversation.is_some()
            && matches!(
                object.status,
                ResponseStatus::Completed | ResponseStatus::Incomplete
            ),
    }
}
