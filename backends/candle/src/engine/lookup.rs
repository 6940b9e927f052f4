//! Guesses what follows, from what followed before: prompt lookup (Saxena 2023).
//!
//! A guess costs a row of the next step if it is wrong and saves a step if it is right; it never
//! changes what is said. So how much is guessed follows from how often it was right, for each
//! sequence by itself. Nothing is kept but that: the tokens are searched each time, which takes
//! microseconds, so there is no index that could differ from them.

/// Most tokens of a guess.
const WIDTH_MAX: usize = 8;
const WIDTH_FIRST: usize = 3;
/// Steps without a guess after one of which nothing was right; doubled each time.
const PAUSE_FIRST: usize = 4;
const PAUSE_MAX: usize = 64;
/// As many last tokens have to have occurred before, better the more.
const SUFFIXES: [usize; 2] = [3, 2];

/// How a sequence guesses.
pub(super) struct Lookup {
    width: usize,
    pause: usize,
    /// Steps until the next guess.
    resting: usize,
}

impl Lookup {
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

/// What followed when the last tokens occurred before, the last time; at most so many tokens. A text
/// that goes round in circles is continued for as long as wanted.
pub(super) fn guess(tokens: &[u32], most: usize) -> Vec<u32> {
    if most == 0 {
        return Vec::new();
    }
    let Some(from) = SUFFIXES.iter().find_map(|len| after_last(tokens, *len)) else {
        return Vec::new();
    };
    let period = tokens.len() - from;
    (0..most).map(|at| tokens[from + at % period]).collect()
}

/// Behind the last place before the end where the last `len` tokens occur.
fn after_last(tokens: &[u32], len: usize) -> Option<usize> {
    let suffix = &tokens[tokens.len().checked_sub(len)?..];
    let before = &tokens[..tokens.len() - 1];
    let at = before.windows(len).rposition(|window| window == suffix)?;
    Some(at + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_and_latest_occurrence_is_continued() {
        assert_eq!(guess(&[1, 2, 3, 9, 9, 2, 3, 4, 1, 2, 3], 2), [9, 9]);
        assert_eq!(guess(&[7, 2, 3, 5, 6, 2, 3, 8, 6, 2, 3], 2), [8, 6]);
        assert_eq!(guess(&[2, 3, 5, 2, 3, 6, 1, 2, 3], 1), [6]);
        assert!(
            guess(&[1, 2, 3, 4, 3], 4).is_empty(),
            "one token is not enough"
        );
        assert!(guess(&[5, 5], 4).is_empty());
        assert!(guess(&[], 4).is_empty());
        assert!(guess(&[1, 2, 1, 2], 0).is_empty());
    }

    #[test]
    fn circles_are_continued() {
        assert_eq!(guess(&[1, 5, 5, 5], 4), [5; 4]);
        assert_eq!(guess(&[1, 2, 3, 1, 2, 3, 1, 2], 5), [3, 1, 2, 3, 1]);
    }

    #[test]
    fn the_width_follows_what_was_right() {
        let mut lookup = Lookup::new();
        for expected in [6, 8, 8] {
            lookup.learn(lookup.width(), lookup.width());
            assert_eq!(lookup.width(), expected);
        }
        lookup.learn(8, 2);
        assert_eq!(lookup.width(), 2);
        lookup.learn(1, 1);
        assert_eq!(
            lookup.width(),
            2,
            "a short guess that was right shrinks nothing"
        );
    }

    #[test]
    fn who_is_never_right_hardly_guesses() {
        let mut lookup = Lookup::new();
        let mut guesses = 0;
        for _ in 0..1_000 {
            match lookup.width() {
                0 => lookup.rest(),
                width => {
                    guesses += 1;
                    lookup.learn(width, 0);
                }
            }
        }
        assert!((15..25).contains(&guesses), "{guesses}");
        lookup.learn(1, 1);
        lookup.learn(2, 0);
        assert_eq!(lookup.resting, PAUSE_FIRST, "and is given another chance");
    }
}
