use super::*;
use crate::Seeded;

const NOW: u64 = 1_800_000_000_000;

fn key(n: u8) -> NodeKey {
    NodeKey::from_seed(&[n; 32])
}

fn member(n: u8, tier: Tier) -> Member {
    Member {
        node: key(n).id(),
        tier,
        address: at(n),
        invitation: None,
        introduced_by: None,
    }
}

fn at(n: u8) -> PeerAddress {
    PeerAddress {
        direct: vec![format!("10.0.0.{n}:1").parse().expect("an address")],
        relay: None,
    }
}

fn of(n: u8) -> Introductions {
    Introductions::new(key(n).id(), Some(key(n)))
}

fn word(by: u8, about: u8, number: u64, tier: Option<Tier>) -> Introduced {
    Introduced {
        word: Introduction::issue(&key(by), key(about).id(), number, NOW + DAY_MS, tier),
        address: at(about),
    }
}

/// As what one node learned of another.
fn tier_of(introductions: &mut Introductions, n: u8) -> Option<Tier> {
    let learned = introductions.learned(NOW);
    let member = learned.iter().find(|member| member.node == key(n).id());
    member.map(|member| member.tier)
}

#[test]
fn nobody_is_trusted_more_than_who_introduces_and_nobody_as_the_owners_own() {
    use Tier::{T0, T1, T2, T3};
    for (by, said, learned) in [
        (T0, T0, Some(T1)),
        (T0, T1, Some(T1)),
        (T1, T0, Some(T1)),
        (T2, T0, Some(T2)),
        (T1, T2, Some(T2)),
        (T3, T1, None),
        (T1, T3, None),
    ] {
        let mut here = of(1);
        here.book_read(&[member(2, by)], Vec::new(), NOW);
        here.heard(word(2, 3, 1, Some(said)), NOW);
        assert_eq!(tier_of(&mut here, 3), learned, "{by} says {said}");
    }
}

#[test]
fn the_best_introducer_counts_while_he_is_trusted() {
    let mut here = of(1);
    let (two, four) = (member(2, Tier::T2), member(4, Tier::T1));
    here.book_read(&[two.clone(), four], Vec::new(), NOW);
    assert!(here.heard(word(2, 3, 1, Some(Tier::T1)), NOW));
    assert!(here.heard(word(4, 3, 1, Some(Tier::T1)), NOW));
    assert_eq!(tier_of(&mut here, 3), Some(Tier::T1));
    here.book_read(std::slice::from_ref(&two), Vec::new(), NOW);
    assert_eq!(tier_of(&mut here, 3), Some(Tier::T2));
    here.book_read(std::slice::from_ref(&two), vec![key(3).id()], NOW);
    assert_eq!(tier_of(&mut here, 3), None, "the owner removed it");
    here.book_read(&[two, member(3, Tier::T0)], Vec::new(), NOW);
    assert_eq!(tier_of(&mut here, 3), None, "it needs no introduction");
    here.book_read(&[], Vec::new(), NOW);
    assert_eq!(tier_of(&mut here, 3), None);
}

#[test]
fn words_of_strangers_old_words_and_absurd_ones_do_not_count() {
    let mut here = of(1);
    here.book_read(&[member(2, Tier::T1)], Vec::new(), NOW);
    assert_eq!(here.unwritten().len(), 1);
    let introduced = |by: u8, about: u8, until| Introduced {
        word: Introduction::issue(&key(by), key(about).id(), 1, until, Some(Tier::T1)),
        address: at(about),
    };
    for bad in [
        introduced(5, 3, NOW + DAY_MS),
        introduced(2, 2, NOW + DAY_MS),
        introduced(2, 3, NOW),
        introduced(2, 3, NOW + LASTS_MAX_MS + 1),
        introduced(2, 3, u64::MAX),
    ] {
        assert!(!here.heard(bad, NOW));
    }
    assert!(here.learned(NOW).is_empty() && here.unwritten().is_empty());
    // Whoever is learned of introduces nobody.
    here.heard(word(2, 3, 1, Some(Tier::T1)), NOW);
    here.heard(word(3, 4, 1, Some(Tier::T1)), NOW);
    assert_eq!(here.learned(NOW).len(), 1);
    assert!(here.learned(NOW + DAY_MS).is_empty(), "it expired");
    let mut off = Introductions::new(key(1).id(), None);
    assert!(!off.book_read(&[member(2, Tier::T1)], Vec::new(), NOW));
    assert!(!off.heard(word(2, 3, 1, Some(Tier::T1)), NOW));
}

#[test]
fn a_word_is_given_renewed_and_taken_back_and_numbers_only_grow() {
    let mut here = of(1);
    let invited = Member {
        invitation: Some(vec![1]),
        ..member(4, Tier::T1)
    };
    let members = [member(2, Tier::T1), member(3, Tier::T3), invited];
    assert!(here.book_read(&members, Vec::new(), NOW));
    let given = here.given();
    assert_eq!(given.len(), 1, "not just anybody, and nobody unmet");
    let first = given[0].introduced.word.clone();
    assert_eq!((first.node, first.tier), (key(2).id(), Some(Tier::T1)));
    assert!(!here.book_read(&members, Vec::new(), NOW + RENEWED_MS - 1));
    // The clock is set back by a day before the owner removes it.
    assert!(here.book_read(&[], vec![key(2).id()], NOW - DAY_MS));
    let last = here.given()[0].introduced.word.clone();
    assert_eq!((last.tier, last.until_ms), (None, first.until_ms));
    assert!(last.number > first.number);
    assert_eq!(here.withdrawn().count(), 1);
    // And lets it in again.
    assert!(here.book_read(&members[..1], Vec::new(), NOW));
    let again = here.given()[0].introduced.word.clone();
    assert!(again.number > last.number && again.tier.is_some());
    assert!(here.book_read(&members[..1], Vec::new(), NOW + RENEWED_MS));
    let renewed = here.given()[0].introduced.word.until_ms;
    assert_eq!(renewed, NOW + RENEWED_MS + LASTS_MS);
    let kept = here.unwritten();
    assert_eq!(kept.len(), 4);
    let mut later = of(1);
    later.restore(kept, NOW);
    assert!(!later.book_read(&members[..1], Vec::new(), NOW + RENEWED_MS));
}

#[test]
fn in_whatever_order_words_come_the_last_one_counts() {
    for seed in 0..200 {
        let mut seeded = Seeded::new(seed);
        let mut words: Vec<Introduced> = (1..6)
            .map(|number| {
                let tier = (seeded.below(2) == 0).then_some(Tier::T2);
                word(2, 3, number, tier)
            })
            .collect();
        let last = words[4].word.tier;
        for at in (1..words.len()).rev() {
            words.swap(at, seeded.below(at as u64 + 1) as usize);
        }
        let mut here = of(1);
        here.book_read(&[member(2, Tier::T1)], Vec::new(), NOW);
        for said in words.iter().chain(&words.clone()) {
            here.heard(said.clone(), NOW);
        }
        assert_eq!(tier_of(&mut here, 3), last, "seed {seed}");
        let mut restored = of(1);
        restored.restore(here.unwritten(), NOW);
        restored.book_read(&[member(2, Tier::T1)], Vec::new(), NOW);
        assert_eq!(tier_of(&mut restored, 3), last, "seed {seed}");
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut here = of(1);
    let (two, four) = (member(2, Tier::T1), member(4, Tier::T1));
    here.book_read(&[two, four], Vec::new(), NOW);
    let about = |n: u64| {
        let mut node = [9; 32];
        node[..8].copy_from_slice(&n.to_be_bytes());
        NodeId(node)
    };
    let tell = |here: &mut Introductions, by: u8, n| {
        let word = Introduction::issue(&key(by), about(n), 1, NOW + 1, Some(Tier::T1));
        let address = PeerAddress::default();
        here.heard(Introduced { word, address }, NOW)
    };
    let told = (0..1100).filter(|n| tell(&mut here, 2, *n)).count();
    assert_eq!(told, LEARNED_OF_ONE_MAX);
    assert!(tell(&mut here, 4, 5000), "another one's words have room");
    assert!(tell(&mut here, 4, 3), "and so have those about the same");
}

#[test]
fn whoever_finds_no_room_is_told_of_itself_and_of_others_to_call() {
    let mut here = of(1);
    let members: Vec<Member> = (2..100).map(|n| member(n, Tier::T1)).collect();
    here.book_read(&members, Vec::new(), NOW);
    let to = key(50).id();
    let instead = here.instead(to);
    assert_eq!(instead.len(), 1 + NEAREST + OTHERS);
    assert_eq!(instead[0].word.node, to);
    let told: BTreeSet<NodeId> = instead.iter().map(|said| said.word.node).collect();
    assert_eq!(told.len(), instead.len());
    let mut nearest: Vec<NodeId> = members.iter().map(|member| member.node).collect();
    nearest.sort_by_key(|node| distance(*node, to));
    assert!(nearest[1..=NEAREST].iter().all(|node| told.contains(node)));
}
