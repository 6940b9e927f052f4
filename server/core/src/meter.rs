//! Counts a job while it runs and settles it once, however it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc::OwnedPermit;

use crate::admission::Permit;
use crate::router::Given;
use crate::{
    BackendError, Clock, Course, EnergyMeter, Event, EventStream, Job, Outcome, Principal,
    PrincipalId, Receipt, Usage, Work,
};

/// Holds a job's place and the draft of its receipt, which leaves in `Drop`.
pub(crate) struct Meter {
    draft: Receipt,
    course: Arc<Course>,
    clock: Arc<dyn Clock>,
    admitted: Duration,
    service_ms: Arc<AtomicU64>,
    outbox: Option<OwnedPermit<Receipt>>,
    _permit: Permit,
}

impl Meter {
    pub(crate) fn new(
        job: &Job,
        principal: &Principal,
        permit: Permit,
        outbox: OwnedPermit<Receipt>,
        queued: Duration,
        clock: Arc<dyn Clock>,
        service_ms: Arc<AtomicU64>,
    ) -> Self {
        let draft = Receipt {
            job: job.id.clone(),
            principal: principal.id().clone(),
            key: principal.key().cloned(),
            model: job.model.clone(),
            work: match job.work {
                Work::Generate { .. } => "generate",
                Work::Embed { .. } => "embed",
                Work::Transcribe(_) => "transcribe",
            },
            backend: None,
            continued: 0,
            outcome: Outcome::Cancelled,
            usage: Usage::default(),
            admitted_at_ms: clock.unix_ms(),
            queued_ms: queued.as_millis() as u64,
            first_token_ms: None,
            duration_ms: 0,
            footprint: None,
        };
        let course = Course::of(draft.job.clone(), None);
        Self {
            draft,
            course: Arc::new(course),
            admitted: clock.monotonic(),
            clock,
            service_ms,
            outbox: Some(outbox),
            _permit: permit,
        }
    }

    /// The same, with an account of the job's energy.
    pub(crate) fn metered(mut self, energy: Option<&dyn EnergyMeter>) -> Self {
        if let Some(energy) = energy {
            let job = self.draft.job.clone();
            self.course = Arc::new(Course::of(job, Some(energy.open())));
        }
        self
    }

    /// Whose job it is.
    pub(crate) fn principal(&self) -> &PrincipalId {
        &self.draft.principal
    }

    pub(crate) fn served_by(&self, given: Given) {
        self.course.at(given);
    }

    /// Where it is done.
    pub(crate) fn course(&self) -> Arc<Course> {
        Arc::clone(&self.course)
    }

    pub(crate) fn ended(&mut self, outcome: Outcome) {
        self.draft.outcome = outcome;
    }

    pub(crate) fn count(&mut self, usage: Usage) {
        self.draft.usage = usage;
    }

    fn observe(&mut self, event: &Event) {
        match event {
            Event::Started {
                prompt_tokens,
                cached_tokens,
            } => {
                self.draft.usage = self.draft.usage.plus(Usage {
                    prompt_tokens: *prompt_tokens,
                    cached_tokens: *cached_tokens,
                    completion_tokens: 0,
                });
            }
            Event::Delta(delta) => {
                if self.draft.first_token_ms.is_none() {
                    self.draft.first_token_ms = Some(self.elapsed_ms());
                }
                let total = &mut self.draft.usage.completion_tokens;
                *total = total.saturating_add(delta.tokens);
            }
            Event::Call(_) | Event::Finished { .. } => {}
            Event::Done(usage) => {
                self.count(*usage);
                self.ended(Outcome::Done);
            }
        }
    }

    fn elapsed_ms(&self) -> u64 {
        self.clock
            .monotonic()
            .saturating_sub(self.admitted)
            .as_millis() as u64
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.draft.duration_ms = self.elapsed_ms();
        let stages = self.course.over();
        self.draft.backend = stages.backend;
        self.draft.continued = stages.continued;
        self.draft.footprint = stages.footprint;
        // An average over some eight jobs; a lost update under contention does no harm.
        let average = self.service_ms.load(Ordering::Relaxed);
        let next = (average
            .saturating_mul(7)
            .saturating_add(self.draft.duration_ms))
            / 8;
        self.service_ms.store(next, Ordering::Relaxed);
        if let Some(outbox) = self.outbox.take() {
            outbox.send(self.draft.clone());
        }
    }
}

/// The events of an admitted job. It holds the job's place until the last event, an error, or
/// its own end, whichever is first; then the receipt leaves.
pub struct MeteredStream {
    events: EventStream,
    meter: Option<Meter>,
    course: Arc<Course>,
}

impl MeteredStream {
    pub(crate) fn new(events: EventStream, meter: Meter) -> Self {
        Self {
            events,
            course: meter.course(),
            meter: Some(meter),
        }
    }

    /// Where it is done, as long as it runs and after.
    pub fn course(&self) -> Arc<Course> {
        Arc::clone(&self.course)
    }
}

impl Stream for MeteredStream {
    type Item = Result<Event, BackendError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.meter.is_none() {
            return Poll::Ready(None);
        }
        let mut next = ready!(self.events.as_mut().poll_next(cx));
        if next.is_none() {
            let silent = "the stream ended without saying so".to_owned();
            next = Some(Err(BackendError::Internal(silent)));
        }
        let meter = self.meter.as_mut().expect("checked above");
        match &next {
            Some(Ok(event)) => meter.observe(event),
            _ => meter.ended(Outcome::Error),
        }
        if matches!(&next, Some(Ok(Event::Done(_)) | Err(_))) {
            self.meter = None;
        }
        Poll::Ready(next)
    }
}
