use super::*;

fn revs(names: &[&str]) -> Vec<Rev> {
    let parse = |name: &&str| name.parse().expect("it is a revision");
    names.iter().map(parse).collect()
}

fn rev(name: &str) -> Rev {
    name.parse().expect("it is a revision")
}

fn winner(tree: &RevTree) -> String {
    tree.winner().expect("there is one").rev.to_string()
}

#[test]
fn the_longest_live_branch_wins() {
    let mut tree = RevTree::default();
    assert!(tree.add(&revs(&["1-a"]), false, 1));
    assert!(tree.add(&revs(&["2-b", "1-a"]), false, 2));
    assert!(tree.add(&revs(&["2-c", "1-a"]), false, 3));
    assert_eq!(winner(&tree), "2-c", "the highest hash");
    assert!(tree.add(&revs(&["3-a", "2-b", "1-a"]), false, 4));
    assert_eq!(winner(&tree), "3-a", "the highest generation");
    assert!(tree.add(&revs(&["4-z", "3-a", "2-b", "1-a"]), true, 5));
    assert_eq!(winner(&tree), "2-c", "one that is not deleted");
    assert!(tree.add(&revs(&["3-d", "2-c"]), true, 6));
    assert_eq!(winner(&tree), "4-z", "all are deleted");
    assert!(!tree.add(&revs(&["3-d", "2-c"]), true, 7), "it is known");
    assert!(!tree.add(&revs(&["2-b", "1-a"]), false, 8), "it is old");
}

#[test]
fn ancestors_that_come_late_find_their_place() {
    let mut tree = RevTree::default();
    tree.add(&revs(&["5-e", "4-d"]), false, 1);
    tree.add(&revs(&["6-f", "5-e", "4-d", "3-c"]), false, 2);
    let history = tree.history(&rev("6-f"));
    let names: Vec<_> = history.iter().map(|node| node.rev.to_string()).collect();
    assert_eq!(names, ["6-f", "5-e", "4-d", "3-c"]);
    assert_eq!(tree.leaves().len(), 1);
    assert_eq!(tree.latest_of(&rev("4-d"))[0].rev, rev("6-f"));
}

#[test]
fn a_tree_is_stemmed_compacted_and_purged() {
    let mut tree = RevTree::default();
    tree.add(&revs(&["1-a"]), false, 1);
    tree.add(&revs(&["2-a", "1-a"]), false, 2);
    tree.add(&revs(&["3-a", "2-a", "1-a"]), false, 3);
    tree.add(&revs(&["2-b", "1-a"]), false, 4);
    let again = RevTree::from_text(&tree.to_text()).expect("it is one");
    assert_eq!(again, tree);

    let mut stemmed = tree.clone();
    assert!(stemmed.stem(2).is_empty());
    assert_eq!(stemmed.nodes().len(), 4, "2-b still needs 1-a");
    assert_eq!(stemmed.stem(1), [1, 2]);
    assert_eq!(stemmed.nodes().len(), 2);
    assert_eq!(winner(&stemmed), "3-a");

    let mut compacted = tree.clone();
    let mut old = compacted.compact();
    old.sort_unstable();
    assert_eq!(old, [1, 2]);
    assert_eq!(compacted.bodies(), [3, 4]);

    let (gone, bodies) = tree.purge(&revs(&["3-a", "1-a", "9-x"]));
    assert_eq!(gone, [rev("3-a")]);
    assert_eq!(bodies, [2, 3], "1-a leads to 2-b");
    assert_eq!(winner(&tree), "2-b");
    let (gone, bodies) = tree.purge(&revs(&["2-b"]));
    assert_eq!((gone.len(), bodies.len()), (1, 2));
    assert!(tree.winner().is_none());
}

/// A generator of numbers that a seed repeats (Steele and others, "Fast splittable pseudorandom number
/// generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// Every history of a random tree, of which each ends with a revision of its own.
fn histories(random: &mut Random) -> Vec<(Vec<Rev>, bool)> {
    let mut made: Vec<(Vec<Rev>, bool)> = Vec::new();
    for n in 0..random.below(12) + 1 {
        let parent = random.below(made.len() + 1);
        let mut history = made
            .get(parent)
            .map_or_else(Vec::new, |made| made.0.clone());
        let name = format!("{}-{:x}{n:x}", history.len() + 1, random.below(16));
        history.insert(0, rev(&name));
        made.push((history, random.below(4) == 0));
    }
    made
}

#[test]
fn the_order_in_which_revisions_come_does_not_matter() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let histories = histories(&mut random);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let mut left = histories.clone();
            let mut tree = RevTree::default();
            while !left.is_empty() {
                let (history, deleted) = left.swap_remove(random.below(left.len()));
                tree.add(&history, deleted, 1);
            }
            let leaves: Vec<_> = tree.leaves().iter().map(|leaf| leaf.rev.clone()).collect();
            let histories: Vec<Vec<Rev>> = leaves
                .iter()
                .map(|leaf| tree.history(leaf).iter().map(|n| n.rev.clone()).collect())
                .collect();
            seen.push((leaves, histories));
        }
        assert!(
            seen.windows(2).all(|pair| pair[0] == pair[1]),
            "seed {seed}"
        );
    }
}
