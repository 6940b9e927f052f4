//! What work is worth: data with a hash, so that both sides of a receipt mean the same.

use sha2::{Digest, Sha256};

use crate::meter::Rate;
use crate::{MicroVda, TransferKind};

/// Prices in micro-VDA, shares in basis points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// Counts changes.
    pub version: u32,
    /// An hour in which a slot computes, on a machine of class one.
    pub compute_hour: u64,
    /// The machine of class one: tokens a second that `kwaainet bench` measures while it generates with the default
    /// model.
    pub class_one_tokens_per_s: u64,
    /// The lowest and the highest class, in thousandths.
    pub class_milli: (u64, u64),
    /// A GB (10^9 bytes) of stored ciphertext for a month (30 days).
    pub gb_month: u64,
    /// One identity verified; whoever asks pays.
    pub verification: u64,
    /// One identity verified on several chains; whoever asks pays.
    pub multi_chain: u64,
    /// The matched share of renewable power from which on there is a bonus.
    pub bonus_from: u32,
    /// The bonus at that share, and at the whole.
    pub bonus: (u32, u32),
    /// The highest bonus that each kind of evidence supports: declared, a local meter, cross-checked, certificates.
    pub bonus_caps: [u32; 4],
    /// What may be given as bonuses in an epoch, which is a day.
    pub epoch_budget: u64,
    /// What of it may be given for the work of one provider for one consumer.
    pub pair_budget: u64,
}

/// The one that holds.
pub const TARIFF: Tariff = Tariff {
    version: 2,
    compute_hour: 100_000_000,
    class_one_tokens_per_s: 100,
    class_milli: (100, 10_000),
    gb_month: 50_000_000,
    verification: 25_000_000,
    multi_chain: 2_000_000,
    bonus_from: 5_000,
    bonus: (3_000, 7_000),
    bonus_caps: [0, 3_000, 5_000, 7_000],
    epoch_budget: 10_000_000_000,
    pair_budget: 1_000_000_000,
};

const MS_PER_HOUR: u64 = 3_600_000;
const GB: u64 = 1_000_000_000;
const MONTH_S: u64 = 30 * 24 * 3_600;
/// A whole in basis points.
const WHOLE: u32 = 10_000;

impl Tariff {
    /// As JSON in its canonical form (RFC 8785): this is what the hash is of.
    pub fn canonical(&self) -> String {
        let [declared, local, crossed, certificates] = self.bonus_caps;
        format!(
            "{{\"bonus_bp\":{{\"at_share\":{},\"at_whole\":{},\"cap_certificates\":{certificates},\
             \"cap_cross_checked\":{crossed},\"cap_declared\":{declared},\"cap_local_meter\":{local},\
             \"from_share\":{}}},\"class_milli\":{{\"max\":{},\"min\":{},\"one_is_tokens_per_s\":{}}},\
             \"compute_hour\":{},\"epoch_budget\":{},\"gb_month\":{},\"multi_chain_verification\":{},\
             \"pair_budget\":{},\"unit\":\"micro-VDA\",\"verification\":{},\"version\":{}}}",
            self.bonus.0,
            self.bonus.1,
            self.bonus_from,
            self.class_milli.1,
            self.class_milli.0,
            self.class_one_tokens_per_s,
            self.compute_hour,
            self.epoch_budget,
            self.gb_month,
            self.multi_chain,
            self.pair_budget,
            self.verification,
            self.version,
        )
    }

    /// SHA-256 of its canonical form.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.canonical()).into()
    }

    /// The class of a machine in thousandths, by how many tokens a second it was measured to generate.
    pub fn class_of(&self, tokens_per_s: u64) -> u64 {
        let (low, high) = self.class_milli;
        let milli = tokens_per_s.saturating_mul(1_000) / self.class_one_tokens_per_s;
        milli.clamp(low, high)
    }

    /// The bonus in basis points, for a matched share of renewable power and how well it is known.
    pub fn bonus_bp(&self, share_bp: u32, evidence: usize) -> u32 {
        let share = share_bp.min(WHOLE);
        if share < self.bonus_from {
            return 0;
        }
        let (low, high) = self.bonus;
        let over = (high - low) * (share - self.bonus_from) / (WHOLE - self.bonus_from);
        let cap = self.bonus_caps.get(evidence).copied().unwrap_or(0);
        (low + over).min(cap)
    }

    /// The budget of an epoch.
    pub(crate) fn budget(&self) -> MicroVda {
        MicroVda(self.epoch_budget)
    }

    /// The part of it that one pair may have.
    pub(crate) fn pair_budget(&self) -> MicroVda {
        MicroVda(self.pair_budget)
    }

    /// What a kind of work is worth: compute in milliseconds times thousandths of a class, storage in byte-seconds,
    /// verifications by number, bonuses in micro-VDA times basis points.
    pub(crate) fn rate(&self, kind: TransferKind) -> Rate {
        let (micro, units) = match kind {
            TransferKind::Compute => (self.compute_hour, MS_PER_HOUR * 1_000),
            TransferKind::Storage => (self.gb_month, GB * MONTH_S),
            TransferKind::Verification => (self.verification, 1),
            TransferKind::MultiChain => (self.multi_chain, 1),
            _ => (1, u64::from(WHOLE)),
        };
        Rate { micro, units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_canonical_form_is_sorted_json_and_its_hash_is_known() {
        let text = TARIFF.canonical();
        let value: Value = serde_json::from_str(&text).expect("it is JSON");
        let keys: Vec<_> = value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        let mut sorted = keys.clone();
        sorted.sort();
        let order: Vec<_> = sorted
            .iter()
            .map(|key| text.find(&format!("\"{key}\":")))
            .collect();
        assert!(order.is_sorted(), "{text}");
        assert_eq!(value["compute_hour"], 100_000_000);
        assert!(!text.contains(char::is_whitespace));
        assert_ne!(
            Tariff {
                version: 3,
                ..TARIFF
            }
            .hash(),
            TARIFF.hash()
        );
    }

    #[test]
    fn a_bonus_needs_half_the_power_and_evidence() {
        for (share, evidence, bonus) in [
            (10_000, 0, 0),
            (4_999, 3, 0),
            (5_000, 3, 3_000),
            (7_500, 3, 5_000),
            (10_000, 3, 7_000),
            (10_000, 1, 3_000),
            (10_000, 2, 5_000),
            (5_001, 2, 3_000),
            (5_002, 2, 3_001),
            (u32::MAX, 3, 7_000),
            (10_000, 9, 0),
        ] {
            assert_eq!(
                TARIFF.bonus_bp(share, evidence),
                bonus,
                "{share} {evidence}"
            );
        }
    }

    #[test]
    fn classes_are_measured_and_bounded() {
        for (tokens, class) in [(0, 100), (100, 1_000), (257, 2_570), (1_000_000, 10_000)] {
            assert_eq!(TARIFF.class_of(tokens), class);
        }
    }
}
