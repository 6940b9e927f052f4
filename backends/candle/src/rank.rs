//! Floating-point numbers as integers that sort.

/// Numbers that ascend as the floats descend; both zeros are one. Not-a-number has no place.
pub(crate) fn descending(float: f32) -> u32 {
    // Adding 0 turns -0 into 0.
    let bits = (float + 0.0).to_bits();
    if bits >> 31 == 0 {
        !bits & (u32::MAX >> 1)
    } else {
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_turned_round() {
        let descend = [
            f32::INFINITY,
            f32::MAX,
            1.5,
            1e-30,
            0.0,
            -1e-30,
            -1.0,
            -262_144.0,
            f32::MIN,
            f32::NEG_INFINITY,
        ];
        for pair in descend.windows(2) {
            assert!(descending(pair[0]) < descending(pair[1]), "{pair:?}");
        }
        assert_eq!(descending(0.0), descending(-0.0));
    }
}
