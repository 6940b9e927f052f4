//! How much of this node's power was renewable when it worked, by the meters of the house: what a bonus is computed from.

use std::collections::HashMap;

use kwaainet_rewards::{Evidence, GreenShare};
use kwaainet_store::{KeptHour, Store, StoreError};

const HOUR_MS: i64 = 3_600_000;
const HOUR_S: u128 = 3_600;
const WHOLE_BP: u128 = 10_000;

/// The hours that a page of work falls into.
pub(super) struct Power {
    shares: HashMap<i64, GreenShare>,
    now_ms: i64,
}

impl Power {
    /// Looks up the hours of these times.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn at_times(
        store: &Store,
        times: &[i64],
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        let mut power = Self {
            shares: HashMap::new(),
            now_ms,
        };
        for time in times.iter().copied() {
            let hour = power.hour(time);
            if power.shares.contains_key(&hour) {
                continue;
            }
            let kept = store.carbon_hours(hour, hour + HOUR_MS).await?;
            let share = kept.first().map_or_else(GreenShare::default, share);
            power.shares.insert(hour, share);
        }
        Ok(power)
    }

    /// The share of an hour that is over: the work's own, or for work of the hour that runs the one before it.
    pub(super) fn at(&self, time_ms: i64) -> GreenShare {
        let share = self.shares.get(&self.hour(time_ms));
        share.copied().unwrap_or_default()
    }

    fn hour(&self, time_ms: i64) -> i64 {
        let of = |ms: i64| ms.div_euclid(HOUR_MS) * HOUR_MS;
        of(time_ms).min(of(self.now_ms) - HOUR_MS)
    }
}

/// An hour's matched share, rounded down; what was not seen counts as unmatched.
fn share(hour: &KeptHour) -> GreenShare {
    let evidence = match hour.evidence.as_deref() {
        Some("local_meter") => Evidence::LocalMeter,
        Some("cross_checked") => Evidence::CrossChecked,
        Some("certificates") => Evidence::Certificates,
        // Who merely says so, or says nothing, earns nothing.
        _ => Evidence::Declared,
    };
    let load = u128::from(hour.load_mwh);
    let matched = u128::from(hour.matched_mwh).min(load);
    let seen = u128::from(hour.seen_s).min(HOUR_S);
    let share_bp = match load {
        0 => 0,
        _ => matched * WHOLE_BP * seen / (load * HOUR_S),
    };
    GreenShare {
        share_bp: share_bp as u32,
        evidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_store::MatchedHour;

    #[tokio::test]
    async fn work_has_the_share_of_its_own_hour_once_that_is_over() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("node.db");
        let store = Store::open(&path).await.expect("it opens");
        let hour = |number: i64, matched_mwh, seen_s, evidence| MatchedHour {
            hour_ms: number * HOUR_MS,
            load_mwh: 1_000,
            matched_mwh,
            seen_s,
            evidence,
        };
        let hours = [
            hour(10, 1_000, 3_600, Some("cross_checked")),
            hour(11, 755, 3_600, Some("local_meter")),
            hour(12, 1_000, 1_800, Some("cross_checked")),
            hour(13, 1_000, 3_600, None),
            hour(14, 9_000, 9_999, Some("cross_checked")),
        ];
        let kept = store.set_matched_hours(&hours).await;
        kept.expect("they are kept");
        let now = 14 * HOUR_MS + 5;
        let times: Vec<i64> = (9..15).map(|number| number * HOUR_MS + 1).collect();
        let power = Power::at_times(&store, &times, now).await;
        let power = power.expect("it answers");
        let shares = times.into_iter().map(|time| {
            let share = power.at(time);
            (share.share_bp, share.evidence)
        });
        let shares: Vec<_> = shares.collect();
        assert_eq!(
            shares,
            [
                (0, Evidence::Declared),
                (10_000, Evidence::CrossChecked),
                (7_550, Evidence::LocalMeter),
                (5_000, Evidence::CrossChecked),
                (10_000, Evidence::Declared),
                // The hour that runs is not known yet.
                (10_000, Evidence::Declared),
            ]
        );
    }
}
