//! Whether an engine is stuck: it has work, and computes nothing. A pure function of what is reported of it and
//! when. A node follows its own engine, so that it can tell a peer that is new; a peer believes the worse of that
//! and of what it saw itself.

use std::time::Duration;

use kwaainet_core::Load;

/// An engine that computes nothing for so long is stuck.
const STILL_MAX: Duration = Duration::from_millis(1500);
/// The last word that it computed nothing is at least so much younger than the first: a peer from which nothing
/// comes is late, not stuck.
const WITNESSED: Duration = Duration::from_millis(900);
/// Prompt tokens that an engine computes at a time at most, and after which alone it reports again.
const STEP_TOKENS: f32 = 512.0;
/// No slowness excuses an engine for longer.
const STEP_MAX: Duration = Duration::from_secs(10);

/// Of one peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Option<Still>);

/// It stood at this number, with work to do.
#[derive(Clone, Debug)]
struct Still {
    epoch: u64,
    tokens_out: u64,
    /// Said first and last.
    first: Duration,
    last: Duration,
    /// How long that is no wonder.
    patience: Duration,
}

impl Progress {
    /// The node says what it has to do, and for how long it computed nothing.
    pub(crate) fn reported(&mut self, load: &Load, still: Duration, now: Duration) {
        if load.running == 0 && load.queued == 0 {
            self.0 = None;
            return;
        }
        let same = self
            .0
            .as_ref()
            .filter(|still| (still.epoch, still.tokens_out) == (load.epoch, load.tokens_out));
        self.0 = Some(Still {
            epoch: load.epoch,
            tokens_out: load.tokens_out,
            first: same
                .map_or(now, |same| same.first)
                .min(now.saturating_sub(still)),
            last: now,
            patience: patience(load),
        });
    }

    /// For how long it computed nothing, though it had work.
    pub(crate) fn still(&self, now: Duration) -> Duration {
        let still = self.0.as_ref();
        still.map_or(Duration::ZERO, |still| now.saturating_sub(still.first))
    }

    /// Whether it is stuck.
    pub(crate) fn is_stuck(&self, now: Duration) -> bool {
        self.0.as_ref().is_some_and(|still| {
            now.saturating_sub(still.first) >= still.patience
                && still.last.saturating_sub(still.first) >= WITNESSED
        })
    }
}

/// A slow engine reports only after each step: so many tokens of a prompt, or one of an answer.
fn patience(load: &Load) -> Duration {
    let prompt = match load.queued_prefill_tokens {
        0 => Duration::ZERO,
        _ => step(STEP_TOKENS, load.prefill_rate),
    };
    let answer = match load.running {
        0 => Duration::ZERO,
        _ => step(1.0, load.decode_rate),
    };
    prompt.max(answer).clamp(STILL_MAX, STEP_MAX)
}

/// The time of a step, and a quarter; nothing where the rate is not known.
fn step(tokens: f32, rate: f32) -> Duration {
    if !rate.is_finite() || rate <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f32(1.25 * tokens / rate).unwrap_or(STEP_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seeded;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn load(running: u32, queued: u32, tokens_out: u64, epoch: u64) -> Load {
        Load {
            running,
            queued,
            tokens_out,
            epoch,
            ..Load::default()
        }
    }

    /// Reports the same load every 250 ms, and returns when it was first judged stuck.
    fn stuck_after(load: Load) -> Option<u64> {
        let mut progress = Progress::default();
        (0..15_000).step_by(50).find(|&at| {
            if at % 250 == 0 {
                progress.reported(&load, Duration::ZERO, ms(at));
            }
            progress.is_stuck(ms(at))
        })
    }

    #[test]
    fn work_without_progress_is_stuck() {
        assert_eq!(stuck_after(load(1, 0, 7, 1)), Some(1500));
        assert_eq!(stuck_after(load(0, 1, 0, 1)), Some(1500));
        assert_eq!(stuck_after(load(0, 0, 7, 1)), None);
    }

    #[test]
    fn a_slow_engine_is_given_the_time_of_a_step() {
        let slow = |prefill_rate| Load {
            queued_prefill_tokens: 80_000,
            prefill_rate,
            ..load(1, 0, 7, 1)
        };
        assert_eq!(stuck_after(slow(5000.0)), Some(1500));
        assert_eq!(stuck_after(slow(128.0)), Some(5000));
        let slow_answer = |decode_rate| Load {
            decode_rate,
            ..load(1, 0, 7, 1)
        };
        assert_eq!(stuck_after(slow_answer(20.0)), Some(1500));
        assert_eq!(stuck_after(slow_answer(0.5)), Some(2500));
        for least in [1e-9, f32::MIN_POSITIVE] {
            assert_eq!(stuck_after(slow(least)), Some(10_000));
        }
        for unknown in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(stuck_after(slow(unknown)), Some(1500));
        }
    }

    #[test]
    fn whoever_grows_or_restarts_or_is_idle_now_and_then_is_not_stuck() {
        for seed in 0..100 {
            let mut seeded = Seeded::new(seed);
            let mut progress = Progress::default();
            let (mut tokens, mut epoch, mut now) = (0, 1, Duration::ZERO);
            for _ in 0..500 {
                now += ms(200 + seeded.below(1200));
                let busy = match seeded.below(3) {
                    0 => {
                        tokens += 1 + seeded.below(9);
                        1
                    }
                    1 => {
                        (tokens, epoch) = (0, epoch + 1);
                        1
                    }
                    _ => 0,
                };
                progress.reported(&load(busy, 0, tokens, epoch), Duration::ZERO, now);
                assert!(!progress.is_stuck(now + ms(1499)), "seed {seed}");
            }
        }
    }

    #[test]
    fn silence_alone_is_not_taken_for_being_stuck() {
        let mut progress = Progress::default();
        progress.reported(&load(1, 0, 7, 1), ms(0), ms(0));
        progress.reported(&load(1, 0, 7, 1), ms(0), ms(250));
        assert!(!progress.is_stuck(ms(60_000)));
    }
    #[test]
    fn whoever_is_new_is_told_how_long_it_stood_still() {
        let mut own = Progress::default();
        own.reported(&load(1, 0, 7, 1), ms(0), ms(1000));
        own.reported(&load(1, 0, 7, 1), ms(0), ms(3000));
        assert_eq!(own.still(ms(3100)), ms(2100));
        let mut peer = Progress::default();
        peer.reported(&load(1, 0, 7, 1), ms(2100), ms(9000));
        assert!(peer.is_stuck(ms(9000)));
        peer.reported(&load(1, 0, 8, 1), ms(0), ms(9100));
        assert!(!peer.is_stuck(ms(10_000)));
        own.reported(&load(0, 0, 7, 1), ms(0), ms(3200));
        assert_eq!(own.still(ms(9000)), ms(0));
    }
}
