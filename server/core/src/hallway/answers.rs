//! How long other nodes take to answer that they begin, as this node has seen it.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use crate::BackendId;

/// Answers that are remembered of one backend.
const ANSWERS_MAX: usize = 32;
/// With fewer, [`UNKNOWN`] is what it may take at least.
const ANSWERS_MIN: usize = 8;
const UNKNOWN: Duration = Duration::from_millis(100);
/// Backends that are remembered; beyond that all begin anew.
const BACKENDS_MAX: usize = 1_024;
/// Nobody is late sooner, whatever is usual, and everybody is later.
const LATE: (Duration, Duration) = (Duration::from_millis(30), Duration::from_secs(1));
/// A prompt is tokenized before the answer: for each token that it has about.
const TOKENIZING: Duration = Duration::from_micros(4);

/// The last answers of each.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<BackendId, VecDeque<Duration>>>);

impl Answers {
    /// It took so long, or at least so long.
    pub(super) fn note(&self, backend: &BackendId, took: Duration) {
        let mut all = self.0.lock().expect("no holder panics");
        if all.len() >= BACKENDS_MAX && !all.contains_key(backend) {
            all.clear();
        }
        let answers = all.entry(backend.clone()).or_default();
        if answers.len() == ANSWERS_MAX {
            answers.pop_front();
        }
        answers.push_back(took);
    }

    /// When it is late with a prompt of so many tokens: after the time within which 19 of 20 answers came.
    pub(super) fn late_after(&self, backend: &BackendId, prompt_tokens: u32) -> Duration {
        let all = self.0.lock().expect("no holder panics");
        let mut times: Vec<Duration> = match all.get(backend) {
            Some(answers) => answers.iter().copied().collect(),
            None => Vec::new(),
        };
        times.sort_unstable();
        let usual = (times.len() * 19).div_ceil(20).checked_sub(1);
        let usual = usual.map_or(UNKNOWN, |at| times[at]);
        let usual = match times.len() < ANSWERS_MIN {
            true => usual.max(UNKNOWN),
            false => usual,
        };
        (usual + TOKENIZING * prompt_tokens).clamp(LATE.0, LATE.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn late_is_what_is_not_usual() {
        let (answers, peer) = (Answers::default(), BackendId::new("peer"));
        assert_eq!(answers.late_after(&peer, 0), UNKNOWN);
        answers.note(&peer, ms(1));
        assert_eq!(answers.late_after(&peer, 0), UNKNOWN, "one says little");
        for _ in 0..19 {
            answers.note(&peer, ms(1));
        }
        assert_eq!(answers.late_after(&peer, 0), LATE.0);
        assert_eq!(answers.late_after(&peer, 10_000), ms(41));
        answers.note(&peer, ms(700));
        assert_eq!(answers.late_after(&peer, 0), LATE.0, "once is nothing");
        answers.note(&peer, ms(700));
        assert_eq!(answers.late_after(&peer, 0), ms(700));
        for _ in 0..100 {
            answers.note(&peer, ms(9_000));
        }
        assert_eq!(answers.late_after(&peer, 0), LATE.1);
        assert_eq!(answers.late_after(&"another".into(), 0), UNKNOWN);
    }

    #[test]
    fn the_memory_is_bounded() {
        let answers = Answers::default();
        for peer in 0..3 * BACKENDS_MAX {
            answers.note(&BackendId::new(format!("peer:{peer}")), ms(1));
        }
        let all = answers.0.lock().expect("no holder panics");
        assert!(all.len() <= BACKENDS_MAX);
    }
}
