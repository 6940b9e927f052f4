//! Who is asked first among those who may serve a job.

use std::time::Duration;

use super::Chosen;
use crate::{BackendId, JobId, Place, Prefer};

/// How long a job may have to wait for its turn here before it is looked for somebody else.
const WAIT_HERE_MAX: Duration = Duration::from_secs(2);
/// And how many times sooner somebody else has to be done.
const SOONER: u32 = 2;
/// Who is at most this much slower may come first. It keeps many who ask at once, and know the same, from
/// all asking the same.
const SPREAD: f64 = 0.1;

/// Whom the job's client would rather have, in classes; within a class the smaller number is better.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Rank {
    class: u8,
    /// In what the preference counts.
    cost: f64,
    /// Seconds, spread.
    finish: f64,
    /// In the snapshot.
    index: usize,
}

/// Puts those who may serve in the order in which they are asked.
pub(super) fn order(job: &JobId, prefer: Prefer, chosen: Vec<Chosen>) -> Vec<Chosen> {
    let stays = prefer == Prefer::Local && !is_overloaded_here(&chosen);
    let ranks = chosen.iter().enumerate().map(|(index, one)| {
        let seconds = one.estimate.map_or(0.0, |e| e.finish().as_secs_f64());
        let (class, cost) = match (&one.place, prefer) {
            // It tells nothing of itself: the owner's order of them is all there is.
            (Place::Upstream, _) => (2, 0.0),
            (Place::Here, Prefer::Local) if stays => (0, index as f64),
            (_, Prefer::Local | Prefer::Fast) => (1, 0.0),
            (_, Prefer::Green) => known(one.gco2_per_1k),
            (_, Prefer::Cheap) => known(one.price.map(|price| price as f64)),
        };
        Rank {
            class,
            cost,
            finish: seconds * (1.0 + SPREAD * draw(job, &one.backend)),
            index,
        }
    });
    let mut ranked: Vec<_> = ranks.collect::<Vec<_>>().into_iter().zip(chosen).collect();
    ranked.sort_by(|(a, _), (b, _)| {
        a.partial_cmp(b)
            .expect("no estimate, price or figure of carbon is not a number")
    });
    ranked.into_iter().map(|(_, one)| one).collect()
}

/// This node has too much to do if the job would have to wait for its turn, and somebody else would be done in
/// less than half of the time. As long as its own speed is not known it keeps what it has.
fn is_overloaded_here(chosen: &[Chosen]) -> bool {
    let estimates = |is_here: bool| {
        let those = chosen
            .iter()
            .filter(move |c| (c.place == Place::Here) == is_here);
        those.filter_map(|c| c.estimate)
    };
    let Some(here) = estimates(true).min_by_key(|here| here.queue) else {
        return false;
    };
    let elsewhere = estimates(false).map(|other| other.finish()).min();
    let sooner = elsewhere.is_some_and(|finish| finish * SOONER < here.finish());
    !here.is_guess && here.queue > WAIT_HERE_MAX && sooner
}

fn known(cost: Option<f64>) -> (u8, f64) {
    cost.map_or((1, 0.0), |cost| (0, cost))
}

/// A number from 0 to 1 that is the same whoever draws it: FNV-1a of both names, stirred by the finalizer of
/// SplitMix64.
fn draw(job: &JobId, backend: &BackendId) -> f64 {
    let bytes = job
        .as_str()
        .bytes()
        .chain([0])
        .chain(backend.as_str().bytes());
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let mut z = hash;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}
