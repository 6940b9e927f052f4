//! Numbers that look random and are a function of the seed, so that a run can be repeated.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence that belongs to these numbers; another list gives another sequence.
    pub(crate) fn of(path: &[u64]) -> Self {
        let fold = |state: u64, part: &u64| Self(state ^ part).next();
        Self(path.iter().fold(0, fold))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // The upper half of a wide product; its bias is below end / 2^64.
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// True for this share of all draws, between 0 and 1.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        unit < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // The first numbers of SplitMix64 from seed 0, as its reference code prints them.
        let mut random = Random(0);
        assert_eq!(random.next(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.next(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn equal_paths_give_equal_sequences_and_others_do_not() {
        let first = |path: &[u64]| Random::of(path).next();
        assert_eq!(first(&[1, 2, 3]), first(&[1, 2, 3]));
        let others = [
            first(&[1, 2, 3]),
            first(&[3, 2, 1]),
            first(&[1, 2]),
            first(&[1, 2, 4]),
        ];
        for (i, a) in others.iter().enumerate() {
            assert!(others[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn draws_keep_their_range_and_share() {
        let mut random = Random::of(&[7]);
        assert!((0..1000).all(|_| random.below(3) < 3));
        assert!((0..1000).all(|_| !random.chance(0.0)));
        assert!((0..1000).all(|_| random.chance(1.0)));
        let hits = (0..10_000).filter(|_| random.chance(0.3)).count();
        assert!((2_700..3_300).contains(&hits), "{hits}");
    }
}
