//! How many tokens of one source of guesses are worth a try, for one sequence.
//!
//! A guess costs a row of the next step if it is wrong and saves a step if it is right; it never
//! changes what is said. So how much is guessed follows from how often it was right.

/// Most tokens of a guess.
pub(super) const WIDTH_MAX: usize = 8;
const WIDTH_FIRST: usize = 3;
/// Steps without a guess after one of which nothing was right; doubled each time.
const PAUSE_FIRST: usize = 4;
const PAUSE_MAX: usize = 64;

/// How far a sequence trusts a source.
pub(super) struct Trust {
    width: usize,
    pause: usize,
    /// Steps until the next guess.
    resting: usize,
}

impl Trust {
    pub(super) fn new() -> Self {
        Self {
            width: WIDTH_FIRST,
            pause: PAUSE_FIRST,
            resting: 0,
        }
    }

    /// How many tokens are worth guessing in the step at hand.
    pub(super) fn width(&self) -> usize {
        if self.resting == 0 { self.width } else { 0 }
    }

    /// A step was taken without a guess.
    pub(super) fn rest(&mut self) {
        self.resting = self.resting.saturating_sub(1);
    }

    /// Of so many guessed tokens so many were right.
    pub(super) fn learn(&mut self, guessed: usize, right: usize) {
        if right == 0 {
            self.width = 1;
            self.resting = self.pause;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
            return;
        }
        self.pause = PAUSE_FIRST;
        self.width = if right == guessed {
            (guessed * 2).max(self.width).min(WIDTH_MAX)
        } else {
            right
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_follows_what_was_right() {
        let mut trust = Trust::new();
        for expected in [6, 8, 8] {
            trust.learn(trust.width(), trust.width());
            assert_eq!(trust.width(), expected);
        }
        trust.learn(8, 2);
        assert_eq!(trust.width(), 2);
        trust.learn(1, 1);
        assert_eq!(
            trust.width(),
            2,
            "a short guess that was right shrinks nothing"
        );
    }

    #[test]
    fn who_is_never_right_hardly_guesses() {
        let mut trust = Trust::new();
        let mut guesses = 0;
        for _ in 0..1_000 {
            match trust.width() {
                0 => trust.rest(),
                width => {
                    guesses += 1;
                    trust.learn(width, 0);
                }
            }
        }
        assert!((15..25).contains(&guesses), "{guesses}");
        trust.learn(1, 1);
        trust.learn(2, 0);
        assert_eq!(trust.resting, PAUSE_FIRST, "and is given another chance");
    }
}
