//! Texts that end an answer and are not part of it.

/// Looks for stop texts in a text that comes in pieces. What could be the beginning of a stop text
/// is held back until it is clear whether it is one.
#[derive(Debug)]
pub(crate) struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

/// What a piece of text led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No stop text so far. `release` cannot be part of one.
    Open { release: String },
    /// The stop text `by` came. `release` is what stood before it; whatever came after it is dropped.
    Stopped { release: String, by: String },
}

impl StopMatcher {
    /// Empty stop texts are ignored.
    pub(crate) fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self {
            stops,
            held: String::new(),
        }
    }

    /// Takes the next piece. Of several stop texts the one that ends first counts, and of those that
    /// end together the longest.
    pub(crate) fn push(&mut self, text: &str) -> Stop {
        self.held.push_str(text);
        let matches = self.stops.iter().filter_map(|stop| {
            let start = self.held.find(stop)?;
            Some((start + stop.len(), start))
        });
        if let Some((end, start)) = matches.min() {
            let mut release = std::mem::take(&mut self.held);
            release.truncate(end);
            let by = release.split_off(start);
            return Stop::Stopped { release, by };
        }
        let beginnings = self.stops.iter().map(|stop| beginning(&self.held, stop));
        let kept = self
            .held
            .split_off(self.held.len() - beginnings.max().unwrap_or(0));
        Stop::Open {
            release: std::mem::replace(&mut self.held, kept),
        }
    }

    /// Gives back what is held, when the text has ended without a stop text.
    pub(crate) fn finish(self) -> String {
        self.held
    }
}

/// How much of the text's end is the beginning of the stop text: the longest such, in bytes.
fn beginning(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .map(|(at, _)| at)
        .rev()
        .find(|length| text.ends_with(&stop[..*length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is released in all, and whether a stop text came.
    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut out = String::new();
        for piece in pieces {
            match matcher.push(piece) {
                Stop::Open { release } => out.push_str(&release),
                Stop::Stopped { release, .. } => return (out + &release, true),
            }
        }
        (out + &matcher.finish(), false)
    }

    #[test]
    fn a_stop_text_is_found_however_it_is_cut_and_never_leaks() {
        let text = "one STOP two";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(
                    run(&["STOP"], &pieces),
                    ("one ".to_owned(), true),
                    "{pieces:?}"
                );
            }
        }
    }

    #[test]
    fn what_only_looked_like_a_stop_text_is_given_back() {
        assert_eq!(
            run(&["STOP"], &["a S", "TO", "x", "ST"]),
            ("a STOxST".to_owned(), false)
        );
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".to_owned(), true));
        assert_eq!(run(&["ünd"], &["ü", "n", "ü"]), ("ünü".to_owned(), false));
        assert_eq!(run(&[""], &["a", "b"]), ("ab".to_owned(), false));
    }

    #[test]
    fn nothing_is_held_that_cannot_become_a_stop_text() {
        let mut matcher = StopMatcher::new(vec!["\n\n".to_owned()]);
        let open = |release: &str| Stop::Open {
            release: release.to_owned(),
        };
        assert_eq!(matcher.push("a\n"), open("a"));
        assert_eq!(matcher.push("b"), open("\nb"));
    }

    #[test]
    fn of_several_stop_texts_the_first_to_end_counts() {
        assert_eq!(
            run(&["long stop text", "stop"], &["a long stop text"]).0,
            "a long "
        );
        assert_eq!(run(&["b", "abc"], &["xabc"]).0, "xa");
        assert_eq!(run(&["bc", "abc"], &["xabc"]).0, "x");
        assert_eq!(run(&["END"], &["a END b END"]).0, "a ");
    }

    #[test]
    fn the_stop_text_that_counts_is_told() {
        let mut matcher = StopMatcher::new(vec!["bc".to_owned(), "abc".to_owned()]);
        matcher.push("xa");
        let stopped = Stop::Stopped {
            release: String::new(),
            by: "abc".to_owned(),
        };
        assert_eq!(matcher.push("bcd"), stopped);
    }
}
