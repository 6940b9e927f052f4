//! What routing knows: who serves what, where, and how it is doing. Gathered in the background and never
//! changed in place.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Backend, BackendId, GridIntensity, Load, ModelFacts, ModelId, NodeId, PeerFacts};

/// Everything that is known of all who may serve.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// In order of preference.
    pub candidates: Vec<Candidate>,
    /// Those that the candidates name.
    pub backends: Backends,
    /// This node.
    pub here: Here,
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
    /// A server that the owner configured. Nobody knows where it stands, what it costs, or who reads along.
    Upstream,
    /// Another node.
    Peer(Arc<PeerFacts>),
}

impl Place {
    /// `local`, `upstream` or `peer`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Here => "local",
            Self::Upstream => "upstream",
            Self::Peer(_) => "peer",
        }
    }

    /// The other node, if it is one.
    pub fn peer(&self) -> Option<&PeerFacts> {
        match self {
            Self::Peer(facts) => Some(facts),
            Self::Here | Self::Upstream => None,
        }
    }
}

/// What this node knows of itself: as its owner said it, or as it was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Here {
    /// Its name, where it has a key.
    pub node: Option<NodeId>,
    /// Where it stands, in lower case.
    pub region: Option<String>,
    /// What its power costs the climate.
    pub grid: Option<GridIntensity>,
    /// Watts that it uses for its work.
    pub watts: Option<f32>,
    /// Whether a second peer keeps a place for a job where the first may take long to answer.
    pub ties: bool,
    /// Why it does nothing for other nodes now, if it does not.
    pub withholds: Option<&'static str>,
}
