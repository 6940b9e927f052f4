//! Which backend serves a job. A pure function of the job and of what is known, which explains itself.
//!
//! First the hard filters: who may not serve it at all, and why. Then the order: who would be done first, or
//! whom the client prefers. Every estimate and every reason is in the answer.

mod estimate;
mod filter;
mod given;
mod order;
mod reason;
mod size;
mod snapshot;
#[cfg(test)]
mod tests;
mod tie;

use crate::{BackendId, Constraints, Job, ModelDigest, ModelId, ModelKind, Origin, Work};

pub use estimate::Estimate;
pub use given::Own;
pub(crate) use given::{Given, InHand};
pub use reason::{Dropped, Reason};
pub use snapshot::{Backends, Candidate, Here, Place, Snapshot};

use size::Size;

/// Whom to ask, in order, and why not the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// At least one.
    pub candidates: Vec<Chosen>,
    /// Whether the second keeps a place for the job when the first takes long to answer, and does it if it has
    /// one sooner.
    pub tied: bool,
    /// Those that have the model and may not or cannot serve this job.
    pub dropped: Vec<Dropped>,
}

/// A candidate that may serve a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Which.
    pub backend: BackendId,
    /// Whose machine it is on.
    pub place: Place,
    /// How long it would take; none for an upstream.
    pub estimate: Option<Estimate>,
    /// Grams of CO2 equivalent for 1,000 tokens, where known.
    pub gco2_per_1k: Option<f64>,
    /// Micro-VDA for 1,000 tokens, where known.
    pub price: Option<u64>,
    /// Its context in tokens, where known.
    pub context: Option<u32>,
}

/// Why a job has no route.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RouteError {
    /// Nobody serves it.
    #[error("the model '{0}' does not exist or is not on this node")]
    ModelNotFound(ModelId),
    /// It is there, and is for something else.
    #[error("the model '{model}' cannot {verb}")]
    WrongKind {
        /// Which.
        model: ModelId,
        /// What it was asked to do.
        verb: &'static str,
    },
    /// It is there, and nobody can serve it now.
    #[error("no backend can serve the model '{model}' now")]
    Unavailable {
        /// Which.
        model: ModelId,
        /// Each candidate's reason, for our log.
        dropped: Vec<Dropped>,
    },
    /// Somebody could serve it, but nobody who fulfils what the job demands.
    #[error(
        "nobody who serves the model '{model}' fulfils the constraints: {}",
        listed(dropped)
    )]
    Unfulfilled {
        /// Which.
        model: ModelId,
        /// Each candidate's reason.
        dropped: Vec<Dropped>,
    },
}

/// Reasons that an error spells out.
const REASONS_MAX: usize = 16;

fn listed(dropped: &[Dropped]) -> String {
    let reasons = dropped.iter().take(REASONS_MAX).map(ToString::to_string);
    let mut listed = reasons.collect::<Vec<_>>().join("; ");
    if let more @ 1.. = dropped.len().saturating_sub(REASONS_MAX) {
        listed.push_str(&format!("; and {more} more"));
    }
    listed
}

/// Chooses the backends for a job: those that serve its model, can do what it asks, and fulfil its
/// constraints; best first. `own` is what only this node knows, and may be empty.
///
/// # Errors
/// When nobody is left.
pub fn plan(job: &Job, snapshot: &Snapshot, own: &Own) -> Result<Route, RouteError> {
    let serving = serving(job, snapshot)?;
    let size = Size::of(job);
    let ours = serving.iter().find(|c| c.place == Place::Here);
    let judge = Judge {
        job,
        size,
        own,
        here: &snapshot.here,
        file: ours.and_then(|here| here.model.digest),
    };
    let (mut chosen, mut dropped) = (Vec::new(), Vec::new());
    for candidate in serving {
        match judge.judge(candidate) {
            Ok(one) => chosen.push(one),
            Err(reason) => dropped.push(drop_for(candidate, reason)),
        }
    }
    if chosen.is_empty() {
        return Err(nobody(job.model.clone(), dropped));
    }
    let chosen = with_room(size, chosen, &mut dropped);
    let candidates = order::order(&job.id, job.constraints.prefer, chosen);
    Ok(Route {
        tied: snapshot.here.ties && tie::is_worth_it(job, &candidates),
        candidates,
        dropped,
    })
}

/// What candidates of one job are judged by.
struct Judge<'a> {
    job: &'a Job,
    size: Size,
    own: &'a Own,
    here: &'a Here,
    /// Which file this node has under the model's name, where it is known.
    file: Option<ModelDigest>,
}

impl Judge<'_> {
    fn judge(&self, candidate: &Candidate) -> Result<Chosen, Reason> {
        if let Some(reason) = self.refusal(candidate) {
            return Err(reason);
        }
        let chosen = Chosen {
            backend: candidate.backend.clone(),
            place: candidate.place.clone(),
            estimate: estimate::estimate(candidate, &self.size, self.own),
            gco2_per_1k: estimate::grams(candidate, self.here),
            price: filter::price(&candidate.place),
            context: candidate.model.context,
        };
        let estimate = chosen.estimate.as_ref();
        match filter::excess(&self.job.constraints, estimate, chosen.gco2_per_1k) {
            Some(reason) => Err(reason),
            None => Ok(chosen),
        }
    }

    fn refusal(&self, candidate: &Candidate) -> Option<Reason> {
        if let (Origin::Peer(_), Some(why)) = (self.job.origin, self.here.withholds) {
            return Some(Reason::Unavailable(why.to_owned()));
        }
        let refused = filter::refusal(candidate, &self.job.constraints, self.here);
        let is_recording = matches!(self.job.work, Work::Transcribe(_));
        refused.or_else(|| match candidate.place {
            Place::Peer(_) if is_recording => Some(Reason::Recording),
            Place::Peer(_) if filter::is_other_file(candidate, self.file) => {
                Some(Reason::OtherFile)
            }
            _ => None,
        })
    }
}

/// Those whose context is not surely too short. What fits nowhere is still sent somewhere, since only the
/// tokenizer can say how much is too much.
fn with_room(size: Size, chosen: Vec<Chosen>, dropped: &mut Vec<Dropped>) -> Vec<Chosen> {
    let is_long_enough =
        |one: &Chosen| one.context.is_none_or(|context| size.room_least <= context);
    if !chosen.iter().any(is_long_enough) {
        return chosen;
    }
    let (enough, short): (Vec<_>, Vec<_>) = chosen.into_iter().partition(is_long_enough);
    dropped.extend(short.into_iter().map(|one| Dropped {
        backend: one.backend,
        place: one.place,
        reason: Reason::Context(one.context.unwrap_or(0)),
    }));
    enough
}

/// Who may be asked what a text's tokens are, this machine first: whoever has the model and may see a job with
/// these constraints.
///
/// # Errors
/// When nobody is left.
pub(crate) fn plan_question<'a>(
    model: &ModelId,
    constraints: &Constraints,
    origin: Origin,
    snapshot: &'a Snapshot,
) -> Result<Vec<&'a Candidate>, RouteError> {
    let named = named(model, origin, snapshot);
    if named.is_empty() {
        return Err(RouteError::ModelNotFound(model.clone()));
    }
    let (mut able, mut dropped) = (Vec::new(), Vec::new());
    for candidate in named {
        match filter::refusal(candidate, constraints, &snapshot.here) {
            None => able.push(candidate),
            Some(reason) => dropped.push(drop_for(candidate, reason)),
        }
    }
    if able.is_empty() {
        return Err(nobody(model.clone(), dropped));
    }
    able.sort_by_key(|candidate| candidate.place != Place::Here);
    Ok(able)
}

/// Who has the model and can do this kind of work with it.
fn serving<'a>(job: &Job, snapshot: &'a Snapshot) -> Result<Vec<&'a Candidate>, RouteError> {
    let (needed, verb) = match job.work {
        Work::Generate { .. } => (ModelKind::Generate, "generate text"),
        Work::Embed { .. } => (ModelKind::Embed, "make embeddings"),
        Work::Transcribe(_) => (ModelKind::Transcribe, "transcribe audio"),
    };
    let mut serving = named(&job.model, job.origin, snapshot);
    if serving.is_empty() {
        return Err(RouteError::ModelNotFound(job.model.clone()));
    }
    serving.retain(|c| c.model.kind == needed || c.model.kind == ModelKind::Unknown);
    if serving.is_empty() {
        let model = job.model.clone();
        return Err(RouteError::WrongKind { model, verb });
    }
    Ok(serving)
}

/// Who has the model. For another node there is nobody but this one: it is not told of others, and its jobs
/// go no further.
fn named<'a>(model: &ModelId, origin: Origin, snapshot: &'a Snapshot) -> Vec<&'a Candidate> {
    let is_client = origin == Origin::Client;
    let all = snapshot.candidates.iter();
    all.filter(|c| c.model.id == *model && (is_client || c.place == Place::Here))
        .collect()
}

fn drop_for(candidate: &Candidate, reason: Reason) -> Dropped {
    Dropped {
        backend: candidate.backend.clone(),
        place: candidate.place.clone(),
        reason,
    }
}

fn nobody(model: ModelId, dropped: Vec<Dropped>) -> RouteError {
    match dropped.iter().any(|dropped| dropped.reason.is_demand()) {
        true => RouteError::Unfulfilled { model, dropped },
        false => RouteError::Unavailable { model, dropped },
    }
}
