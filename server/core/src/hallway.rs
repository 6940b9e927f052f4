//! The one path that every job walks, whichever door it came through: admission, route, backend,
//! metered stream, receipt.

mod answers;
mod join;
mod search;
mod tied;
mod whole;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::affinity::{Affinity, Prefix};
use crate::continued::{Thread, continued, fix_seed};
use crate::router::{InHand, plan_question};
use crate::{
    Admission, AdmissionError, Admitted, Backend, BackendError, Bits, Constraints, EventStream,
    GenerateParams, GenerateRequest, Job, MeteredStream, ModelId, Origin, Outcome, Own, Place,
    Principal, PrincipalId, Priority, Prompt, Route, RouteError, Snapshot, Work, plan,
};
use answers::Answers;
use join::join;
use search::Search;
use tied::By;

/// Takes jobs in and runs them.
pub struct Hallway {
    admission: Admission,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    questions: Semaphore,
    in_hand: InHand,
    affinity: Affinity,
    answers: Answers,
}

/// Whom a job may be given to.
struct Ways {
    /// Best first.
    all: VecDeque<Way>,
    /// Whether the second is asked too where the first takes long to answer.
    tied: bool,
    prefix: Prefix,
}

/// A backend that a job may be given to.
struct Way {
    backend: Arc<dyn Backend>,
    place: Place,
    context: Option<u32>,
    /// What it computes, where that is known.
    bits: Option<Bits>,
    /// Tokens of the prompt, about.
    prompt_tokens: u32,
}

/// A generation, whoever does it.
struct Generation<'a> {
    job: &'a Job,
    owner: &'a PrincipalId,
    params: GenerateParams,
}

/// Questions that are answered at once. Few, since jobs need the same threads to be read.
const QUESTIONS_MAX: usize = 8;

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
            answers: Answers::default(),
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
        let admitted = self.let_in(principal, job).await?;
        self.run(admitted).await
    }

    /// Lets a generation in, which begins with [`run`](Self::run).
    ///
    /// # Errors
    /// When there is no place for it, or nobody who can do it.
    pub async fn let_in(&self, principal: Principal, job: Job) -> Result<Admitted, JobError> {
        let priority = match &job.work {
            Work::Generate { params, .. } => params.priority,
            Work::Embed { .. } | Work::Transcribe(_) => Priority::Interactive,
        };
        self.admit(principal, job, priority).await
    }

    /// Runs a generation that was let in.
    ///
    /// # Errors
    /// Before any text exists; later errors come as the stream's last item.
    ///
    /// # Panics
    /// When the job is not a generation: the caller made it.
    pub async fn run(&self, mut admitted: Admitted) -> Result<MeteredStream, JobError> {
        match self.start(&mut admitted).await {
            Ok(events) => Ok(MeteredStream::new(events, admitted.meter)),
            Err(error) => {
                admitted.meter.ended(Outcome::Error);
                Err(error)
            }
        }
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
        let mut ways = self.route(&owner, &admitted.job)?;
        let mut search = Search::default();
        while let Some(mut way) = ways.all.pop_front() {
            if search.is_over_for(way.context) {
                continue;
            }
            let give = |way: &Way| {
                let id = way.backend.id();
                self.in_hand.give(id, &way.place, &admitted.job)
            };
            admitted.meter.served_by(give(&way));
            let mut generation = Generation {
                job: &admitted.job,
                owner: &owner,
                params: params.clone(),
            };
            fix_seed(&mut generation.params, way.bits.as_ref());
            let second = ways.all.front().filter(|_| ways.tied);
            let parts = match (second, prompts.as_slice()) {
                (Some(second), [prompt]) => {
                    fix_seed(&mut generation.params, second.bits.as_ref());
                    let (by, answer) = self.ask_tied(&way, second, &generation, prompt).await;
                    if by == By::Second {
                        admitted.meter.served_by(give(second));
                        // The first is asked as always should this one fail.
                        let second = &mut ways.all[0];
                        std::mem::swap(&mut way, second);
                    }
                    answer.map(|events| vec![events])
                }
                _ => self.ask(&way, &generation, prompts).await,
            };
            ways.tied = false;
            let parts = match parts {
                Ok(parts) => parts,
                Err(error) => {
                    search.next_or_fail(error, way.context)?;
                    continue;
                }
            };
            self.affinity.learn(&ways.prefix, way.backend.id());
            let n = u32::from(params.n);
            if matches!(admitted.job.origin, Origin::Peer(_)) {
                // Who asked goes on elsewhere; nobody does so for him.
                return Ok(join(parts, n));
            }
            let job = Arc::new(admitted.job.clone());
            let parts = prompts.iter().zip(parts).map(|(prompt, events)| {
                let thread = Thread {
                    job: Arc::clone(&job),
                    request: generation.request(prompt),
                    snapshot: self.snapshot.clone(),
                    in_hand: self.in_hand.clone(),
                    course: admitted.meter.course(),
                    backend: way.backend.id().clone(),
                    is_away: way.place.peer().is_some(),
                    bits: way.bits.clone(),
                };
                continued(events, thread)
            });
            return Ok(join(parts.collect(), n));
        }
        Err(search.exhausted())
    }

    /// All prompts at once: none may wait for another's answer, and the first refusal ends all.
    async fn ask(
        &self,
        way: &Way,
        generation: &Generation<'_>,
        prompts: &[Prompt],
    ) -> Result<Vec<EventStream>, BackendError> {
        let asked = Instant::now();
        let requests = prompts.iter().map(|prompt| generation.request(prompt));
        let parts = requests.map(|request| way.backend.generate(request));
        let parts = try_join_all(parts).await?;
        if way.place.peer().is_some() {
            self.answers.note(way.backend.id(), asked.elapsed());
        }
        Ok(parts)
    }

    /// The first, or the second if the first is late.
    async fn ask_tied(
        &self,
        first: &Way,
        second: &Way,
        generation: &Generation<'_>,
        prompt: &Prompt,
    ) -> (By, Result<EventStream, BackendError>) {
        let asked = Instant::now();
        let id = first.backend.id();
        let after = self.answers.late_after(id, first.prompt_tokens);
        let (one, other) = (first.backend.as_ref(), second.backend.as_ref());
        let (by, answer) = tied::ask(one, other, || generation.request(prompt), after).await;
        if by == By::Second || answer.is_ok() {
            self.answers.note(id, asked.elapsed());
        }
        (by, answer)
    }

    fn route(&self, owner: &PrincipalId, job: &Job) -> Result<Ways, RouteError> {
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
                prompt_tokens: chosen.estimate.map_or(0, |about| about.prompt_tokens),
            })
        });
        let all: VecDeque<Way> = ways.collect();
        Ok(Ways {
            tied: route.tied,
            all,
            prefix,
        })
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

impl Generation<'_> {
    fn request(&self, prompt: &Prompt) -> GenerateRequest {
        GenerateRequest {
            model: self.job.model.clone(),
            prompt: prompt.clone(),
            params: self.params.clone(),
            owner: self.owner.clone(),
            resume: self.job.resume.clone(),
        }
    }
}
