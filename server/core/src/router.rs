//! Which backend serves a job. A pure function of the job and of what is known, which explains
//! itself.

use crate::{BackendId, Job, ModelFacts, ModelId, ModelKind, Work};

/// Everything that routing knows, gathered in the background and never changed in place.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// In order of preference.
    pub candidates: Vec<Candidate>,
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
            },
            unavailable: None,
        }
    }

    fn job(model: &str) -> Job {
        Job {
            id: JobId::random(),
            model: model.into(),
            work: Work::Generate {
                prompts: Vec::new(),
                params: GenerateParams::default(),
            },
        }
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
        };
        let fails = |model| plan(&job(model), &snapshot).expect_err("no route");
        assert!(matches!(fails("nope"), RouteError::ModelNotFound(_)));
        assert!(matches!(fails("vectors"), RouteError::WrongKind { .. }));
        assert!(matches!(fails("down"), RouteError::Unavailable { .. }));
    }
}
