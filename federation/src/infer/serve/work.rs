//! From a request to a job, and from a job's error to a refusal.

use std::time::Duration;

use kwaainet_core::{
    AdmissionError, BackendError, Candidate, Job, JobError, JobId, ModelId, NodeId, Origin, Place,
    RouteError, Snapshot, Tier, Work,
};

use super::super::wire::refusal::Refusal;
use super::super::wire::request::Request;

/// The longest that a request may take, whatever its asker allows.
pub(super) const BUDGET_MAX: Duration = Duration::from_secs(3_600);

/// What this node itself has of the model that is asked for: the right file, computed in the right way.
pub(super) fn served<'a>(snapshot: &'a Snapshot, request: &Request) -> Option<&'a Candidate> {
    let mut here = snapshot.candidates.iter();
    here.find(|candidate| {
        let model = &candidate.model;
        let is_file = request.digest.is_none() || model.digest == request.digest;
        let is_class = request.numerics.is_none() || model.numerics == request.numerics;
        candidate.place == Place::Here && model.id == request.model && is_file && is_class
    })
}

/// A job of this peer, which goes no further.
pub(super) fn job(asker: NodeId, model: &ModelId, scope: [u8; 16], work: Work) -> Job {
    Job {
        origin: Origin::Peer(asker),
        scope: Some(scope),
        ..Job::new(JobId::random(), model.clone(), work)
    }
}

/// Why there will be no answer.
pub(super) fn refusal(error: JobError, tier: Tier) -> Refusal {
    match error {
        JobError::Admission(AdmissionError::Draining) => Refusal::Draining,
        JobError::Admission(
            ref error @ (AdmissionError::Overloaded { retry_after }
            | AdmissionError::TooMany { retry_after, .. }),
        ) => Refusal::Busy {
            reason: error.to_string(),
            retry_after,
        },
        JobError::Route(RouteError::ModelNotFound(_)) => Refusal::UnknownModel,
        JobError::Route(ref error @ RouteError::WrongKind { .. }) => {
            Refusal::Backend(BackendError::Unsupported {
                param: "model",
                reason: error.to_string(),
            })
        }
        // What this node told him is not so any more, or he may not have it.
        JobError::Route(RouteError::Unfulfilled { .. }) => Refusal::UnknownModel,
        JobError::Route(ref error @ RouteError::Unavailable { .. }) => Refusal::Busy {
            reason: error.to_string(),
            retry_after: Duration::from_secs(1),
        },
        JobError::Backend(error) => Refusal::Backend(told(error, tier)),
    }
}

/// An error as a node of this tier may hear it. Our own faults are logged here, once, and told in full to
/// the owner's and invited nodes only.
pub(super) fn told(error: BackendError, tier: Tier) -> BackendError {
    let BackendError::Internal(fault) = &error else {
        return error;
    };
    tracing::error!("a peer's request failed: {fault}");
    match tier.is_confidential() {
        true => error,
        false => BackendError::Internal("a fault of the node".to_owned()),
    }
}
