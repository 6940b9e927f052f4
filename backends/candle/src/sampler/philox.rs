//! Random numbers without a state: Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random
//! numbers: as easy as 1, 2, 3" (2011).

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Sixty-four random bits for one place in one choice.
pub(crate) fn bits(seed: u64, position: u64, choice: u32) -> u64 {
    let [low, high] = halves(position);
    let [first, second, ..] = philox([low, high, choice, 0], halves(seed));
    u64::from(first) << 32 | u64::from(second)
}

/// Low half first.
fn halves(n: u64) -> [u32; 2] {
    [n as u32, (n >> 32) as u32]
}

/// Four random words for a counter and a key.
pub(crate) fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let [low_a, high_a] = halves(u64::from(MULTIPLIERS[0]) * u64::from(counter[0]));
        let [low_b, high_b] = halves(u64::from(MULTIPLIERS[1]) * u64::from(counter[2]));
        counter = [
            high_b ^ counter[1] ^ key[0],
            low_b,
            high_a ^ counter[3] ^ key[1],
            low_a,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_answers_are_met() {
        let zeros = [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8];
        assert_eq!(philox([0; 4], [0; 2]), zeros);
        let ones = [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD];
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), ones);
        let pi = [0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344];
        let answer = [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1];
        assert_eq!(philox(pi, [0xA409_3822, 0x299F_31D0]), answer);
    }

    #[test]
    fn seed_position_and_choice_all_count() {
        let base = bits(1, 2, 3);
        for other in [bits(1 << 32, 2, 3), bits(1, 2 << 32, 3), bits(1, 2, 4)] {
            assert_ne!(other, base);
        }
    }
}
