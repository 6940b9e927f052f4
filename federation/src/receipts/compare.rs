//! Whether the books of two nodes agree about the receipts between them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kwaainet_core::NodeId;

use super::{Checked, SignedReceipt};

/// What two books say about the receipts that should be in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Receipts that are in both, the same.
    pub same: usize,
    /// The others, in the order of server, asker, chain, stream and revision.
    pub differences: Vec<(SignedReceipt, Difference)>,
}

/// How two books differ about one receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is in the first only.
    OnlyInFirst,
    /// It is in the second only.
    OnlyInSecond,
    /// It is countersigned in the first only.
    SignedInFirst,
    /// It is countersigned in the second only.
    SignedInSecond,
}

type Book<'a> = BTreeMap<(NodeId, NodeId, u64, u64, u64, [u8; 32]), &'a Checked>;

/// Compares what two nodes exported. Each receipt names two nodes, and the owner of a book is in all of that book; a
/// receipt should be in both if it can be between the two owners.
pub fn compare(first: &[Checked], second: &[Checked]) -> Comparison {
    let owners = [owners(first), owners(second)];
    let between = |checked: &&Checked| {
        let receipt = &checked.receipt;
        let may_own = |owners: &Option<BTreeSet<NodeId>>, node| {
            owners.as_ref().is_none_or(|owners| owners.contains(&node))
        };
        let [first, second] = &owners;
        let (server, asker) = (receipt.server, receipt.asker);
        (may_own(first, server) && may_own(second, asker))
            || (may_own(first, asker) && may_own(second, server))
    };
    let in_first = by_place(first.iter().filter(between));
    let mut in_second = by_place(second.iter().filter(between));
    let mut comparison = Comparison::default();
    let mut differences = BTreeMap::new();
    for (place, ours) in in_first {
        let difference = match in_second.remove(&place) {
            None => Difference::OnlyInFirst,
            Some(theirs) => match (ours.countersigned, theirs.countersigned) {
                (true, false) => Difference::SignedInFirst,
                (false, true) => Difference::SignedInSecond,
                _ => {
                    comparison.same += 1;
                    continue;
                }
            },
        };
        differences.insert(place, (ours.receipt.clone(), difference));
    }
    for (place, theirs) in in_second {
        let difference = (theirs.receipt.clone(), Difference::OnlyInSecond);
        differences.insert(place, difference);
    }
    comparison.differences = differences.into_values().collect();
    comparison
}

/// The nodes that are in all of a book; `None` where anybody may be its owner, since it is empty.
fn owners(book: &[Checked]) -> Option<BTreeSet<NodeId>> {
    let pairs = book
        .iter()
        .map(|checked| BTreeSet::from([checked.receipt.server, checked.receipt.asker]));
    pairs.reduce(|owners, pair| owners.intersection(&pair).copied().collect())
}

fn by_place<'a>(book: impl Iterator<Item = &'a Checked>) -> Book<'a> {
    let key = |checked: &'a Checked| {
        let (receipt, place) = (&checked.receipt, checked.receipt.place);
        let key = (
            receipt.server,
            receipt.asker,
            place.chain,
            place.stream,
            place.revision,
            receipt.hash(),
        );
        (key, checked)
    };
    book.map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipts::tests::{place, service};
    use kwaainet_identity::NodeKey;

    fn receipt(server: &NodeKey, asker: &NodeKey, number: u64, countersigned: bool) -> Checked {
        let place = place(1, number, [0; 32]);
        let receipt = SignedReceipt::sign(server, asker.id(), place, service(1));
        Checked {
            receipt,
            countersigned,
        }
    }

    #[test]
    fn only_what_is_between_the_two_is_compared() {
        let [a, b, c] = [(); 3].map(|()| NodeKey::generate());
        let both = receipt(&a, &b, 1, true);
        let (of_a, of_b) = (receipt(&a, &c, 1, true), receipt(&c, &b, 1, false));
        let compared = compare(&[both.clone(), of_a], &[of_b, both.clone()]);
        assert_eq!((compared.same, compared.differences.len()), (1, 0));
        assert_eq!(compare(&[], &[]), Comparison::default());
        let both = [both];
        assert_eq!(compare(&both, &both).same, 1);
    }

    #[test]
    fn every_difference_is_told() {
        let [a, b] = [(); 2].map(|()| NodeKey::generate());
        let receipts: Vec<_> = (1..=5).map(|n| receipt(&a, &b, n, n != 3)).collect();
        let other_sign = |checked: &Checked| Checked {
            countersigned: !checked.countersigned,
            ..checked.clone()
        };
        let first = [&receipts[0], &receipts[1], &receipts[2], &receipts[4]].map(Checked::clone);
        let second = [
            receipts[0].clone(),
            other_sign(&receipts[1]),
            other_sign(&receipts[2]),
            receipts[3].clone(),
        ];
        let compared = compare(&first, &second);
        assert_eq!(compared.same, 1);
        let told: Vec<_> = compared
            .differences
            .iter()
            .map(|(receipt, difference)| (receipt.place.stream, *difference))
            .collect();
        let expected = [
            (2, Difference::SignedInFirst),
            (3, Difference::SignedInSecond),
            (4, Difference::OnlyInSecond),
            (5, Difference::OnlyInFirst),
        ];
        assert_eq!(told, expected);
        let lost = compare(&first, &[]);
        assert_eq!((lost.same, lost.differences.len()), (0, 4));
    }
}
