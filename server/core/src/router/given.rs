//! What this node itself gave whom, as of now. Loads are told some time ago; without this, all that comes
//! meanwhile would go to whoever was idle then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::size::Size;
use crate::{BackendId, Candidate, Job, Load, Place};

/// What this node alone knows of a job at this moment, beside the snapshot.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// The parts that each backend has in hand, oldest first.
    pub(crate) given: HashMap<BackendId, Vec<Part>>,
    /// How much of the job's prompt each backend has probably read before, from 0 to 1.
    pub(crate) cached: HashMap<BackendId, f64>,
}

/// What was given to a backend since it told its load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) sequences: u32,
    pub(super) prompt_tokens: u64,
}

impl Own {
    /// What the candidate's load does not hold yet.
    pub(super) fn since(&self, candidate: &Candidate, load: &Load) -> Since {
        let Some(parts) = self.given.get(&candidate.backend) else {
            return Since::default();
        };
        let known = match &candidate.place {
            // All work of this machine goes through this node.
            Place::Here => load.running.saturating_add(load.queued),
            Place::Peer(peer) => peer.ours,
            Place::Upstream => 0,
        };
        let newest = parts.iter().skip(known as usize);
        newest.fold(Since::default(), |sum, part| Since {
            sequences: sum.sequences.saturating_add(part.sequences),
            prompt_tokens: sum.prompt_tokens + u64::from(part.prompt_tokens),
        })
    }

    pub(super) fn cached(&self, backend: &BackendId) -> f64 {
        self.cached
            .get(backend)
            .map_or(0.0, |part| part.clamp(0.0, 1.0))
    }
}

/// One request at a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    job: u64,
    sequences: u32,
    prompt_tokens: u32,
}

/// The work that backends have of this node. As much as is admitted, so bounded by that.
#[derive(Clone, Debug, Default)]
pub(crate) struct InHand(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    jobs: u64,
    given: HashMap<BackendId, Vec<Part>>,
}

impl InHand {
    /// As of now.
    pub(crate) fn now(&self) -> HashMap<BackendId, Vec<Part>> {
        self.0.lock().expect("no holder panics").given.clone()
    }

    /// Counts a job as this backend's until the guard is dropped.
    pub(crate) fn give(&self, backend: &BackendId, place: &Place, job: &Job) -> Given {
        let size = Size::of(job);
        let parts = size.parts.max(1);
        let mut table = self.0.lock().expect("no holder panics");
        table.jobs += 1;
        let part = Part {
            job: table.jobs,
            sequences: size.sequences / parts,
            prompt_tokens: size.prompt_tokens / parts,
        };
        let given = table.given.entry(backend.clone()).or_default();
        given.extend(std::iter::repeat_n(part, parts as usize));
        Given {
            table: self.clone(),
            job: part.job,
            backend: backend.clone(),
            place: place.clone(),
        }
    }
}

/// A job is in this backend's hands.
#[derive(Debug)]
pub(crate) struct Given {
    table: InHand,
    job: u64,
    backend: BackendId,
    place: Place,
}

impl Given {
    pub(crate) fn backend(&self) -> &BackendId {
        &self.backend
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let mut table = self.table.0.lock().expect("no holder panics");
        if let Some(parts) = table.given.get_mut(&self.backend) {
            parts.retain(|part| part.job != self.job);
            if parts.is_empty() {
                table.given.remove(&self.backend);
            }
        }
    }
}
