//! Durations by size, in bounded memory: buckets half a percent wide, so that a quantile is exact
//! to that. The number of values, the smallest and the largest are exact.

use std::collections::BTreeMap;
use std::time::Duration;

/// Buckets for each doubling, as a power of two.
const FINENESS: u32 = 7;

/// Counts durations. Two can be added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// Bucket number to count. Some 7,400 buckets hold all that a `u64` of nanoseconds can say.
    buckets: BTreeMap<u32, u64>,
    count: u64,
    min: Duration,
    max: Duration,
}

impl Histogram {
    pub(crate) fn record(&mut self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        *self.buckets.entry(bucket(nanos)).or_default() += 1;
        self.min = if self.count == 0 {
            value
        } else {
            self.min.min(value)
        };
        self.max = self.max.max(value);
        self.count += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.min = if self.count == 0 {
            other.min
        } else {
            self.min.min(other.min)
        };
        self.max = self.max.max(other.max);
        self.count += other.count;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The largest value; none if there is no value.
    pub(crate) fn max(&self) -> Option<Duration> {
        (self.count > 0).then_some(self.max)
    }

    /// The smallest value that at least this share of all values, between 0 and 1, does not
    /// exceed (the nearest-rank definition); none if there is no value.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map(|(bucket, _)| middle(*bucket).clamp(self.min, self.max))
    }
}

/// Values below 256 ns have buckets of their own; above, the leading eight bits choose.
fn bucket(nanos: u64) -> u32 {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(FINENESS + 1);
    (shift << FINENESS) + (nanos >> shift) as u32
}

fn middle(bucket: u32) -> Duration {
    let shift = (bucket >> FINENESS).saturating_sub(1);
    let leading = u64::from(bucket - (shift << FINENESS));
    Duration::from_nanos((leading << shift) + ((1 << shift) >> 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        for value in micros {
            histogram.record(Duration::from_micros(value));
        }
        histogram
    }

    fn near(value: Option<Duration>, micros: f64) -> bool {
        let value = value.expect("there are values").as_secs_f64() * 1e6;
        (value / micros - 1.0).abs() < 0.005
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let histogram = of((1..=1000).rev());
        for (share, expected) in [(0.0, 1.0), (0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            assert!(near(histogram.quantile(share), expected), "{share}");
        }
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_micros(1000)));
        assert_eq!(histogram.max(), Some(Duration::from_micros(1000)));
        assert_eq!(histogram.count(), 1000);
    }

    #[test]
    fn one_value_is_all_its_quantiles_and_no_value_has_none() {
        let one = of([777]);
        for share in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(one.quantile(share), Some(Duration::from_micros(777)));
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram::default().max(), None);
    }

    #[test]
    fn merging_is_as_if_all_had_been_recorded_in_one() {
        let mut merged = of([5, 900]);
        merged.merge(&Histogram::default());
        merged.merge(&of([3, 70, 80]));
        let whole = of([5, 900, 3, 70, 80]);
        for share in [0.0, 0.2, 0.5, 0.9, 1.0] {
            assert_eq!(merged.quantile(share), whole.quantile(share));
        }
        let mut empty = Histogram::default();
        empty.merge(&of([9]));
        assert_eq!(empty.quantile(0.0), Some(Duration::from_micros(9)));
    }

    #[test]
    fn every_size_of_value_falls_into_a_bucket_that_is_close_to_it() {
        let mut nanos = 1_u64;
        let mut last = 0;
        while let Some(next) = nanos.checked_mul(3) {
            for value in [nanos - 1, nanos, nanos + 1, next - 1] {
                let middle = middle(bucket(value)).as_nanos() as f64;
                let off = (middle - value as f64).abs();
                assert!(off <= value as f64 * 0.005, "{value} and {middle}");
                assert!(bucket(value) >= last || value < nanos);
                last = bucket(value).max(last);
            }
            nanos = next;
        }
        assert!(bucket(u64::MAX) < 7_500);
    }
}
