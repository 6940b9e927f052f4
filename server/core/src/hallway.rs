//! The one path that every job walks, whichever door it came through: admission, route, backend,
//! metered stream, receipt.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{self, SelectAll, StreamExt};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::affinity::{Affinity, Prefix};
use crate::continued::{Thread, continued, fix_seed};
use crate::router::{InHand, plan_question};
use crate::{
    Admission, AdmissionError, Admitted, Backend, BackendError, Bits, Constraints, EmbedRequest,
    Embeddings, Event, EventStream, Footprint, GenerateRequest, Job, MeteredStream, ModelId,
    Origin, Outcome, Own, Place, Principal, PrincipalId, Priority, Prompt, Route, RouteError,
    Snapshot, TranscribeRequest, Transcript, Usage, Work, plan,
};

/// Takes jobs in and runs them.
pub struct Hallway {
    admission: Admission,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    questions: Semaphore,
    in_hand: InHand,
    affinity: Affinity,
}

/// A backend that a job may be given to.
struct Way {
    backend: Arc<dyn Backend>,
    place: Place,
    context: Option<u32>,
    /// What it computes, where that is known.
    bits: Option<Bits>,
}

/// Questions that are answered at once. Few, since jobs need the same threads to be read.
const QUESTIONS_MAX: usize = 8;

/// Inputs of batch work that a backend embeds at a time. A backend may do one request after the other, so
/// that whoever waits for a vector would else wait for a whole batch.
const BATCH_INPUTS_AT_ONCE: usize = 8;

/// Why a job did not run to its end.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JobError {
    /// It was not let in.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// Nobody can serve it.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The last backend that was asked failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Hallway {
    /// A hallway to the backends of the snapshot.
    pub fn new(admission: Admission, snapshot: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self {
            admission,
            snapshot,
            questions: Semaphore::new(QUESTIONS_MAX),
            in_hand: InHand::default(),
            affinity: Affinity::default(),
        }
    }

    /// The way in.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// What routing knows now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// Where a job would go now. Nothing is done with it.
    ///
    /// # Errors
    /// When nobody may or can serve it.
    pub fn plan(&self, principal: &Principal, job: &Job) -> Result<Route, RouteError> {
        let snapshot = self.snapshot();
        let (own, _) = self.own(principal.id(), job, &snapshot);
        plan(job, &snapshot, &own)
    }

    /// The first backend that has this model and may see what these constraints allow, for questions that are no
    /// job: what a text's tokens are. The permit is held until the answer is there.
    ///
    /// # Errors
    /// When there is none, when too many ask at once, or when the node is shutting down.
    pub fn question(
        &self,
        principal: &Principal,
        model: &ModelId,
        constraints: &Constraints,
    ) -> Result<(Arc<dyn Backend>, SemaphorePermit<'_>), JobError> {
        let snapshot = self.snapshot();
        let asker = principal.as_peer();
        let origin = asker.map_or(Origin::Client, |(node, _)| Origin::Peer(node));
        let backend = plan_question(model, constraints, origin, &snapshot)?
            .into_iter()
            .find_map(|candidate| snapshot.backends.get(&candidate.backend))
            .ok_or_else(|| RouteError::ModelNotFound(model.clone()))?;
        if self.admission.is_draining() {
            return Err(AdmissionError::Draining.into());
        }
        let retry_after = Duration::from_secs(1);
        let permit = self
            .questions
            .try_acquire()
            .map_err(|_| AdmissionError::Overloaded { retry_after })?;
        Ok((backend, permit))
    }

    /// Runs a generation.
    ///
    /// # Errors
    /// Before any text exists; later errors come as the stream's last item.
    ///
    /// # Panics
    /// When the job is not a generation: the caller made it.
    pub async fn generate(
        &self,
        principal: Principal,
        job: Job,
    ) -> Result<MeteredStream, JobError> {
        let priority = match &job.work {
            Work::Generate { params, .. } => params.priority,
            Work::Embed { .. } | Work::Transcribe(_) => Priority::Interactive,
        };
        let mut admitted = self.admit(principal, job, priority).await?;
        match self.start(&mut admitted).await {
            Ok(events) => Ok(MeteredStream::new(events, admitted.meter)),
            Err(error) => {
                admitted.meter.ended(Outcome::Error);
                Err(error)
            }
        }
    }

    /// Runs an embedding job.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    ///
    /// # Panics
    /// When the job is not an embedding: the caller made it.
    pub async fn embed(&self, principal: Principal, job: Job) -> Result<Embeddings, JobError> {
        self.embed_as(principal, job, Priority::Interactive).await
    }

    /// Runs an embedding job that others go before, or do not.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    ///
    /// # Panics
    /// When the job is not an embedding: the caller made it.
    pub async fn embed_as(
        &self,
        principal: Principal,
        job: Job,
        priority: Priority,
    ) -> Result<Embeddings, JobError> {
        let counted = self.embed_counted(principal, job, priority).await;
        counted.map(|(embeddings, _)| embeddings)
    }

    /// The same, with what it took of energy where that is known.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    ///
    /// # Panics
    /// When the job is not an embedding: the caller made it.
    pub async fn embed_counted(
        &self,
        principal: Principal,
        job: Job,
        priority: Priority,
    ) -> Result<(Embeddings, Option<Footprint>), JobError> {
        let mut admitted = self.admit(principal, job, priority).await?;
        let result = self.start_embed(&mut admitted, priority).await;
        match &result {
            Ok(embeddings) => {
                admitted.meter.count(Usage {
                    prompt_tokens: embeddings.prompt_tokens,
                    ..Usage::default()
                });
                admitted.meter.ended(Outcome::Done);
            }
            Err(_) => admitted.meter.ended(Outcome::Error),
        }
        Ok((result?, settled(admitted)))
    }

    /// Runs a transcription; with what it took of energy where that is known.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    ///
    /// # Panics
    /// When the job is not a transcription: the caller made it.
    pub async fn transcribe(
        &self,
        principal: Principal,
        job: Job,
    ) -> Result<(Transcript, Option<Footprint>), JobError> {
        let mut admitted = self.admit(principal, job, Priority::Interactive).await?;
        let result = self.start_transcribe(&mut admitted).await;
        match &result {
            Ok(transcript) => {
                admitted.meter.count(Usage {
                    completion_tokens: transcript.tokens,
                    ..Usage::default()
                });
                admitted.meter.ended(Outcome::Done);
            }
            Err(_) => admitted.meter.ended(Outcome::Error),
        }
        Ok((result?, settled(admitted)))
    }

    /// A job that has no route is told so at the door: it takes no place and leaves no receipt.
    async fn admit(
        &self,
        principal: Principal,
        job: Job,
        priority: Priority,
    ) -> Result<Admitted, JobError> {
        plan(&job, &self.snapshot(), &Own::default())?;
        Ok(self.admission.admit(principal, job, priority).await?)
    }

    async fn start(&self, admitted: &mut Admitted) -> Result<EventStream, JobError> {
        let Work::Generate { prompts, params } = &admitted.job.work else {
            unreachable!("the door sends generations here");
        };
        let owner = admitted.job.owner(admitted.meter.principal());
        let (ways, prefix) = self.route(&owner, &admitted.job)?;
        let mut search = Search::default();
        for way in ways {
            if search.is_over_for(&way) {
                continue;
            }
            let backend = &way.backend;
            let given = self.in_hand.give(backend.id(), &way.place, &admitted.job);
            admitted.meter.served_by(given);
            let mut params = params.clone();
            fix_seed(&mut params, way.bits.as_ref());
            let request = |prompt: &Prompt| GenerateRequest {
                model: admitted.job.model.clone(),
                prompt: prompt.clone(),
                params: params.clone(),
                owner: owner.clone(),
                resume: admitted.job.resume.clone(),
            };
            // All at once: none may wait for another's answer, and the first refusal ends all.
            let parts = prompts
                .iter()
                .map(|prompt| backend.generate(request(prompt)));
            let parts = match try_join_all(parts).await {
                Ok(parts) => parts,
                Err(error) => {
                    search.next_or_fail(error, way.context)?;
                    continue;
                }
            };
            self.affinity.learn(&prefix, backend.id());
            let n = u32::from(params.n);
            if matches!(admitted.job.origin, Origin::Peer(_)) {
                // Who asked goes on elsewhere; nobody does so for him.
                return Ok(join(parts, n));
            }
            let job = Arc::new(admitted.job.clone());
            let parts = prompts.iter().zip(parts).map(|(prompt, events)| {
                let thread = Thread {
                    job: Arc::clone(&job),
                    request: request(prompt),
                    snapshot: self.snapshot.clone(),
                    in_hand: self.in_hand.clone(),
                    course: admitted.meter.course(),
                    backend: backend.id().clone(),
                    is_away: way.place.peer().is_some(),
                    bits: way.bits.clone(),
                };
                continued(events, thread)
            });
            return Ok(join(parts.collect(), n));
        }
        Err(search.exhausted())
    }

    async fn start_embed(
        &self,
        admitted: &mut Admitted,
        priority: Priority,
    ) -> Result<Embeddings, JobError> {
        let Work::Embed { inputs, dimensions } = &admitted.job.work else {
            unreachable!("the door sends embeddings here");
        };
        let (ways, _) = self.route(admitted.meter.principal(), &admitted.job)?;
        let mut search = Search::default();
        for way in ways {
            if search.is_over_for(&way) {
                continue;
            }
            let backend = &way.backend;
            let given = self.in_hand.give(backend.id(), &way.place, &admitted.job);
            admitted.meter.served_by(given);
            let request = EmbedRequest {
                model: admitted.job.model.clone(),
                inputs: inputs.clone(),
                dimensions: *dimensions,
            };
            let embedded = match priority {
                Priority::Interactive => backend.embed(request).await,
                Priority::Batch => embed_in_groups(backend.as_ref(), request).await,
            };
            match embedded {
                Ok(embeddings) => return Ok(embeddings),
                Err(error) => search.next_or_fail(error, way.context)?,
            }
        }
        Err(search.exhausted())
    }

    async fn start_transcribe(&self, admitted: &mut Admitted) -> Result<Transcript, JobError> {
        let Work::Transcribe(speech) = &admitted.job.work else {
            unreachable!("the door sends transcriptions here");
        };
        let (ways, _) = self.route(admitted.meter.principal(), &admitted.job)?;
        let mut search = Search::default();
        for way in ways {
            if search.is_over_for(&way) {
                continue;
            }
            let backend = &way.backend;
            let given = self.in_hand.give(backend.id(), &way.place, &admitted.job);
            admitted.meter.served_by(given);
            let request = TranscribeRequest {
                model: admitted.job.model.clone(),
                speech: speech.clone(),
            };
            match backend.transcribe(request).await {
                Ok(transcript) => return Ok(transcript),
                Err(error) => search.next_or_fail(error, way.context)?,
            }
        }
        Err(search.exhausted())
    }

    fn route(&self, owner: &PrincipalId, job: &Job) -> Result<(Vec<Way>, Prefix), RouteError> {
        let snapshot = self.snapshot();
        let (own, prefix) = self.own(owner, job, &snapshot);
        let route = plan(job, &snapshot, &own)?;
        let ways = route.candidates.into_iter().filter_map(|chosen| {
            let candidate = snapshot.candidate(&chosen.backend, &job.model);
            Some(Way {
                bits: candidate.and_then(Bits::of),
                backend: snapshot.backends.get(&chosen.backend)?,
                place: chosen.place,
                context: chosen.context,
            })
        });
        Ok((ways.collect(), prefix))
    }

    /// What only this node knows of a job. Where there is no choice, nobody need know.
    fn own(&self, owner: &PrincipalId, job: &Job, snapshot: &Snapshot) -> (Own, Prefix) {
        let all = snapshot.candidates.iter();
        if all.filter(|c| c.model.id == job.model).nth(1).is_none() {
            return (Own::default(), Prefix::default());
        }
        let prefix = self.affinity.prefix(owner, job);
        let own = Own {
            given: self.in_hand.now(),
            cached: self.affinity.read_before(&prefix),
        };
        (own, prefix)
    }
}

/// Gives the job's place back, and says what it took.
fn settled(admitted: Admitted) -> Option<Footprint> {
    let course = admitted.meter.course();
    drop(admitted);
    course.stages().footprint
}

/// The same vectors as at once, since each is what it would be alone.
async fn embed_in_groups(
    backend: &dyn Backend,
    request: EmbedRequest,
) -> Result<Embeddings, BackendError> {
    let mut all = Embeddings {
        vectors: Vec::with_capacity(request.inputs.len()),
        prompt_tokens: 0,
    };
    for inputs in request.inputs.chunks(BATCH_INPUTS_AT_ONCE) {
        let group = EmbedRequest {
            model: request.model.clone(),
            inputs: inputs.to_vec(),
            dimensions: request.dimensions,
        };
        let group = backend.embed(group).await?;
        all.vectors.extend(group.vectors);
        all.prompt_tokens = all.prompt_tokens.saturating_add(group.prompt_tokens);
    }
    Ok(all)
}

/// The way from one backend to the next.
#[derive(Default)]
struct Search {
    /// What is answered if there is no other.
    last: Option<BackendError>,
    /// The longest context that was too short.
    too_short: Option<u32>,
}

impl Search {
    /// What was too long for one is too long for all whose context is no longer.
    fn is_over_for(&self, way: &Way) -> bool {
        let both = self.too_short.zip(way.context);
        both.is_some_and(|(too_short, context)| context <= too_short)
    }

    /// Goes on after an error that another backend may not have; `context` is that of the one who had it.
    fn next_or_fail(
        &mut self,
        error: BackendError,
        context: Option<u32>,
    ) -> Result<(), BackendError> {
        let too_short = match &error {
            BackendError::ContextOverflow { context, .. } => Some(*context),
            BackendError::InputTooLong { .. } => Some(context.unwrap_or(0)),
            error if error.is_retryable() => {
                self.last = Some(error.clone());
                return Ok(());
            }
            _ => return Err(error),
        };
        self.too_short = self.too_short.max(too_short);
        // Who was only busy may have the room: then it is he who has to be waited for.
        self.last.get_or_insert(error);
        Ok(())
    }

    fn exhausted(self) -> JobError {
        let none = || BackendError::Internal("the route names no backend".into());
        self.last.unwrap_or_else(none).into()
    }
}

/// One stream out of one for each prompt: choices are renumbered, usage is added up, and the first
/// error ends all.
fn join(mut parts: Vec<EventStream>, n: u32) -> EventStream {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut running = parts.len();
    let mut total = Usage::default();
    let merged: SelectAll<_> = parts
        .into_iter()
        .zip(0_u32..)
        .map(|(part, prompt)| part.map(move |event| event.map(|e| renumber(e, prompt * n))))
        .collect();
    let joined = merged.filter_map(move |event| {
        let event = match event {
            Ok(Event::Done(usage)) => {
                running -= 1;
                total = total.plus(usage);
                (running == 0).then_some(Ok(Event::Done(total)))
            }
            other => Some(other),
        };
        std::future::ready(event)
    });
    // After an error nothing may follow, and the other parts must stop.
    Box::pin(stream::unfold(Some(joined), |state| async {
        let mut joined = state?;
        let event = joined.next().await?;
        let rest = event.is_ok().then_some(joined);
        Some((event, rest))
    }))
}

fn renumber(event: Event, first: u32) -> Event {
    match event {
        Event::Delta(mut delta) => {
            delta.choice += first;
            Event::Delta(delta)
        }
        Event::Call(mut call) => {
            call.choice += first;
            Event::Call(call)
        }
        Event::Finished { choice, reason } => Event::Finished {
            choice: choice + first,
            reason,
        },
        other => other,
    }
}
