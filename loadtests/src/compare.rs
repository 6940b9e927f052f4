//! Two servers side by side: every number of one run over that of the run that stood beside it.

use serde::Serialize;

use crate::histogram::Histogram;
use crate::load::{Run, Side, Work};
use crate::tally::Tally;

/// One number of both servers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Which, with its unit.
    pub what: String,
    /// Of the first server: the median of its runs.
    pub url: f64,
    /// Of the second.
    pub against: f64,
    /// Between those two.
    pub difference: f64,
    /// The median of the ratios of runs that stood side by side, the first server's over the second's;
    /// none if one is zero.
    pub ratio: Option<f64>,
}

/// All numbers that both servers have.
pub(crate) fn compare(url: &Side, against: &Side, work: Work) -> Vec<Comparison> {
    let mut lines = Vec::new();
    let mut line = |what: String, value: &dyn Fn(&Run) -> Option<f64>| {
        let both = url.runs.iter().zip(&against.runs);
        let pairs: Vec<_> = both
            .filter_map(|(url, against)| Some((value(url)?, value(against)?)))
            .collect();
        lines.extend(Comparison::of(what, &pairs));
    };
    for (place, (name, _)) in Tally::default().times().into_iter().enumerate() {
        for (quantile, share) in [("p50", 0.5), ("p99", 0.99)] {
            line(format!("{name} {quantile} ms"), &|run| {
                ms(run.tally.times()[place].1, share)
            });
        }
    }
    line("tokens/s".to_owned(), &|run| Some(run.tokens_per_s(work)));
    line("requests/s".to_owned(), &|run| Some(run.requests_per_s()));
    lines
}

impl Comparison {
    /// None of no pairs.
    fn of(what: String, pairs: &[(f64, f64)]) -> Option<Self> {
        if pairs.is_empty() {
            return None;
        }
        let (url, against): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
        let possible = against.iter().all(|value| *value != 0.0);
        let ratios: Vec<_> = pairs.iter().map(|(url, against)| url / against).collect();
        let (url, against) = (median(&url), median(&against));
        Some(Self {
            what,
            url,
            against,
            difference: url - against,
            ratio: possible.then(|| median(&ratios)),
        })
    }
}

/// A quantile in milliseconds.
pub(crate) fn ms(times: &Histogram, share: f64) -> Option<f64> {
    Some(times.quantile(share)?.as_nanos() as f64 / 1e6)
}

/// Of an even number of values, the mean of the two in the middle; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (length, middle) if length % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_value_in_the_middle_or_between_the_two_there() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_ratio_is_that_of_neighbours_and_not_of_the_medians() {
        // The machine was slow in the second round, for both.
        let pairs = [(4.0, 2.0), (30.0, 10.0), (6.0, 2.0)];
        let line = Comparison::of("x".to_owned(), &pairs).expect("there are runs");
        assert_eq!((line.url, line.against), (6.0, 2.0));
        assert_eq!(line.ratio, Some(3.0));
        let zero = Comparison::of("x".to_owned(), &[(1.0, 0.0)]).expect("there is a run");
        assert_eq!(zero.ratio, None);
        assert_eq!(Comparison::of("x".to_owned(), &[]), None);
    }
}
