//! Which backend serves a job. A pure function of the job and of what is known, which explains
//! itself.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Backend, BackendId, Job, Load, ModelFacts, ModelId, ModelKind, PeerFacts, Work};

/// Everything that routing knows, gathered in the background and never changed in place.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// In order of preference.
    pub candidates: Vec<Candidate>,
    /// Those that the candidates name.
    pub backends: Backends,
}

impl Snapshot {
    /// A model on a backend.
    pub fn candidate(&self, backend: &BackendId, model: &ModelId) -> Option<&Candidate> {
        let mut candidates = self.candidates.iter();
        candidates.find(|c| c.backend == *backend && c.model.id == *model)
    }
}

/// What computes, by name.
#[derive(Clone, Default)]
pub struct Backends(HashMap<BackendId, Arc<dyn Backend>>);

impl Backends {
    /// The one of this name.
    pub fn get(&self, id: &BackendId) -> Option<Arc<dyn Backend>> {
        self.0.get(id).map(Arc::clone)
    }
}

impl FromIterator<Arc<dyn Backend>> for Backends {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Backend>>>(backends: I) -> Self {
        let named = backends.into_iter().map(|b| (b.id().clone(), b));
        Self(named.collect())
    }
}

impl std::fmt::Debug for Backends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One model on one backend.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where.
    pub backend: BackendId,
    /// What.
    pub model: ModelFacts,
    /// Why the backend takes no work, if it takes none.
    pub unavailable: Option<String>,
    /// Whose machine it is on.
    pub place: Place,
    /// How much the backend has to do, where known.
    pub load: Option<Load>,
}

/// Whose machine a backend computes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Place {
    /// This one.
    #[default]
    Here,
    /// A server that the owner configured.
    Upstream,
    /// Another node.
    Peer(Arc<PeerFacts>),
}

/// Whom to ask, in order, and why not the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// At least one.
    pub backends: Vec<BackendId>,
    /// Backends that know the model and were still not chosen.
    pub dropped: Vec<Dropped>,
}

/// A candidate that was not chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Which.
    pub backend: BackendId,
    /// In a few words.
    pub reason: String,
}

/// Why a job has no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
}

/// Chooses the backends for a job: those that serve its model and can do what it asks, in the
/// snapshot's order.
///
/// # Errors
/// When nobody is left.
pub fn plan(job: &Job, snapshot: &Snapshot) -> Result<Route, RouteError> {
    let (needed, verb) = match job.work {
        Work::Generate { .. } => (ModelKind::Generate, "generate text"),
        Work::Embed { .. } => (ModelKind::Embed, "make embeddings"),
        Work::Transcribe(_) => (ModelKind::Transcribe, "transcribe audio"),
    };
    let mut serving: Vec<&Candidate> = snapshot
        .candidates
        .iter()
        .filter(|candidate| candidate.model.id == job.model)
        .collect();
    if serving.is_empty() {
        return Err(RouteError::ModelNotFound(job.model.clone()));
    }
    serving.retain(|c| c.model.kind == needed || c.model.kind == ModelKind::Unknown);
    if serving.is_empty() {
        let model = job.model.clone();
        return Err(RouteError::WrongKind { model, verb });
    }
    let (able, unable): (Vec<_>, Vec<_>) = serving
        .into_iter()
        .partition(|candidate| candidate.unavailable.is_none());
    let dropped = unable
        .into_iter()
        .map(|candidate| Dropped {
            backend: candidate.backend.clone(),
            reason: candidate.unavailable.clone().unwrap_or_default(),
        })
        .collect();
    if able.is_empty() {
        let model = job.model.clone();
        return Err(RouteError::Unavailable { model, dropped });
    }
    let backends = able.into_iter().map(|c| c.backend.clone()).collect();
    Ok(Route { backends, dropped })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GenerateParams, JobId};

    fn candidate(backend: &str, model: &str, kind: ModelKind, loaded: bool) -> Candidate {
        Candidate {
            backend: backend.into(),
            model: ModelFacts {
                id: model.into(),
                kind,
                context: None,
                created: 0,
                loaded,
                numerics: None,
                digest: None,
            },
            unavailable: None,
            place: Place::Here,
            load: None,
        }
    }

    fn job(model: &str) -> Job {
        Job::new(
            JobId::random(),
            model.into(),
            Work::Generate {
                prompts: Vec::new(),
                params: GenerateParams::default(),
            },
        )
    }

    #[test]
    fn the_order_is_kept_and_the_rest_is_explained() {
        let mut down = candidate("down", "m", ModelKind::Generate, true);
        down.unavailable = Some("it burns".into());
        let snapshot = Snapshot {
            candidates: vec![
                down,
                candidate("cold", "m", ModelKind::Generate, false),
                candidate("upstream", "m", ModelKind::Unknown, true),
                candidate("other", "x", ModelKind::Generate, true),
            ],
            ..Snapshot::default()
        };
        let route = plan(&job("m"), &snapshot).expect("there is a route");
        assert_eq!(route.backends, ["cold".into(), "upstream".into()]);
        assert_eq!(route.dropped.len(), 1);
        assert_eq!(route.dropped[0].reason, "it burns");
    }

    #[test]
    fn no_route_says_why() {
        let mut down = candidate("b", "down", ModelKind::Generate, true);
        down.unavailable = Some("gone".into());
        let embedder = candidate("a", "vectors", ModelKind::Embed, true);
        let snapshot = Snapshot {
            candidates: vec![embedder, down],
            ..Snapshot::default()
        };
        let fails = |model| plan(&job(model), &snapshot).expect_err("no route");
        assert!(matches!(fails("nope"), RouteError::ModelNotFound(_)));
        assert!(matches!(fails("vectors"), RouteError::WrongKind { .. }));
        assert!(matches!(fails("down"), RouteError::Unavailable { .. }));
    }
}
