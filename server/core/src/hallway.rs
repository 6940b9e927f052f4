//! The one path that every job walks, whichever door it came through: admission, route, backend,
//! metered stream, receipt.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{self, SelectAll, StreamExt};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::continued::{Exactness, Thread, continued, fix_seed};
use crate::{
    Admission, AdmissionError, Admitted, Backend, BackendError, EmbedRequest, Embeddings, Event,
    EventStream, GenerateRequest, Job, MeteredStream, ModelId, Origin, Outcome, Place, Principal,
    Priority, Prompt, RouteError, Snapshot, TranscribeRequest, Transcript, Usage, Work, plan,
};

/// Takes jobs in and runs them.
pub struct Hallway {
    admission: Admission,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    questions: Semaphore,
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

    /// The first backend that has this model, for questions that are no job: what a text's tokens
    /// are. The permit is held until the answer is there.
    ///
    /// # Errors
    /// When none has it, when too many ask at once, or when the node is shutting down.
    pub fn question(
        &self,
        _principal: &Principal,
        model: &ModelId,
    ) -> Result<(Arc<dyn Backend>, SemaphorePermit<'_>), JobError> {
        let snapshot = self.snapshot();
        let backend = snapshot
            .candidates
            .iter()
            .filter(|candidate| candidate.model.id == *model && candidate.unavailable.is_none())
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
        result
    }

    /// Runs a transcription.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    ///
    /// # Panics
    /// When the job is not a transcription: the caller made it.
    pub async fn transcribe(&self, principal: Principal, job: Job) -> Result<Transcript, JobError> {
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
        result
    }

    /// A job that has no route is told so at the door: it takes no place and leaves no receipt.
    async fn admit(
        &self,
        principal: Principal,
        job: Job,
        priority: Priority,
    ) -> Result<Admitted, JobError> {
        plan(&job, &self.snapshot())?;
        Ok(self.admission.admit(principal, job, priority).await?)
    }

    async fn start(&self, admitted: &mut Admitted) -> Result<EventStream, JobError> {
        let Work::Generate { prompts, params } = &admitted.job.work else {
            unreachable!("the door sends generations here");
        };
        let snapshot = self.snapshot();
        let owner = admitted.job.owner(admitted.meter.principal());
        let mut last = None;
        for id in plan(&admitted.job, &snapshot)?.backends {
            let Some(backend) = snapshot.backends.get(&id) else {
                continue;
            };
            admitted.meter.served_by(&id);
            let candidate = snapshot.candidate(&id, &admitted.job.model);
            let exactness = candidate.and_then(Exactness::of);
            let mut params = params.clone();
            fix_seed(&mut params, exactness.as_ref());
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
                    last = Some(next_or_fail(error)?);
                    continue;
                }
            };
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
                    course: admitted.meter.course(),
                    backend: id.clone(),
                    is_away: candidate.is_some_and(|c| matches!(c.place, Place::Peer(_))),
                    exactness: exactness.clone(),
                };
                continued(events, thread)
            });
            return Ok(join(parts.collect(), n));
        }
        Err(exhausted(last))
    }

    async fn start_embed(
        &self,
        admitted: &mut Admitted,
        priority: Priority,
    ) -> Result<Embeddings, JobError> {
        let Work::Embed { inputs, dimensions } = &admitted.job.work else {
            unreachable!("the door sends embeddings here");
        };
        let mut last = None;
        for backend in self.route(&admitted.job)? {
            admitted.meter.served_by(backend.id());
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
                Err(error) => last = Some(next_or_fail(error)?),
            }
        }
        Err(exhausted(last))
    }

    async fn start_transcribe(&self, admitted: &mut Admitted) -> Result<Transcript, JobError> {
        let Work::Transcribe(speech) = &admitted.job.work else {
            unreachable!("the door sends transcriptions here");
        };
        let mut last = None;
        for backend in self.route(&admitted.job)? {
            admitted.meter.served_by(backend.id());
            let request = TranscribeRequest {
                model: admitted.job.model.clone(),
                speech: speech.clone(),
            };
            match backend.transcribe(request).await {
                Ok(transcript) => return Ok(transcript),
                Err(error) => last = Some(next_or_fail(error)?),
            }
        }
        Err(exhausted(last))
    }

    fn route(&self, job: &Job) -> Result<Vec<Arc<dyn Backend>>, RouteError> {
        let snapshot = self.snapshot();
        let route = plan(job, &snapshot)?;
        let backends = route.backends.iter();
        Ok(backends
            .filter_map(|id| snapshot.backends.get(id))
            .collect())
    }
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

/// An error that another backend may not have, or the end of the search.
fn next_or_fail(error: BackendError) -> Result<BackendError, JobError> {
    if error.is_retryable() {
        Ok(error)
    } else {
        Err(error.into())
    }
}

fn exhausted(last: Option<BackendError>) -> JobError {
    last.unwrap_or_else(|| BackendError::Internal("the route names no backend".into()))
        .into()
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
