//! Which tokens may come next, so that what is said has times: the rules of the Whisper paper's published
//! code (Radford et al. 2022, section 4.5 and its `decoding.py`).
//!
//! A window begins with a time of at most one second. Times come in pairs, the end of one segment and the
//! start of the next, or one before the end. They never go back. Where all times together are more
//! probable than any text, a time it is.

use super::words::Words;

/// The latest first time: one second.
const FIRST_TIME_MAX: u32 = 50;

/// Makes impossible what may not follow these tokens of the window.
pub(super) fn apply(words: &Words, said: &[u32], logits: &mut [f32]) {
    let forbid = |logits: &mut [f32], ids: &mut dyn Iterator<Item = u32>| {
        for id in ids {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    };
    let (time, last) = (words.time, logits.len() as u32);
    forbid(logits, &mut words.suppressed.iter().copied());
    let is_time = |id: Option<&u32>| id.is_some_and(|&id| id >= time);
    match said {
        [] => {
            forbid(logits, &mut words.suppressed_first.iter().copied());
            forbid(logits, &mut (0..time));
            forbid(logits, &mut (time + FIRST_TIME_MAX + 1..last));
        }
        [.., newest] if *newest >= time => {
            // The first time has no partner before it, and text follows it.
            let closes = said.len() < 2 || is_time(said.get(said.len() - 2));
            if closes {
                forbid(logits, &mut (time..last));
            } else {
                forbid(logits, &mut (0..words.end));
            }
        }
        _ => {}
    }
    if let Some(latest) = said.iter().rev().find(|&&id| id >= time) {
        let pair_is_open =
            is_time(said.last()) && said.len() > 1 && !is_time(said.get(said.len() - 2));
        let from = if pair_is_open { *latest } else { latest + 1 };
        forbid(logits, &mut (time..from));
    }
    let (texts, times) = logits.split_at(time as usize);
    let best = |logits: &[f32]| logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (best_text, best_time) = (best(texts), best(times));
    if best_time.is_finite() {
        let sum: f64 = times.iter().map(|x| f64::from(x - best_time).exp()).sum();
        if f64::from(best_time) + sum.ln() > f64::from(best_text) {
            forbid(logits, &mut (0..time));
        }
    }
}
