//! Guesses what follows, from what followed before: prompt lookup (Saxena 2023).
//!
//! Nothing is kept: the tokens are searched each time, which takes microseconds, so there is no index
//! that could differ from them.

/// As many last tokens have to have occurred before, better the more.
const SUFFIXES: [usize; 2] = [3, 2];

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
}
