//! Turns work into money without losing any: what is paid is the whole part of all work so far, less what was paid
//! before. So a million small receipts pay exactly what one large one would.

use crate::MicroVda;

/// What a kind of work is worth: so many micro-VDA for so many units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) micro: u64,
    pub(crate) units: u64,
}

/// Goes on with one consumer's work at one provider. Holds what was worked and is less than a micro-VDA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// In units times micro-VDA; always less than the rate's units.
    pub remainder: u64,
}

/// What one more piece of work comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// What the provider gets: the sum of all is the value rounded down.
    pub paid: MicroVda,
    /// What the consumer pays: the sum of all is the value rounded up. It differs from what is paid by one at most,
    /// and all that was paid and not yet given by one at most.
    pub charged: MicroVda,
}

impl Meter {
    /// Counts work; `None` when its value cannot be written.
    pub(crate) fn count(&mut self, units: u64, rate: Rate) -> Option<Share> {
        let value = u128::from(self.remainder) + u128::from(units) * u128::from(rate.micro);
        let paid = u64::try_from(value / u128::from(rate.units)).ok()?;
        let remainder = (value % u128::from(rate.units)) as u64;
        let begun = |remainder: u64| u64::from(remainder > 0);
        let charged = (paid.checked_add(begun(remainder))?).checked_sub(begun(self.remainder));
        let charged = charged.expect("with nothing paid, what was begun stays begun");
        let share = Share {
            paid: MicroVda(paid),
            charged: MicroVda(charged),
        };
        if share.paid > MicroVda::MAX || share.charged > MicroVda::MAX {
            return None;
        }
        self.remainder = remainder;
        Some(share)
    }
}

/// The most that this work alone can come to, whatever was before.
pub(crate) fn at_most(units: u64, rate: Rate) -> Option<MicroVda> {
    let share = Meter::default().count(units, rate)?;
    Some(share.charged)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 VDA an hour in milliseconds of class one.
    const HOUR: Rate = Rate {
        micro: 100_000_000,
        units: 3_600_000_000,
    };

    #[test]
    fn a_million_small_pieces_of_work_are_worth_what_the_whole_is() {
        let (mut meter, mut paid, mut charged, mut units) = (Meter::default(), 0, 0, 0_u64);
        for n in 0..1_000_000_u64 {
            let work = (n.wrapping_mul(2_654_435_761) >> 7) % 97;
            let share = meter.count(work, HOUR).expect("it can be written");
            paid += share.paid.0;
            charged += share.charged.0;
            units += work;
            assert!(charged - paid <= 1);
        }
        let exact = u128::from(units) * u128::from(HOUR.micro);
        let rate = u128::from(HOUR.units);
        assert_eq!(u128::from(paid), exact / rate);
        assert_eq!(u128::from(charged), exact.div_ceil(rate));
        assert_eq!(u128::from(meter.remainder), exact % rate);
    }

    #[test]
    fn an_hour_is_a_hundred_vda_however_it_is_cut() {
        for pieces in [1, 7, 3_600, 77_777] {
            let (mut meter, mut paid) = (Meter::default(), 0);
            let (each, rest) = (HOUR.units / pieces, HOUR.units % pieces);
            for piece in 0..pieces {
                let units = each + u64::from(piece < rest);
                paid += meter.count(units, HOUR).expect("small").paid.0;
            }
            assert_eq!(MicroVda(paid), MicroVda::vda(100));
            assert_eq!(meter.remainder, 0);
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused_and_changes_nothing() {
        let mut meter = Meter { remainder: 5 };
        let rate = Rate {
            micro: u64::MAX,
            units: 1,
        };
        assert_eq!(meter.count(2, rate), None);
        assert_eq!(meter, Meter { remainder: 5 });
    }
}
