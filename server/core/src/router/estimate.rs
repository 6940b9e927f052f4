//! How long a candidate would take, and what it would cost the climate. Rough, pure, and never better for
//! more load.
//!
//! `queue + load + uncached / prefill rate + rtt + answer / decode rate`. A candidate's rate is what one
//! sequence gets beside the others; sequences that this node gave it since it last said so share that with
//! them, and one that does not run alone is taken to be somewhat slower than it says.

use std::time::Duration;

use super::given::{Own, Since};
use super::size::Size;
use crate::{Candidate, Here, Load, ModelKind, Place};

/// Tokens a second of whoever has not computed any yet, for one sequence alone: slow, so that who is known to be
/// fast goes first, and not so slow that nobody ever tries.
const PREFILL_RATE_GUESS: f64 = 100.0;
const DECODE_RATE_GUESS: f64 = 10.0;
/// How long it takes until a model is in memory.
const LOADING_GUESS: f64 = 5.0;
/// Those that wait for their turn have it so many at a time.
const TURNS_AT_ONCE: f64 = 8.0;
/// How much slower a sequence becomes by one more beside it, which it is then not yet.
const BESIDE_OTHERS: f64 = 1.5;
/// What lies beyond is as far away as never.
const SECONDS_MAX: f64 = 1e6;

/// How long a job would take at one candidate, in its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Until its turn comes.
    pub queue: Duration,
    /// Until the model is in memory.
    pub loading: Duration,
    /// Reading what of the prompt is not cached.
    pub prefill: Duration,
    /// To the other node and back.
    pub rtt: Duration,
    /// Writing the answer.
    pub decode: Duration,
    /// Of that, its first token.
    pub one_token: Duration,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// How many of them it has probably read before.
    pub cached_tokens: u32,
    /// Tokens of the answer.
    pub answer_tokens: u32,
    /// Whether one of its rates is not known, so that this says little.
    pub is_guess: bool,
}

impl Estimate {
    /// Until the first token is here.
    pub fn first_token(&self) -> Duration {
        self.queue + self.loading + self.prefill + self.rtt + self.one_token
    }

    /// Until all is here.
    pub fn finish(&self) -> Duration {
        self.queue + self.loading + self.prefill + self.rtt + self.decode
    }
}

/// How long this candidate would take; none for an upstream, which tells nothing of itself.
pub(super) fn estimate(candidate: &Candidate, size: &Size, own: &Own) -> Option<Estimate> {
    let load = load(candidate)?;
    let since = own.since(candidate, &load);
    let prefill_rate = rate(load.prefill_rate);
    let decode_rate = rate(load.decode_rate);
    let prefill = prefill_rate.unwrap_or(PREFILL_RATE_GUESS);
    let decode = match decode_rate {
        Some(beside_others) => beside_others / crowding(&load, &since),
        None => DECODE_RATE_GUESS / (1.0 + f64::from(load.running) + f64::from(since.sequences)),
    };

    let answer = f64::from(size.answer_tokens);
    let cached = f64::from(size.prompt_tokens) * own.cached(&candidate.backend);
    let cached = cached.min(f64::from(size.prompt_tokens)) as u32;
    let waiting_tokens = load
        .queued_prefill_tokens
        .saturating_add(since.prompt_tokens);
    let waiting_turns = f64::from(load.queued) / TURNS_AT_ONCE;
    let writes = size.answer_tokens > 0;
    Some(Estimate {
        queue: seconds(waiting_tokens as f64 / prefill + waiting_turns * answer / decode),
        loading: seconds(if candidate.model.loaded {
            0.0
        } else {
            LOADING_GUESS
        }),
        prefill: seconds(f64::from(size.prompt_tokens - cached) / prefill),
        rtt: candidate
            .place
            .peer()
            .map_or(Duration::ZERO, |peer| peer.rtt),
        decode: seconds(answer / decode),
        one_token: seconds(if writes { 1.0 / decode } else { 0.0 }),
        prompt_tokens: size.prompt_tokens,
        cached_tokens: cached,
        answer_tokens: size.answer_tokens,
        is_guess: !candidate.model.loaded
            || prefill_rate.is_none()
            || (writes && decode_rate.is_none()),
    })
}

/// How many times slower a sequence is than the last ones were.
fn crowding(load: &Load, since: &Since) -> f64 {
    let known = f64::from(load.running.max(1));
    let more = f64::from(since.sequences) / known;
    let is_alone = load.running == 0 && load.queued == 0 && since.sequences == 0;
    more + if is_alone { 1.0 } else { BESIDE_OTHERS }
}

/// Grams of CO2 equivalent for 1,000 tokens, as if the machine worked for this job alone, so rather too many
/// than too few; none where a part of it is not known.
pub(super) fn grams(candidate: &Candidate, here: &Here) -> Option<f64> {
    let (grid, watts) = match &candidate.place {
        Place::Here => (here.grid, here.watts),
        Place::Peer(peer) => (peer.grid, peer.watts),
        Place::Upstream => return None,
    };
    let load = load(candidate)?;
    let tokens_per_second = match candidate.model.kind {
        ModelKind::Generate | ModelKind::Unknown => rate(load.decode_rate)?,
        ModelKind::Embed => rate(load.prefill_rate)?,
        ModelKind::Transcribe => return None,
    };
    let grams_per_kwh = f64::from(grid?.g_per_kwh);
    let kwh = rate(watts?)? / 1e3 * (1e3 / tokens_per_second) / 3_600.0;
    (grams_per_kwh.is_finite() && grams_per_kwh >= 0.0).then_some(grams_per_kwh * kwh)
}

fn load(candidate: &Candidate) -> Option<Load> {
    match &candidate.place {
        Place::Here => Some(candidate.load.unwrap_or_default()),
        Place::Peer(peer) => Some(candidate.load.unwrap_or(peer.load)),
        Place::Upstream => None,
    }
}

/// A number above zero. Another node may say anything.
fn rate(said: f32) -> Option<f64> {
    (said.is_finite() && said > 0.0).then_some(f64::from(said))
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, SECONDS_MAX))
}
