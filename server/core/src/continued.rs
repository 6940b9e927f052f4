//! A generation that survives whoever computes it: when its stream fails, another backend goes on from the
//! tokens so far, and the reader sees one answer without a seam.
//!
//! Exactly so between backends of one model file and one numerics class. What the next one is asked to compute
//! again overlaps with what was said, at least by one token of each choice that goes on, and has to be equal to the
//! bit; so what is already out is never said twice, and another answer is noticed. Between others a generation
//! begins anew as long as nothing was said, or goes on if the job allows it, which is marked.

mod said;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::router::InHand;
use crate::{
    Backend, BackendError, BackendId, Bits, Course, Event, EventStream, GenerateParams,
    GenerateRequest, Job, Own, Place, Snapshot, plan,
};
use said::Said;

/// For so long somebody is looked for who can go on.
const SEARCH_MAX: Duration = Duration::from_secs(10);
/// How often it is looked at what there is, while there is nobody.
const SEARCH_PERIOD: Duration = Duration::from_millis(100);
/// For so long one that failed is not asked again.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// Backends that are asked to go on for one loss.
const TRIES_MAX: usize = 8;
/// Losses one after the other, without a word between them, that a generation survives.
const LOSSES_MAX: u32 = 8;

/// Fixes the draws where another backend may have to go on with them.
pub(crate) fn fix_seed(params: &mut GenerateParams, bits: Option<&Bits>) {
    if bits.is_some() {
        // The standard library keys each hasher with fresh randomness of the system.
        let random = || RandomState::new().build_hasher().finish();
        params.sampling.seed.get_or_insert_with(random);
    }
}

/// What a generation needs to go on elsewhere.
pub(crate) struct Thread {
    pub(crate) job: Arc<Job>,
    pub(crate) request: GenerateRequest,
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(crate) in_hand: InHand,
    pub(crate) course: Arc<Course>,
    /// Who computes now.
    pub(crate) backend: BackendId,
    /// Whether that is another node, whose loss is nothing unheard of.
    pub(crate) is_away: bool,
    pub(crate) bits: Option<Bits>,
}

/// The events of a generation, whoever computes them.
pub(crate) fn continued(events: EventStream, thread: Thread) -> EventStream {
    let continued = Continued {
        said: Said::new(&thread.request.params),
        events: Some(events),
        thread,
        losses: 0,
        failed: Vec::new(),
    };
    Box::pin(stream::unfold(continued, |mut continued| async move {
        let item = continued.next().await?;
        Some((item, continued))
    }))
}

struct Continued {
    thread: Thread,
    /// None once it is over.
    events: Option<EventStream>,
    said: Said,
    /// Since the last word.
    losses: u32,
    /// Who failed a moment ago, and when.
    failed: Vec<(BackendId, Instant)>,
}

impl Continued {
    async fn next(&mut self) -> Option<Result<Event, BackendError>> {
        loop {
            let error = match self.events.as_mut()?.next().await {
                Some(Ok(event)) => match self.said.take(event) {
                    Ok(None) => continue,
                    Ok(Some(event)) => {
                        self.losses = 0;
                        if matches!(event, Event::Done(_)) {
                            self.events = None;
                        }
                        return Some(Ok(event));
                    }
                    Err(differs) => differs,
                },
                Some(Err(error)) => error,
                None => BackendError::Internal("the stream ended without saying so".into()),
            };
            // The place of what failed is given back before another is asked.
            self.events = None;
            match self.go_on(error).await {
                Ok(events) => self.events = Some(events),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The rest, from somebody else.
    ///
    /// # Errors
    /// What went wrong at first, when nobody is found in time.
    async fn go_on(&mut self, lost: BackendError) -> Result<EventStream, BackendError> {
        if !lost.is_retryable() || self.losses >= LOSSES_MAX {
            return Err(lost);
        }
        self.losses += 1;
        let until = Instant::now() + SEARCH_MAX;
        self.failed_now(self.thread.backend.clone());
        for _ in 0..TRIES_MAX {
            let Some(next) = self.search(until).await else {
                break;
            };
            let id = next.backend.id();
            self.failed_now(id.clone());
            let exact = next.bits == self.thread.bits;
            fix_seed(&mut self.thread.request.params, next.bits.as_ref());
            let mut request = self.thread.request.clone();
            request.resume = self.said.resume(exact);
            let given = self.thread.in_hand.give(id, &next.place, &self.thread.job);
            let asked = tokio::time::timeout_at(until, next.backend.generate(request));
            let Ok(Ok(events)) = asked.await else {
                continue;
            };
            self.thread
                .course
                .moved(given, exact || self.said.is_nothing());
            self.thread.backend = id.clone();
            self.thread.is_away = next.place.peer().is_some();
            self.thread.bits = next.bits;
            self.said.goes_on(exact);
            return Ok(events);
        }
        Err(lost)
    }

    fn failed_now(&mut self, backend: BackendId) {
        self.failed.retain(|(_, at)| at.elapsed() < FAILED_FOR);
        self.failed.push((backend, Instant::now()));
    }

    /// Somebody who can go on. Other nodes are waited for: one that failed may come back.
    async fn search(&mut self, until: Instant) -> Option<Next> {
        loop {
            let found = self.able();
            if found.is_some() || !self.thread.is_away || Instant::now() >= until {
                return found;
            }
            tokio::time::sleep(SEARCH_PERIOD).await;
        }
    }

    fn able(&self) -> Option<Next> {
        let just_failed = |id: &BackendId| {
            let mut of_it = self.failed.iter().filter(|(other, _)| other == id);
            of_it.any(|(_, at)| at.elapsed() < FAILED_FOR)
        };
        let snapshot = Arc::clone(&self.thread.snapshot.borrow());
        let job = &self.thread.job;
        let own = Own {
            given: self.thread.in_hand.now(),
            ..Own::default()
        };
        let route = plan(job, &snapshot, &own).ok()?;
        route.candidates.into_iter().find_map(|chosen| {
            let bits = Bits::of(snapshot.candidate(&chosen.backend, &job.model)?);
            if just_failed(&chosen.backend) || !self.may_follow(bits.as_ref()) {
                return None;
            }
            Some(Next {
                backend: snapshot.backends.get(&chosen.backend)?,
                place: chosen.place,
                bits,
            })
        })
    }

    fn may_follow(&self, next: Option<&Bits>) -> bool {
        if self.said.is_nothing() {
            return true;
        }
        match (&self.thread.bits, next) {
            (Some(now), Some(next)) => {
                now == next || (self.thread.job.constraints.inexact && now.digest == next.digest)
            }
            _ => false,
        }
    }
}

/// Who may go on.
struct Next {
    backend: Arc<dyn Backend>,
    place: Place,
    bits: Option<Bits>,
}

#[cfg(test)]
mod tests;
