//! Against the definitions of RFC 9162 written down as they stand there, recursive and over all leaves.

use std::collections::HashMap;

use super::*;

/// `MTH` of section 2.1.1.
fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(half(leaves.len()));
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// `PATH` of section 2.1.3.1.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let middle = half(leaves.len());
    let (left, right) = leaves.split_at(middle);
    let (mut proof, other) = if index < middle {
        (path(index, left), root_of(right))
    } else {
        (path(index - middle, right), root_of(left))
    };
    proof.push(other);
    proof
}

/// `SUBPROOF` of section 2.1.4.1.
fn subproof(first: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if first == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![root_of(leaves)]
        };
    }
    let middle = half(leaves.len());
    let (left, right) = leaves.split_at(middle);
    let (mut proof, other) = if first <= middle {
        (subproof(first, left, whole), root_of(right))
    } else {
        (subproof(first - middle, right, false), root_of(left))
    };
    proof.push(other);
    proof
}

fn half(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

/// A log of so many leaves: all subtrees that it told, and its edge.
fn grown(leaves: &[Hash]) -> (HashMap<Subtree, Hash>, Frontier) {
    let (mut known, mut frontier) = (HashMap::new(), Frontier::default());
    for leaf in leaves {
        frontier.append(*leaf, |subtree, hash| {
            assert_eq!(known.insert(subtree, hash), None, "told once");
        });
    }
    (known, frontier)
}

const SIZE: u64 = 70;

#[test]
fn an_edge_has_the_root_of_the_definition_and_goes_on_from_what_was_stored() {
    let leaves = leaves(SIZE);
    for size in 0..=leaves.len() {
        let (known, frontier) = grown(&leaves[..size]);
        assert_eq!(frontier.root(), root_of(&leaves[..size]), "{size} leaves");
        let peaks = Frontier::needs(size as u64);
        let peaks = peaks.iter().map(|peak| known[peak]).collect();
        assert_eq!(Frontier::restore(size as u64, peaks), Some(frontier));
    }
    assert_eq!(Frontier::restore(3, vec![[0; 32]]), None);
}

#[test]
fn every_inclusion_proof_is_that_of_the_definition_and_shows_no_other_leaf() {
    let leaves = leaves(SIZE);
    let (known, _) = grown(&leaves);
    for size in 1..=leaves.len() {
        let root = root_of(&leaves[..size]);
        for index in 0..size {
            let plan = ProofPlan::inclusion(index as u64, size as u64).expect("it is in it");
            let proof = plan.assemble(|part| known.get(&part).copied());
            let proof = proof.expect("all subtrees are known");
            assert_eq!(proof, path(index, &leaves[..size]));
            let check = |leaf: &Hash, index: usize, proof: &[Hash]| {
                verify_inclusion(leaf, index as u64, size as u64, proof, &root)
            };
            assert_eq!(check(&leaves[index], index, &proof), Ok(()));
            assert!(check(&leaf_hash(b"other"), index, &proof).is_err());
            assert!(check(&leaves[index], (index + 1) % (size + 1), &proof).is_err());
            let longer = [&proof[..], &[[7; 32]]].concat();
            assert_eq!(check(&leaves[index], index, &longer), Err(BadProof::Length));
            if let Some((_, shorter)) = proof.split_last() {
                assert_eq!(check(&leaves[index], index, shorter), Err(BadProof::Length));
            }
        }
    }
    assert_eq!(ProofPlan::inclusion(5, 5), Err(BadProof::NoSuchPlace));
}

#[test]
fn every_consistency_proof_is_that_of_the_definition_and_shows_no_other_beginning() {
    let leaves = leaves(SIZE);
    let (known, _) = grown(&leaves);
    for second in 1..=leaves.len() {
        for first in 1..=second {
            let plan = ProofPlan::consistency(first as u64, second as u64).expect("they fit");
            let proof = plan.assemble(|part| known.get(&part).copied());
            let proof = proof.expect("all subtrees are known");
            assert_eq!(proof, subproof(first, &leaves[..second], true));
            let (old, new) = (root_of(&leaves[..first]), root_of(&leaves[..second]));
            let check = |old: &Hash, new: &Hash, proof: &[Hash]| {
                verify_consistency((first as u64, old), (second as u64, new), proof)
            };
            assert_eq!(check(&old, &new, &proof), Ok(()));
            assert!(check(&[7; 32], &new, &proof).is_err());
            assert!(check(&old, &[7; 32], &proof).is_err());
            let longer = [&proof[..], &[[7; 32]]].concat();
            assert_eq!(check(&old, &new, &longer), Err(BadProof::Length));
            for at in 0..proof.len() {
                let mut changed = proof.clone();
                changed[at][0] ^= 1;
                assert_eq!(check(&old, &new, &changed), Err(BadProof::Root));
            }
        }
    }
    assert!(ProofPlan::consistency(0, 5).is_err());
    assert!(ProofPlan::consistency(6, 5).is_err());
}

/// The roots of the first eight sizes of the tree over the leaves that Certificate Transparency's own tests use
/// (github.com/google/certificate-transparency, Apache-2.0).
#[test]
fn roots_are_those_of_certificate_transparency() {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    for (size, root) in [
        (
            0,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            1,
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        ),
        (
            2,
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        ),
        (
            3,
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        ),
        (
            4,
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
        (
            5,
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        ),
        (
            6,
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        ),
        (
            7,
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        ),
        (
            8,
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ] {
        let (_, frontier) = grown(&hashes[..size]);
        assert_eq!(data_encoding::HEXLOWER.encode(&frontier.root()), root);
    }
}
