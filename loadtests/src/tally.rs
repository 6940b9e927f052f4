//! What one round, or several together, came to.

use std::time::Duration;

use crate::histogram::Histogram;
use crate::outcome::{Answer, Failures, Outcome};

/// Counts outcomes, in bounded memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// To the response head.
    pub(crate) head: Histogram,
    /// To the first piece with text.
    pub(crate) first: Histogram,
    /// Between two pieces with text of one stream.
    pub(crate) gap: Histogram,
    /// For each token after the first, on average over one answer.
    pub(crate) per_token: Histogram,
    /// To the end of the answer.
    pub(crate) total: Histogram,
    /// Requests with a whole answer.
    pub(crate) done: u64,
    /// Requests that we left on purpose.
    pub(crate) left: u64,
    /// Requests that were under way when time was up.
    pub(crate) unfinished: u64,
    /// Requests that failed.
    pub(crate) failures: Failures,
    /// Whole answers whose tokens the server did not count.
    pub(crate) uncounted: u64,
    /// Tokens in the prompts of whole answers.
    pub(crate) prompt_tokens: u64,
    /// Tokens in whole answers.
    pub(crate) completion_tokens: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done(answer) => self.add_answer(answer),
            Outcome::Left => self.left += 1,
            Outcome::Failed(failure) => self.failures.add(failure.words(), 1),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.head.merge(&other.head);
        self.first.merge(&other.first);
        self.gap.merge(&other.gap);
        self.per_token.merge(&other.per_token);
        self.total.merge(&other.total);
        self.done += other.done;
        self.left += other.left;
        self.unfinished += other.unfinished;
        self.failures.merge(&other.failures);
        self.uncounted += other.uncounted;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
    }

    /// The times with their names, in the order in which they happen.
    pub(crate) fn times(&self) -> [(&'static str, &Histogram); 5] {
        [
            ("head", &self.head),
            ("first_token", &self.first),
            ("gap", &self.gap),
            ("per_token", &self.per_token),
            ("total", &self.total),
        ]
    }

    fn add_answer(&mut self, answer: &Answer) {
        self.done += 1;
        self.head.record(answer.head);
        self.total.record(answer.total);
        if let Some(first) = answer.first {
            self.first.record(first);
        }
        let Some(usage) = answer.usage else {
            self.uncounted += 1;
            return;
        };
        self.prompt_tokens += usage.prompt_tokens;
        self.completion_tokens += usage.completion_tokens;
        if answer.first.is_some() && usage.completion_tokens > 1 {
            let each = answer.writing.as_nanos() / u128::from(usage.completion_tokens - 1);
            let each = u64::try_from(each).unwrap_or(u64::MAX);
            self.per_token.record(Duration::from_nanos(each));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Failure, Usage};

    #[test]
    fn every_outcome_is_counted_in_its_own_place() {
        let ms = Duration::from_millis;
        let mut tally = Tally::default();
        tally.add(&Outcome::Done(Answer {
            head: ms(1),
            first: Some(ms(5)),
            writing: ms(40),
            total: ms(50),
            usage: Some(Usage {
                prompt_tokens: 7,
                completion_tokens: 5,
            }),
        }));
        tally.add(&Outcome::Done(Answer::default()));
        tally.add(&Outcome::Left);
        tally.add(&Outcome::Failed(Failure::new("503 overloaded")));
        let mut both = Tally::default();
        both.merge(&tally);
        both.merge(&tally);
        assert_eq!((both.done, both.left, both.failures.total()), (4, 2, 2));
        assert_eq!((both.prompt_tokens, both.completion_tokens), (14, 10));
        assert_eq!(both.uncounted, 2);
        assert_eq!(both.per_token.count(), 2);
        assert_eq!(
            both.per_token.quantile(0.5),
            Some(ms(10)),
            "40 ms over 4 gaps"
        );
        assert_eq!(both.first.count(), 2);
        assert_eq!(both.total.count(), 4);
    }
}
