//! Money: whole millionths of a VDA.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Micro-VDA that are moved or summed up; never negative. What is left between two sums may be, and is an `i64`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MicroVda(pub u64);

impl MicroVda {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest sum: what databases can hold, and every difference of two of which can be written.
    pub const MAX: Self = Self(i64::MAX as u64);
    /// As the amount of a transfer that posts a pending one: all of it.
    pub const ALL: Self = Self(u64::MAX);

    /// Whole VDA.
    pub const fn vda(vda: u32) -> Self {
        Self(vda as u64 * 1_000_000)
    }

    /// The sum; `None` over [`MicroVda::MAX`].
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0
            .checked_add(other.0)
            .map(Self)
            .filter(|sum| *sum <= Self::MAX)
    }

    /// The difference; `None` below zero.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// What is left of this sum after another one.
    pub fn less(self, other: Self) -> i64 {
        debug_assert!(self <= Self::MAX && other <= Self::MAX, "sums are bounded");
        self.0 as i64 - other.0 as i64
    }
}

/// As VDA with six decimals.
impl fmt::Display for MicroVda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_in_vda_and_sums_are_bounded() {
        assert_eq!(MicroVda(1).to_string(), "0.000001");
        assert_eq!(MicroVda::vda(12).to_string(), "12.000000");
        assert_eq!(MicroVda::MAX.plus(MicroVda(1)), None);
        assert_eq!(MicroVda::MAX.plus(MicroVda::ZERO), Some(MicroVda::MAX));
        assert_eq!(MicroVda::ALL.plus(MicroVda::ALL), None);
        assert_eq!(MicroVda::ZERO.less(MicroVda::MAX), -i64::MAX);
    }
}
