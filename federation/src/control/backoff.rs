//! How long to wait before a peer is called again. Pure.

use std::time::Duration;

use kwaainet_core::NodeId;

use crate::Seeded;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);
/// What one doubles at most.
const DOUBLINGS: u32 = 6;

/// The wait after so many failures in a row, the first being 0: it doubles up to 5 s, and a part of up to a half
/// is left out, another for each pair of nodes, so that not all call at once.
pub(crate) fn wait(failures: u32, here: NodeId, there: NodeId) -> Duration {
    let whole = (FIRST * 2_u32.pow(failures.min(DOUBLINGS))).min(LAST);
    let word = |node: NodeId| {
        let (head, _) = node.0.split_at(8);
        u64::from_be_bytes(head.try_into().expect("eight bytes"))
    };
    let seed = word(here) ^ word(there).rotate_left(17) ^ u64::from(failures);
    let part = Seeded::new(seed).below(1000) as u32;
    (whole - whole / 2 * part / 1000).max(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_bounded_and_differ() {
        let node = |n| NodeId([n; 32]);
        for there in 1..50 {
            let mut whole = FIRST;
            for failures in 0..40 {
                let wait = wait(failures, node(0), node(there));
                assert!(wait >= FIRST.max(whole / 2) && wait <= whole);
                whole = (whole * 2).min(LAST);
            }
            assert!(wait(u32::MAX, node(0), node(there)) <= LAST);
        }
        assert_ne!(
            wait(9, node(0), node(1)),
            wait(9, node(0), node(2)),
            "two peers are called at two times"
        );
    }
}
