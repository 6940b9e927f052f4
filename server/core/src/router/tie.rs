//! Whether a job is tied to two: asked of the first, and of the second too where the first takes long to answer
//! (J. Dean, L. Barroso, The Tail at Scale, 2013). Only where it hardly matters which of them does it.

use std::time::Duration;

use super::{Chosen, Estimate};
use crate::{DataClass, Job, Origin, Prefer, Priority, Work};

/// How much later the second's first token may come than the first's.
const FIRST_TOKEN_LATER_MAX: Duration = Duration::from_millis(250);
/// And how many times as long it may take until all is there.
const FINISH_LATER_MAX: f64 = 1.5;
/// Tokens that the first has read before and the second has not, where nobody knows how fast either of them reads.
const UNREAD_MAX: u32 = 256;

/// Whether the first is another node of which nobody knows that it is much better than the second. Upstreams tell
/// nothing of themselves and are never tied.
pub(super) fn is_worth_it(job: &Job, ranked: &[Chosen]) -> bool {
    let [first, second, ..] = ranked else {
        return false;
    };
    let (Some(sooner), Some(later)) = (first.estimate, second.estimate) else {
        return false;
    };
    may_be_seen_by_two(job)
        && first.place.peer().is_some()
        && later.loading.is_zero()
        && match sooner.is_guess || later.is_guess {
            true => nothing_speaks_against_it(&sooner, &later),
            false => is_close(&sooner, &later),
        }
}

/// A job for which somebody waits, and that is no secret. Who wants it green or cheap gets it from whoever is best
/// in that, even if it takes longer.
fn may_be_seen_by_two(job: &Job) -> bool {
    let waits = match &job.work {
        Work::Generate { prompts, params } => {
            prompts.len() == 1 && params.priority == Priority::Interactive
        }
        Work::Embed { .. } | Work::Transcribe(_) => false,
    };
    let constraints = &job.constraints;
    waits
        && job.origin == Origin::Client
        && constraints.data_class == DataClass::Normal
        && matches!(constraints.prefer, Prefer::Local | Prefer::Fast)
}

/// Where a speed is not known, what is known are the queues and the caches.
fn nothing_speaks_against_it(sooner: &Estimate, later: &Estimate) -> bool {
    let unread = sooner.cached_tokens.saturating_sub(later.cached_tokens);
    later.queue <= sooner.queue + FIRST_TOKEN_LATER_MAX && unread <= UNREAD_MAX
}

fn is_close(sooner: &Estimate, later: &Estimate) -> bool {
    let first_token = sooner.first_token() + FIRST_TOKEN_LATER_MAX;
    later.first_token() <= first_token
        && later.finish() <= sooner.finish().mul_f64(FINISH_LATER_MAX)
}
