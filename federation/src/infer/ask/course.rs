//! A generation at a peer: frames in, events out, and a goodbye where the rest is not wanted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use kwaainet_core::{BackendError, Event, EventStream, GenerateRequest};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::super::wire::request::{Request, Wanted};
use super::super::wire::says::{End, Events, say};
use super::super::wire::{Bad, event, list};
use super::order::Order;
use super::{Exchange, Peer};

/// Events of one frame.
const EVENTS_MAX: usize = 1_024;
/// Until the server said what it did before it was stopped.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// Dropping it stops the server.
pub(super) struct Course(Option<Box<Open>>);

struct Open {
    exchange: Exchange,
    stage: Stage,
    order: Order,
    /// Of the last frame, in order.
    ready: VecDeque<Event>,
}

/// How far the server is, as far as it said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asked,
    /// A place is kept.
    Held,
    Accepted,
}

impl Course {
    /// Asks; where it is tied, for a place at first.
    pub(super) async fn open(
        peer: &Arc<Peer>,
        request: GenerateRequest,
        tied: bool,
    ) -> Result<Self, BackendError> {
        let (params, resume) = (request.params.clone(), request.resume.clone());
        let work = Wanted::Generate {
            prompt: request.prompt,
            params: Box::new(request.params),
            resume: request.resume,
        };
        let scope = peer.scope(&request.owner);
        let request = Request {
            tied,
            ..peer.request(request.model, scope, work)
        };
        let mut exchange = peer.open(request).await?;
        let order = Order::new(&params, resume.as_ref(), exchange.opening_bytes());
        exchange.account.resume(resume.as_ref());
        Ok(Self(Some(Box::new(Open {
            exchange,
            stage: Stage::Asked,
            order,
            ready: VecDeque::new(),
        }))))
    }

    /// Waits until a place is kept.
    pub(super) async fn held(&mut self) -> Result<(), BackendError> {
        let open = self.0.as_mut().expect("it is not over before it began");
        let stage = match open.exchange.held().await {
            Ok(true) => Ok(Stage::Held),
            // It does not know how to wait, and has begun.
            Ok(false) => Ok(Stage::Accepted),
            Err(error) => Err(error),
        };
        self.at(stage)
    }

    /// Waits until it is accepted, and says before that the place that is kept is wanted.
    pub(super) async fn accepted(&mut self) -> Result<(), BackendError> {
        let open = self.0.as_mut().expect("it is not over before it began");
        let accepted = match open.stage {
            Stage::Asked => open.exchange.accepted().await,
            Stage::Held => open.exchange.go().await,
            Stage::Accepted => Ok(()),
        };
        self.at(accepted.map(|()| Stage::Accepted))
    }

    /// What was refused needs no goodbye.
    fn at(&mut self, stage: Result<Stage, BackendError>) -> Result<(), BackendError> {
        match (stage, &mut self.0) {
            (Ok(stage), Some(open)) => open.stage = stage,
            (Err(error), _) => {
                self.0 = None;
                return Err(error);
            }
            (Ok(_), None) => {}
        }
        Ok(())
    }

    pub(super) fn events(self) -> EventStream {
        Box::pin(stream::unfold(self, |mut course| async move {
            let open = course.0.as_mut()?;
            let event = open.next(false).await;
            if matches!(event, Ok(Event::Done(_)) | Err(_)) {
                course.0 = None;
            }
            Some((event, course))
        }))
    }
}

impl Open {
    /// `stopped` is whether the server was asked to stop, so that it may.
    async fn next(&mut self, stopped: bool) -> Result<Event, BackendError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            match self.exchange.frame().await? {
                say::Kind::Events(events) => {
                    self.exchange.count_last();
                    let taken = self.take(events);
                    taken.map_err(|bad| self.exchange.lied(&bad))?;
                }
                say::Kind::End(end) => return self.end(end, stopped).await,
                say::Kind::Failed(failed) => {
                    self.exchange.countersign(&failed.receipt, false).await;
                    return Err(self.exchange.error(failed.error));
                }
                _ => return Err(self.exchange.out_of_turn()),
            }
        }
    }

    fn take(&mut self, frame: Events) -> Result<(), Bad> {
        self.order.frame(frame.seq)?;
        for said in list::read(&frame.events, EVENTS_MAX, "events")? {
            let Some(event) = event::read(said)? else {
                continue;
            };
            self.order.event(&event)?;
            self.exchange.account.event(&event);
            self.ready.push_back(event);
        }
        Ok(())
    }

    async fn end(&mut self, end: End, stopped: bool) -> Result<Event, BackendError> {
        let usage = event::read_usage(end.usage).and_then(|usage| {
            match end.cut {
                false => self.order.end(usage)?,
                true if stopped => self.order.adds_up(usage)?,
                true => return Err(Bad::new("events", "an end that nobody asked for")),
            }
            Ok(usage)
        });
        let usage = usage.map_err(|bad| self.exchange.lied(&bad))?;
        self.exchange.account.set_usage(usage);
        self.exchange.countersign(&end.receipt, !end.cut).await;
        Ok(Event::Done(usage))
    }

    /// Stops the server and signs for what it did.
    async fn settle(mut self) -> Result<(), BackendError> {
        self.exchange.cancel().await?;
        if self.stage != Stage::Accepted && !self.exchange.began_after_all().await {
            return Ok(());
        }
        while !matches!(self.next(true).await?, Event::Done(_)) {}
        Ok(())
    }
}

impl Drop for Course {
    /// Breaks the stream off, or where receipts are kept lets the server say what it did first.
    fn drop(&mut self) {
        let Some(open) = self.0.take() else {
            return;
        };
        if !open.exchange.account.is_kept() {
            return;
        }
        let (Ok(runtime), Some(place)) = (Handle::try_current(), open.exchange.farewell_place())
        else {
            return;
        };
        let tracker = open.exchange.farewells();
        let settling = async move {
            let settled = timeout(FAREWELL_MAX, open.settle()).await;
            drop(place);
            if !matches!(settled, Ok(Ok(()))) {
                tracing::debug!("a cancelled stream was not settled");
            }
        };
        tracker.spawn_on(settling, &runtime);
    }
}
