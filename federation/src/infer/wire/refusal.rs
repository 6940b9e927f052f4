//! Why a server does not even begin.

use std::time::Duration;

use kwaainet_core::{BackendError, Load, ModelId};

use super::says::{self, Reject};
use super::{Bad, error, needed};

/// A server's no.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// The backend's.
    Backend(BackendError),
    /// There is no room.
    Busy {
        /// One sentence.
        reason: String,
        retry_after: Duration,
    },
    /// It finishes what it has and takes no more.
    Draining,
    /// The asker may not have it.
    Forbidden,
    /// It has no such model, or another file under that name, or computes other bits with it.
    UnknownModel,
}

/// A node that drains is gone soon.
const DRAINING_FOR: Duration = Duration::from_secs(5);

impl Refusal {
    /// As the asker's hallway understands it. `peer` says who it was.
    pub(crate) fn into_error(self, peer: &str, model: &ModelId) -> BackendError {
        match self {
            Self::Backend(error) => error,
            Self::Busy {
                reason,
                retry_after,
            } => BackendError::Busy {
                reason,
                retry_after,
            },
            Self::Draining => BackendError::Busy {
                reason: format!("{peer} is shutting down"),
                retry_after: DRAINING_FOR,
            },
            Self::Forbidden => BackendError::Upstream {
                reason: format!("{peer} does not let this node in"),
            },
            Self::UnknownModel => BackendError::ModelNotFound(model.clone()),
        }
    }
}

pub(crate) fn write(refusal: Refusal, load: Option<Load>) -> Reject {
    let of = |kind| Reject {
        kind,
        load: load.map(write_load),
        ..Reject::default()
    };
    match refusal {
        Refusal::Backend(error) => Reject {
            error: Some(error::write(error)),
            ..of(1)
        },
        Refusal::Busy {
            reason,
            retry_after,
        } => Reject {
            reason: error::sentence(reason),
            retry_after_ms: error::millis(retry_after),
            ..of(2)
        },
        Refusal::Draining => of(3),
        Refusal::Forbidden => of(4),
        Refusal::UnknownModel => of(5),
    }
}

pub(crate) fn read(reject: Reject, own: &[&'static str]) -> Result<(Refusal, Option<Load>), Bad> {
    let refusal = match reject.kind {
        1 => Refusal::Backend(error::read(needed(reject.error, "error")?, own)?),
        2 => Refusal::Busy {
            reason: error::sentence(reject.reason),
            retry_after: error::wait(reject.retry_after_ms),
        },
        3 => Refusal::Draining,
        4 => Refusal::Forbidden,
        5 => Refusal::UnknownModel,
        kind => {
            return Err(Bad::new(
                "reject",
                format!("a refusal of unknown kind {kind}"),
            ));
        }
    };
    Ok((refusal, reject.load.map(read_load)))
}

fn write_load(load: Load) -> says::Load {
    says::Load {
        running: load.running,
        queued: load.queued,
        queued_prefill_tokens: load.queued_prefill_tokens,
        free_pages: load.free_pages,
        prefill_rate: load.prefill_rate.to_bits(),
        decode_rate: load.decode_rate.to_bits(),
        tokens_out: load.tokens_out,
        epoch: load.epoch,
    }
}

fn read_load(load: says::Load) -> Load {
    Load {
        running: load.running,
        queued: load.queued,
        queued_prefill_tokens: load.queued_prefill_tokens,
        free_pages: load.free_pages,
        prefill_rate: rate(load.prefill_rate),
        decode_rate: rate(load.decode_rate),
        tokens_out: load.tokens_out,
        epoch: load.epoch,
    }
}

/// A rate that can be computed with; 0 is "never seen".
fn rate(bits: u32) -> f32 {
    let rate = f32::from_bits(bits);
    match rate.is_finite() && rate >= 0.0 {
        true => rate,
        false => 0.0,
    }
}
