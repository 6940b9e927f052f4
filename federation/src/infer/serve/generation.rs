//! A generation for a peer: through the hallway, and its events out in frames as they are made.

use futures_util::{FutureExt, StreamExt};
use kwaainet_core::{BackendError, Event, Job, MeteredStream};

use super::super::wire::says::{Hold, say};
use super::batch::{self, Batch};
use super::line::Stop;
use super::{Course, Session, work};

impl Session<'_> {
    /// `tied` is whether somebody else was asked before: nothing is done then until the asker wants it.
    pub(super) async fn generate(mut self, job: Job, tied: bool) {
        let letting_in = self.door.hall.let_in(self.principal.clone(), job);
        let admitted = match self.line.until(letting_in).await {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(error)) => return self.refuse(error).await,
            Err(stop) => return self.stopped(stop).await,
        };
        if tied && let Err(stop) = self.hold().await {
            drop(admitted);
            return self.stopped(stop).await;
        }
        let taking = self.door.hall.run(admitted);
        let events = match self.line.until(taking).await {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => return self.refuse(error).await,
            Err(stop) => return self.stopped(stop).await,
        };
        let place = events.course();
        self.owes = true;
        let course = match self.accept().await {
            Ok(()) => self.stream(events).await,
            Err(stop) => {
                drop(events);
                Course::Stopped(stop)
            }
        };
        self.account.took(place.stages().footprint);
        self.close(course).await;
    }

    /// Says that there is a place, and waits until it is wanted.
    async fn hold(&mut self) -> Result<(), Stop> {
        self.line.send(say::Kind::Hold(Hold::default())).await?;
        self.line.wanted().await
    }

    pub(super) async fn refuse(self, error: kwaainet_core::JobError) {
        let refusal = work::refusal(error, self.tier);
        self.reject(refusal).await;
    }

    /// The job's place is free again when this returns.
    async fn stream(&mut self, mut events: MeteredStream) -> Course {
        let mut batch = Batch::default();
        loop {
            let mut next = match self.line.until(events.next()).await {
                Ok(next) => Some(next),
                Err(stop) => return Course::Stopped(stop),
            };
            let mut end = None;
            // What else is there already goes with it.
            while let Some(item) = next.take() {
                match item {
                    Some(Ok(Event::Done(usage))) => end = Some(Course::Done(usage)),
                    Some(Ok(event)) => {
                        if let Err(stop) = self.add(&mut batch, event).await {
                            return Course::Stopped(stop);
                        }
                        if !batch.is_full() {
                            next = events.next().now_or_never();
                        }
                    }
                    Some(Err(error)) => end = Some(Course::Failed(error)),
                    None => {
                        let silent = "the stream ended without saying so".to_owned();
                        end = Some(Course::Failed(BackendError::Internal(silent)));
                    }
                }
            }
            if let Err(stop) = self.flush(&mut batch).await {
                return Course::Stopped(stop);
            }
            if let Some(end) = end {
                return end;
            }
            if let Err(stop) = self.checkpoint().await {
                return Course::Stopped(stop);
            }
        }
    }

    /// Signs what was said until now, from time to time, so that neither side loses it all with the other.
    async fn checkpoint(&mut self) -> Result<(), Stop> {
        self.keep_counter();
        match self.account.checkpoint(self.node) {
            Some(receipt) => self.line.checkpoint(receipt).await,
            None => Ok(()),
        }
    }

    async fn add(&mut self, batch: &mut Batch, event: Event) -> Result<(), Stop> {
        self.account.event(&event);
        for piece in batch::pieces(event) {
            if batch.is_full() {
                self.flush(batch).await?;
            }
            batch.add(piece);
        }
        Ok(())
    }

    async fn flush(&mut self, batch: &mut Batch) -> Result<(), Stop> {
        if batch.is_empty() {
            return Ok(());
        }
        self.line.send(batch.take()).await?;
        self.account.message(self.line.last_sent());
        Ok(())
    }
}
