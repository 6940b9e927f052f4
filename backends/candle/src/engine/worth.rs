//! Whether a draft model pays: what it took against what it saved, as measured in this engine.
//!
//! Durations come in, in seconds, and a yes or no goes out. A guess that was right saves its sequence
//! a step, and a step serves all sequences; so what is saved is measured in plain steps, those without
//! drafts. The account is settled now and then. Where it shows a loss, the draft model rests until
//! plain steps have taken many times as long, so that trying again costs next to nothing.

/// Steps with drafts between two verdicts.
const ROUNDS: u32 = 32;
/// Or so many in which the draft model only read.
const READINGS: u32 = 128;
/// Plain steps take so many times as long as what was lost before there is another try.
const REST: f64 = 32.0;
/// What a plain step takes is the median of the last ones with as many rows.
const SAMPLES: usize = 3;
/// It is measured again after so many steps.
const STALE: u64 = 256;

/// The account of one draft model.
pub(super) struct Worth {
    /// By rows.
    plain: Vec<Plain>,
    steps: u64,
    saved: f64,
    spent: f64,
    rounds: u32,
    readings: u32,
    /// Seconds of plain steps until the next try.
    rest: f64,
}

/// What steps without drafts took.
#[derive(Clone, Default)]
struct Plain {
    seconds: [f64; SAMPLES],
    measured: usize,
    /// The step of the last measurement.
    at: u64,
}

/// A step with drafts.
#[derive(Clone, Copy)]
pub(super) struct Round {
    /// That took part in the step.
    pub(super) sequences: usize,
    /// Rows of the step that were no drafts.
    pub(super) plain_rows: usize,
    /// Of the draft model.
    pub(super) drafting_s: f64,
    /// Of the step itself.
    pub(super) step_s: f64,
    /// Drafts that were right.
    pub(super) accepted: usize,
}

impl Worth {
    /// For steps of at most so many rows without drafts.
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            plain: vec![Plain::default(); rows_max + 1],
            steps: 0,
            saved: 0.0,
            spent: 0.0,
            rounds: 0,
            readings: 0,
            rest: 0.0,
        }
    }

    /// Whether drafts are worth a try beside so many rows. Not before it is known what a step takes
    /// without them.
    pub(super) fn pays(&self, rows: usize) -> bool {
        let is_known = |plain: &Plain| {
            plain.measured >= SAMPLES && self.steps.saturating_sub(plain.at) < STALE
        };
        self.rest <= 0.0 && self.plain.get(rows).is_some_and(is_known)
    }

    /// A step without drafts.
    pub(super) fn plain_step(&mut self, rows: usize, seconds: f64) {
        self.steps += 1;
        self.rest = (self.rest - seconds).max(0.0);
        if let Some(plain) = self.plain.get_mut(rows) {
            plain.seconds[plain.measured % SAMPLES] = seconds;
            plain.measured += 1;
            plain.at = self.steps;
        }
    }

    /// A step with drafts.
    pub(super) fn round(&mut self, round: Round) {
        self.steps += 1;
        let steps_saved = round.accepted as f64 / round.sequences.max(1) as f64;
        self.saved += steps_saved * self.seconds(round.sequences);
        let more = round.step_s - self.seconds(round.plain_rows);
        self.spent += round.drafting_s + more.max(0.0);
        self.rounds += 1;
        self.judge();
    }

    /// The draft model read for so long, and guessed nothing.
    pub(super) fn reading(&mut self, seconds: f64) {
        self.spent += seconds;
        self.readings += 1;
        self.judge();
    }

    fn judge(&mut self) {
        if self.rounds < ROUNDS && self.readings < READINGS {
            return;
        }
        self.rest = REST * (self.spent - self.saved).max(0.0);
        tracing::debug!(
            saved_ms = self.saved * 1e3,
            spent_ms = self.spent * 1e3,
            rest_ms = self.rest * 1e3,
            rounds = self.rounds,
            "what the draft model was worth"
        );
        (self.saved, self.spent) = (0.0, 0.0);
        (self.rounds, self.readings) = (0, 0);
    }

    /// What a step without drafts takes; with as many rows, or the next smaller number that was
    /// measured.
    fn seconds(&self, rows: usize) -> f64 {
        let upto = &self.plain[..self.plain.len().min(rows + 1)];
        let measured = upto.iter().rev().find(|plain| plain.measured > 0);
        measured.map_or(0.0, Plain::median)
    }
}

impl Plain {
    fn median(&self) -> f64 {
        let mut known = self.seconds;
        let known = &mut known[..self.measured.min(SAMPLES)];
        known.sort_by(f64::total_cmp);
        known[known.len() / 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A draft model that guesses three tokens for each of some sequences, of which so many are right.
    fn round(sequences: usize, drafting_s: f64, accepted: usize) -> Round {
        Round {
            sequences,
            plain_rows: sequences,
            drafting_s,
            step_s: 0.011,
            accepted,
        }
    }

    /// Steps with drafts among so many, and the share of all time that they cost more than they saved.
    fn run(steps: usize, round: Round) -> (usize, f64) {
        let mut worth = Worth::new(16);
        let (mut rounds, mut seconds, mut lost) = (0, 0.0, 0.0);
        for _ in 0..steps {
            if worth.pays(round.sequences) {
                worth.round(round);
                rounds += 1;
                seconds += round.drafting_s + round.step_s;
                lost += round.drafting_s + 0.001
                    - 0.01 * round.accepted as f64 / round.sequences as f64;
            } else {
                worth.plain_step(round.sequences, 0.01);
                seconds += 0.01;
            }
        }
        (rounds, lost / seconds)
    }

    #[test]
    fn what_pays_goes_on() {
        let (rounds, lost) = run(10_000, round(1, 0.005, 2));
        assert!(rounds > 9_900 && lost < 0.0, "{rounds}, {lost}");
        let (rounds, lost) = run(10_000, round(4, 0.005, 4));
        assert!(rounds > 9_900 && lost < 0.0, "{rounds}, {lost}");
    }

    #[test]
    fn what_does_not_pay_costs_next_to_nothing() {
        for (drafting_s, accepted) in [(0.005, 0), (0.03, 3), (0.01, 0), (0.08, 0)] {
            let (rounds, lost) = run(30_000, round(1, drafting_s, accepted));
            assert!(rounds >= 2 * ROUNDS as usize, "it is tried again: {rounds}");
            assert!(lost < 1.2 / REST, "{drafting_s}, {accepted}: {lost}");
        }
        // One right guess serves one of four sequences: a quarter of a step.
        let (_, lost) = run(30_000, round(4, 0.005, 1));
        assert!(lost < 1.2 / REST, "{lost}");
    }

    #[test]
    fn nothing_is_drafted_before_a_step_without_drafts_was_measured() {
        let mut worth = Worth::new(4);
        for _ in 0..SAMPLES {
            assert!(!worth.pays(2));
            worth.plain_step(2, 0.01);
        }
        assert!(worth.pays(2) && !worth.pays(1) && !worth.pays(3) && !worth.pays(5));
        for _ in 0..STALE {
            worth.round(round(2, 0.0, 4));
        }
        assert!(!worth.pays(2), "it is measured again");
        worth.plain_step(2, 0.01);
        assert!(worth.pays(2));
    }

    #[test]
    fn one_odd_measurement_misleads_nobody() {
        let mut worth = Worth::new(1);
        for seconds in [5.0, 0.01, 0.012] {
            worth.plain_step(1, seconds);
        }
        assert_eq!(worth.seconds(1), 0.012);
        assert_eq!(worth.seconds(7), 0.012, "the nearest that is known");
        assert_eq!(worth.seconds(0), 0.0);
    }

    #[test]
    fn endless_reading_is_a_loss_too() {
        let mut worth = Worth::new(1);
        (0..SAMPLES).for_each(|_| worth.plain_step(1, 0.01));
        for _ in 0..READINGS {
            assert!(worth.pays(1));
            worth.reading(0.01);
        }
        assert!(!worth.pays(1));
    }
}
