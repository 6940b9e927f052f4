//! How something that is scarce is shared out.

use std::collections::HashMap;
use std::hash::Hash;

/// Equal shares of `budget`; what somebody does not want goes to the others. All of it is given out
/// while anybody wants more.
pub(super) fn shares(budget: usize, wants: &[usize]) -> Vec<usize> {
    let mut by_want: Vec<usize> = (0..wants.len()).collect();
    by_want.sort_by_key(|&who| wants[who]);
    let mut shares = vec![0; wants.len()];
    let mut left = budget;
    for (served, who) in by_want.into_iter().enumerate() {
        let equal = left.div_ceil(wants.len() - served);
        shares[who] = wants[who].min(equal);
        left -= shares[who];
    }
    shares
}

/// Equal shares for groups, and within each group.
pub(super) fn shares_by_group<G: Eq + Hash>(budget: usize, wants: &[(G, usize)]) -> Vec<usize> {
    let mut groups: HashMap<&G, usize> = HashMap::new();
    // Members in the order in which their groups come first.
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (who, (group, _)) in wants.iter().enumerate() {
        let at = *groups.entry(group).or_insert(members.len());
        if at == members.len() {
            members.push(Vec::new());
        }
        members[at].push(who);
    }
    let wanted = |who: &usize| wants[*who].1;
    let sums: Vec<usize> = members
        .iter()
        .map(|members| members.iter().map(wanted).sum())
        .collect();
    let mut given = vec![0; wants.len()];
    for (members, budget) in members.iter().zip(shares(budget, &sums)) {
        let wants: Vec<usize> = members.iter().map(wanted).collect();
        for (who, share) in members.iter().zip(shares(budget, &wants)) {
            given[*who] = share;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_more_than_he_wants_and_nothing_is_left_while_somebody_does() {
        assert_eq!(shares(100, &[10, 1_000, 30]), [10, 60, 30]);
        assert_eq!(shares(100, &[1_000, 1_000]), [50, 50]);
        assert_eq!(shares(100, &[1_000, 5]), [95, 5]);
        assert_eq!(shares(100, &[20, 20]), [20, 20]);
        assert_eq!(shares(3, &[9, 9, 9, 9]).iter().sum::<usize>(), 3);
        assert_eq!(shares(0, &[1]), [0]);
        assert!(shares(5, &[]).is_empty());
    }

    #[test]
    fn a_group_of_many_gets_no_more_than_a_group_of_one() {
        let wants = [("ann", 500), ("ann", 500), ("bob", 500), ("ann", 10)];
        assert_eq!(shares_by_group(120, &wants), [25, 25, 60, 10]);
        let wants = [("ann", 500), ("ann", 500), ("bob", 20)];
        assert_eq!(shares_by_group(120, &wants), [50, 50, 20]);
    }
}
